//! The folder of a server: which files lie where, who may use it, and what is swept at start.
//!
//! ```text
//! <root>/<bucket>/…             objects, named by their keys (see `key`)
//! <root>/.tiphys-s3/lock        held by the running server
//! <root>/.tiphys-s3/tmp/        bodies on their way in; emptied at start
//! <root>/.tiphys-s3/uploads/    multipart uploads under way; emptied at start
//! <root>/.tiphys-s3/meta/       headers of the objects that have any (see `meta`)
//! ```
//! A bucket's name cannot begin with a dot, so the two never meet.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

/// The paths of one server. Holding it holds the folder's lock.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    own: PathBuf,
    next_tmp: AtomicU64,
    _lock: Lock,
    /// Never sent: its end tells that the lock above is gone. Fields are dropped in order.
    _released: oneshot::Sender<()>,
}

impl Layout {
    /// Takes the folder, creating it where it is missing, and removes what an earlier server left half done.
    /// `Ok(None)`: another server holds it. The receiver ends when this one has let go.
    pub fn open(root: &Path) -> io::Result<Option<(Self, oneshot::Receiver<()>)>> {
        let own = root.join(".tiphys-s3");
        fs::create_dir_all(&own)?;
        let lock = File::options().create(true).truncate(false).write(true).open(own.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for folder in ["tmp", "uploads"] {
            match fs::remove_dir_all(own.join(folder)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => fs::create_dir(own.join(folder))?,
            }
        }
        let (sender, released) = oneshot::channel();
        let next_tmp = AtomicU64::new(0);
        Ok(Some((Self { root: root.to_owned(), own, next_tmp, _lock: Lock(lock), _released: sender }, released)))
    }

    /// The folder with the buckets.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a bucket; `bucket` has passed the naming rules.
    pub fn bucket(&self, bucket: &str) -> PathBuf {
        self.root.join(bucket)
    }

    /// The folder of multipart uploads.
    pub fn uploads(&self) -> PathBuf {
        self.own.join("uploads")
    }

    /// The folder of a bucket's stored headers.
    pub fn meta(&self, bucket: &str) -> PathBuf {
        self.own.join("meta").join(bucket)
    }

    /// Where stored headers are written before they are moved to their place, one at a time.
    pub fn meta_tmp(&self) -> PathBuf {
        self.own.join("tmp").join("meta")
    }

    /// A new file for a body on its way in.
    pub fn tmp(&self) -> io::Result<Tmp> {
        let path = self.own.join("tmp").join(self.next_tmp.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        Ok(Tmp { file, path: Some(path) })
    }
}

/// The lock on a folder.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing alone would not do: a process forked meanwhile holds the same open file until it executes its program.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the S3 server's folder");
        }
    }
}

/// A file that vanishes unless it is moved to its place.
#[derive(Debug)]
pub(crate) struct Tmp {
    pub file: File,
    path: Option<PathBuf>,
}

impl Tmp {
    /// A file that exists already and is to move or to vanish.
    pub fn at(file: File, path: PathBuf) -> Self {
        Self { file, path: Some(path) }
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) {
        self.path = None;
    }

    /// Moves the file over `to`: readers see the old or the new one, never a part.
    pub fn persist(&mut self, to: &Path) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        fs::rename(path, to)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Tmp {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "a temporary file of the S3 server stays behind");
        }
    }
}
