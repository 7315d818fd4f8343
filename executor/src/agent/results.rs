//! What a step leaves as text: its result, and its output parameters.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use tiphys_api::{AnyString, Parameter, Template};
use tiphys_contract::container;
use tiphys_contract::path::ctr;

use super::template;
use crate::emissary::reason;
use crate::paths::Paths;

/// A result longer than this loses its beginning (argo: executor.go, CaptureScriptResult).
const LONGEST_RESULT: u64 = 256 * 1024;

/// The standard output of `main` as the step's result: one final newline less, and of that the last 256 KiB. None when
/// the output was not kept, which happens when the command was never started.
///
/// # Errors
/// The text for the user when the file cannot be read.
pub fn script_result(paths: &Paths) -> Result<Option<String>, String> {
    let file = paths.ctr(container::MAIN).join(ctr::STDOUT);
    match tail(&file) {
        Ok(bytes) => Ok(Some(text(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read the output of container main from {}: {error}", file.display())),
    }
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // One byte more, for the newline that may go.
    let start = length.saturating_sub(LONGEST_RESULT + 1);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let surplus = bytes.len().saturating_sub(LONGEST_RESULT as usize);
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
        let value = match (std::fs::read(&file), &source.default) {
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
    use std::fs;

    #[test]
    fn a_result_keeps_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stdout");
        let longest = LONGEST_RESULT as usize;
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
            assert!(text(&tail(&file).unwrap()) == expected);
        }
        fs::write(&file, b"a\xff\xfeb\xe2\x82c").unwrap();
        assert_eq!(text(&tail(&file).unwrap()), "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c");
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
