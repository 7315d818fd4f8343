//! A watch that never ends: a list, then every change; after an interruption it goes on where it stopped.
//!
//! Source: Kubernetes API concepts, "Efficient detection of changes": list in pages, watch from the list's version with
//! bookmarks, list again when the server says 410.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::Method;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::api::{Api, chain};
use super::error::{ApiError, Status};
use super::objects::Metadata;
use super::pages::Pages;
use super::path::Collection;
use crate::Backoff;

/// After so many seconds the server ends a watch, and we go on with the next.
const WATCH_SECONDS: &str = "300";
/// The server sends a bookmark every minute; a connection on which nothing comes for longer is dead.
const SILENCE: Duration = Duration::from_secs(90);

/// The forms of a list and of an object in which they are their metadata alone.
pub const METADATA_ALONE: (&str, &str) = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
);

/// What a watch tells.
#[derive(Debug)]
pub enum Event<T> {
    /// Objects of the list with which it begins, or begins again.
    Page(Vec<T>),
    /// The list is whole: what was known before and is not in it is gone.
    Listed,
    /// An object is new or changed.
    Applied(T),
    /// An object is gone, or is no longer selected.
    Deleted(T),
}

#[derive(Deserialize)]
struct Change<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: Metadata,
}

/// Watches a collection until the receiver of `tell` is gone (it answers false).
///
/// `accept` are the forms of a list and of an object, where not the usual ones are wanted.
pub async fn watch<T: DeserializeOwned>(
    api: &Api,
    collection: &Collection,
    selector: &str,
    accept: Option<(&'static str, &'static str)>,
    tell: impl FnMut(Event<T>) -> bool,
) {
    let selected = Selected { collection, query: ("labelSelector", selector) };
    // Whoever needs no answer goes on for ever.
    let _ = begin(api, selected, accept, |_| false, tell).await;
}

/// Watches what a query parameter (`labelSelector` or `fieldSelector`) selects, for somebody who waits for it, until the
/// receiver of `tell` has seen enough (it answers false).
///
/// # Errors
/// See [`ApiError`]: what trying again cannot help, such as a right that is missing.
pub async fn watch_for<T: DeserializeOwned>(
    api: &Api,
    collection: &Collection,
    query: (&'static str, &str),
    tell: impl FnMut(Event<T>) -> bool,
) -> Result<(), ApiError> {
    begin(api, Selected { collection, query }, None, |error| !error.is_transient(), tell).await
}

/// What is watched.
#[derive(Clone, Copy)]
struct Selected<'a> {
    collection: &'a Collection,
    query: (&'static str, &'a str),
}

async fn begin<T: DeserializeOwned>(
    api: &Api,
    selected: Selected<'_>,
    accept: Option<(&'static str, &'static str)>,
    is_final: fn(&ApiError) -> bool,
    mut tell: impl FnMut(Event<T>) -> bool,
) -> Result<(), ApiError> {
    let (list_as, watch_as) = accept.unwrap_or(("application/json", "application/json"));
    let mut backoff = Backoff::default();
    let mut version = None;
    loop {
        let outcome = match version.take() {
            None => list(api, selected, list_as, &mut tell).await,
            Some(from) => follow(api, selected, watch_as, from, &mut tell, &mut backoff).await,
        };
        match outcome {
            Ok(Some(from)) => version = Some(from),
            Ok(None) => return Ok(()),
            Err((error, from)) => {
                if error.is_gone() {
                    // What has happened since is no longer known to the server.
                    continue;
                }
                if is_final(&error) {
                    return Err(error);
                }
                tracing::warn!(collection = selected.collection.path(), %error, "watch interrupted");
                tokio::time::sleep(error.retry_after().unwrap_or_else(|| backoff.pause())).await;
                version = from;
            }
        }
    }
}

/// Waits until one object is no longer as it was in this version, at most for a time. That it could not be watched counts as
/// a change: whoever waits looks again.
pub async fn changed(api: &Api, collection: &Collection, name: &str, version: &str, longest: Duration) {
    let selector = format!("metadata.name={name}");
    let query = collection.query(&[("watch", "1"), ("fieldSelector", &selector), ("resourceVersion", version)]);
    let wait = async {
        match api.send(Method::GET, &query, "application/json", None).await {
            Ok(answer) => drop(answer.into_body().into_data_stream().next().await),
            Err(error) => error.wait(&mut Backoff::default()).await,
        }
    };
    let _ = tokio::time::timeout(longest, wait).await;
}

/// Where to go on, None when nobody listens; or what went wrong and from where to try again.
type Outcome = Result<Option<String>, (ApiError, Option<String>)>;

async fn list<T: DeserializeOwned>(
    api: &Api,
    selected: Selected<'_>,
    accept: &'static str,
    tell: &mut impl FnMut(Event<T>) -> bool,
) -> Outcome {
    let mut pages = Pages::new(api, selected.collection, &[selected.query]).read_as(accept);
    let mut version = String::new();
    while let Some(page) = pages.next().await.map_err(|error| (error, None))? {
        if !tell(Event::Page(page.items)) {
            return Ok(None);
        }
        version = page.metadata.resource_version;
    }
    Ok(tell(Event::Listed).then_some(version))
}

async fn follow<T: DeserializeOwned>(
    api: &Api,
    selected: Selected<'_>,
    accept: &'static str,
    mut version: String,
    tell: &mut impl FnMut(Event<T>) -> bool,
    backoff: &mut Backoff,
) -> Outcome {
    let query = selected.collection.query(&[
        ("watch", "1"),
        selected.query,
        ("resourceVersion", &version),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", WATCH_SECONDS),
    ]);
    let answer = api.send(Method::GET, &query, accept, None).await;
    let mut chunks = match answer {
        Ok(answer) => answer.into_body().into_data_stream(),
        Err(error) => return Err((error, Some(version))),
    };
    let mut lines = Vec::new();
    loop {
        let chunk = match tokio::time::timeout(SILENCE, chunks.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            // It ended, or died without a word: the next one goes on from here.
            Ok(None) | Err(_) => return Ok(Some(version)),
            Ok(Some(Err(error))) => return Err((ApiError::Unreachable(chain(&error)), Some(version))),
        };
        backoff.reset();
        lines.extend_from_slice(&chunk);
        let mut begin = 0;
        while let Some(length) = lines[begin..].iter().position(|byte| *byte == b'\n') {
            let line = &lines[begin..begin + length];
            begin += length + 1;
            let event = match read_change(line) {
                Ok(Read::Event(event, at)) => {
                    version = at;
                    event
                }
                Ok(Read::Bookmark(at)) => {
                    version = at;
                    continue;
                }
                Err(error) => return Err((error, None)),
            };
            if !tell(event) {
                return Ok(None);
            }
        }
        lines.drain(..begin);
    }
}

enum Read<T> {
    Event(Event<T>, String),
    Bookmark(String),
}

fn read_change<T: DeserializeOwned>(line: &[u8]) -> Result<Read<T>, ApiError> {
    let change: Change<'_> = serde_json::from_slice(line)?;
    let text = change.object.get();
    if change.r#type == "ERROR" {
        let Status { message, reason, code } = serde_json::from_str(text).unwrap_or_default();
        return Err(ApiError::Refused { code, reason, message, retry_after: None });
    }
    let version = serde_json::from_str::<Versioned>(text)?.metadata.resource_version;
    let event = match change.r#type {
        "BOOKMARK" => return Ok(Read::Bookmark(version)),
        "DELETED" => Event::Deleted(serde_json::from_str(text)?),
        _ => Event::Applied(serde_json::from_str(text)?),
    };
    Ok(Read::Event(event, version))
}

#[cfg(test)]
mod tests {
    use super::super::objects::ObjectMeta;
    use super::*;

    #[test]
    fn changes_are_read() {
        let read = |text: &str| read_change::<ObjectMeta>(text.as_bytes());
        let object = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        let Read::Event(Event::Applied(one), version) =
            read(&format!(r#"{{"type":"ADDED","object":{object}}}"#)).unwrap()
        else {
            panic!("no event")
        };
        assert_eq!((one.metadata.name.as_str(), version.as_str()), ("a", "7"));
        let Read::Bookmark(version) = read(&format!(r#"{{"type":"BOOKMARK","object":{object}}}"#)).unwrap() else {
            panic!("no bookmark")
        };
        assert_eq!(version, "7");
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        assert!(read(gone).err().is_some_and(|error| error.is_gone()));
    }
}
