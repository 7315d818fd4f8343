//! Locks between processes: files held by `flock`.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{At as _, Error};

/// A held lock; let go when dropped, or by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Waits until nobody else holds it.
    pub fn exclusive(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        file.lock().at("lock", path)?;
        Ok(Self(file))
    }

    /// Waits until nobody holds it exclusively.
    pub fn shared(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        file.lock_shared().at("lock", path)?;
        Ok(Self(file))
    }

    /// `None`: somebody holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).at("lock", path),
        }
    }
}

impl Drop for Lock {
    /// Closing alone would not do: a process forked meanwhile holds the same open file until it executes its program.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "a lock of the image store");
        }
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::options().create(true).truncate(false).write(true).open(path).at("open", path)
}
