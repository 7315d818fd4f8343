//! Removing a Pod's scratch folder.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes `path` and all below it; that it is not there is no error.
///
/// Unlike `remove_dir_all` it also removes folders whose mode keeps their owner out, such as overlayfs leaves behind and
/// programs may make. Symbolic links are not followed.
///
/// # Errors
/// Something belongs to another user, or a process of the Pod still adds to it.
pub fn remove_scratch(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() {
        return Ok(());
    }
    if metadata.permissions().mode() & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_keep_their_owner_out_are_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("pod");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/c"), "").unwrap();
        fs::set_permissions(folder.join("a/b"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(folder.join("a"), fs::Permissions::from_mode(0o500)).unwrap();
        remove_scratch(&folder).unwrap();
        assert!(!folder.exists());
        remove_scratch(&folder).unwrap();
    }
}
