//! What a Pod reports, as the driver reads it, and the small files that the Pod's containers leave for each other.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use tiphys_contract::carry::{MESSAGE_BYTES, from_annotations, from_message, to_annotations, to_message};
use tiphys_contract::{TaskResult, label};
use tiphys_executor::mailbox::Mailbox;
use tiphys_executor::{args, duration, shared_files};

/// A termination message. What is read is the same when it has gone back the same way.
pub fn message(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(told) = from_message(&text) else { return };
    let Some(result) = told.result else { return };
    if let Some(again) = to_message(&result, &told.message, MESSAGE_BYTES) {
        assert!(again.len() <= MESSAGE_BYTES);
        let again = from_message(&again).unwrap().result.unwrap();
        assert_eq!(again.to_json(), result.to_json());
    }
}

/// The annotations of a Pod, one a line: outputs, progress, the rest.
pub fn annotations(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (outputs, progress, rest) = (lines.next(), lines.next(), lines.next());
    let read = from_annotations(|key| match key {
        label::OUTPUTS => outputs,
        label::PROGRESS => progress,
        label::REPORT => rest,
        _ => None,
    });
    let Ok(result) = read else { return };
    let written = to_annotations(&result);
    let again = from_annotations(|key| written.get(key).map(String::as_str)).unwrap();
    assert_eq!(again.to_json(), result.to_json());
}

/// The files `exitcode`, `signal` and `progress`, the arguments of a command line and a duration: all small, all written
/// by whom one cannot trust.
pub fn markers(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, bytes).unwrap();
    shared_files::read_number(&file);
    if let Some(progress) = crate::progress::read(&file) {
        let (done, all) = progress.split_once('/').unwrap();
        assert!(done.parse::<u64>().unwrap() <= all.parse::<u64>().unwrap());
    }
    if let Ok(mut mailbox) = Mailbox::open(&file) {
        mailbox.take();
    }
    let words = bytes.split(|byte| *byte == b' ').map(|word| OsString::from_vec(word.to_vec()));
    // A mistake in them is an answer, too.
    let _ = args::parse(words);
    if let Ok(text) = std::str::from_utf8(bytes) {
        duration::parse(text);
    }
}

/// A report with something in each of its fields.
fn sample() -> TaskResult {
    let body =
        br#"{"outputs":{"parameters":[{"name":"p","value":"5","valueFrom":{"path":"/p"}}],"result":"ok","artifacts":
        [{"name":"a","s3":{"key":"k"}}]},"progress":"1/2"}"#;
    TaskResult::from_json(body).unwrap()
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    let carrying = to_message(&sample(), "cannot save it", MESSAGE_BYTES).unwrap();
    vec![carrying.into_bytes(), b"any program's last words\nof two lines".to_vec()]
}

pub fn annotation_seeds() -> Vec<Vec<u8>> {
    let written = to_annotations(&sample());
    let of = |key| written.get(key).map_or("{}", String::as_str);
    vec![[of(label::OUTPUTS), of(label::PROGRESS), of(label::REPORT)].join("\n").into_bytes()]
}

pub fn marker_seeds() -> Vec<Vec<u8>> {
    ["143", "1/2\n2/2\n", "15", "emissary --loglevel info -- sh -c x", "1h2m3.5s"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
