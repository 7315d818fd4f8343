//! Files of a run: errors that name the file and what can be done, and writes that are whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An operation on a file that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", path.display(), hint(source))]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Wraps the error of `action` on `path`; for `map_err`.
    pub fn of(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FileError {
        let path = path.into();
        move |source| FileError { action, path, source }
    }

    /// What the system said.
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space or choose another place with --data-dir"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; choose a folder that you may write with --data-dir"
        }
        _ => "",
    }
}

/// Makes a folder and those above it, for the user alone: runs hold secrets.
pub fn make_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::of("make the folder", path))
}

/// A folder that containers of any user may use, whatever the umask says.
pub fn make_shared_dir(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path).map_err(FileError::of("make the folder", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(FileError::of("open up the folder", path))
}

/// Replaces a file in one step: a reader, or a crash, finds the old content or the new. With `durable` it is on disk
/// when this returns.
pub fn replace(path: &Path, content: &[u8], mode: u32, durable: bool) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let write = || -> io::Result<()> {
        // A left-over of a crash may have another mode.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&fresh, path)?;
        if durable && let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| {
        // The half-written file is worth nothing, and on a full disk it is in the way.
        let _ = fs::remove_file(&fresh);
        FileError { action: "write", path: path.to_owned(), source }
    })
}

/// Reads a file; None where there is none.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { action: "read", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_whole_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(folder.path().join("x.new"), "left over").unwrap();
        replace(&path, b"one", 0o600, true).unwrap();
        replace(&path, b"two", 0o600, false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!folder.path().join("x.new").exists());
    }

    #[test]
    fn errors_name_the_file_and_a_way_out() {
        let full = FileError::of("write", "/data/x")(ErrorKind::StorageFull.into());
        assert_eq!(
            full.to_string(),
            "cannot write /data/x: no storage space; free some space or choose another place with --data-dir"
        );
        let error = replace(Path::new("/nonexistent/x"), b"", 0o600, false).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nonexistent/x: No such file or directory (os error 2)");
    }
}
