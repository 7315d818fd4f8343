//! Stores that keep whole objects and take large ones in parts: S3, GCS, OSS, Azure. Each is a [`Protocol`], a handful
//! of requests; how bytes travel is the same for all of them: parts and ranges in flight within one budget of memory,
//! each repeated alone, checksums compared at both ends.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures_util::StreamExt;
use futures_util::stream;

use self::unfinished::Unfinished;
use super::{Body, Entry, Listing, Object, Store, prefix};
use crate::budget::Budget;
use crate::error::Result;
use crate::journal::{Journal, NoJournal};
use crate::retry::Retry;
use crate::stream::ByteStream;

mod download;
mod parts;
mod unfinished;
mod upload;

/// The requests of a store. Each is made once, with an error of the right class when it fails.
#[async_trait]
pub(crate) trait Protocol: fmt::Debug + Send + Sync + 'static {
    /// The checksum that the store compares and keeps.
    const SUM: CrcAlgorithm;
    /// What the requests for one object need, worked out once: its key and what follows from it.
    type Target: Send + Sync + 'static;

    /// The object's name for messages.
    fn describe(&self, key: &str) -> String;

    /// What the requests for the object `key` need.
    fn target(&self, key: &str) -> Result<Self::Target>;

    /// What must be there before the first upload, such as the bucket.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// The object, or its beginning.
    async fn get(&self, target: &Self::Target) -> Result<Answer>;

    /// A part of the object as it was when it had this ETag; `Corrupt` if it changed.
    async fn get_range(&self, target: &Self::Target, range: Range<u64>, etag: Option<&str>) -> Result<ByteStream>;

    /// Stores a whole object, whose checksum is `sum`.
    async fn put(&self, target: &Self::Target, bytes: Bytes, sum: u64) -> Result<()>;

    /// Begins an upload in parts.
    async fn begin(&self, target: &Self::Target) -> Result<Upload>;

    /// Stores part `number` (from 1) and gives what names it at the end. `NotFound` if there is no such upload.
    async fn put_part(
        &self,
        target: &Self::Target,
        upload: &Upload,
        number: u32,
        bytes: Bytes,
        sum: u64,
    ) -> Result<String>;

    /// Makes the parts the object. `NotFound` if there is no such upload.
    async fn complete(&self, target: &Self::Target, upload: &Upload, parts: &[Sent], whole: Whole) -> Result<()>;

    /// Makes the store forget the parts.
    async fn abort(&self, target: &Self::Target, upload: &Upload) -> Result<()>;

    /// The object's length.
    async fn size(&self, target: &Self::Target) -> Result<Option<u64>>;

    /// Deletes the object `key`.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Objects whose keys begin with `prefix`, after the page that gave `token`; and the next token.
    async fn page(&self, prefix: &str, token: Option<&str>) -> Result<(Vec<Entry>, Option<String>)>;
}

/// The answer to a request for an object.
pub(crate) struct Answer {
    /// Bytes of the whole object.
    pub size: Option<u64>,
    /// So many bytes from its beginning are in the body; none means all.
    pub covers: Option<u64>,
    /// Names this state of the object.
    pub etag: Option<String>,
    /// Ranges of it can be had.
    pub ranges: bool,
    /// The checksum that the store keeps of the whole object.
    pub sum: Option<u64>,
    /// The bytes; `Transient` where they break off.
    pub body: ByteStream,
}

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The store's name for it.
    pub id: String,
    /// How far the store compares checksums of it.
    pub checked: Checked,
}

/// How far a store compares checksums of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Not at all.
    No,
    /// Of each part.
    Parts,
    /// Of each part, and of the whole against their sum.
    Whole,
}

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub number: u32,
    pub size: u64,
    pub sum: u64,
    /// What the store calls it.
    pub tag: String,
}

/// All parts together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub size: u64,
    pub sum: u64,
}

/// A store of objects with one protocol.
#[derive(Debug)]
pub(crate) struct Objects<P: Protocol> {
    inner: Arc<Inner<P>>,
}

#[derive(Debug)]
struct Inner<P: Protocol> {
    protocol: P,
    retry: Retry,
    budget: Arc<Budget>,
    unfinished: Unfinished<P>,
}

impl<P: Protocol> Clone for Objects<P> {
    fn clone(&self) -> Self {
        Objects { inner: self.inner.clone() }
    }
}

impl<P: Protocol> Objects<P> {
    /// Objects behind `protocol`, moved within `budget`.
    pub(crate) fn new(protocol: P, retry: Retry, budget: Arc<Budget>) -> Self {
        Objects { inner: Arc::new(Inner { protocol, retry, budget, unfinished: Unfinished::default() }) }
    }
}

#[async_trait]
impl<P: Protocol> Store for Objects<P> {
    fn describe(&self, key: &str) -> String {
        self.inner.protocol.describe(key)
    }

    async fn open(&self, key: &str) -> Result<Object> {
        download::open(&self.inner, key).await
    }

    async fn put(&self, key: &str, body: Body) -> Result<u64> {
        upload::put(&self.inner, key, body, &NoJournal).await
    }

    async fn put_with(&self, key: &str, body: Body, journal: &dyn Journal) -> Result<u64> {
        upload::put(&self.inner, key, body, journal).await
    }

    async fn give_up(&self, journal: &dyn Journal) {
        upload::give_up(&self.inner, journal).await;
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let inner = &*self.inner;
        let delete = || async {
            match inner.protocol.delete(key).await {
                Err(gone) if gone.is_not_found() => Ok(()),
                done => done,
            }
        };
        inner.retry.run("deleting an object", delete).await
    }

    fn list<'a>(&'a self, key: &str) -> Listing<'a> {
        let inner = &*self.inner;
        let prefix = prefix(key);
        /// Where a listing stands.
        enum At {
            Start,
            After(String),
            End,
        }
        let pages = stream::unfold(At::Start, move |at| {
            let prefix = prefix.clone();
            async move {
                let token = match &at {
                    At::Start => None,
                    At::After(token) => Some(token.as_str()),
                    At::End => return None,
                };
                let page = || inner.protocol.page(&prefix, token);
                Some(match inner.retry.run("listing objects", page).await {
                    Ok((mut entries, next)) => {
                        entries.retain(|entry| !entry.key.ends_with('/'));
                        (Ok(entries), next.map_or(At::End, At::After))
                    }
                    Err(error) => (Err(error), At::End),
                })
            }
        });
        pages.boxed()
    }
}
