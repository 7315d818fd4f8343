//! What a step leaves as text: its result, and its output parameters.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use tiphys_api::{AnyString, Parameter, Template};
use tiphys_contract::container;
use tiphys_contract::path::ctr;

use super::template;
use crate::emissary::reason;
use crate::paths::Paths;

/// In Argo a result longer than this loses its beginning (argo: executor.go, CaptureScriptResult).
const ARGOS_LONGEST: u64 = 256 * 1024;
/// A result is held in memory, and a Workflow never holds as much as this.
const LONGEST: u64 = 16 << 20;

/// The standard output of `main` as the step's result.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScriptResult {
    /// The text, one final newline less. None when the output was not kept, which happens when the command was never
    /// started.
    pub text: Option<String>,
    /// What the user should know when the beginning is gone.
    pub warning: Option<String>,
}

/// Reads the result; `keeps_last` tells to keep only the last 256 KiB of a longer one.
///
/// # Errors
/// The text for the user when the file cannot be read, or a result that must be kept whole is too long.
pub fn script_result(paths: &Paths, keeps_last: bool) -> Result<ScriptResult, String> {
    let file = paths.ctr(container::MAIN).join(ctr::STDOUT);
    let failed = |error| format!("cannot read the output of container main from {}: {error}", file.display());
    let length = match fs::metadata(&file) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ScriptResult::default()),
        Err(error) => return Err(failed(error)),
    };
    if !keeps_last && length > LONGEST {
        return Err(format!(
            "the output of container main has {length} bytes, more than the {LONGEST} that outputs.result can have: \
             write it to a file and make that an output artifact"
        ));
    }
    let limit = if keeps_last { ARGOS_LONGEST } else { LONGEST };
    let bytes = tail(&file, limit).map_err(failed)?;
    let is_cut = length > limit + 1 || (length == limit + 1 && bytes.len() as u64 == limit && !ends_in_newline(&file));
    let warning = is_cut.then(|| {
        format!("the output of container main has {length} bytes, of which outputs.result has only the last {limit}")
    });
    Ok(ScriptResult { text: Some(text(&bytes)), warning })
}

fn ends_in_newline(path: &Path) -> bool {
    let last = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte).map(|()| byte)
    });
    last.is_ok_and(|byte| byte == *b"\n")
}

fn tail(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // One byte more, for the newline that may go.
    let start = length.saturating_sub(longest + 1);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let surplus = bytes.len().saturating_sub(longest as usize);
    bytes.drain(..surplus);
    Ok(bytes)
}

/// The output parameters with their values. Those before the first failure are kept, as Argo reports them.
///
/// # Errors
/// The text for the user, beside the parameters read so far, when a file is missing and there is no default.
pub fn parameters(paths: &Paths, template: &Template) -> (Vec<Parameter>, Result<(), String>) {
    let mut parameters = template.outputs.parameters.clone();
    for parameter in &mut parameters {
        let Some(source) = parameter.value_from.as_ref().filter(|source| !source.path.is_empty()) else {
            continue;
        };
        let in_main = template::is_in_main(template, &source.path);
        let file = if in_main { paths.staged_parameter(&source.path) } else { paths.mirrored(&source.path) };
        let value = match (fs::read(&file), &source.default) {
            (Ok(bytes), _) => text(&bytes),
            (Err(_), Some(default)) => default.to_string(),
            (Err(error), None) => {
                let (name, path, reason) = (&parameter.name, &source.path, reason(&error));
                let failure = format!("output parameter {name:?}: cannot read {path} of container main: {reason}");
                return (parameters, Err(failure));
            }
        };
        parameter.value = Some(AnyString(value.strip_suffix('\n').unwrap_or(&value).to_owned()));
    }
    (parameters, Ok(()))
}

/// Bytes as text; each byte that is not UTF-8 becomes a replacement character, as Go's JSON writes it.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_keeps_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stdout");
        let longest = ARGOS_LONGEST as usize;
        let long = |extra: usize| format!("{}{}", "a".repeat(extra), "b".repeat(longest));
        for (content, expected) in [
            ("".into(), "".into()),
            ("x\n".into(), "x".to_owned()),
            ("x\n\n".into(), "x\n".into()),
            ("\n".into(), "".into()),
            (long(0), long(0)),
            (long(1), long(0)),
            (long(7) + "\n", long(0)),
            (long(7) + "\n\n", long(0)[1..].to_owned() + "\n"),
        ] {
            fs::write(&file, content).unwrap();
            assert!(text(&tail(&file, ARGOS_LONGEST).unwrap()) == expected);
        }
        fs::write(&file, b"a\xff\xfeb\xe2\x82c").unwrap();
        assert_eq!(text(&tail(&file, ARGOS_LONGEST).unwrap()), "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c");
    }

    #[test]
    fn what_is_cut_is_told() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let file = paths.ctr("main").join(ctr::STDOUT);
        assert_eq!(script_result(&paths, true), Ok(ScriptResult::default()));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let limit = ARGOS_LONGEST as usize;
        for (length, end, keeps_last, is_cut) in [
            (limit, "", true, false),
            (limit, "\n", true, false),
            (limit + 1, "", true, true),
            (limit + 1, "\n", true, true),
            (limit + 1, "", false, false),
        ] {
            fs::write(&file, "x".repeat(length) + end).unwrap();
            let result = script_result(&paths, keeps_last).unwrap();
            assert_eq!(
                (result.text.unwrap().len(), result.warning.is_some()),
                (if is_cut { limit } else { length }, is_cut)
            );
        }
        File::create(&file).unwrap().set_len(LONGEST + 1).unwrap();
        let error = script_result(&paths, false).unwrap_err();
        assert!(error.starts_with("the output of container main has 16777217 bytes, more than"), "{error}");
    }

    #[test]
    fn parameters_come_from_files_and_defaults() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let template = template::parse(
            r#"{"container":{"image":"x","volumeMounts":[{"name":"v","mountPath":"/mnt"}]},"outputs":{"parameters":[
            {"name":"a","valueFrom":{"path":"/tmp/a"}},{"name":"b","valueFrom":{"path":"/mnt/b"}},
            {"name":"c","valueFrom":{"path":"/tmp/c","default":"d\n"}},{"name":"d","value":"given"},
            {"name":"e","valueFrom":{"path":"/tmp/e"}},{"name":"f","valueFrom":{"path":"/tmp/a"}}]}}"#,
        )
        .unwrap();
        for (file, content) in [(paths.staged_parameter("/tmp/a"), "1\n\n"), (paths.mirrored("/mnt/b"), "2")] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        let (parameters, result) = parameters(&paths, &template);
        let values: Vec<_> = parameters.iter().map(|p| p.value.as_ref().map(|value| value.as_str())).collect();
        assert_eq!(values, [Some("1\n"), Some("2"), Some("d"), Some("given"), None, None]);
        assert_eq!(
            result.unwrap_err(),
            "output parameter \"e\": cannot read /tmp/e of container main: no such file or directory"
        );
    }
}
