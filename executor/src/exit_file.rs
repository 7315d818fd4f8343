//! The exit code of a container in the shared volume. It arrives also when the volume has filled up in the meantime: its
//! space is taken at the start, and at the end it is written there and renamed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tiphys_contract::exit;
use tiphys_contract::path::ctr;

use crate::shared_files::{Context, FileError};

/// The file that becomes the exit code.
const RESERVED: &str = "exitcode.reserved";
/// What holds its space: as long as the longest code.
const BLANK: &[u8] = b"    ";

/// Takes the space for a container's exit code, and its name away from one that is left of an earlier attempt.
///
/// # Errors
/// When the folder is not writable or full.
pub fn reserve(folder: &Path) -> Result<(), FileError> {
    let path = folder.join(RESERVED);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&path);
    file.and_then(|mut file| file.write_all(BLANK)).on("write", &path)
}

/// Leaves a container's exit code, in one moment. Where there is no space even for that, an empty file says that the
/// executor failed.
///
/// # Errors
/// When the file cannot be written; the empty one is then there, if any could be made.
pub fn leave(folder: &Path, code: i32) -> Result<(), FileError> {
    let (reserved, path) = (folder.join(RESERVED), folder.join(ctr::EXIT_CODE));
    let text = code.to_string();
    let mut options = OpenOptions::new();
    // `wait` writes here in place of a container that was killed, and must not follow a link that it left.
    options.write(true).create(true).truncate(false).mode(0o666).custom_flags(libc::O_NOFOLLOW);
    let written = options.open(&reserved).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    });
    if written.is_err() {
        // Whoever waits for the code must not wait for ever.
        let _ = OpenOptions::new().write(true).create_new(true).open(&path);
    }
    written.on("write", &reserved)?;
    fs::rename(&reserved, &path).on("rename", &path)
}

/// The exit code that a container left, once it has.
pub fn read(folder: &Path) -> Option<i32> {
    match fs::read_to_string(folder.join(ctr::EXIT_CODE)) {
        Ok(text) => Some(text.trim().parse().unwrap_or(exit::EXECUTOR_FAILURE)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(exit::EXECUTOR_FAILURE),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        reserve(folder.path()).unwrap();
        assert_eq!(read(folder.path()), None);
        leave(folder.path(), 7).unwrap();
        assert_eq!(read(folder.path()), Some(7));
        assert!(!folder.path().join(RESERVED).exists());
        leave(folder.path(), 137).unwrap();
        assert_eq!(read(folder.path()), Some(137));
    }

    #[test]
    fn without_space_there_is_an_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        // What cannot be opened for writing stands for a volume without space.
        fs::create_dir(folder.path().join(RESERVED)).unwrap();
        assert!(leave(folder.path(), 0).is_err());
        assert_eq!(read(folder.path()), Some(exit::EXECUTOR_FAILURE));
    }
}
