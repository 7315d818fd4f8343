//! `artifacts[].mode` and `recurseMode`: permission bits of an input.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::transfer::sorted;

/// Gives `path`, and with `recurse` all below it, the permission bits. Links are left alone: what they lead to may not
/// belong to the artifact. Folders come after what is in them, so that bits without search permission do no harm.
pub(crate) fn set(path: &Path, bits: i64, recurse: bool) -> Result<()> {
    let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 0o777);
    let bits = bits.ok_or_else(|| Error::Refused("artifacts[].mode is not between 0 and 0777".into()))?;
    let at = |source| Error::io(|| format!("changing the mode of {}", path.display()), source);
    let metadata = std::fs::symlink_metadata(path).map_err(at)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    if recurse && metadata.is_dir() {
        for (below, _) in sorted(path)? {
            set(&below, i64::from(bits), recurse)?;
        }
    }
    std::fs::set_permissions(path, Permissions::from_mode(bits)).map_err(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_reach_everything_but_links() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::write(&outside, "").unwrap();
        std::fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
        let root = folder.path().join("in");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        let bits = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        set(&root, 0o755, false).unwrap();
        assert_eq!(bits(&root), 0o755);
        set(&root, 0o711, true).unwrap();
        assert_eq!([bits(&root), bits(&root.join("a/file")), bits(&outside)], [0o711, 0o711, 0o600]);
        assert!(set(&root, 0o1777, false).unwrap_err().to_string().contains("artifacts[].mode"));
    }
}
