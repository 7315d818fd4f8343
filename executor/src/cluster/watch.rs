//! Following objects: what is there, then every change, without gaps.

use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::send::from_status;
use super::{Call, Cluster, ClusterError, ListOptions, Objects, Pauses};

/// The server ends a watch after this many seconds; the next one goes on where it stopped.
const LENGTH: u64 = 290;
/// Longest event in bytes that is taken. etcd holds no object near this size.
const LONGEST_EVENT: usize = 16 << 20;

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// All objects that there are now: at the beginning, and again when the server has forgotten what happened since.
    Listed(Vec<Value>),
    /// An object is new.
    Added(Value),
    /// An object has changed.
    Modified(Value),
    /// An object is gone; this was its last state.
    Deleted(Value),
}

/// A watch over objects of one kind.
pub struct Watch<'a> {
    objects: Objects<'a>,
    options: ListOptions,
    state: State,
    pauses: Pauses,
}

enum State {
    /// Nothing is known, or no longer enough.
    Unlisted,
    /// All is known up to this version.
    Known(String),
    /// Changes come in.
    Open(Box<Stream>),
}

struct Stream {
    response: Response,
    version: String,
    buffer: Vec<u8>,
    since: Instant,
    call: Call,
}

impl<'a> Objects<'a> {
    /// Follows the objects that `options` ask for. Nothing is sent before the first [`Watch::next`].
    pub fn watch(self, options: ListOptions) -> Watch<'a> {
        Watch { objects: self, options, state: State::Unlisted, pauses: Pauses::default() }
    }
}

impl Watch<'_> {
    /// The next event. Interruptions are bridged; the first event is always [`Event::Listed`].
    ///
    /// May be dropped while it waits and called again: nothing is lost.
    ///
    /// # Errors
    /// What will not pass by trying again, for example that watching is forbidden; or that the Pod must end while the
    /// server cannot be reached.
    pub async fn next(&mut self) -> Result<Event, ClusterError> {
        loop {
            match &mut self.state {
                State::Unlisted => {
                    let mut list = self.objects.list(&self.options).await?;
                    self.state = State::Known(version(&list));
                    return Ok(Event::Listed(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()));
                }
                State::Known(version) => {
                    let version = version.clone();
                    match self.open(version).await {
                        Ok(stream) => self.state = State::Open(Box::new(stream)),
                        Err(error) if error.is_expired() => self.state = State::Unlisted,
                        Err(error) if error.retry() => self.pause(error).await?,
                        Err(error) => return Err(error),
                    }
                }
                State::Open(stream) => match stream.next().await {
                    Ok(Some(event)) => {
                        self.pauses = Pauses::default();
                        return Ok(event);
                    }
                    Err(error) if error.is_expired() => self.state = State::Unlisted,
                    // In the middle of a watch the server may fail in ways that it recovers from.
                    Err(error) if !error.retry() && error.status().is_some_and(|status| status < 500) => {
                        return Err(error);
                    }
                    ended => {
                        let lasted = stream.since.elapsed();
                        self.state = State::Known(std::mem::take(&mut stream.version));
                        // A server that ends each watch at once must not be asked without pause.
                        match ended {
                            Err(error) => self.pause(error).await?,
                            Ok(_) if lasted < Duration::from_secs(1) => {
                                tokio::time::sleep(self.pauses.next(None)).await;
                            }
                            Ok(_) => {}
                        }
                    }
                },
            }
        }
    }

    async fn open(&self, version: String) -> Result<Stream, ClusterError> {
        let mut call = self.objects.call(Method::GET, "watch", "");
        call.query = self.options.query();
        call.query.extend(
            [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", &version)]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        call.query.push(("timeoutSeconds".into(), LENGTH.to_string()));
        let cluster: &Cluster = self.objects.cluster;
        // The server ends it; this is for a server that does not.
        let response = cluster.open(&call, Duration::from_secs(LENGTH + 30)).await?;
        Ok(Stream { response, version, buffer: Vec::new(), since: Instant::now(), call })
    }

    /// The pause before the next try, or the error when there is no time left for one.
    async fn pause(&mut self, error: ClusterError) -> Result<(), ClusterError> {
        let pause = self.pauses.next(None);
        tracing::warn!("{error}; trying again in {pause:.1?}");
        let waited = self.objects.cluster.patience().bound(tokio::time::sleep(pause)).await;
        waited.ok_or_else(|| ClusterError::OutOfTime(error.to_string()))
    }
}

impl Stream {
    /// The next event; none when the server ended the watch.
    async fn next(&mut self) -> Result<Option<Event>, ClusterError> {
        loop {
            while let Some(line) = self.take_line() {
                if let Some(event) = self.read(&line)? {
                    return Ok(Some(event));
                }
            }
            let failed =
                |reason: String| ClusterError::Unreachable { doing: self.call.doing.clone(), reason, unsent: false };
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(failed(error.without_url().to_string())),
            }
            if self.buffer.len() > LONGEST_EVENT {
                return Err(failed(format!("an event is longer than {LONGEST_EVENT} bytes")));
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        Some(self.buffer.drain(..=end).collect())
    }

    /// What a line tells; none for a bookmark, which only moves on the version.
    fn read(&mut self, line: &[u8]) -> Result<Option<Event>, ClusterError> {
        let doing = || self.call.doing.clone();
        let mut event: Value = serde_json::from_slice(line)
            .map_err(|error| ClusterError::Unusable { doing: doing(), reason: error.to_string() })?;
        let object = event["object"].take();
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "ERROR" {
            let code = object["code"].as_u64().and_then(|code| StatusCode::from_u16(code as u16).ok());
            let code = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Err(from_status(&self.call, code, &object, None, &[]));
        }
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !version.is_empty() {
            version.clone_into(&mut self.version);
        }
        match kind {
            "ADDED" => Ok(Some(Event::Added(object))),
            "MODIFIED" => Ok(Some(Event::Modified(object))),
            "DELETED" => Ok(Some(Event::Deleted(object))),
            "BOOKMARK" => Ok(None),
            other => Err(ClusterError::Unusable { doing: doing(), reason: format!("unknown event {other:?}") }),
        }
    }
}

fn version(list: &Value) -> String {
    list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}
