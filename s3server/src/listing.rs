//! Requests for pages of keys.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Response, S3Result};

use crate::body::blocking;
use crate::fault::Fault;
use crate::list::{Entry, Page, Query};
use crate::objects::etag;
use crate::service::Service;

/// Most entries of a page, as S3 has it.
const MAX_KEYS: i32 = 1000;

/// How texts are written in the answer: keys may hold characters that XML cannot.
pub(crate) struct Encoding(Option<EncodingType>);

impl Encoding {
    pub fn new(asked: Option<EncodingType>) -> Result<Self, Fault> {
        match &asked {
            Some(encoding) if encoding.as_str() != EncodingType::URL => {
                Err(Fault::InvalidRequest(format!("encoding-type {} is not known; only url is", encoding.as_str())))
            }
            _ => Ok(Self(asked)),
        }
    }

    pub fn text(&self, text: String) -> String {
        if self.0.is_some() { url_encode(&text) } else { text }
    }

    pub fn named(self) -> Option<EncodingType> {
        self.0
    }

    fn objects(&self, entries: Vec<Entry>) -> ObjectList {
        let object = |entry: Entry| Object {
            key: Some(self.text(entry.key)),
            e_tag: Some(etag(entry.version)),
            last_modified: Some(entry.modified.into()),
            size: Some(entry.version.size as i64),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Object::default()
        };
        entries.into_iter().map(object).collect()
    }

    pub fn prefixes(&self, prefixes: Vec<String>) -> CommonPrefixList {
        prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.text(prefix)) }).collect()
    }
}

/// A key with everything but `/` and what URLs leave alone as `%XX`.
pub(crate) fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The size of a page from what the client asked for.
pub(crate) fn limit(asked: Option<i32>) -> Result<i32, Fault> {
    match asked.unwrap_or(MAX_KEYS) {
        negative @ ..0 => Err(Fault::InvalidRequest(format!("a page of {negative} entries cannot be given"))),
        limit => Ok(limit.min(MAX_KEYS)),
    }
}

impl Service {
    async fn page(&self, bucket: String, query: Query) -> S3Result<Page> {
        let store = Arc::clone(&self.store);
        blocking(move || store.list(&bucket, &query)).await
    }

    pub(crate) async fn list_v1(&self, input: ListObjectsInput) -> S3Result<S3Response<ListObjectsOutput>> {
        let max_keys = limit(input.max_keys)?;
        let encoding = Encoding::new(input.encoding_type)?;
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after: input.marker.clone().unwrap_or_default(),
            limit: max_keys as usize,
        };
        let page = self.page(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.text(input.prefix.unwrap_or_default())),
            marker: Some(encoding.text(input.marker.unwrap_or_default())),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            max_keys: Some(max_keys),
            is_truncated: Some(page.last.is_some()),
            next_marker: page.last.map(|text| encoding.text(text)),
            contents: Some(encoding.objects(page.objects)),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            encoding_type: encoding.named(),
            ..ListObjectsOutput::default()
        }))
    }

    pub(crate) async fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<S3Response<ListObjectsV2Output>> {
        let max_keys = limit(input.max_keys)?;
        let encoding = Encoding::new(input.encoding_type)?;
        let after = match &input.continuation_token {
            Some(token) => from_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after,
            limit: max_keys as usize,
        };
        let page = self.page(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.text(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            start_after: input.start_after.map(|text| encoding.text(text)),
            max_keys: Some(max_keys),
            key_count: Some((page.objects.len() + page.prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.last.is_some()),
            next_continuation_token: page.last.as_deref().map(to_token),
            contents: Some(encoding.objects(page.objects)),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            encoding_type: encoding.named(),
            ..ListObjectsV2Output::default()
        }))
    }
}

/// A token is the last entry of the page before, in hex: it survives every encoding on its way.
fn to_token(last: &str) -> String {
    last.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn from_token(token: &str) -> Result<String, Fault> {
    let byte = |at: usize| token.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Option<Vec<u8>> = (0..token.len()).step_by(2).map(byte).collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Fault::InvalidRequest("the continuation token is not one of this server".to_owned()))
}
