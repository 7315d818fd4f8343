//! Files behind `http` and `https` URLs: loaded with GET, saved with PUT (argo: artifacts/http/http.go). Artifactory is
//! spoken to so as well, and Hadoop by WebHDFS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::token::Tokens;
use super::{Body, Listing, Object, Store, failed_listing, rest};
use crate::error::{Error, Result};
use crate::opened::Opened;
use crate::stream::ByteStream;
use crate::transfer::{self, Moved};

mod body;
mod checksum;
mod config;
mod oauth2;
mod webhdfs;

use body::{Kept, Sent, TemporaryFile};
use checksum::{Checksum, Sums};
pub use config::{BasicAuth, ClientCertificate, HttpConfig};
pub use oauth2::OAuth2;

/// Redirects that a request follows, as many as Go's client.
const REDIRECTS: usize = 10;

/// One URL; keys play no part.
#[derive(Debug)]
pub struct HttpStore {
    client: Client,
    config: HttpConfig,
    url: Url,
    headers: HeaderMap,
    tokens: Option<Tokens>,
    /// The URL without user, password and query, for messages.
    shown: String,
    /// An upload was redirected after its stream had begun: the next one is kept in a file.
    redirected: AtomicBool,
}

impl HttpStore {
    /// A client for the URL. Nothing is sent yet.
    ///
    /// # Errors
    /// When the URL, a header, the certificate or a parameter of OAuth2 is not valid.
    pub fn new(config: HttpConfig) -> Result<Self> {
        let url: Url = config
            .url
            .parse()
            .map_err(|error| Error::Refused(format!("{}.url is not a URL: {error}", config.field)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Refused(format!("{}.url: {}:// is not http or https", config.field, url.scheme())));
        }
        let mut shown = url.clone();
        shown.set_query(None);
        // Both fail only for URLs that cannot have credentials.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        let tokens = match &config.oauth2 {
            None => None,
            Some(oauth2) => {
                let form = oauth2.form(config.field)?;
                Some(Tokens::new(oauth2::Client { config: oauth2.clone(), form }, &config.retry))
            }
        };
        let redirected = AtomicBool::new(false);
        let (client, headers) = (config.client()?, config.header_map()?);
        Ok(HttpStore { client, url, headers, tokens, shown: shown.into(), redirected, config })
    }

    /// Sends a request to `url` with the artifact's headers and credentials; gives a success, or a redirect that the
    /// method follows.
    async fn send(&self, method: Method, url: &Url, body: Option<Sent>) -> Result<Response> {
        let headers = self.headers_for(url, body.is_some()).await?;
        let mut request = self.client.request(method.clone(), url.clone()).headers(headers);
        if let Some(sent) = body {
            request = request.body(sent.body);
            if let Some(length) = sent.length {
                request = request.header(CONTENT_LENGTH, length);
            }
        }
        let response = request.send().await.map_err(|error| rest::fault(&self.shown, error))?;
        let status = response.status();
        if status.is_success() || follows(&method, status) {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// The headers of a request to `url`. Another host than the artifact's own gets those without credentials.
    async fn headers_for(&self, url: &Url, uploads: bool) -> Result<HeaderMap> {
        let mut headers = self.headers.clone();
        let own = url.origin() == self.url.origin();
        if !own {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                headers.remove(name);
            }
        }
        let authorization = match (&self.tokens, &self.config.basic_auth) {
            (Some(tokens), _) if own || self.is_datanode(url) => Some(tokens.authorization().await?),
            (None, Some(auth)) if own => Some(auth.header()),
            _ => None,
        };
        if let Some(text) = authorization {
            let value = HeaderValue::from_str(text.expose());
            let mut value = value.map_err(|_| {
                Error::Refused(format!("{}.auth: the token or password is not valid in HTTP", self.config.field))
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if uploads && webhdfs::serves(url) && !headers.contains_key(CONTENT_TYPE) {
            // HttpFS takes nothing else.
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        }
        Ok(headers)
    }

    /// Whether the URL is of the cluster whose namenode is the artifact's. Servers before a cluster want the token for
    /// datanodes too; Hadoop's own client shows it to them, but never in clear where the namenode is asked by https.
    fn is_datanode(&self, url: &Url) -> bool {
        webhdfs::serves(&self.url) && webhdfs::serves(url) && (url.scheme() == "https" || self.url.scheme() == "http")
    }

    /// The error of an answer that is neither a success nor followed.
    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Error::NotFound { what: self.shown.clone() };
        }
        let mut text = format!("the server answered {status}");
        let mut passes = match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::NOT_IMPLEMENTED => false,
            status => status.is_server_error(),
        };
        if webhdfs::serves(&self.url) {
            // The status says enough where the words are lost.
            let body = rest::small(response).await.unwrap_or_default();
            if let Some(reason) = webhdfs::reason(&body) {
                text = format!("{text}, {}", reason.text);
                passes |= reason.passes;
            }
        }
        match passes {
            true => Error::transient(self.shown.clone(), text),
            false => Error::permanent(self.shown.clone(), text),
        }
    }

    /// Where a redirect leads.
    fn target(&self, from: &Url, response: &Response) -> Result<Url> {
        let target = response.headers().get(LOCATION).and_then(|target| target.to_str().ok());
        let target = target.and_then(|target| from.join(target).ok());
        let target = target.filter(|target| matches!(target.scheme(), "http" | "https"));
        target.ok_or_else(|| Error::permanent(self.shown.clone(), "a redirect without a valid target"))
    }

    async fn get_following(&self) -> Result<Response> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.send(Method::GET, &url, None).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            url = self.target(&url, &response)?;
        }
        Err(self.led_in_circles())
    }

    /// The URL that takes the body: the artifact's, or the datanode's that WebHDFS names when it is asked.
    async fn destination(&self) -> Result<Url> {
        if !webhdfs::asks_first(&self.url) {
            return Ok(self.url.clone());
        }
        let response = self.send(Method::PUT, &self.url, Some(Sent::nothing())).await?;
        match response.status().is_success() {
            // A server that sends nobody elsewhere takes the body itself.
            true => Ok(self.url.clone()),
            false => self.target(&self.url, &response),
        }
    }

    /// Saves a body that can be had again, following redirects that want the same body elsewhere.
    async fn put_following(&self, body: &Kept) -> Result<()> {
        let mut url = self.destination().await?;
        for _ in 0..=REDIRECTS {
            let sums = self.config.checksums.then(Sums::new);
            let (stream, _) = watched(body.stream(), &sums);
            let sent = Sent { body: reqwest::Body::wrap_stream(stream), length: Some(body.size()) };
            let response = self.send(Method::PUT, &url, Some(sent)).await?;
            if response.status().is_success() {
                return self.compare(response, sums).await;
            }
            url = self.target(&url, &response)?;
        }
        Err(self.led_in_circles())
    }

    async fn put_kept(&self, body: Kept) -> Result<u64> {
        self.config.retry.run("saving to a URL", || self.put_following(&body)).await?;
        Ok(body.size())
    }

    /// Saves a stream, which is gone afterwards whatever comes of it.
    async fn put_once(&self, stream: ByteStream) -> Result<u64> {
        let url = self.config.retry.run("saving to a URL", || self.destination()).await?;
        let sums = self.config.checksums.then(Sums::new);
        let (stream, counted) = watched(stream, &sums);
        let sent = Sent { body: reqwest::Body::wrap_stream(stream), length: None };
        let response = self.send(Method::PUT, &url, Some(sent)).await?;
        if !response.status().is_success() {
            self.redirected.store(true, Ordering::Relaxed);
            return Err(Error::transient(
                self.shown.clone(),
                format!("the server redirects the upload: set {}.saveStreamViaFile to true", self.config.field),
            ));
        }
        self.compare(response, sums).await?;
        Ok(counted.load(Ordering::Relaxed))
    }

    /// Compares what the server has with what was sent.
    async fn compare(&self, response: Response, sums: Option<Sums>) -> Result<()> {
        let Some(sums) = sums else { return Ok(()) };
        // A server between that answers something else tells no checksum.
        let answer = rest::small(response).await.unwrap_or_default();
        match Checksum::of_answer(&answer) {
            Some(there) if !there.is_of(&sums) => {
                Err(Error::corrupt(self.shown.clone(), "the server has another checksum than what was sent"))
            }
            _ => Ok(()),
        }
    }

    fn led_in_circles(&self) -> Error {
        Error::permanent(self.shown.clone(), format!("more than {REDIRECTS} redirects"))
    }
}

/// The stream with its bytes counted and summed up on their way.
fn watched(stream: ByteStream, sums: &Option<Sums>) -> (ByteStream, Arc<AtomicU64>) {
    let counted = Arc::new(AtomicU64::new(0));
    let (counter, sums) = (counted.clone(), sums.clone());
    let stream = stream.inspect_ok(move |chunk| {
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if let Some(sums) = &sums {
            sums.update(chunk);
        }
    });
    (stream.boxed(), counted)
}

/// Whether the status asks for the same request elsewhere. An upload follows only those that want its body there: Go's
/// client would make a GET of it and take its success for a saved artifact.
fn follows(method: &Method, status: StatusCode) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => *method == Method::GET,
        _ => false,
    }
}

#[async_trait]
impl Store for HttpStore {
    fn describe(&self, _key: &str) -> String {
        self.shown.clone()
    }

    async fn open(&self, _key: &str) -> Result<Object> {
        let response = self.config.retry.run("loading a URL", || self.get_following()).await?;
        let size = response.content_length();
        let checksum = Checksum::of_headers(response.headers()).filter(|_| self.config.checksums);
        let what = self.shown.clone();
        let chunks = response.bytes_stream().map_err(move |error| {
            // HTTP's own framing tells a body that broke off; a whole new request may bring all of it.
            Error::transient(format!("loading {what}"), error.without_url())
        });
        let stream = match checksum {
            Some(checksum) => checksum.verify(chunks.boxed(), self.shown.clone()),
            None => chunks.boxed(),
        };
        Ok(Object { size, stream })
    }

    async fn put(&self, _key: &str, body: Body) -> Result<u64> {
        match body {
            Body::Bytes(bytes) => self.put_kept(Kept::Bytes(bytes)).await,
            Body::File(file) => self.put_kept(Kept::File(file)).await,
            Body::Stream(stream) if self.config.save_via_file || self.redirected.load(Ordering::Relaxed) => {
                let kept = TemporaryFile::new();
                transfer::write_file(stream, &kept.path).await?;
                self.put_kept(Kept::File(Opened::at(&kept.path)?)).await
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

    async fn save(&self, _key: &str, source: &Opened) -> Result<Option<Moved>> {
        match source.is_dir() {
            // Its files would each take the place of the one before.
            true => Err(Error::Refused(format!(
                "{} is one file, but {} is a directory: set archive.tar or archive.zip instead of archive.none",
                self.config.field,
                source.path().display()
            ))),
            false => Ok(None),
        }
    }
}
