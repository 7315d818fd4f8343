//! Paths inside an image's root, with symbolic links read as a process in the container would: `/` is that root.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where `path` leads inside `root`, all symbolic links followed, as a path of this machine. What does not exist is
/// taken as it is written. The result is always `root` or below it.
///
/// Only for a root that nobody changes at the same time.
///
/// # Errors
/// A loop of links, or a folder that cannot be read.
pub fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut found = root.to_owned();
    let mut depth = 0_usize;
    let mut links = 0;
    let mut rest: Vec<PathBuf> = components(path);
    while let Some(name) = rest.pop() {
        match name.components().next() {
            Some(Component::RootDir) => {
                found = root.to_owned();
                depth = 0;
            }
            Some(Component::ParentDir) if depth > 0 => {
                found.pop();
                depth -= 1;
            }
            Some(Component::Normal(name)) => {
                found.push(name);
                depth += 1;
                let Some(target) = link_target(&found)? else { continue };
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::new(ErrorKind::InvalidInput, "too many levels of symbolic links"));
                }
                found.pop();
                depth -= 1;
                rest.extend(components(&target));
            }
            // The root's parent is the root, as in a container.
            _ => {}
        }
    }
    Ok(found)
}

/// The parts of a path, the first one last.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(<Component<'_> as AsRef<OsStr>>::as_ref(&part))).collect()
}

fn link_target(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        // Not a link, or not there.
        Err(error)
            if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/etc", root.join("abs")).unwrap();
        symlink("../../../../..", root.join("usr/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, expected) in [
            ("lib/x", "usr/lib/x"),
            ("/lib/../bin", "usr/bin"),
            ("abs/passwd", "etc/passwd"),
            ("usr/up/x", "x"),
            ("../../x", "x"),
            ("", ""),
            ("none/a", "none/a"),
        ] {
            assert_eq!(resolve(&root, Path::new(path)).unwrap(), root.join(expected), "{path}");
        }
        assert!(resolve(&root, Path::new("loop/x")).is_err());
    }
}
