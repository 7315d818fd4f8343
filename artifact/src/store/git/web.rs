//! Git's requests over the same HTTP client as everything else. Git reads and writes synchronously, on a blocking
//! thread; each request runs as a task beside it.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::fault::{Body, Fault};
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::store::{BasicAuth, rest};
use crate::stream::StreamReader;

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// Chunks of an answer that wait to be read.
const WAITING: usize = 8;

/// A client for one host's repositories.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: Client,
    authorization: Option<HeaderValue>,
    /// Where the credentials are for.
    origin: Option<Url>,
    stall: Duration,
}

impl Web {
    pub(super) fn new(origin: Option<&Url>, auth: Option<&BasicAuth>, skip_tls: bool, retry: &Retry) -> Result<Self> {
        let builder = rest::builder().redirect(reqwest::redirect::Policy::limited(REDIRECTS));
        let builder = builder.connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(60));
        let client = rest::finish(builder.tls_danger_accept_invalid_certs(skip_tls))?;
        let authorization = auth.map(|auth| {
            use base64::Engine;
            let pair = format!("{}:{}", auth.username.expose().trim(), auth.password.expose().trim());
            let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(true);
            value
        });
        Ok(Web { client, authorization, origin: origin.cloned(), stall: retry.stall })
    }

    /// The requests of one connection, and the place where the cause of a failure is put.
    pub(super) fn requests(&self, runtime: &Handle, fault: &Fault) -> Requests {
        Requests { web: self.clone(), runtime: runtime.clone(), fault: fault.clone(), redirected: Arc::default() }
    }
}

/// See [`Web::requests`].
pub(super) struct Requests {
    web: Web,
    runtime: Handle,
    fault: Fault,
    redirected: Arc<Mutex<Option<String>>>,
}

impl Requests {
    /// Begins a request whose body comes through the channel; gives readers of the answer's headers and body.
    fn begin<S: AsRef<str>>(
        &self,
        method: Method,
        url: &str,
        base: &str,
        lines: impl IntoIterator<Item = S>,
    ) -> (oneshot::Sender<Vec<u8>>, Headers, AnswerBody) {
        let mut headers = HeaderMap::new();
        for line in lines {
            let parts = line.as_ref().split_once(':');
            let parsed = parts.and_then(|(name, value)| {
                Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
            });
            headers.extend(parsed);
        }
        let (send_body, body) = oneshot::channel::<Vec<u8>>();
        let (send_head, head) = oneshot::channel();
        let (send_chunk, chunks) = mpsc::channel(WAITING);
        let (web, redirected) = (self.web.clone(), self.redirected.clone());
        let (url, tail) = (url.to_owned(), url.strip_prefix(base).unwrap_or_default().to_owned());
        self.runtime.spawn(async move {
            // Git gave up before it had written all.
            let Ok(body) = body.await else { return };
            match web.send(method, &url, headers, body).await {
                Err(error) => drop(send_head.send(Err(error))),
                Ok(response) => {
                    let end = response.url().as_str();
                    if end != url
                        && let Some(base) = end.strip_suffix(&tail)
                    {
                        *redirected.lock().unwrap_or_else(PoisonError::into_inner) = Some(base.to_owned());
                    }
                    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
                    let head = format!("content-type: {}\n", kind.unwrap_or_default());
                    // Whoever waits may be gone; then nobody reads the body either.
                    let _ = send_head.send(Ok(head));
                    let mut body = rest::body(response, loading(&url), web.stall);
                    while let Some(chunk) = body.next().await {
                        let failed = chunk.is_err();
                        if send_chunk.send(chunk.map(Some)).await.is_err() || failed {
                            return;
                        }
                    }
                    let _ = send_chunk.send(Ok(None)).await;
                }
            }
        });
        let headers = Headers { head: Some(head), text: Cursor::default(), fault: self.fault.clone() };
        let body = Body { reader: StreamReader::new(chunks), fault: self.fault.clone() };
        (send_body, headers, BufReader::new(body))
    }
}

impl Web {
    async fn send(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<reqwest::Response> {
        let doing = loading(url);
        let url: Url = url.parse().map_err(|error| Error::permanent(doing.clone(), format!("{error}")))?;
        if let Some(authorization) = &self.authorization
            && self.origin.as_ref().is_some_and(|origin| url.origin() == origin.origin())
        {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let request = self.client.request(method, url).headers(headers).body(Bytes::from(body));
        match rest::send(&doing, request).await {
            Err(refused) if rest::status(&refused) == Some(StatusCode::UNAUTHORIZED) => {
                let why = "the server wants other credentials (HTTP 401): see usernameSecret and passwordSecret";
                Err(Error::permanent(doing, why))
            }
            outcome => outcome,
        }
    }
}

/// What a request does, in words. The query is the protocol's, not the user's.
fn loading(url: &str) -> String {
    format!("loading {}", url.split('?').next().unwrap_or(url))
}

/// The answer's headers, once they are there.
pub(super) struct Headers {
    head: Option<oneshot::Receiver<Result<String>>>,
    text: Cursor<Vec<u8>>,
    fault: Fault,
}

impl Headers {
    fn arrive(&mut self) -> io::Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        match head.blocking_recv() {
            Ok(Ok(text)) => {
                self.text = Cursor::new(text.into_bytes());
                Ok(())
            }
            Ok(Err(error)) => Err(self.fault.keep(error)),
            Err(_) => Err(self.fault.keep(Error::transient("loading a repository", "the request was given up"))),
        }
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arrive()?;
        self.text.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.arrive()?;
        self.text.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.text.consume(count);
    }
}

type AnswerBody = BufReader<Body>;

/// A request's body, which is sent when git has written all of it.
pub(super) struct Posted {
    bytes: Vec<u8>,
    send: Option<oneshot::Sender<Vec<u8>>>,
}

impl Write for Posted {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        if let Some(send) = self.send.take() {
            // The task that waits for it reports its own end.
            let _ = send.send(std::mem::take(&mut self.bytes));
        }
    }
}

impl Http for Requests {
    type Headers = Headers;
    type ResponseBody = AnswerBody;
    type PostBody = Posted;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Headers, AnswerBody>> {
        let (send, headers, body) = self.begin(Method::GET, url, base_url, headers);
        // A GET has no body: it may go at once.
        let _ = send.send(Vec::new());
        Ok(GetResponse { headers, body })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Headers, AnswerBody, Posted>> {
        let (send, headers, body) = self.begin(Method::POST, url, base_url, headers);
        Ok(PostResponse { post_body: Posted { bytes: Vec::new(), send: Some(send) }, headers, body })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix_error::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
