//! What is to be stored, opened once. All that is read later is read through the open file or folder, so that whatever
//! happens to its path in the meantime, nothing else is stored in its place. That matters where another container can
//! write: a symbolic link of its making must not have a file of this one's stored.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use crate::error::{Error, Result};

mod resolve;
mod walk;

pub(crate) use walk::{DEEPEST, Item, Kind, Meta, Walk};

/// To read what was found: without waiting for a writer where it is a pipe, which is refused then.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// An open file or folder, with the path that led to it. Cheap to clone.
#[derive(Clone)]
pub struct Opened {
    file: Arc<File>,
    meta: Meta,
    path: PathBuf,
}

/// Why there is nothing to open below a folder.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// Nothing of that name.
    #[error("no such file or directory")]
    Missing,
    /// A symbolic link on the way leads to where nothing is that may be read.
    #[error("the symbolic link {} leads to {}, which is on none of the container's volumes", link.display(), target.display())]
    Astray {
        /// The link, as it is seen from within the folder.
        link: PathBuf,
        /// What it holds.
        target: PathBuf,
    },
    /// There is a symbolic link where there must be none.
    #[error("{} is a symbolic link", link.display())]
    Linked {
        /// The link, as it is seen from within the folder.
        link: PathBuf,
    },
    /// It is there and cannot be opened.
    #[error("{0}")]
    Failed(io::Error),
}

impl Opened {
    /// Opens a path of this process's own, links followed.
    ///
    /// # Errors
    /// `NotFound` if there is nothing.
    pub fn at(path: &Path) -> Result<Self> {
        let failed = |errno: Errno| Error::source(path, errno.into());
        let opened = openat(AT_FDCWD, path, READ, Mode::empty()).map_err(failed)?;
        Self::new(opened, path).map_err(failed)
    }

    /// Opens `path` as a process would see it whose root is `root`: links are followed, absolute ones from `root` on, and
    /// none leads out of it.
    ///
    /// # Errors
    /// What is in the way.
    pub fn within(root: &Path, path: &Path) -> Result<Self, Unresolved> {
        Self::new(resolve::within(root, path)?, path).map_err(|errno| Unresolved::Failed(errno.into()))
    }

    /// Opens `path`, which lies below the folder `root`. Below it no part of the path may be a link.
    ///
    /// # Errors
    /// What is in the way.
    pub fn beneath(root: &Path, path: &Path) -> Result<Self, Unresolved> {
        let below = path.strip_prefix(root).unwrap_or(path);
        Self::new(resolve::beneath(root, below)?, path).map_err(|errno| Unresolved::Failed(errno.into()))
    }

    fn new(opened: OwnedFd, path: &Path) -> Result<Self, Errno> {
        let meta = Meta::of(&fstat(&opened)?);
        Ok(Self { file: Arc::new(opened.into()), meta, path: path.to_owned() })
    }

    /// The path that led to it. Something else may be there by now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is now, for those who can only be told a path.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn present_path(&self) -> Result<PathBuf> {
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        std::fs::read_link(link).map_err(|source| Error::io(|| format!("finding {}", self.path.display()), source))
    }

    /// Whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.meta.kind == Kind::Folder
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.meta.kind == Kind::File
    }

    /// Bytes that the file had when it was opened.
    pub fn size(&self) -> u64 {
        self.meta.size
    }

    /// The file itself. Its position is shared by all who have it.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Reads the file from its beginning; any number of readers do not disturb each other.
    pub fn reader(&self) -> impl Read + Send + use<> {
        Reader { file: self.file.clone(), at: 0 }
    }

    /// All that is in the file.
    ///
    /// # Errors
    /// When it is no file or cannot be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if !self.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        self.reader().read_to_end(&mut bytes).map(|_| bytes)
    }

    pub(crate) fn meta(&self) -> Meta {
        self.meta
    }

    /// All that is in the folder.
    pub(crate) fn walk(&self) -> Result<Walk> {
        Walk::of(&self.file, &self.path)
    }

    /// The name that it has in an archive.
    pub(crate) fn name(&self) -> OsString {
        let present = || self.present_path().ok().and_then(|path| path.file_name().map(OsStr::to_owned));
        // `/`, or a path that ends in `..`.
        self.path.file_name().map(OsStr::to_owned).or_else(present).unwrap_or("root".into())
    }

    /// That all was read, with so many bytes missing in the end.
    pub(crate) fn check_read(&self, missing: u64) -> Result<()> {
        match missing {
            0 => Ok(()),
            missing => Err(Error::permanent(
                format!("reading {}", self.path.display()),
                format!("it shrank by {missing} bytes while it was read"),
            )),
        }
    }

    /// What is neither file nor folder cannot be stored.
    pub(crate) fn check_kind(&self) -> Result<()> {
        match self.is_file() || self.is_dir() {
            true => Ok(()),
            false => Err(Error::Refused(format!("{} is not a regular file or directory", self.path.display()))),
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.path).finish()
    }
}

/// A file's bytes at a position of its own.
struct Reader {
    file: Arc<File>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
