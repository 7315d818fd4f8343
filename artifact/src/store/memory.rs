//! Objects in memory: for tests, and the reference that the other stores are compared with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Body, Entry, Listing, Object, Store, one_page, prefix};
use crate::error::{Error, Result};
use crate::stream;

/// A store that lives as long as the value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Every change is one map operation, so a poisoned map is still whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self, key: &str) -> String {
        format!("memory:{key}")
    }

    async fn open(&self, key: &str) -> Result<Object> {
        let found = self.objects().get(key).cloned();
        let bytes = found.ok_or_else(|| Error::NotFound { what: self.describe(key) })?;
        Ok(Object { size: Some(bytes.len() as u64), stream: stream::once(bytes) })
    }

    async fn put(&self, key: &str, body: Body) -> Result<u64> {
        let bytes = stream::collect(body.into_stream()).await?;
        let size = bytes.len() as u64;
        self.objects().insert(key.to_owned(), bytes);
        Ok(size)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }

    fn list<'a>(&'a self, key: &str) -> Listing<'a> {
        let prefix = prefix(key);
        let objects = self.objects();
        let below = objects.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        let entries = below.filter(|(key, _)| !key.ends_with('/'));
        one_page(entries.map(|(key, bytes)| Entry { key: key.clone(), size: bytes.len() as u64 }).collect())
    }
}
