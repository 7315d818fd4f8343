//! What is not complete yet lies beside its place, under a name of its own.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// `path` with `suffix` behind its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Gives `partial` its final name `dest`, in place of whatever an earlier attempt left there.
pub(crate) fn publish(partial: &Path, dest: &Path) -> Result<()> {
    let at = || format!("renaming {} to {}", partial.display(), dest.display());
    if std::fs::symlink_metadata(dest).is_ok_and(|there| there.is_dir()) {
        std::fs::remove_dir_all(dest).map_err(|source| Error::io(at, source))?;
    } else if std::fs::symlink_metadata(partial).is_ok_and(|new| new.is_dir()) {
        // A folder cannot be renamed over a file. That there is none is the usual case.
        let _ = std::fs::remove_file(dest);
    }
    std::fs::rename(partial, dest).map_err(|source| Error::io(at, source))
}
