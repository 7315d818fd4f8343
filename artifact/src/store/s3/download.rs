//! Downloads: one request whose body is read as it comes; a large object goes on with ranges of which some are on
//! their way together, and are handed out in order. A body that breaks off goes on with ranges as well, so nothing is
//! loaded twice. Every range is tied to the first answer's ETag: an object that changes meanwhile is an error.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream as SdkBody;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::encryption::{self, Headers};
use super::failure::chain;
use super::{Inner, fault};
use crate::error::{Error, Result};
use crate::store::Object;
use crate::stream::CHUNK;

/// Objects up to this size are one request.
const WHOLE: u64 = 16 << 20;
/// Bytes of a range, and ranges on their way together.
const RANGE: u64 = 2 << 20;
const WINDOW: usize = 6;

/// Opens `key`.
pub(super) async fn open(inner: &Arc<Inner>, key: &str) -> Result<Object> {
    let headers = encryption::headers(inner, key)?;
    let get = || async {
        let request = headers.get(inner.client.get_object().bucket(&inner.config.bucket).key(key));
        let response = request.checksum_mode(ChecksumMode::Enabled).send().await;
        response.map_err(|error| fault(format!("loading {}", inner.describe(key)), error))
    };
    let response = inner.config.retry.run("opening an object", get).await?;
    let size = response.content_length.and_then(|size| u64::try_from(size).ok());
    let download = Download::new(inner, key, headers, size, response);
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
struct Download {
    source: Arc<RangeSource>,
    size: Option<u64>,
    /// Bytes handed out.
    at: u64,
    /// The first answer's body, and up to where it is used.
    body: Option<SdkBody>,
    body_until: u64,
    /// Ranges on their way, in order, and where the one after them begins.
    window: VecDeque<Range>,
    next_range: u64,
    /// What is left to hand out of the range that came last, with its memory.
    ready: Option<(Bytes, OwnedSemaphorePermit)>,
    crc: crc32fast::Hasher,
    expected_crc: Option<u32>,
}

/// A range on its way; dropped, it is given up.
struct Range(JoinHandle<Result<(Bytes, OwnedSemaphorePermit)>>);

impl Drop for Range {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What each range's request needs.
struct RangeSource {
    inner: Arc<Inner>,
    key: String,
    headers: Headers,
    etag: Option<String>,
}

impl Download {
    fn new(inner: &Arc<Inner>, key: &str, headers: Headers, size: Option<u64>, response: GetObjectOutput) -> Self {
        let ranges = response.accept_ranges.as_deref() != Some("none") && response.e_tag.is_some();
        let body_until = match size {
            Some(size) if size > WHOLE && ranges => RANGE,
            Some(size) => size,
            None => u64::MAX,
        };
        let expected_crc = response.checksum_crc32.as_deref().and_then(whole_crc);
        let source = RangeSource { inner: inner.clone(), key: key.into(), headers, etag: response.e_tag };
        Download {
            source: Arc::new(source),
            size,
            at: 0,
            body: Some(response.body),
            body_until,
            window: VecDeque::new(),
            next_range: 0,
            ready: None,
            crc: crc32fast::Hasher::new(),
            expected_crc,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(body) = &mut self.body {
            match body.next().await {
                Some(Ok(mut chunk)) => {
                    let left = self.body_until - self.at;
                    if chunk.len() as u64 >= left {
                        // Whatever follows in this body is not needed; for a whole object it is its end, which the
                        // next call reads so that the SDK compares the checksum.
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
        self.crc.update(&chunk);
        chunk
    }

    /// The first body is over: as it should be, or too early.
    fn body_ended(&mut self, error: Option<aws_sdk_s3::primitives::ByteStreamError>) -> Result<()> {
        self.body = None;
        let what = self.source.inner.describe(&self.source.key);
        let Some(error) = error else { return Ok(()) };
        let cause = chain(&error);
        match self.size {
            Some(size) if self.at == size => Err(Error::corrupt(what, cause)),
            Some(_) if self.source.etag.is_some() => {
                tracing::warn!(at = self.at, "loading {what} broke off and goes on from there: {cause}");
                Ok(())
            }
            _ => Err(Error::transient(format!("loading {what}"), cause)),
        }
    }

    async fn next_range(&mut self, size: u64) -> Result<(Bytes, OwnedSemaphorePermit)> {
        self.next_range = self.next_range.max(self.at);
        while self.window.len() < WINDOW && self.next_range < size {
            let (from, to) = (self.next_range, size.min(self.next_range + RANGE));
            self.next_range = to;
            // Memory is granted in the order of the ranges, so the one that is needed first never waits for a later.
            let memory = self.source.inner.ranges.clone().acquire_many_owned((to - from) as u32);
            let memory = match self.window.is_empty() {
                true => memory.await.map_err(|closed| Error::permanent("a download", closed))?,
                false => match futures_util::FutureExt::now_or_never(memory) {
                    Some(Ok(memory)) => memory,
                    _ => {
                        self.next_range = from;
                        break;
                    }
                },
            };
            let source = self.source.clone();
            self.window.push_back(Range(tokio::spawn(async move {
                let bytes = source.load(from, to).await?;
                Ok((bytes, memory))
            })));
        }
        let Some(mut range) = self.window.pop_front() else {
            return Err(Error::corrupt(self.source.inner.describe(&self.source.key), "ranges do not meet"));
        };
        (&mut range.0).await.unwrap_or_else(|panic| Err(Error::permanent("a download", panic)))
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        let what = || self.source.inner.describe(&self.source.key);
        if let Some(size) = self.size.filter(|size| *size != self.at) {
            return Err(Error::corrupt(what(), format!("{} of {size} bytes", self.at)));
        }
        let crc = self.crc.clone().finalize();
        match self.expected_crc {
            Some(expected) if expected != crc => {
                Err(Error::corrupt(what(), format!("CRC32 is {crc:08x} where the store has {expected:08x}")))
            }
            _ => Ok(None),
        }
    }
}

impl RangeSource {
    async fn load(&self, from: u64, to: u64) -> Result<Bytes> {
        let inner = &*self.inner;
        let doing = || format!("loading {} (bytes {from} to {to})", inner.describe(&self.key));
        let get = || async {
            let request = self.headers.get(inner.client.get_object().bucket(&inner.config.bucket).key(&self.key));
            let request = request.range(format!("bytes={from}-{}", to - 1)).set_if_match(self.etag.clone());
            let mut body = request.send().await.map_err(|error| fault(doing(), error))?.body;
            let length = (to - from) as usize;
            let mut bytes = BytesMut::with_capacity(length);
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|error| Error::transient(doing(), chain(&error)))?;
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
        inner.config.retry.run("loading a range", get).await
    }
}

/// The CRC32 of a whole object; one of an object's parts has a number behind it and says nothing about the whole.
fn whole_crc(text: &str) -> Option<u32> {
    let bytes: [u8; 4] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}
