//! Text that stands in the workflow itself (`artifacts[].raw.data`): it can only be loaded.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Body, Listing, Object, Store, failed_listing};
use crate::error::{Error, Result};
use crate::stream;

/// The text of one artifact; keys play no part.
#[derive(Debug)]
pub struct RawStore {
    data: Bytes,
}

impl RawStore {
    /// A store whose one object is `data`.
    pub fn new(data: impl Into<Bytes>) -> Self {
        RawStore { data: data.into() }
    }
}

fn refused(verb: &str) -> Error {
    Error::Refused(format!("artifacts[].raw cannot be {verb}: it is for input artifacts only, use s3 or another store"))
}

#[async_trait]
impl Store for RawStore {
    fn describe(&self, _key: &str) -> String {
        "the artifact's raw data".into()
    }

    async fn open(&self, _key: &str) -> Result<Object> {
        Ok(Object { size: Some(self.data.len() as u64), stream: stream::once(self.data.clone()) })
    }

    async fn put(&self, _key: &str, _body: Body) -> Result<u64> {
        Err(refused("saved"))
    }

    async fn delete(&self, _key: &str) -> Result<()> {
        Err(refused("deleted"))
    }

    fn list<'a>(&'a self, _key: &str) -> Listing<'a> {
        failed_listing(refused("listed"))
    }

    async fn is_directory(&self, _key: &str) -> Result<bool> {
        Ok(false)
    }
}
