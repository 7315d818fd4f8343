//! Cutting a body into parts. A part's buffer exists from the moment memory for it is granted until the server has the
//! part, so the budget bounds all uploads together.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::budget::{Budget, Buffers};
use crate::error::{Error, Result};
use crate::store::Body;
use crate::stream::ByteStream;
use crate::transfer::blocking;

/// The protocols allow this many parts.
const PARTS: u64 = 10_000;
/// A stream of unknown length goes on with larger parts from this one on, which is 40 GiB with parts of 8 MiB; it then
/// needs the memory of one such part, and ends at 350 GiB.
const LONG_STREAM: u64 = 5_000;
const LONG_PART: usize = 64 << 20;

/// Bytes with the memory they are counted against. When dropped, its buffer goes back for the next part.
pub(super) struct Part {
    pub(super) bytes: Bytes,
    buffers: Arc<Buffers>,
    _memory: OwnedSemaphorePermit,
}

impl Drop for Part {
    fn drop(&mut self) {
        // The request's own copies are gone by then; if one is not, the buffer is simply not used again.
        if let Ok(buffer) = std::mem::take(&mut self.bytes).try_into_mut() {
            self.buffers.give_back(buffer);
        }
    }
}

/// Where parts come from.
enum Source {
    File { file: Arc<File>, at: u64, size: u64, name: String },
    Stream { stream: ByteStream, rest: Bytes, ended: bool },
}

/// Cuts a body into parts.
pub(super) struct Parts {
    budget: Arc<Budget>,
    usual: usize,
    source: Source,
    number: u64,
}

impl Parts {
    /// Parts of `usual` bytes, as long as the protocol's number of parts suffices.
    pub(super) fn of(budget: &Arc<Budget>, usual: usize, body: Body) -> Self {
        let source = match body {
            Body::Bytes(bytes) => {
                Source::Stream { stream: futures_util::stream::empty().boxed(), rest: bytes, ended: false }
            }
            Body::Stream(stream) => Source::Stream { stream, rest: Bytes::new(), ended: false },
            Body::File(file) => {
                let (size, name) = (file.size(), file.path().display().to_string());
                Source::File { file: file.file().clone(), at: 0, size, name }
            }
        };
        Parts { budget: budget.clone(), usual, source, number: 0 }
    }

    pub(super) fn ended(&self) -> bool {
        match &self.source {
            Source::File { at, size, .. } => at >= size,
            Source::Stream { ended, rest, .. } => *ended && rest.is_empty(),
        }
    }

    fn part_size(&self) -> usize {
        let usual = self.usual;
        match &self.source {
            Source::File { size, .. } => usual.max(usize::try_from(size.div_ceil(PARTS)).unwrap_or(usize::MAX)),
            Source::Stream { .. } if self.number > LONG_STREAM => usual.max(LONG_PART),
            Source::Stream { .. } => usual,
        }
    }

    /// The next part; empty only for an empty body.
    pub(super) async fn next(&mut self) -> Result<Part> {
        self.number += 1;
        let part_size = self.part_size();
        let want = match &self.source {
            Source::File { at, size, .. } => part_size.min(usize::try_from(size - at).unwrap_or(usize::MAX)),
            Source::Stream { .. } => part_size,
        };
        let memory = self.budget.take(want).await?;
        let buffers = self.budget.buffers().clone();
        let bytes = match &mut self.source {
            Source::File { file, at, size, name } => {
                let bytes = read_part(buffers.take(want), file.clone(), *at, want, name.clone(), *size).await?;
                *at += want as u64;
                bytes
            }
            Source::Stream { stream, rest, ended } => fill(&buffers, stream, rest, ended, want).await?,
        };
        Ok(Part { bytes, buffers, _memory: memory })
    }
}

async fn read_part(
    mut buffer: BytesMut,
    file: Arc<File>,
    at: u64,
    want: usize,
    name: String,
    size: u64,
) -> Result<Bytes> {
    let read = move || {
        buffer.resize(want, 0);
        match file.read_exact_at(&mut buffer, at) {
            Ok(()) => Ok(buffer.freeze()),
            Err(short) if short.kind() == std::io::ErrorKind::UnexpectedEof => Err(Error::permanent(
                format!("reading {name}"),
                format!("it shrank below {size} bytes during the upload"),
            )),
            Err(source) => Err(Error::io(|| format!("reading {name}"), source)),
        }
    };
    blocking(read).await
}

/// Up to `want` bytes of the stream; what a chunk has beyond them is kept in `rest`. Looks ahead far enough to set
/// `ended` when nothing follows. A stream of one chunk is not copied.
async fn fill(
    buffers: &Buffers,
    stream: &mut ByteStream,
    rest: &mut Bytes,
    ended: &mut bool,
    want: usize,
) -> Result<Bytes> {
    let mut whole = Bytes::new();
    let mut buffer: Option<BytesMut> = None;
    loop {
        let filled = buffer.as_ref().map_or(whole.len(), BytesMut::len);
        let taken = rest.split_to(rest.len().min(want - filled));
        match &mut buffer {
            Some(buffer) => buffer.extend_from_slice(&taken),
            None if whole.is_empty() => whole = taken,
            None if !taken.is_empty() => {
                let mut both = buffers.take(want);
                both.extend_from_slice(&whole);
                both.extend_from_slice(&taken);
                (whole, buffer) = (Bytes::new(), Some(both));
            }
            None => {}
        }
        if !rest.is_empty() {
            break;
        }
        match stream.next().await {
            Some(chunk) => *rest = chunk?,
            None => {
                *ended = true;
                break;
            }
        }
    }
    Ok(buffer.map_or(whole, BytesMut::freeze))
}
