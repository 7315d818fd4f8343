//! Azure's blobs, by its REST interface. Parts are blocks, which the service checks by CRC64 as they come; what is
//! loaded comes in ranges that carry one as well.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm;
use futures_util::StreamExt;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::bucket::{escape_path, header, http_date, number, url, value};
use super::objects::{Answer, Checked, Objects, Protocol, Sent, Upload, Whole};
use super::token::Tokens;
use super::{Entry, Store, listing, mime, rest};
use crate::budget::Budget;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;
use crate::stream::{self, ByteStream};

mod identity;
mod sign;

use sign::SharedKey;

/// The version of the interface: the first that checks blocks by CRC64 is older.
const VERSION: &str = "2021-12-02";
/// Bytes of the first request for a blob; a range that carries a CRC64 has at most 4 MiB.
const FIRST: u64 = 2 << 20;
const CRC64: HeaderName = HeaderName::from_static("x-ms-content-crc64");

/// One container and who asks.
#[derive(Clone, Debug)]
pub(crate) struct AzureConfig {
    /// The account's URL.
    pub endpoint: String,
    /// The container.
    pub container: String,
    /// The account's key, or a SAS token; none for what the Pod is (workload identity, managed identity).
    pub key: Option<Secret>,
    /// Where the Pod's identity is said.
    pub environment: Environment,
    /// Repetition of each request.
    pub retry: Retry,
}

/// The container as a store.
pub(crate) fn store(config: AzureConfig, budget: Arc<Budget>) -> Result<Arc<dyn Store>> {
    for (field, value) in [("container", &config.container), ("endpoint", &config.endpoint)] {
        if value.is_empty() {
            return Err(Error::Refused(format!(
                "artifacts[].azure.{field} is missing: give it there or in the repository"
            )));
        }
    }
    let base = format!("{}/{}", config.endpoint.trim_end_matches('/'), config.container).parse::<Url>().ok();
    let base = base.filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
    let base = base.ok_or_else(|| {
        Error::Refused(format!("artifacts[].azure.endpoint {:?} is not the URL of an account", config.endpoint))
    })?;
    let who = match &config.key {
        None => Who::Token(Tokens::new(identity::source(&config.environment)?, &config.retry)),
        Some(key) if key.expose().contains('=') && key.expose().contains("sig=") => {
            Who::Sas(Secret::new(key.expose().trim().trim_start_matches('?')))
        }
        Some(key) => Who::Key(SharedKey::new(&base, key)?),
    };
    let container = Container { client: rest::client()?, base, who, name: config.container, stall: config.retry.stall };
    Ok(Arc::new(Objects::new(container, config.retry, budget)))
}

/// Who asks.
#[derive(Debug)]
enum Who {
    Key(SharedKey),
    /// Query parameters that carry a signature made elsewhere.
    Sas(Secret),
    Token(Tokens),
}

/// A container.
#[derive(Debug)]
struct Container {
    client: Client,
    base: Url,
    who: Who,
    name: String,
    /// See [`Retry::stall`].
    stall: Duration,
}

impl Container {
    async fn send(
        &self,
        doing: &str,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response> {
        let path = if key.is_empty() { String::new() } else { format!("/{}", escape_path(key)?) };
        let mut url = url(&self.base, &path, query)?;
        headers.insert("x-ms-version", HeaderValue::from_static(VERSION));
        headers.insert("x-ms-date", value(&http_date())?);
        let authorization = match &self.who {
            Who::Key(key) => Some(key.authorization(&method, &url, query, &headers, body.len())),
            Who::Token(tokens) => Some(tokens.authorization().await?.expose().to_owned()),
            Who::Sas(parameters) => {
                let query = url.query().map_or(String::new(), |query| format!("{query}&"));
                url.set_query(Some(&format!("{query}{}", parameters.expose())));
                None
            }
        };
        if let Some(authorization) = authorization {
            let mut authorization = value(&authorization)?;
            authorization.set_sensitive(true);
            headers.insert(AUTHORIZATION, authorization);
        }
        rest::send(doing, self.client.request(method, url).headers(headers).body(body)).await
    }

    fn doing(&self, verb: &str, key: &str) -> String {
        format!("{verb} {}", self.describe(key))
    }

    /// A range of a blob, compared with the checksum that came with it.
    async fn range(&self, key: &str, range: Range<u64>, etag: Option<&str>) -> Result<(HeaderMap, Bytes)> {
        let doing = self.doing("loading", key);
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-range", value(&format!("bytes={}-{}", range.start, range.end - 1))?);
        headers.insert("x-ms-range-get-content-crc64", HeaderValue::from_static("true"));
        if let Some(etag) = etag {
            headers.insert(IF_MATCH, value(etag)?);
        }
        let response = self.send(&doing, Method::GET, key, &[], headers, Bytes::new()).await?;
        let headers = response.headers().clone();
        let mut body = rest::body(response, doing.clone(), self.stall);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let bytes = bytes.freeze();
        match header(&headers, CRC64) {
            Some(expected) if expected != crc_text(sum(&bytes)) => {
                Err(Error::corrupt(doing, "the range has another checksum than the store sent with it"))
            }
            _ => Ok((headers, bytes)),
        }
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(bytes);
    digest.finalize()
}

/// The service writes the number's bytes with the last first.
fn crc_text(sum: u64) -> String {
    STANDARD.encode(sum.to_le_bytes())
}

fn block(upload: &Upload, number: u32) -> String {
    STANDARD.encode(format!("{}-{number:06}", upload.id))
}

#[async_trait]
impl Protocol for Container {
    const SUM: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;
    type Target = String;

    fn describe(&self, key: &str) -> String {
        format!("azure://{}/{key}", self.name)
    }

    fn target(&self, key: &str) -> Result<String> {
        escape_path(key)?;
        Ok(key.to_owned())
    }

    async fn get(&self, key: &String) -> Result<Answer> {
        let doing = self.doing("loading", key);
        let (headers, first, size) = match self.range(key, 0..FIRST, None).await {
            Ok((headers, first)) => {
                let total = header(&headers, CONTENT_RANGE).and_then(|range| range.rsplit('/').next()?.parse().ok());
                let size = total.unwrap_or(first.len() as u64);
                (headers, first, size)
            }
            // An empty blob has no range; that it is empty, and no directory, is seen without one.
            Err(error) if rest::status(&error) == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
                let response = self.send(&doing, Method::HEAD, key, &[], HeaderMap::new(), Bytes::new()).await?;
                (response.headers().clone(), Bytes::new(), 0)
            }
            Err(error) => return Err(error),
        };
        if header(&headers, "x-ms-meta-hdi_isfolder") == Some("true") {
            // In accounts with hierarchy a directory is a blob too (argo: azure.go, Load).
            return Err(Error::NotFound { what: self.describe(key) });
        }
        Ok(Answer {
            size: Some(size),
            covers: Some(first.len() as u64),
            etag: header(&headers, ETAG).map(str::to_owned),
            ranges: true,
            sum: None,
            body: stream::once(first),
        })
    }

    async fn get_range(&self, key: &String, range: Range<u64>, etag: Option<&str>) -> Result<ByteStream> {
        self.range(key, range, etag).await.map(|(_, bytes)| stream::once(bytes))
    }

    async fn put(&self, key: &String, bytes: Bytes, sum: u64) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
        headers.insert("x-ms-blob-content-type", HeaderValue::from_static(mime::of(key)));
        headers.insert(CRC64, value(&crc_text(sum))?);
        self.send(&self.doing("storing", key), Method::PUT, key, &[], headers, bytes).await.map(drop)
    }

    async fn begin(&self, _key: &String) -> Result<Upload> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        // Blocks of another upload of the same blob have other names. All names of a blob's blocks are of one length.
        let id = format!("{time:016x}{:08x}", NEXT.fetch_add(1, Ordering::Relaxed) as u32 ^ std::process::id() << 16);
        Ok(Upload { id, checked: Checked::Parts })
    }

    async fn put_part(&self, key: &String, upload: &Upload, number: u32, bytes: Bytes, sum: u64) -> Result<String> {
        let doing = format!("storing part {number} of {}", self.describe(key));
        let id = block(upload, number);
        let headers = HeaderMap::from_iter([(CRC64, value(&crc_text(sum))?)]);
        self.send(&doing, Method::PUT, key, &[("comp", "block"), ("blockid", &id)], headers, bytes).await?;
        Ok(id)
    }

    async fn complete(&self, key: &String, _upload: &Upload, parts: &[Sent], _whole: Whole) -> Result<()> {
        let blocks: String = parts.iter().map(|sent| format!("<Latest>{}</Latest>", sent.tag)).collect();
        let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{blocks}</BlockList>");
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-blob-content-type", HeaderValue::from_static(mime::of(key)));
        headers.insert("content-type", HeaderValue::from_static("application/xml"));
        let doing = self.doing("completing", key);
        self.send(&doing, Method::PUT, key, &[("comp", "blocklist")], headers, body.into()).await.map(drop)
    }

    async fn abort(&self, _key: &String, _upload: &Upload) -> Result<()> {
        // The service has no request for it: blocks that no list names are gone after a week.
        Ok(())
    }

    async fn size(&self, key: &String) -> Result<Option<u64>> {
        let doing = self.doing("completing", key);
        let response = self.send(&doing, Method::HEAD, key, &[], HeaderMap::new(), Bytes::new()).await?;
        Ok(number(response.headers(), CONTENT_LENGTH))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let doing = self.doing("deleting", key);
        self.send(&doing, Method::DELETE, key, &[], HeaderMap::new(), Bytes::new()).await.map(drop)
    }

    async fn page(&self, prefix: &str, token: Option<&str>) -> Result<(Vec<Entry>, Option<String>)> {
        let doing = self.doing("listing", prefix);
        let mut query =
            vec![("restype", "container"), ("comp", "list"), ("include", "metadata"), ("maxresults", "1000")];
        if !prefix.is_empty() {
            query.push(("prefix", prefix));
        }
        query.extend(token.map(|token| ("marker", token)));
        let response = self.send(&doing, Method::GET, "", &query, HeaderMap::new(), Bytes::new()).await?;
        let body = rest::small(response).await?;
        let text = String::from_utf8_lossy(&body);
        let page = listing::read(text.trim_start_matches('\u{feff}'), "Blob", "Name", "NextMarker");
        let page = page.map_err(|error| Error::permanent(doing, error.to_string()))?;
        Ok((page.entries, page.next))
    }
}
