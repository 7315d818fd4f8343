//! What a step leaves as text: its result, and its output parameters.

use std::fmt::Display;
use std::io;
use std::os::unix::fs::FileExt;

use tiphys_api::{AnyString, Parameter, Template};
use tiphys_artifact::{Opened, Unresolved};
use tiphys_contract::container;
use tiphys_contract::path::ctr;

use super::template;
use crate::emissary::reason;
use crate::paths::{self, Paths};

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
    let failed =
        |error: &dyn Display| format!("cannot read the output of container main from {}: {error}", file.display());
    let opened = match Opened::beneath(&paths.shared, &file) {
        Ok(opened) => opened,
        Err(Unresolved::Missing) => return Ok(ScriptResult::default()),
        Err(error) => return Err(failed(&error)),
    };
    let length = opened.size();
    if !keeps_last && length > LONGEST {
        return Err(format!(
            "the output of container main has {length} bytes, more than the {LONGEST} that outputs.result can have: \
             write it to a file and make that an output artifact"
        ));
    }
    let limit = if keeps_last { ARGOS_LONGEST } else { LONGEST };
    let bytes = tail(&opened, limit).map_err(|error| failed(&error))?;
    let is_cut =
        length > limit + 1 || (length == limit + 1 && bytes.len() as u64 == limit && !ends_in_newline(&opened));
    let warning = is_cut.then(|| {
        format!("the output of container main has {length} bytes, of which outputs.result has only the last {limit}")
    });
    Ok(ScriptResult { text: Some(text(&bytes)), warning })
}

fn ends_in_newline(output: &Opened) -> bool {
    let mut byte = [0];
    let last = output.file().read_exact_at(&mut byte, output.size().saturating_sub(1));
    last.is_ok() && byte == *b"\n"
}

fn tail(output: &Opened, longest: u64) -> io::Result<Vec<u8>> {
    // One byte more, for the newline that may go.
    let start = output.size().saturating_sub(longest + 1);
    let mut bytes = vec![0; (output.size() - start) as usize];
    output.file().read_exact_at(&mut bytes, start)?;
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
        let value = match (value(paths, template, &source.path), &source.default) {
            (Ok(bytes), _) => text(&bytes),
            (Err(_), Some(default)) => default.to_string(),
            (Err(reason), None) => {
                let (name, path) = (&parameter.name, &source.path);
                let failure = format!("output parameter {name:?}: cannot read {path} of container main: {reason}");
                return (parameters, Err(failure));
            }
        };
        parameter.value = Some(AnyString(value.strip_suffix('\n').unwrap_or(&value).to_owned()));
    }
    (parameters, Ok(()))
}

/// The content of a parameter's file, or why it cannot be read.
fn value(paths: &Paths, template: &Template, path: &str) -> Result<Vec<u8>, String> {
    let opened = match template::is_in_main(template, path) {
        true => Opened::beneath(&paths.shared, &paths.staged_parameter(path)),
        false => Opened::within(&paths.main_filesystem, &paths::in_main(path)),
    };
    opened.map_err(|error| error.to_string())?.bytes().map_err(|error| reason(&error))
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
    use std::fs::{self, File};

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
            assert!(text(&tail(&Opened::at(&file).unwrap(), ARGOS_LONGEST).unwrap()) == expected);
        }
        fs::write(&file, b"a\xff\xfeb\xe2\x82c").unwrap();
        assert_eq!(
            text(&tail(&Opened::at(&file).unwrap(), ARGOS_LONGEST).unwrap()),
            "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c"
        );
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
