//! Downloads: one request whose body is read as it comes; a large object goes on with ranges of which some are on
//! their way together, and are handed out in order. A body that breaks off goes on with ranges as well, so nothing is
//! loaded twice. Every range is tied to the first answer's ETag: an object that changes meanwhile is an error.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc_fast::Digest;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::{Answer, Inner, Protocol};
use crate::error::{Class, Error, Result};
use crate::store::Object;
use crate::stream::{ByteStream, CHUNK};

/// Objects up to this size are one request.
const WHOLE: u64 = 16 << 20;
/// Bytes of a range, and ranges on their way together.
const RANGE: u64 = 2 << 20;
const WINDOW: usize = 6;
/// Memory taken for each byte of a range: what is on its way to the disk comes on top of it.
const WEIGHT: usize = 2;

/// Opens `key`.
pub(super) async fn open<P: Protocol>(inner: &Arc<Inner<P>>, key: &str) -> Result<Object> {
    let target = inner.protocol.target(key)?;
    let answer = inner.retry.run("opening an object", || inner.protocol.get(&target)).await?;
    let size = answer.size;
    let download = Download::new(inner, key, target, answer);
    let stream = stream::unfold(Some(download), |download| async move {
        let mut download = download?;
        match download.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(download))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Object { size, stream: stream.boxed() })
}

/// An object on its way.
struct Download<P: Protocol> {
    source: Arc<RangeSource<P>>,
    size: Option<u64>,
    /// Bytes handed out.
    at: u64,
    /// The first answer's body, and up to where it is used.
    body: Option<ByteStream>,
    body_until: u64,
    /// Ranges on their way, in order, and where the one after them begins.
    window: VecDeque<Flying>,
    next_range: u64,
    /// What is left to hand out of the range that came last, with its memory.
    ready: Option<(Bytes, OwnedSemaphorePermit)>,
    sum: Digest,
    expected: Option<u64>,
}

/// A range on its way; dropped, it is given up.
struct Flying(JoinHandle<Result<(Bytes, OwnedSemaphorePermit)>>);

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What each range's request needs.
struct RangeSource<P: Protocol> {
    inner: Arc<Inner<P>>,
    what: String,
    target: P::Target,
    etag: Option<String>,
}

impl<P: Protocol> Download<P> {
    fn new(inner: &Arc<Inner<P>>, key: &str, target: P::Target, answer: Answer) -> Self {
        let ranges = answer.ranges && answer.etag.is_some();
        let body_until = match (answer.covers, answer.size) {
            (Some(covers), _) => covers,
            (None, Some(size)) if size > WHOLE && ranges => RANGE,
            (None, size) => size.unwrap_or(u64::MAX),
        };
        let what = inner.protocol.describe(key);
        let source = RangeSource { inner: inner.clone(), what, target, etag: answer.etag };
        Download {
            source: Arc::new(source),
            size: answer.size,
            at: 0,
            body: Some(answer.body),
            body_until,
            window: VecDeque::new(),
            next_range: 0,
            ready: None,
            sum: Digest::new(P::SUM),
            expected: answer.sum,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(body) = &mut self.body {
            match body.next().await {
                Some(Ok(mut chunk)) => {
                    let left = self.body_until - self.at;
                    if chunk.len() as u64 >= left {
                        // Whatever follows in this body is not needed; for a whole object it is its end, which the
                        // next call reads so that whoever sent it can compare the checksum.
                        chunk.truncate(left as usize);
                        self.body = self.body.take().filter(|_| Some(self.body_until) == self.size);
                        self.body_until = self.size.unwrap_or(u64::MAX);
                    }
                    if !chunk.is_empty() {
                        return Ok(Some(self.hand_out(chunk)));
                    }
                }
                ended => self.body_ended(ended.transpose().err())?,
            }
        }
        let Some(size) = self.size.filter(|size| self.at < *size) else { return self.end() };
        let (mut bytes, memory) = match self.ready.take() {
            Some(ready) => ready,
            None => self.next_range(size).await?,
        };
        // In small pieces, so that those waiting on the way to the disk do not hold whole ranges.
        let chunk = bytes.split_to(bytes.len().min(CHUNK));
        self.ready = (!bytes.is_empty()).then_some((bytes, memory));
        Ok(Some(self.hand_out(chunk)))
    }

    fn hand_out(&mut self, chunk: Bytes) -> Bytes {
        self.at += chunk.len() as u64;
        self.sum.update(&chunk);
        chunk
    }

    /// The first body is over: as it should be, or too early.
    fn body_ended(&mut self, error: Option<Error>) -> Result<()> {
        self.body = None;
        let Some(error) = error else { return Ok(()) };
        match self.size {
            Some(size) if self.at == size => Err(Error::corrupt(self.source.what.clone(), error.to_string())),
            Some(_) if self.source.etag.is_some() && error.class() == Class::Transient => {
                tracing::warn!(at = self.at, "loading {} broke off and goes on from there: {error}", self.source.what);
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn next_range(&mut self, size: u64) -> Result<(Bytes, OwnedSemaphorePermit)> {
        self.next_range = self.next_range.max(self.at);
        while self.window.len() < WINDOW && self.next_range < size {
            let (from, to) = (self.next_range, size.min(self.next_range + RANGE));
            self.next_range = to;
            // Memory is granted in the order of the ranges, so the one that is needed first never waits for a later.
            let weight = (to - from) as usize * WEIGHT;
            let memory = match self.window.is_empty() {
                true => self.source.inner.budget.take(weight).await?,
                false => match self.source.inner.budget.try_take(weight) {
                    Some(memory) => memory,
                    None => {
                        self.next_range = from;
                        break;
                    }
                },
            };
            let source = self.source.clone();
            self.window.push_back(Flying(tokio::spawn(async move {
                let bytes = source.load(from, to).await?;
                Ok((bytes, memory))
            })));
        }
        let Some(mut range) = self.window.pop_front() else {
            return Err(Error::corrupt(self.source.what.clone(), "ranges do not meet"));
        };
        (&mut range.0).await.unwrap_or_else(|panic| Err(Error::permanent("a download", panic)))
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        let what = || self.source.what.clone();
        if let Some(size) = self.size.filter(|size| *size != self.at) {
            return Err(Error::corrupt(what(), format!("{} of {size} bytes", self.at)));
        }
        let sum = self.sum.finalize();
        match self.expected {
            Some(expected) if expected != sum => {
                Err(Error::corrupt(what(), format!("its checksum is {sum:08x} where the store has {expected:08x}")))
            }
            _ => Ok(None),
        }
    }
}

impl<P: Protocol> RangeSource<P> {
    async fn load(&self, from: u64, to: u64) -> Result<Bytes> {
        let doing = || format!("loading {} (bytes {from} to {to})", self.what);
        let get = || async {
            let mut body = self.inner.protocol.get_range(&self.target, from..to, self.etag.as_deref()).await?;
            let length = (to - from) as usize;
            let mut bytes = BytesMut::with_capacity(length);
            while let Some(chunk) = body.next().await {
                let chunk = chunk?;
                if bytes.len() + chunk.len() > length {
                    return Err(Error::permanent(doing(), "the server does not answer with the range asked for"));
                }
                bytes.extend_from_slice(&chunk);
            }
            match bytes.len() == length {
                true => Ok(bytes.freeze()),
                false => Err(Error::transient(doing(), format!("only {} bytes came", bytes.len()))),
            }
        };
        // An object that was replaced stays so: the whole download begins anew, or nothing does.
        let get = || async {
            match get().await {
                Err(changed @ Error::Changed { .. }) => Ok(Err(changed)),
                outcome => outcome.map(Ok),
            }
        };
        self.inner.retry.run("loading a range", get).await?
    }
}
