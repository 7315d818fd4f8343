//! A place where artifacts live: objects with keys, and directories that are no more than a common beginning of keys.
//!
//! A store implements the five verbs that its protocol has. Files and directories on disk, with many objects at once,
//! come on top of them for all stores alike ([`crate::transfer`]).

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::opened::Opened;
use crate::stream::{self as bytes_stream, ByteStream};
use crate::transfer::Moved;

pub(crate) mod azure;
mod bucket;
mod files;
pub(crate) mod gcs;
#[cfg(feature = "git")]
pub(crate) mod git;
mod http;
mod listing;
mod memory;
mod mime;
pub(crate) mod objects;
pub(crate) mod oss;
mod raw;
pub(crate) mod rest;
mod s3;
mod token;

pub use files::FileStore;
pub use http::{BasicAuth, ClientCertificate, HttpConfig, HttpStore, OAuth2};
pub use memory::MemoryStore;
pub use raw::RawStore;
pub use s3::{Addressing, Encryption, Identity, S3Config, S3Store};

/// An object that is being read.
pub struct Object {
    /// Its length in bytes, where the store tells it beforehand.
    pub size: Option<u64>,
    /// Its bytes. The stream checks length and checksum itself: an end without error is a whole object.
    pub stream: ByteStream,
}

/// What is to be stored.
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file on disk, as long as it was when it was opened; one that shrinks meanwhile is an error.
    File(Opened),
    /// Bytes that are being made, of unknown length.
    Stream(ByteStream),
}

impl Body {
    /// The length, where it is known.
    pub fn size(&self) -> Option<u64> {
        match self {
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::File(file) => Some(file.size()),
            Body::Stream(_) => None,
        }
    }

    /// The bytes in order.
    pub fn into_stream(self) -> ByteStream {
        match self {
            Body::Bytes(bytes) => bytes_stream::once(bytes),
            Body::File(file) => bytes_stream::file(&file),
            Body::Stream(stream) => stream,
        }
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// Pages of a listing.
pub type Listing<'a> = BoxStream<'a, Result<Vec<Entry>>>;

/// A place where artifacts live.
///
/// Guarantees of every store: an object appears whole or not at all; a read that ends without error gave the whole
/// object; transient failures are already repeated as the store's [`crate::Retry`] says.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// The object's name for messages, such as `s3://bucket/key`.
    fn describe(&self, key: &str) -> String;

    /// Opens an object for reading.
    ///
    /// # Errors
    /// Class `NotFound` if there is no object with exactly this key.
    async fn open(&self, key: &str) -> Result<Object>;

    /// Stores an object, in place of one that has the key already; gives its size.
    ///
    /// # Errors
    /// Nothing is visible under the key after an error but what was there before.
    async fn put(&self, key: &str, body: Body) -> Result<u64>;

    /// [`Store::put`] that notes in `journal` how far it has come, and goes on with what is noted there. Stores that
    /// take no parts have nothing to note.
    ///
    /// # Errors
    /// As [`Store::put`].
    async fn put_with(&self, key: &str, body: Body, _journal: &dyn Journal) -> Result<u64> {
        self.put(key, body).await
    }

    /// Makes the server forget the parts of uploads that were begun or gone on with here and are not finished; none may be
    /// under way. `journal` forgets them as well. Those that the server cannot be told of now stay in both.
    async fn give_up(&self, _journal: &dyn Journal) {}

    /// Deletes one object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// When the store refuses.
    async fn delete(&self, key: &str) -> Result<()>;

    /// The objects below the directory `key` at any depth, page by page, in order of keys where the store has one.
    /// Markers of directories (keys that end in `/`) are left out. An empty `key` is the whole store.
    fn list<'a>(&'a self, key: &str) -> Listing<'a>;

    /// Whether at least one object lies below `key`.
    ///
    /// # Errors
    /// When the listing fails.
    async fn is_directory(&self, key: &str) -> Result<bool> {
        let mut pages = self.list(key);
        while let Some(page) = pages.next().await {
            if !page?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the file or directory at `key` to `dest`, where nothing is, for stores that do not consist of objects or
    /// that write to the disk themselves. `None`, which all others answer: [`Store::open`] and [`Store::list`] do it.
    ///
    /// # Errors
    /// As [`Store::open`]. What is left at `dest` is for the caller to remove.
    async fn load(&self, _key: &str, _dest: &Path) -> Result<Option<Moved>> {
        Ok(None)
    }

    /// Stores the file or directory `source` as it is, for stores that read from the disk themselves. `None`, which
    /// all others answer: [`Store::put`] does it, a directory being one object a file.
    ///
    /// # Errors
    /// As [`Store::put`].
    async fn save(&self, _key: &str, _source: &Opened) -> Result<Option<Moved>> {
        Ok(None)
    }

    /// Whether one [`Store::delete`] takes all that is below a key with it.
    fn deletes_directories(&self) -> bool {
        false
    }
}

/// `key` as the beginning of the keys below it: empty or with one final `/`.
pub(crate) fn prefix(key: &str) -> String {
    match key.trim_end_matches('/') {
        "" => String::new(),
        key => format!("{key}/"),
    }
}

/// A listing that fails.
pub(crate) fn failed_listing<'a>(error: Error) -> Listing<'a> {
    stream::once(async move { Err(error) }).boxed()
}

/// A listing that is there at once.
pub(crate) fn one_page<'a>(entries: Vec<Entry>) -> Listing<'a> {
    stream::once(async move { Ok(entries) }).boxed()
}
