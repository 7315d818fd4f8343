//! Small files that processes of different users exchange: written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// An operation on a file that failed, with the file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, in the imperative.
    pub verb: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Attaches verb and path to an IO error.
pub trait Context<T> {
    /// # Errors
    /// The same error, with its file.
    fn on(self, verb: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> Context<T> for io::Result<T> {
    fn on(self, verb: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { verb, path: path.to_owned(), source })
    }
}

/// Creates a folder and its parents, writable by every user whatever the umask (only those that are created).
///
/// # Errors
/// When a part of the path is not a folder or may not be created.
pub fn create_open_dir(dir: &Path) -> Result<(), FileError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_open_dir(parent)?;
    }
    match fs::DirBuilder::new().mode(0o777).create(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).on("open to all users", dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).on("create folder", dir),
    }
}

/// Replaces a file by rename: a reader sees the old content or the new one.
///
/// # Errors
/// When the folder is not writable or full; the old file is then untouched.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut options = OpenOptions::new();
    // Users' containers write to the same folders: a link there must not lead out of them.
    options.write(true).create(true).truncate(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    });
    let result = written.on("write", &temporary).and_then(|()| fs::rename(&temporary, path).on("write", path));
    if result.is_err() {
        // The first failure is what matters; a rest that cannot be removed either is harmless.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Leaves the reason of a failure where kubelet takes it from, and on standard error. Kubernetes keeps 4 KiB.
pub fn report_failure(termination_log: &Path, message: &str) {
    eprintln!("Error: {message}");
    let end = (0..=message.len().min(4096)).rev().find(|&end| message.is_char_boundary(end)).unwrap_or(0);
    // Without a termination log (not a Pod) standard error is all there is.
    let _ = write_termination_log(termination_log, &message[..end]);
}

/// Replaces the termination message, in place: kubelet has mounted the file itself, and it may have its space already.
///
/// # Errors
/// When there is no such file and none can be made, or the disk is full.
pub fn write_termination_log(termination_log: &Path, message: &str) -> io::Result<()> {
    let mut log = OpenOptions::new().write(true).create(true).truncate(false).open(termination_log)?;
    log.write_all(message.as_bytes())?;
    log.set_len(message.len() as u64)
}

/// The decimal number in a file, if the file is there and holds one.
pub fn read_number(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit_file, mailbox};

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        for name in ["file.tmp", "signal", "exitcode.reserved"] {
            std::os::unix::fs::symlink(&outside, folder.path().join(name)).unwrap();
        }
        assert!(mailbox::send(&folder.path().join("signal"), 15).is_err());
        assert!(exit_file::leave(folder.path(), 137).is_err());
        assert_eq!(exit_file::read(folder.path()), Some(tiphys_contract::exit::EXECUTOR_FAILURE));
        assert!(replace(&folder.path().join("file"), b"x", 0o644).is_err());
        assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
        // The link went with the failed attempt.
        replace(&folder.path().join("file"), b"x", 0o644).unwrap();
    }
}
