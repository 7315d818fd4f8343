//! Files behind `http` and `https` URLs: loaded with GET, saved with PUT (argo: artifacts/http/http.go).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::{Body, Listing, Object, Store, failed_listing};
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;
use crate::stream::{self, ByteStream};
use crate::transfer;

/// Redirects that an upload follows.
const REDIRECTS: usize = 5;

/// A user's name and password.
#[derive(Clone, Debug)]
pub struct BasicAuth {
    /// The name.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

/// One URL and how to ask for it.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The workflow's field that these settings come from, for messages: `artifacts[].http`.
    pub field: &'static str,
    /// The URL.
    pub url: String,
    /// Headers of each request, in order; names may repeat.
    pub headers: Vec<(String, Secret)>,
    /// Basic authentication.
    pub basic_auth: Option<BasicAuth>,
    /// Write what is to be saved into a file first, so that a redirect with status 307 or 308 (WebHDFS) can be
    /// followed with the same body.
    pub save_via_file: bool,
    /// Repetition of each request.
    pub retry: Retry,
}

impl HttpConfig {
    /// A URL without headers or credentials.
    pub fn new(url: impl Into<String>) -> Self {
        HttpConfig {
            field: "artifacts[].http",
            url: url.into(),
            headers: Vec::new(),
            basic_auth: None,
            save_via_file: false,
            retry: Retry::default(),
        }
    }
}

/// One URL; keys play no part.
#[derive(Debug)]
pub struct HttpStore {
    client: Client,
    config: HttpConfig,
    url: Url,
    headers: HeaderMap,
    /// The URL without user, password and query, for messages.
    shown: String,
}

impl HttpStore {
    /// A client for the URL. Nothing is sent yet.
    ///
    /// # Errors
    /// When the URL or a header is not valid.
    pub fn new(config: HttpConfig) -> Result<Self> {
        let url: Url = config
            .url
            .parse()
            .map_err(|error| Error::Refused(format!("{}.url is not a URL: {error}", config.field)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Refused(format!("{}.url: {}:// is not http or https", config.field, url.scheme())));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let wrong =
                || Error::Refused(format!("{}.headers: {name:?} or its value is not valid in HTTP", config.field));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.append(header, value);
        }
        // The first provider installed stays; that there is one already is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(60));
        let client = client.build().map_err(|error| Error::permanent("making an HTTP client", error.without_url()))?;
        let mut shown = url.clone();
        shown.set_query(None);
        // Both fail only for URLs that cannot have credentials.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        Ok(HttpStore { client, url, headers, shown: shown.into(), config })
    }

    /// Sends a request to `url` with the artifact's headers and credentials; another host than the artifact's own gets
    /// the headers only, without those that carry credentials.
    async fn send(&self, method: Method, url: &Url, body: Option<Sent>) -> Result<Response> {
        let mut headers = self.headers.clone();
        let mut request = self.client.request(method, url.clone());
        if url.origin() != self.url.origin() {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                headers.remove(name);
            }
        } else if let Some(auth) = &self.config.basic_auth {
            request = request.basic_auth(auth.username.expose(), Some(auth.password.expose()));
        }
        if let Some(sent) = body {
            request = request.body(sent.body);
            if let Some(length) = sent.length {
                headers.insert(CONTENT_LENGTH, length.into());
            }
        }
        let response = request.headers(headers).send().await.map_err(|error| self.fault(error))?;
        let status = response.status();
        if status.is_success() || keeps_body(status) {
            return Ok(response);
        }
        let text = format!("the server answered {status}");
        Err(match status {
            StatusCode::NOT_FOUND => Error::NotFound { what: self.shown.clone() },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Error::transient(self.shown.clone(), text),
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Error::transient(self.shown.clone(), text)
            }
            _ => Error::permanent(self.shown.clone(), text),
        })
    }

    /// Saves a body that can be had again, following redirects that want the same body elsewhere.
    async fn put_following(&self, body: &Kept) -> Result<()> {
        let mut url = self.url.clone();
        for _ in 0..REDIRECTS {
            let response = self.send(Method::PUT, &url, Some(body.sent())).await?;
            if response.status().is_success() {
                return Ok(());
            }
            let target = response.headers().get(LOCATION).and_then(|target| target.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            url = target.ok_or_else(|| Error::permanent(self.shown.clone(), "a redirect without a valid target"))?;
        }
        Err(Error::permanent(self.shown.clone(), "too many redirects"))
    }

    async fn put_kept(&self, body: Kept) -> Result<u64> {
        self.config.retry.run("saving to a URL", || self.put_following(&body)).await?;
        Ok(match body {
            Kept::Bytes(bytes) => bytes.len() as u64,
            Kept::File { size, .. } => size,
        })
    }

    /// Saves a stream, which is gone afterwards whatever comes of it.
    async fn put_once(&self, stream: ByteStream) -> Result<u64> {
        let counted = Arc::new(AtomicU64::new(0));
        let counter = counted.clone();
        let stream = stream.inspect_ok(move |chunk| {
            counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        });
        let response = self
            .send(Method::PUT, &self.url, Some(Sent { body: reqwest::Body::wrap_stream(stream), length: None }))
            .await?;
        if keeps_body(response.status()) {
            return Err(Error::permanent(
                self.shown.clone(),
                format!("the server redirects the upload: set {}.saveStreamViaFile to true", self.config.field),
            ));
        }
        Ok(counted.load(Ordering::Relaxed))
    }

    fn fault(&self, error: reqwest::Error) -> Error {
        let permanent = error.is_builder() || error.is_redirect();
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        match permanent {
            true => Error::permanent(self.shown.clone(), text),
            false => Error::transient(self.shown.clone(), text),
        }
    }
}

#[async_trait]
impl Store for HttpStore {
    fn describe(&self, _key: &str) -> String {
        self.shown.clone()
    }

    async fn open(&self, _key: &str) -> Result<Object> {
        let get = || self.send(Method::GET, &self.url, None);
        let response = self.config.retry.run("loading a URL", get).await?;
        let size = response.content_length();
        let what = self.shown.clone();
        let chunks = response.bytes_stream().map_err(move |error| {
            // HTTP's own framing tells a body that broke off; a whole new request may bring all of it.
            Error::transient(format!("loading {what}"), error.without_url())
        });
        Ok(Object { size, stream: chunks.boxed() })
    }

    async fn put(&self, _key: &str, body: Body) -> Result<u64> {
        match body {
            Body::Bytes(bytes) => self.put_kept(Kept::Bytes(bytes)).await,
            Body::File { path, size } => self.put_kept(Kept::File { path, size }).await,
            Body::Stream(stream) if self.config.save_via_file => {
                let kept = TemporaryFile::new();
                let size = transfer::write_file(stream, &kept.path).await?;
                self.put_kept(Kept::File { path: kept.path.clone(), size }).await
            }
            Body::Stream(stream) => self.put_once(stream).await,
        }
    }

    async fn delete(&self, _key: &str) -> Result<()> {
        Err(Error::Refused(format!("{} cannot be deleted: there is no delete for a URL", self.config.field)))
    }

    fn list<'a>(&'a self, _key: &str) -> Listing<'a> {
        failed_listing(Error::Refused(format!("{} cannot be listed: a URL is one file", self.config.field)))
    }

    async fn is_directory(&self, _key: &str) -> Result<bool> {
        Ok(false)
    }
}

/// Redirects that ask for the same request, body included, elsewhere.
fn keeps_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// A file that is gone with the value.
struct TemporaryFile {
    path: PathBuf,
}

impl TemporaryFile {
    fn new() -> Self {
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

/// The body of a request.
struct Sent {
    body: reqwest::Body,
    /// What the server is told beforehand, where the body itself does not know.
    length: Option<u64>,
}

/// A body that can be sent any number of times.
enum Kept {
    Bytes(Bytes),
    File { path: PathBuf, size: u64 },
}

impl Kept {
    fn sent(&self) -> Sent {
        match self {
            Kept::Bytes(bytes) => Sent { body: bytes.clone().into(), length: None },
            Kept::File { path, size } => {
                Sent { body: reqwest::Body::wrap_stream(stream::file(path, *size)), length: Some(*size) }
            }
        }
    }
}
