//! From the words on the command line to the program and arguments that are started.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use tiphys_contract::env::MAX_VALUE_BYTES;

/// Appends the arguments from a file (a JSON list). One too long for the system's limit is written to a file of its own
/// and replaced by `@<file>`, which the program has to understand.
///
/// # Errors
/// The text for the user.
pub fn append_args(args: &mut Vec<OsString>, file: &Path, scratch: &Path) -> Result<(), String> {
    let text =
        fs::read(file).map_err(|error| format!("failed to read container args file {}: {error}", file.display()))?;
    let further: Vec<String> =
        serde_json::from_slice(&text).map_err(|error| format!("failed to unmarshal container args: {error}"))?;
    args.extend(further.into_iter().map(OsString::from));
    for (index, arg) in args.iter_mut().enumerate() {
        if arg.len() > MAX_VALUE_BYTES {
            let path = scratch.join(format!("argo_arg_{index}.txt"));
            fs::write(&path, arg.as_bytes())
                .map_err(|error| format!("failed to write large arg {index} to file {}: {error}", path.display()))?;
            *arg = OsString::from(format!("@{}", path.display()));
        }
    }
    Ok(())
}

/// Finds the program: as it is when the name holds a slash, else on the search path. Messages are Go's, since users and
/// retry expressions know them.
///
/// # Errors
/// The text for the user.
pub fn find(name: &OsStr, search_path: Option<&OsStr>) -> Result<PathBuf, String> {
    let failed = |reason: String| Err(format!("failed to find name in PATH: exec: {name:?}: {reason}"));
    if name.as_bytes().contains(&b'/') {
        return match fs::metadata(name) {
            Err(error) => failed(format!("stat {}: {}", name.display(), reason(&error))),
            Ok(meta) if meta.is_dir() => failed("is a directory".to_owned()),
            Ok(_) if access(name, AccessFlags::X_OK).is_err() => failed("permission denied".to_owned()),
            Ok(_) => Ok(name.into()),
        };
    }
    let search_path = search_path.unwrap_or_default();
    for folder in search_path.as_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(folder) };
        let candidate = Path::new(folder).join(name);
        let is_program = !name.is_empty()
            && fs::metadata(&candidate).is_ok_and(|meta| meta.is_file())
            && access(&candidate, AccessFlags::X_OK).is_ok();
        if is_program {
            return match candidate.is_absolute() {
                true => Ok(candidate),
                false => failed("cannot run executable found relative to current directory".to_owned()),
            };
        }
    }
    failed("executable file not found in $PATH".to_owned())
}

/// The system's words for an error, without Rust's "(os error N)", in Go's lower case.
pub fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = nix::errno::Errno::from_raw(number).desc();
            text.chars().enumerate().map(|(at, c)| if at == 0 { c.to_ascii_lowercase() } else { c }).collect()
        }
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_go_finds_them() {
        let find = |name: &str, path: Option<&str>| find(OsStr::new(name), path.map(OsStr::new));
        assert_eq!(find("/bin/sh", None), Ok("/bin/sh".into()));
        assert_eq!(find("sh", Some("/nowhere:/bin")), Ok("/bin/sh".into()));
        for (name, message) in [
            ("invalid", "failed to find name in PATH: exec: \"invalid\": executable file not found in $PATH"),
            ("", "failed to find name in PATH: exec: \"\": executable file not found in $PATH"),
            ("/no/such", "failed to find name in PATH: exec: \"/no/such\": stat /no/such: no such file or directory"),
            ("/bin/", "failed to find name in PATH: exec: \"/bin/\": is a directory"),
            ("/etc/passwd", "failed to find name in PATH: exec: \"/etc/passwd\": permission denied"),
        ] {
            assert_eq!(find(name, Some("/bin")), Err(message.to_owned()));
        }
    }

    #[test]
    fn offloaded_arguments_follow_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("args");
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        fs::write(&file, serde_json::to_vec(&["b", &long]).unwrap()).unwrap();
        let mut args = vec![OsString::from("a")];
        append_args(&mut args, &file, folder.path()).unwrap();
        let large = folder.path().join("argo_arg_2.txt");
        assert_eq!(args, ["a", "b", &format!("@{}", large.display())]);
        assert_eq!(fs::read_to_string(large).unwrap(), long);
        let error = append_args(&mut args, Path::new("/no/such"), folder.path()).unwrap_err();
        assert!(error.starts_with("failed to read container args file /no/such: "), "{error}");
    }
}
