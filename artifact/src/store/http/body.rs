//! Bodies of uploads: those that can be sent again, and the file that makes one of a stream.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::opened::Opened;
use crate::stream;

/// The body of a request.
pub(super) struct Sent {
    pub(super) body: reqwest::Body,
    /// What the server is told beforehand, where the body itself does not know.
    pub(super) length: Option<u64>,
}

impl Sent {
    pub(super) fn nothing() -> Self {
        Sent { body: Bytes::new().into(), length: Some(0) }
    }
}

/// A body that can be sent any number of times.
pub(super) enum Kept {
    Bytes(Bytes),
    File(Opened),
}

impl Kept {
    pub(super) fn size(&self) -> u64 {
        match self {
            Kept::Bytes(bytes) => bytes.len() as u64,
            Kept::File(file) => file.size(),
        }
    }

    pub(super) fn stream(&self) -> stream::ByteStream {
        match self {
            Kept::Bytes(bytes) => stream::once(bytes.clone()),
            Kept::File(file) => stream::file(file),
        }
    }
}

/// A file that is gone with the value.
pub(super) struct TemporaryFile {
    pub(super) path: PathBuf,
}

impl TemporaryFile {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("tiphys-http-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        TemporaryFile { path: std::env::temp_dir().join(name) }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It was never written when the stream failed at once.
        let _ = std::fs::remove_file(&self.path);
    }
}
