//! The protocol's requests, through the SDK.

use std::ops::Range;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream as SdkBody;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures_util::StreamExt;
use futures_util::stream;

use super::Inner;
use super::encryption::{self, Headers};
use super::failure::{chain, dislikes_checksums, fault};
use crate::error::{Error, Result};
use crate::store::objects::{Answer, Checked, Protocol, Sent, Upload, Whole};
use crate::store::{Entry, mime};
use crate::stream::ByteStream;

/// One object.
pub(super) struct Target {
    key: String,
    headers: Headers,
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

fn crc_text(crc: u64) -> String {
    STANDARD.encode((crc as u32).to_be_bytes())
}

/// The CRC32 of a whole object; one of an object's parts has a number behind it and says nothing about the whole.
fn whole_crc(text: &str) -> Option<u64> {
    let bytes: [u8; 4] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(u64::from(u32::from_be_bytes(bytes)))
}

fn body_of(body: SdkBody, doing: String) -> ByteStream {
    let chunks = stream::unfold(body, |mut body| async { body.next().await.map(|chunk| (chunk, body)) });
    chunks.map(move |chunk| chunk.map_err(|error| Error::transient(doing.clone(), chain(&error)))).boxed()
}

impl Inner {
    fn doing(&self, verb: &str, target: &Target) -> String {
        format!("{verb} {}", self.describe(&target.key))
    }
}

#[async_trait]
impl Protocol for Inner {
    const SUM: CrcAlgorithm = CrcAlgorithm::Crc32IsoHdlc;
    type Target = Target;

    fn describe(&self, key: &str) -> String {
        self.describe(key)
    }

    fn target(&self, key: &str) -> Result<Target> {
        Ok(Target { key: key.to_owned(), headers: encryption::headers(self, key)? })
    }

    async fn prepare(&self) -> Result<()> {
        self.ensure_bucket().await
    }

    async fn get(&self, target: &Target) -> Result<Answer> {
        let doing = self.doing("loading", target);
        let request = target.headers.get(self.client.get_object().bucket(&self.config.bucket).key(&target.key));
        let response = request.checksum_mode(ChecksumMode::Enabled).send().await;
        let response = response.map_err(|error| fault(doing.clone(), error))?;
        Ok(Answer {
            size: response.content_length.and_then(|size| u64::try_from(size).ok()),
            covers: None,
            ranges: response.accept_ranges.as_deref() != Some("none"),
            sum: response.checksum_crc32.as_deref().and_then(whole_crc),
            etag: response.e_tag,
            body: body_of(response.body, doing),
        })
    }

    async fn get_range(&self, target: &Target, range: Range<u64>, etag: Option<&str>) -> Result<ByteStream> {
        let doing = self.doing("loading", target);
        let request = target.headers.get(self.client.get_object().bucket(&self.config.bucket).key(&target.key));
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        let response = request.range(range).set_if_match(etag.map(str::to_owned)).send().await;
        let response = response.map_err(|error| fault(doing.clone(), error))?;
        Ok(body_of(response.body, doing))
    }

    async fn put(&self, target: &Target, bytes: Bytes, sum: u64) -> Result<()> {
        loop {
            let checked = self.checksums();
            let request = self.client.put_object().bucket(&self.config.bucket).key(&target.key);
            let request = target.headers.put(request).content_type(mime::of(&target.key));
            let request = request.body(SdkBody::from(bytes.clone())).set_checksum_crc32(checked.then(|| crc_text(sum)));
            match send!(self, request) {
                Ok(_) => return Ok(()),
                Err(error) if checked && dislikes_checksums(&error) => self.forget_checksums(),
                Err(error) => return Err(fault(self.doing("storing", target), error)),
            }
        }
    }

    async fn begin(&self, target: &Target) -> Result<Upload> {
        let (checked, begun) = loop {
            let checked = self.checksums();
            let request = self.client.create_multipart_upload().bucket(&self.config.bucket).key(&target.key);
            let mut request = target.headers.multipart(request).content_type(mime::of(&target.key));
            if checked {
                request = request.checksum_algorithm(ChecksumAlgorithm::Crc32);
                request = request.checksum_type(ChecksumType::FullObject);
            }
            match request.send().await {
                Ok(begun) => break (checked, begun),
                Err(error) if checked && dislikes_checksums(&error) => self.forget_checksums(),
                Err(error) => return Err(fault(self.doing("storing", target), error)),
            }
        };
        let id = begun
            .upload_id
            .ok_or_else(|| Error::permanent(self.doing("storing", target), "the server gave no id for the upload"))?;
        let checked = match checked {
            true if begun.checksum_type == Some(ChecksumType::FullObject) => Checked::Whole,
            true => Checked::Parts,
            false => Checked::No,
        };
        Ok(Upload { id, checked })
    }

    async fn put_part(&self, target: &Target, upload: &Upload, number: u32, bytes: Bytes, sum: u64) -> Result<String> {
        let request = self.client.upload_part().bucket(&self.config.bucket).key(&target.key).upload_id(&upload.id);
        let request = target.headers.part(request).part_number(number.cast_signed()).body(SdkBody::from(bytes));
        let request = request.set_checksum_crc32((upload.checked != Checked::No).then(|| crc_text(sum)));
        let response = send!(self, request);
        let response = response
            .map_err(|error| fault(format!("storing part {number} of {}", self.describe(&target.key)), error))?;
        response.e_tag.ok_or_else(|| Error::permanent(self.doing("storing", target), "the server gave no ETag"))
    }

    async fn complete(&self, target: &Target, upload: &Upload, parts: &[Sent], whole: Whole) -> Result<()> {
        let parts = parts.iter().map(|sent| {
            let checksum = (upload.checked != Checked::No).then(|| crc_text(sent.sum));
            let part = CompletedPart::builder().part_number(sent.number.cast_signed()).e_tag(&sent.tag);
            part.set_checksum_crc32(checksum).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let complete = |checked: bool| {
            let request = self.client.complete_multipart_upload().bucket(&self.config.bucket).key(&target.key);
            let request = request.upload_id(&upload.id).multipart_upload(parts.clone());
            match checked {
                true => request.checksum_type(ChecksumType::FullObject).checksum_crc32(crc_text(whole.sum)),
                false => request,
            }
        };
        let checked = upload.checked == Checked::Whole && self.compares_whole.load(Ordering::Relaxed);
        let mut response = complete(checked).send().await;
        if checked && response.as_ref().is_err_and(dislikes_checksums) {
            // Each part was compared already; a server that cannot do the same for all of them loses little.
            self.compares_whole.store(false, Ordering::Relaxed);
            response = complete(false).send().await;
        }
        response.map(drop).map_err(|error| fault(self.doing("completing", target), error))
    }

    async fn abort(&self, target: &Target, upload: &Upload) -> Result<()> {
        let request = self.client.abort_multipart_upload().bucket(&self.config.bucket).key(&target.key);
        let response = request.upload_id(&upload.id).send().await;
        response.map(drop).map_err(|error| fault(self.doing("giving up", target), error))
    }

    async fn size(&self, target: &Target) -> Result<Option<u64>> {
        let request = self.client.head_object().bucket(&self.config.bucket).key(&target.key);
        let found = target.headers.head(request).send().await;
        let found = found.map_err(|error| fault(self.doing("completing", target), error))?;
        Ok(found.content_length.and_then(|size| u64::try_from(size).ok()))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let response = self.client.delete_object().bucket(&self.config.bucket).key(key).send().await;
        response.map(drop).map_err(|error| fault(format!("deleting {}", self.describe(key)), error))
    }

    async fn page(&self, prefix: &str, token: Option<&str>) -> Result<(Vec<Entry>, Option<String>)> {
        let request = self.client.list_objects_v2().bucket(&self.config.bucket).prefix(prefix);
        let page = request.set_continuation_token(token.map(str::to_owned)).send().await;
        let page = page.map_err(|error| fault(format!("listing {}", self.describe(prefix)), error))?;
        let next = page.next_continuation_token.filter(|_| page.is_truncated == Some(true));
        let objects = page.contents.unwrap_or_default().into_iter();
        let entries = objects
            .filter_map(|object| Some(Entry { key: object.key?, size: object.size.unwrap_or_default().max(0) as u64 }));
        Ok((entries.collect(), next))
    }
}
