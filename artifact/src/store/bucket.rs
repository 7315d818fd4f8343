//! The protocol that GCS and OSS share with S3: keys are paths, uploads in parts and listings are XML. What differs is
//! how a request says who asks, and which checksums there are: a [`Dialect`].

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RANGE,
};
use reqwest::{Client, Method, Response, Url};

use super::objects::{Answer, Checked, Protocol, Sent, Upload, Whole};
use super::{Entry, listing, mime, rest};
use crate::error::{Error, Result};
use crate::stream::ByteStream;

/// What differs between the stores of this protocol.
#[async_trait]
pub(super) trait Dialect: fmt::Debug + Send + Sync + 'static {
    /// What the store's checksums are.
    const SUM: CrcAlgorithm;
    /// The beginning of an object's name in messages: `gs`.
    const SCHEME: &'static str;

    /// Adds to the headers what says who asks.
    async fn sign(&self, request: &mut Signed<'_>) -> Result<()>;

    /// The header by which the store compares a checksum before it takes the bytes.
    fn sum_header(&self, _sum: u64) -> Option<(HeaderName, HeaderValue)> {
        None
    }

    /// The checksum of what was stored or is kept, as an answer tells it.
    fn sum_of(&self, headers: &HeaderMap) -> Option<u64>;

    /// What must be there before the first upload.
    async fn prepare(&self, _bucket: &Bucket<Self>) -> Result<()>
    where
        Self: Sized,
    {
        Ok(())
    }
}

/// A request that is to be signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a mut HeaderMap,
    /// The bucket.
    pub(super) bucket: &'a str,
    /// The key, empty for the bucket itself.
    pub(super) key: &'a str,
    /// Query parameters in order.
    pub(super) query: &'a [(&'a str, &'a str)],
}

/// A bucket of such a store.
#[derive(Debug)]
pub(super) struct Bucket<D> {
    pub(super) client: Client,
    pub(super) dialect: D,
    /// The bucket's own address, ending in `/`.
    pub(super) base: Url,
    pub(super) name: String,
    /// See [`crate::Retry::stall`].
    pub(super) stall: Duration,
}

/// The time as headers have it.
pub(super) fn http_date() -> String {
    DateTime::from(SystemTime::now()).fmt(DateTimeFormat::HttpDate).unwrap_or_default()
}

/// The key as a URL's path. Parts `.` and `..` cannot be in one: every client takes them for directions.
pub(super) fn escape_path(key: &str) -> Result<String> {
    if key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Error::Refused(format!("key {key:?} has a part \".\" or \"..\", which cannot be in a URL")));
    }
    Ok(escape(key, true))
}

/// Escapes all but letters, digits and `-._~`, and `/` if that is to stay.
pub(super) fn escape(text: &str, slashes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte as char),
            b'/' if slashes => escaped.push('/'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// `base` with a path behind it and a query. Parameters without value are names alone.
pub(super) fn url(base: &Url, path: &str, query: &[(&str, &str)]) -> Result<Url> {
    let pairs = query.iter().map(|(name, value)| match value.is_empty() {
        true => (*name).to_owned(),
        false => format!("{name}={}", escape(value, false)),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let text = format!("{base}{path}{}{query}", if query.is_empty() { "" } else { "?" });
    text.parse().map_err(|error| Error::permanent(format!("making a URL of {path:?}"), format!("{error}")))
}

/// A header's text.
pub(super) fn header(headers: &HeaderMap, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A header's number.
pub(super) fn number(headers: &HeaderMap, name: impl reqwest::header::AsHeaderName) -> Option<u64> {
    header(headers, name).and_then(|text| text.parse().ok())
}

/// A text as a header's value.
pub(super) fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::Refused("a credential or name is not valid in HTTP".into()))
}

impl<D: Dialect> Bucket<D> {
    /// Sends a request for `key`, empty for the bucket itself.
    pub(super) async fn send(
        &self,
        doing: &str,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response> {
        let url = url(&self.base, &escape_path(key)?, query)?;
        let mut signed = Signed { method: &method, headers: &mut headers, bucket: &self.name, key, query };
        self.dialect.sign(&mut signed).await?;
        let request = self.client.request(method, url).headers(headers).body(body);
        rest::send(doing, request).await
    }

    fn doing(&self, verb: &str, key: &str) -> String {
        format!("{verb} {}", self.describe(key))
    }

    /// Compares what the store got with what was sent, where it tells.
    fn compare(&self, doing: &str, headers: &HeaderMap, sum: u64) -> Result<()> {
        match self.dialect.sum_of(headers) {
            Some(there) if there != sum => {
                Err(Error::corrupt(doing, format!("the store has checksum {there:x} where {sum:x} was sent")))
            }
            _ => Ok(()),
        }
    }

    fn put_headers(&self, sum: u64) -> HeaderMap {
        self.dialect.sum_header(sum).into_iter().collect()
    }
}

#[async_trait]
impl<D: Dialect> Protocol for Bucket<D> {
    const SUM: CrcAlgorithm = D::SUM;
    type Target = String;

    fn describe(&self, key: &str) -> String {
        format!("{}://{}/{key}", D::SCHEME, self.name)
    }

    fn target(&self, key: &str) -> Result<String> {
        escape_path(key)?;
        Ok(key.to_owned())
    }

    async fn prepare(&self) -> Result<()> {
        self.dialect.prepare(self).await
    }

    async fn get(&self, key: &String) -> Result<Answer> {
        let doing = self.doing("loading", key);
        let response = self.send(&doing, Method::GET, key, &[], HeaderMap::new(), Bytes::new()).await?;
        let headers = response.headers();
        Ok(Answer {
            size: number(headers, CONTENT_LENGTH),
            covers: None,
            etag: header(headers, ETAG).map(str::to_owned),
            ranges: header(headers, ACCEPT_RANGES) != Some("none"),
            sum: self.dialect.sum_of(headers),
            body: rest::body(response, doing, self.stall),
        })
    }

    async fn get_range(&self, key: &String, range: Range<u64>, etag: Option<&str>) -> Result<ByteStream> {
        let doing = self.doing("loading", key);
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, value(&format!("bytes={}-{}", range.start, range.end - 1))?);
        if let Some(etag) = etag {
            headers.insert(IF_MATCH, value(etag)?);
        }
        let response = self.send(&doing, Method::GET, key, &[], headers, Bytes::new()).await?;
        Ok(rest::body(response, doing, self.stall))
    }

    async fn put(&self, key: &String, bytes: Bytes, sum: u64) -> Result<()> {
        let doing = self.doing("storing", key);
        let mut headers = self.put_headers(sum);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(mime::of(key)));
        let response = self.send(&doing, Method::PUT, key, &[], headers, bytes).await?;
        self.compare(&doing, response.headers(), sum)
    }

    async fn begin(&self, key: &String) -> Result<Upload> {
        let doing = self.doing("storing", key);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(mime::of(key)))]);
        let response = self.send(&doing, Method::POST, key, &[("uploads", "")], headers, Bytes::new()).await?;
        let body = rest::small(response).await?;
        let id = rest::element(&String::from_utf8_lossy(&body), "UploadId").map(str::to_owned);
        let id = id.ok_or_else(|| Error::permanent(doing, "the server gave no id for the upload"))?;
        Ok(Upload { id, checked: Checked::Whole })
    }

    async fn put_part(&self, key: &String, upload: &Upload, number: u32, bytes: Bytes, sum: u64) -> Result<String> {
        let doing = format!("storing part {number} of {}", self.describe(key));
        let (number, headers) = (number.to_string(), self.put_headers(sum));
        let query = [("partNumber", number.as_str()), ("uploadId", &upload.id)];
        let response = self.send(&doing, Method::PUT, key, &query, headers, bytes).await?;
        self.compare(&doing, response.headers(), sum)?;
        let tag = header(response.headers(), ETAG).map(str::to_owned);
        tag.ok_or_else(|| Error::permanent(doing, "the server gave no ETag"))
    }

    async fn complete(&self, key: &String, upload: &Upload, parts: &[Sent], whole: Whole) -> Result<()> {
        let doing = self.doing("completing", key);
        let parts = parts.iter().map(|sent| {
            let tag = sent.tag.replace('&', "&amp;").replace('<', "&lt;");
            format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", sent.number)
        });
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>());
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/xml"))]);
        let query = [("uploadId", upload.id.as_str())];
        let response = self.send(&doing, Method::POST, key, &query, headers, body.into()).await?;
        let there = self.dialect.sum_of(response.headers());
        let answer = rest::small(response).await?;
        // A server that needs long says 200 before it knows.
        if let Some(code) = rest::element(&String::from_utf8_lossy(&answer), "Code") {
            return Err(Error::transient(doing, code.to_owned()));
        }
        match there {
            Some(there) if there != whole.sum => {
                // The parts are gone; only a whole new upload could put it right.
                let why = format!("the store has checksum {there:x} where {:x} was sent", whole.sum);
                Err(Error::permanent(doing, why))
            }
            _ => Ok(()),
        }
    }

    async fn abort(&self, key: &String, upload: &Upload) -> Result<()> {
        let query = [("uploadId", upload.id.as_str())];
        let doing = self.doing("giving up", key);
        self.send(&doing, Method::DELETE, key, &query, HeaderMap::new(), Bytes::new()).await.map(drop)
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
        let mut query = vec![("list-type", "2"), ("max-keys", "1000")];
        if !prefix.is_empty() {
            query.push(("prefix", prefix));
        }
        query.extend(token.map(|token| ("continuation-token", token)));
        let response = self.send(&doing, Method::GET, "", &query, HeaderMap::new(), Bytes::new()).await?;
        let body = rest::small(response).await?;
        let page = listing::read(&String::from_utf8_lossy(&body), "Contents", "Key", "NextContinuationToken");
        let page = page.map_err(|error| Error::permanent(doing, error.to_string()))?;
        Ok((page.entries, page.next))
    }
}
