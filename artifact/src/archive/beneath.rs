//! A folder that nothing written through it can leave. Each name is checked, then opened from the folder's own
//! descriptor without following any link: by `openat2` in one step, or one part at a time where the kernel lacks it.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::error::{Error, Result};
use crate::opened::DEEPEST;

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);
/// Argo's modes of folders (executor.go, untar).
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o755);

/// Longer paths cannot be used by any program.
const LONGEST_NAME: usize = 4095;

/// The folder.
pub(super) struct Root {
    folder: Rc<OwnedFd>,
    /// Whether the kernel has `openat2`; found out by the first use.
    one_step: Cell<bool>,
    /// The folder used last: entries come folder by folder.
    last: RefCell<Option<(PathBuf, Rc<OwnedFd>)>>,
}

/// The name of an entry as a path below the root; empty is the root itself.
pub(super) fn clean(name: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(name));
    let shown = || format!("entry {:?}", String::from_utf8_lossy(name));
    if name.len() > LONGEST_NAME {
        return Err(Error::Archive(format!("an entry has a name of {} bytes", name.len())));
    }
    if name.contains(&0) {
        return Err(Error::Archive(format!("{} has a zero byte in its name", shown())));
    }
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => {
                return Err(Error::Archive(format!("{} has an absolute path", shown())));
            }
            Component::ParentDir => {
                return Err(Error::Archive(format!("{} has \"..\" in its path", shown())));
            }
        }
    }
    match clean.components().count() {
        depth if depth > DEEPEST => Err(Error::Archive(format!("an entry lies {depth} folders deep"))),
        _ => Ok(clean),
    }
}

/// Whether a link at `path` (clean, its folders no links) to `target` stays below the root. `..` is accepted only at
/// the target's beginning: behind a name it could mean anything, the name may be a link.
fn stays_inside(path: &Path, target: &Path) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let mut up = 0;
    let mut down = false;
    for part in target.components() {
        match part {
            Component::ParentDir if !down => up += 1,
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            _ => return false,
        }
    }
    // Up to the root itself there must be something below it that is meant.
    up < depth || (up == depth && down)
}

fn fault(path: &Path, errno: Errno) -> Error {
    let shown = || format!("entry {:?}", path.display().to_string());
    match errno {
        Errno::ELOOP | Errno::EXDEV => Error::Archive(format!("{} goes through a symbolic link", shown())),
        Errno::ENOTDIR => Error::Archive(format!("{} has a file or link where its folder should be", shown())),
        Errno::EISDIR | Errno::EEXIST => Error::Archive(format!("{} is a folder already", shown())),
        Errno::ENAMETOOLONG => Error::Archive(format!("{} has too long a name", shown())),
        other => Error::io(|| format!("unpacking {}", path.display()), other.into()),
    }
}

impl Root {
    /// The folder `path`, which exists.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let opened = openat(AT_FDCWD, path, FOLDER | OFlag::O_RDONLY, Mode::empty());
        let folder = opened.map_err(|errno| Error::io(|| format!("opening {}", path.display()), errno.into()))?;
        Ok(Root { folder: Rc::new(folder), one_step: Cell::new(true), last: RefCell::default() })
    }

    #[cfg(test)]
    pub(super) fn step_by_step(self) -> Self {
        self.one_step.set(false);
        self
    }

    fn open_folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        if self.one_step.get() {
            let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
            let how = OpenHow::new().flags(FOLDER | OFlag::O_RDONLY).resolve(resolve);
            match openat2(&*self.folder, path, how) {
                // Old kernels lack the call; some sandboxes forbid what they do not know.
                Err(Errno::ENOSYS | Errno::EPERM) => self.one_step.set(false),
                outcome => return outcome,
            }
        }
        let mut folder: Option<OwnedFd> = None;
        for part in path.components() {
            let flags = FOLDER | OFlag::O_RDONLY;
            let name = part.as_os_str();
            folder = Some(match &folder {
                None => openat(&*self.folder, name, flags, Mode::empty())?,
                Some(folder) => openat(folder, name, flags, Mode::empty())?,
            });
        }
        folder.ok_or(Errno::ENOENT)
    }

    /// The folder `path`, made with its parents if it is missing.
    fn folder(&self, path: &Path) -> Result<Rc<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(self.folder.clone());
        }
        if let Some((last, folder)) = &*self.last.borrow()
            && last == path
        {
            return Ok(folder.clone());
        }
        let folder = match self.open_folder(path) {
            Err(Errno::ENOENT) => self.make_folders(path),
            outcome => outcome,
        };
        let folder = Rc::new(folder.map_err(|errno| fault(path, errno))?);
        *self.last.borrow_mut() = Some((path.to_owned(), folder.clone()));
        Ok(folder)
    }

    /// Makes what is missing of `path`, from its nearest parent that exists.
    fn make_folders(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let existing = path.ancestors().skip(1).find_map(|parent| match parent.as_os_str().is_empty() {
            true => Some(Ok((parent, None))),
            false => match self.open_folder(parent) {
                Err(Errno::ENOENT) => None,
                outcome => Some(outcome.map(|folder| (parent, Some(folder)))),
            },
        });
        let (parent, mut folder) = existing.ok_or(Errno::ENOENT)??;
        let missing = path.strip_prefix(parent).map_err(|_| Errno::ENOENT)?;
        for part in missing.components() {
            let name = part.as_os_str();
            let inside = folder.as_ref().unwrap_or(&self.folder);
            mkdirat(inside, name, FOLDER_MODE)?;
            // Whatever the umask left out.
            fchmodat(inside, name, FOLDER_MODE, FchmodatFlags::FollowSymlink)?;
            folder = Some(openat(inside, name, FOLDER | OFlag::O_RDONLY, Mode::empty())?);
        }
        folder.ok_or(Errno::ENOENT)
    }

    /// The folder that `path` is in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> Result<(Rc<OwnedFd>, &'a OsStr)> {
        let name = path.file_name().ok_or_else(|| Error::Archive("an entry has no name".into()))?;
        Ok((self.folder(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Makes the folder `path`; that it is there already is fine.
    pub(super) fn make_folder(&self, path: &Path) -> Result<()> {
        self.folder(path).map(drop)
    }

    /// Makes a file, in place of one of that name, with these permission bits (none beyond 0777).
    pub(super) fn make_file(&self, path: &Path, mode: u32) -> Result<File> {
        let (folder, name) = self.place(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = || openat(&*folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let file = match create() {
            Err(Errno::EEXIST) => unlinkat(&*folder, name, UnlinkatFlags::NoRemoveDir).and_then(|()| create()),
            outcome => outcome,
        };
        let file = file.map_err(|errno| fault(path, errno))?;
        fchmod(&file, Mode::from_bits_truncate(mode & 0o777)).map_err(|errno| fault(path, errno))?;
        Ok(File::from(file))
    }

    /// Makes a symbolic link that leads to a place below the root.
    pub(super) fn make_link(&self, path: &Path, target: &[u8]) -> Result<()> {
        let target = Path::new(OsStr::from_bytes(target));
        if !stays_inside(path, target) {
            return Err(Error::Archive(format!(
                "symbolic link {:?} leads to {:?}, outside of the artifact",
                path.display().to_string(),
                target.display().to_string()
            )));
        }
        let (folder, name) = self.place(path)?;
        let outcome = match symlinkat(target, &*folder, name) {
            Err(Errno::EEXIST) => {
                unlinkat(&*folder, name, UnlinkatFlags::NoRemoveDir).and_then(|()| symlinkat(target, &*folder, name))
            }
            outcome => outcome,
        };
        outcome.map_err(|errno| fault(path, errno))
    }

    /// Makes `path` a second name of the file `existing`, which was unpacked before.
    pub(super) fn make_hard_link(&self, path: &Path, existing: &Path) -> Result<()> {
        let (from, from_name) = self.place(existing)?;
        let (to, to_name) = self.place(path)?;
        let missing = |why: &str| {
            Error::Archive(format!(
                "hard link {:?} to {:?}, which {why}",
                path.display().to_string(),
                existing.display().to_string()
            ))
        };
        let found = fstatat(&*from, from_name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|_| missing("is not there"))?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(missing("is not a file"));
        }
        if path == existing {
            return Ok(());
        }
        let link = || linkat(&*from, from_name, &*to, to_name, AtFlags::empty());
        let outcome = match link() {
            Err(Errno::EEXIST) => unlinkat(&*to, to_name, UnlinkatFlags::NoRemoveDir).and_then(|()| link()),
            outcome => outcome,
        };
        outcome.map_err(|errno| fault(path, errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_judged_by_where_they_lead() {
        for (path, target, inside) in [
            ("a", "b", true),
            ("a", "./b/c", true),
            ("d/a", "../b", true),
            ("d/a", "..", false),
            ("d/e/a", "..", true),
            ("a", "..", false),
            ("a", "../x", false),
            ("d/a", "../../x", false),
            ("d/a", "x/../../../y", false),
            ("a", "/etc/passwd", false),
            ("a", "b/../c", false),
        ] {
            assert_eq!(stays_inside(Path::new(path), Path::new(target)), inside, "{path} -> {target}");
        }
    }

    #[test]
    fn both_ways_of_opening_make_the_same() {
        for step_by_step in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::open(folder.path()).unwrap();
            let root = if step_by_step { root.step_by_step() } else { root };
            root.make_file(Path::new("a/b/c"), 0o4755).unwrap();
            root.make_hard_link(Path::new("a/d"), Path::new("a/b/c")).unwrap();
            root.make_link(Path::new("l"), b"a").unwrap();
            let error = root.make_file(Path::new("l/x"), 0o644).unwrap_err().to_string();
            assert!(error.contains("\"l\"") && error.contains("link"), "{error}");
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&folder.path().join("a/d").metadata().unwrap().permissions());
            assert_eq!(mode & 0o7777, 0o755);
            assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 2);
        }
    }
}
