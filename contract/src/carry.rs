//! How results travel without an object of their own: in a termination message, or in a Pod's annotations. Writers and
//! readers stand side by side here; what one writes the other reads.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;
use thiserror::Error;

use crate::{TaskResult, label};

/// Kubernetes keeps so many bytes of a container's termination message.
pub const MESSAGE_BYTES: usize = 4096;
/// And so many of all containers of a Pod together, shared out evenly.
pub const MESSAGE_BYTES_A_POD: usize = 12 * 1024;
/// Kubernetes allows a Pod so many bytes of annotations, keys included. The rest up to 256 KiB is left to the user's.
pub const ANNOTATION_BYTES: usize = 224 * 1024;
/// The last line of a termination message that carries results begins with this. Behind it stands the result body as JSON,
/// deflated (RFC 1951), in base64 without padding.
const MARK: &str = "tiphys-result:1:";
/// So much of a failure's text stays beside the results; the container's log has all of it.
const MESSAGE_BESIDE: usize = 1024;
/// A body longer than this was not made by the executor.
const LONGEST_BODY: u64 = 8 << 20;

/// A report that cannot be read.
#[derive(Debug, Error)]
pub enum CarryError {
    /// The encoding is broken, for example because the message was cut.
    #[error("the results in the termination message are damaged: {0}")]
    Message(String),
    /// An annotation is not what it should be.
    #[error("annotation {0} is unreadable: {1}")]
    Annotation(&'static str, serde_json::Error),
    /// The offloaded outputs are not those that were put away.
    #[error("the offloaded outputs {what} are damaged: {why}")]
    Offloaded {
        /// Their hash.
        what: String,
        /// The difference.
        why: String,
    },
}

/// What a termination message told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The text for the user: what failed; empty when nothing did.
    pub message: String,
    /// The results, when there were any.
    pub result: Option<TaskResult>,
}

/// Bytes that a termination message may have in a Pod with so many containers, init containers included.
pub fn message_bytes(containers: usize) -> usize {
    MESSAGE_BYTES.min(MESSAGE_BYTES_A_POD / containers.max(1))
}

/// Results as a termination message of at most `limit` bytes, behind what failed. None when they do not fit.
pub fn to_message(result: &TaskResult, failure: &str, limit: usize) -> Option<String> {
    let mut message = beginning(failure, MESSAGE_BESIDE);
    if !message.is_empty() {
        message.push('\n');
    }
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    deflated.write_all(result.to_json().to_string().as_bytes()).ok()?;
    message.push_str(MARK);
    STANDARD_NO_PAD.encode_string(deflated.finish().ok()?, &mut message);
    (message.len() <= limit).then_some(message)
}

/// Reads a termination message: of this executor, or of any other program, whose text is all message.
///
/// # Errors
/// [`CarryError::Message`] when it carries results that are damaged.
pub fn from_message(text: &str) -> Result<Told, CarryError> {
    let (message, last) = text.rsplit_once('\n').unwrap_or(("", text));
    let Some(encoded) = last.strip_prefix(MARK) else {
        return Ok(Told { message: text.to_owned(), result: None });
    };
    let damaged = |error: &dyn std::fmt::Display| CarryError::Message(error.to_string());
    let deflated = STANDARD_NO_PAD.decode(encoded.trim_end()).map_err(|error| damaged(&error))?;
    let mut body = Vec::new();
    let inflated = DeflateDecoder::new(&deflated[..]).take(LONGEST_BODY).read_to_end(&mut body);
    inflated.map_err(|error| damaged(&error))?;
    let result = TaskResult::from_json(&body).map_err(|error| damaged(&error))?;
    Ok(Told { message: message.to_owned(), result: Some(result) })
}

/// Results as annotations of the Pod: outputs, progress, and the rest of the body.
pub fn to_annotations(result: &TaskResult) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::new();
    if let Some(outputs) = result.to_json().get("outputs") {
        annotations.insert(label::OUTPUTS, outputs.to_string());
    }
    if !result.progress.is_empty() {
        annotations.insert(label::PROGRESS, result.progress.clone());
    }
    let rest = result.beside_outputs();
    if !rest.is_empty() {
        annotations.insert(label::REPORT, Value::Object(rest).to_string());
    }
    annotations
}

/// Bytes that Kubernetes counts for annotations.
pub fn annotation_bytes(annotations: &BTreeMap<&'static str, String>) -> usize {
    annotations.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Reads the annotations of a Pod, through a look-up function.
///
/// # Errors
/// [`CarryError::Annotation`] when one of them is not what the executor writes.
pub fn from_annotations<'a>(lookup: impl Fn(&str) -> Option<&'a str>) -> Result<TaskResult, CarryError> {
    let rest = lookup(label::REPORT).unwrap_or("{}");
    let rest = TaskResult::from_json(rest.as_bytes()).map_err(|error| CarryError::Annotation(label::REPORT, error))?;
    let outputs = lookup(label::OUTPUTS).map(serde_json::from_str).transpose();
    let outputs = outputs.map_err(|error| CarryError::Annotation(label::OUTPUTS, error))?;
    Ok(TaskResult { outputs, progress: lookup(label::PROGRESS).unwrap_or_default().to_owned(), ..rest })
}

/// At most so many bytes of a text, with a sign where it was cut.
fn beginning(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes - '…'.len_utf8()).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(length: usize) -> TaskResult {
        let body = json!({"outputs": {"result": "x".repeat(length), "parameters": [{"name": "p", "value": "1"}]},
            "progress": "1/2", "warnings": ["w"]});
        TaskResult::from_json(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_message_carries_results_and_what_failed() {
        for failure in ["", "no such bucket", "two\nlines"] {
            let message = to_message(&result(3000), failure, MESSAGE_BYTES).unwrap();
            assert!(message.len() < 400, "{message}");
            let told = from_message(&message).unwrap();
            assert_eq!(told, Told { message: failure.to_owned(), result: Some(result(3000)) });
        }
        let long = to_message(&result(1), &"é".repeat(5000), MESSAGE_BYTES).unwrap();
        let told = from_message(&long).unwrap();
        assert!(told.message.ends_with('…') && told.message.len() <= MESSAGE_BESIDE && told.result.is_some());
    }

    #[test]
    fn what_does_not_fit_is_not_cut() {
        // Text of high entropy, so that it does not shrink below the limit.
        let mut noise = 1u32;
        let text: String = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + (noise >> 24) as u8 % 90)
        })
        .take(4000)
        .collect();
        let body = json!({"outputs": {"result": text}}).to_string();
        let result = TaskResult::from_json(body.as_bytes()).unwrap();
        assert_eq!(to_message(&result, "", MESSAGE_BYTES), None);
        let whole = to_message(&result, "", 8192).unwrap();
        let damaged = from_message(&whole[..4096]).unwrap_err().to_string();
        assert!(damaged.starts_with("the results in the termination message are damaged: "), "{damaged}");
        assert_eq!((message_bytes(3), message_bytes(4), message_bytes(0)), (4096, 3072, 4096));
    }

    #[test]
    fn other_messages_are_messages() {
        for text in ["", "exec: no such file", "line\ntiphys-result"] {
            assert_eq!(from_message(text).unwrap(), Told { message: text.to_owned(), result: None });
        }
    }

    #[test]
    fn annotations_carry_results() {
        let annotations = to_annotations(&result(5));
        assert_eq!(annotations[label::PROGRESS], "1/2");
        assert_eq!(annotations[label::OUTPUTS], r#"{"parameters":[{"name":"p","value":"1"}],"result":"xxxxx"}"#);
        let lookup = |name: &str| annotations.iter().find(|(key, _)| **key == name).map(|(_, value)| value.as_str());
        assert_eq!(from_annotations(lookup).unwrap(), result(5));
        assert_eq!(from_annotations(|_| None).unwrap(), TaskResult::default());
        let error = from_annotations(|name| (name == label::OUTPUTS).then_some("[")).unwrap_err().to_string();
        assert!(error.starts_with("annotation workflows.argoproj.io/outputs is unreadable: "), "{error}");
        assert_eq!(annotation_bytes(&BTreeMap::from([("ab", "cde".to_owned())])), 5);
    }
}
