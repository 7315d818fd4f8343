//! Uploads: one request for what fits a part, else parts of which a few are in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::primitives::ByteStream as SdkBody;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::task::JoinSet;

use super::encryption::{self, Headers};
use super::failure::{code_is, dislikes_checksums, fault};
use super::parts::{Part, Parts};
use super::{Inner, mime};
use crate::error::{Error, Result};
use crate::store::Body;

/// Stores `body` under `key`.
pub(super) async fn put(inner: &Arc<Inner>, key: &str, body: Body) -> Result<u64> {
    let mut parts = Parts::of(inner, body).await?;
    let headers = encryption::headers(inner, key)?;
    let first = parts.next().await?;
    if parts.ended() {
        let size = first.bytes.len() as u64;
        put_whole(inner, key, &headers, first).await?;
        return Ok(size);
    }
    let upload = Upload::begin(inner, key, headers).await?;
    match upload.send_all(first, parts).await {
        Ok(size) => Ok(size),
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

fn crc_text(crc: u32) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// Sends a request built from the store's settings, signing its payload or not.
macro_rules! send {
    ($inner:expr, $request:expr) => {
        match $inner.sign_payload {
            true => $request.send().await,
            false => $request.customize().disable_payload_signing().send().await,
        }
    };
}

async fn put_whole(inner: &Inner, key: &str, headers: &Headers, part: Part) -> Result<()> {
    let crc = crc32fast::hash(&part.bytes);
    let put = || async {
        loop {
            let checked = inner.checksums();
            let request = inner.client.put_object().bucket(&inner.config.bucket).key(key);
            let request = headers.put(request).content_type(mime::of(key)).body(SdkBody::from(part.bytes.clone()));
            let request = request.set_checksum_crc32(checked.then(|| crc_text(crc)));
            match send!(inner, request) {
                Ok(_) => return Ok(()),
                Err(error) if checked && dislikes_checksums(&error) => inner.forget_checksums(),
                Err(error) => return Err(fault(format!("storing {}", inner.describe(key)), error)),
            }
        }
    };
    inner.config.retry.run("an upload", put).await
}

impl Inner {
    fn forget_checksums(&self) {
        tracing::warn!(endpoint = %self.config.endpoint, "the server does not take CRC32 checksums: sending none");
        self.checksums.store(false, Ordering::Relaxed);
    }
}

/// An upload in parts.
struct Upload {
    inner: Arc<Inner>,
    key: String,
    id: String,
    headers: Headers,
    /// Parts carry checksums.
    checked: bool,
    /// The server checks the whole object against the sum of the parts' checksums.
    whole: bool,
}

/// What is left of a part when the server has it.
struct Sent {
    part: CompletedPart,
    size: u64,
    crc: u32,
}

impl Upload {
    async fn begin(inner: &Arc<Inner>, key: &str, headers: Headers) -> Result<Arc<Self>> {
        let begin = || async {
            loop {
                let checked = inner.checksums();
                let request = inner.client.create_multipart_upload().bucket(&inner.config.bucket).key(key);
                let mut request = headers.multipart(request).content_type(mime::of(key));
                if checked {
                    request = request.checksum_algorithm(ChecksumAlgorithm::Crc32);
                    request = request.checksum_type(ChecksumType::FullObject);
                }
                match request.send().await {
                    Ok(begun) => return Ok((checked, begun)),
                    Err(error) if checked && dislikes_checksums(&error) => inner.forget_checksums(),
                    Err(error) => return Err(fault(format!("storing {}", inner.describe(key)), error)),
                }
            }
        };
        let (checked, begun) = inner.config.retry.run("beginning an upload", begin).await?;
        let whole = checked && begun.checksum_type == Some(ChecksumType::FullObject);
        let id = begun.upload_id.ok_or_else(|| {
            Error::permanent(format!("storing {}", inner.describe(key)), "the server gave no id for the upload")
        })?;
        Ok(Arc::new(Upload { inner: inner.clone(), key: key.to_owned(), id, headers, checked, whole }))
    }

    async fn send_all(self: &Arc<Self>, first: Part, mut parts: Parts) -> Result<u64> {
        let mut flying = JoinSet::new();
        let mut sent: Vec<Sent> = Vec::new();
        let mut part = first;
        for number in 1.. {
            let upload = self.clone();
            flying.spawn(async move { upload.send_part(number, part).await });
            if parts.ended() {
                break;
            }
            // Not in a select with the parts under way: given up in the middle, it would lose what it has read.
            part = parts.next().await?;
            while let Some(done) = flying.try_join_next() {
                sent.push(flown(done)?);
            }
        }
        while let Some(done) = flying.join_next().await {
            sent.push(flown(done)?);
        }
        sent.sort_by_key(|sent| sent.part.part_number);
        self.complete(sent).await
    }

    async fn send_part(&self, number: i32, part: Part) -> Result<Sent> {
        let inner = &*self.inner;
        let crc = crc32fast::hash(&part.bytes);
        let checksum = self.checked.then(|| crc_text(crc));
        let send = || async {
            let request = inner.client.upload_part().bucket(&inner.config.bucket).key(&self.key).upload_id(&self.id);
            let request = self.headers.part(request).part_number(number).body(SdkBody::from(part.bytes.clone()));
            let request = request.set_checksum_crc32(checksum.clone());
            let response = send!(inner, request);
            response.map_err(|error| fault(format!("storing part {number} of {}", inner.describe(&self.key)), error))
        };
        let etag = inner.config.retry.run("sending a part", send).await?.e_tag;
        let done = CompletedPart::builder().part_number(number).set_e_tag(etag).set_checksum_crc32(checksum).build();
        Ok(Sent { part: done, size: part.bytes.len() as u64, crc })
    }

    async fn complete(&self, sent: Vec<Sent>) -> Result<u64> {
        let mut crc = crc32fast::Hasher::new();
        let mut size = 0;
        for part in &sent {
            crc.combine(&crc32fast::Hasher::new_with_initial_len(part.crc, part.size));
            size += part.size;
        }
        let crc = crc_text(crc.finalize());
        let parts: Vec<CompletedPart> = sent.into_iter().map(|sent| sent.part).collect();
        let inner = &*self.inner;
        let complete = |whole: bool| {
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build();
            let request = inner.client.complete_multipart_upload().bucket(&inner.config.bucket).key(&self.key);
            let request = request.upload_id(&self.id).multipart_upload(parts);
            match whole {
                true => request.checksum_type(ChecksumType::FullObject).checksum_crc32(&crc),
                false => request,
            }
        };
        // Set when the server cannot compare the whole, and when an earlier answer may have been lost.
        let (whole, again) = (AtomicBool::new(self.whole), AtomicBool::new(false));
        let complete = || async {
            let checked = whole.load(Ordering::Relaxed);
            let mut response = complete(checked).send().await;
            if checked && response.as_ref().is_err_and(dislikes_checksums) {
                // Each part was compared already; a server that cannot do the same for all of them loses little.
                whole.store(false, Ordering::Relaxed);
                response = complete(false).send().await;
            }
            match response {
                Err(gone) if again.load(Ordering::Relaxed) && code_is(&gone, &["NoSuchUpload"]) => {
                    self.is_there(size).await
                }
                Err(error) => {
                    again.store(true, Ordering::Relaxed);
                    Err(fault(format!("completing {}", inner.describe(&self.key)), error))
                }
                Ok(_) => Ok(()),
            }
        };
        inner.config.retry.run("completing an upload", complete).await?;
        Ok(size)
    }

    /// Whether the upload was completed by a request whose answer was lost.
    async fn is_there(&self, size: u64) -> Result<()> {
        let inner = &*self.inner;
        let what = inner.describe(&self.key);
        let request = inner.client.head_object().bucket(&inner.config.bucket).key(&self.key);
        let found = self.headers.head(request).send().await;
        let found = found.map_err(|error| fault(format!("completing {what}"), error))?;
        match found.content_length == i64::try_from(size).ok() {
            true => Ok(()),
            false => Err(Error::permanent(format!("completing {what}"), "the server lost the upload")),
        }
    }

    /// Lets the server forget the parts. Should that fail they cost space until the bucket's own rules remove them.
    async fn abort(&self) {
        let request = self.inner.client.abort_multipart_upload().bucket(&self.inner.config.bucket);
        if let Err(error) = request.key(&self.key).upload_id(&self.id).send().await {
            let error = fault("giving up an upload".into(), error);
            tracing::warn!("the parts of {} stay on the server: {error}", self.inner.describe(&self.key));
        }
    }
}

fn flown(done: Result<Result<Sent>, tokio::task::JoinError>) -> Result<Sent> {
    done.unwrap_or_else(|panic| Err(Error::permanent("sending a part", panic)))
}
