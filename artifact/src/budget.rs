//! The memory of all transfers of a process together: parts of uploads and ranges of downloads, whatever the store.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// The least part size that S3 and its like allow for all parts but the last.
const LEAST_PART: usize = 5 << 20;

/// Bytes that may still be taken, and buffers that are not in use.
///
/// A body that is stored must not itself come from a store's download: it could wait for memory that its own upload
/// holds. What is copied between stores goes by way of the disk.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    part_size: usize,
    memory: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

impl Budget {
    /// A budget of `bytes`, at least one part.
    pub(crate) fn new(bytes: usize, part_size: usize) -> Arc<Self> {
        let part_size = part_size.max(LEAST_PART);
        let bytes = bytes.max(part_size);
        let buffers = Buffers { size: part_size, most: bytes / part_size, free: Mutex::default() };
        Arc::new(Budget { bytes, part_size, memory: Arc::new(Semaphore::new(bytes)), buffers: Arc::new(buffers) })
    }

    /// The usual size of a part.
    pub(crate) fn part_size(&self) -> usize {
        self.part_size
    }

    /// Buffers for parts.
    pub(crate) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Waits for `bytes`, or for all there are. Requests are granted in the order of their asking.
    pub(crate) async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX);
        let taken = self.memory.clone().acquire_many_owned(permits).await;
        taken.map_err(|closed| Error::permanent("waiting for memory", closed))
    }

    /// Takes `bytes` if they are free.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX);
        self.memory.clone().try_acquire_many_owned(permits).ok()
    }
}

/// Buffers of whole parts that are not in use. An allocator that sees such blocks come and go keeps more of them than
/// are needed.
#[derive(Debug)]
pub(crate) struct Buffers {
    size: usize,
    most: usize,
    free: Mutex<Vec<BytesMut>>,
}

impl Buffers {
    /// An empty buffer for `want` bytes.
    pub(crate) fn take(&self, want: usize) -> BytesMut {
        // A list of buffers is whole after any panic.
        let free = (want == self.size).then(|| self.free.lock().unwrap_or_else(PoisonError::into_inner).pop());
        free.flatten().unwrap_or_else(|| BytesMut::with_capacity(want))
    }

    /// Keeps a buffer for the next part, if it is of the usual size.
    pub(crate) fn give_back(&self, mut buffer: BytesMut) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() == self.size && free.len() < self.most {
            buffer.clear();
            free.push(buffer);
        }
    }
}
