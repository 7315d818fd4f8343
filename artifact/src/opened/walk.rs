//! What is in a folder at any depth, through open folders only: no part of a path is looked up twice, and no link followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::{Opened, READ};
use crate::error::{Error, Result};

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// More folders in each other than any honest tree or archive has; each that is open takes a descriptor.
pub(crate) const DEEPEST: usize = 500;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    /// A pipe, socket or device.
    Other,
}

/// What an archive keeps of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    /// Permission bits, those that change who one is included.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: u64,
    pub(crate) size: u64,
}

impl Meta {
    pub(super) fn of(stat: &FileStat) -> Self {
        let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Folder,
            SFlag::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        };
        Meta {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: u64::try_from(stat.st_mtime).unwrap_or_default(),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
        }
    }
}

/// Something in a tree.
pub(crate) struct Item {
    folder: Arc<OwnedFd>,
    name: OsString,
    /// The tree's own path.
    top: Arc<Path>,
    /// Its path below the tree's top.
    pub(crate) below: PathBuf,
    /// As it was when its folder was read.
    pub(crate) meta: Meta,
}

impl Item {
    /// Its whole path, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.top.join(&self.below)
    }

    /// Opens the file that it was when its folder was read.
    pub(crate) fn open(&self) -> Result<Opened> {
        let failed = |errno: Errno| failed("opening", &self.path(), errno);
        let opened = openat(&*self.folder, self.name.as_os_str(), READ | OFlag::O_NOFOLLOW, Mode::empty());
        let opened = Opened::new(opened.map_err(failed)?, &self.path()).map_err(failed)?;
        opened.check_kind()?;
        Ok(opened)
    }

    /// Says that it is not stored, for what it is.
    pub(crate) fn leave_out(&self) {
        tracing::warn!("{} is neither file, folder nor link: it is left out of the artifact", self.path().display());
    }

    /// What the link holds.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let target = readlinkat(&*self.folder, self.name.as_os_str());
        target.map(PathBuf::from).map_err(|errno| failed("reading the link", &self.path(), errno))
    }
}

fn failed(doing: &str, path: &Path, errno: Errno) -> Error {
    let doing = format!("{doing} {}", path.display());
    match errno {
        // Neither was there when its folder was read.
        Errno::ELOOP | Errno::ENOTDIR => Error::permanent(doing, "something else has been put in its place"),
        other => Error::io(|| doing, other.into()),
    }
}

/// Items from above, each folder before what is in it, names in order of their bytes: the same tree always gives the same
/// archive.
pub(crate) struct Walk {
    top: Arc<Path>,
    levels: Vec<Level>,
}

struct Level {
    folder: Arc<OwnedFd>,
    below: PathBuf,
    items: vec::IntoIter<(OsString, Meta)>,
}

impl Walk {
    pub(super) fn of(folder: &File, path: &Path) -> Result<Self> {
        let mut walk = Walk { top: path.into(), levels: Vec::new() };
        walk.enter(folder, OsStr::new("."), PathBuf::new())?;
        Ok(walk)
    }

    fn enter(&mut self, inside: impl AsFd, name: &OsStr, below: PathBuf) -> Result<()> {
        let path = self.top.join(&below);
        let failed = |errno| failed("reading the folder", &path, errno);
        if self.levels.len() > DEEPEST {
            return Err(Error::Refused(format!("{}: it lies more than {DEEPEST} folders deep", path.display())));
        }
        let folder = openat(inside, name, FOLDER | OFlag::O_RDONLY, Mode::empty()).map_err(failed)?;
        let mut items = Vec::new();
        let again = folder.try_clone().map_err(|source| Error::io(|| format!("reading {}", path.display()), source))?;
        for item in Dir::from_fd(again).map_err(failed)?.iter() {
            let item = item.map_err(failed)?;
            let name = OsStr::from_bytes(item.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let stat = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
            items.push((name.to_owned(), Meta::of(&stat)));
        }
        items.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.levels.push(Level { folder: Arc::new(folder), below, items: items.into_iter() });
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Item>> {
        while let Some(level) = self.levels.last_mut() {
            let Some((name, meta)) = level.items.next() else {
                self.levels.pop();
                continue;
            };
            let (folder, below) = (level.folder.clone(), level.below.join(&name));
            if meta.kind == Kind::Folder {
                self.enter(&*folder, &name, below.clone())?;
            }
            return Ok(Some(Item { folder, name, top: self.top.clone(), below, meta }));
        }
        Ok(None)
    }
}

impl Iterator for Walk {
    type Item = Result<Item>;

    /// After an error nothing follows.
    fn next(&mut self) -> Option<Result<Item>> {
        let step = self.step();
        if step.is_err() {
            self.levels.clear();
        }
        step.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_is_walked_in_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        for name in ["a/b/c", "a.x", "z"] {
            fs::write(top.join(name), name).unwrap();
        }
        symlink("a", top.join("l")).unwrap();
        let opened = Opened::at(&top).unwrap();
        // As often as it is asked for.
        for _ in 0..2 {
            let names: Vec<_> = opened.walk().unwrap().map(|item| item.unwrap().below).collect();
            assert_eq!(names, ["a", "a/b", "a/b/c", "a.x", "l", "z"].map(PathBuf::from));
        }
    }

    /// What somebody does who shares the volume, at the worst moments.
    #[test]
    fn links_that_appear_meanwhile_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("m")).unwrap();
        fs::create_dir(&secrets).unwrap();
        fs::write(secrets.join("token"), "secret").unwrap();
        for name in ["a", "m/token", "z"] {
            fs::write(top.join(name), "own").unwrap();
        }
        let opened = Opened::at(&top).unwrap();
        let mut walk = opened.walk().unwrap();
        // The whole tree is moved away, and another put in its place.
        fs::rename(&top, folder.path().join("moved")).unwrap();
        symlink(&secrets, &top).unwrap();
        let top = folder.path().join("moved");
        let first = walk.next().unwrap().unwrap();
        let mut text = String::new();
        first.open().unwrap().reader().read_to_string(&mut text).unwrap();
        assert_eq!((first.below.to_str(), text.as_str()), (Some("a"), "own"));
        // A file, after its folder was read.
        fs::remove_file(top.join("a")).unwrap();
        symlink(secrets.join("token"), top.join("a")).unwrap();
        let error = first.open().unwrap_err().to_string();
        assert!(error.ends_with("something else has been put in its place"), "{error}");
        // A folder, before it is read.
        fs::rename(top.join("m"), top.join("n")).unwrap();
        symlink(&secrets, top.join("m")).unwrap();
        let error = walk.next().unwrap().err().unwrap().to_string();
        assert!(error.ends_with("something else has been put in its place"), "{error}");
        assert!(walk.next().is_none());
    }

    #[test]
    fn no_tree_is_too_deep_for_the_stack() {
        let folder = tempfile::tempdir().unwrap();
        let deep = |depth: usize| folder.path().join(vec!["d"; depth].join("/"));
        fs::create_dir_all(deep(DEEPEST)).unwrap();
        let opened = Opened::at(folder.path()).unwrap();
        assert_eq!(opened.walk().unwrap().filter(Result::is_ok).count(), DEEPEST);
        fs::create_dir(deep(DEEPEST + 1)).unwrap();
        let error = opened.walk().unwrap().find_map(Result::err).unwrap().to_string();
        assert!(error.ends_with("it lies more than 500 folders deep"), "{error}");
    }
}
