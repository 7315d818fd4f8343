//! Requests about one object: put, get, head, copy, delete.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use s3s::dto::*;
use s3s::{Body, S3Request, S3Response, S3Result};

use crate::body::{Claims, blocking, receive};
use crate::fault::Fault;
use crate::meta::{DEFAULT_TYPE, Headers, Version};
use crate::service::Service;
use crate::store::{Condition, Object, Store};

/// Bytes read from an object at a time; an answer up to this size is read at once.
const CHUNK: u64 = 256 * 1024;

/// The first of the named fields that is set: a client must not believe that we honour it.
macro_rules! refuse {
    ($input:expr, $($field:ident => $name:literal),+ $(,)?) => {
        $(if $input.$field.is_some() { return Err(Fault::Unsupported($name).into()); })+
    };
}
pub(crate) use refuse;

/// The stored headers of any input that has them.
macro_rules! headers_of {
    ($input:expr) => {
        Headers {
            content_type: $input.content_type.take(),
            content_encoding: $input.content_encoding.take(),
            content_disposition: $input.content_disposition.take(),
            content_language: $input.content_language.take(),
            cache_control: $input.cache_control.take(),
            user: $input.metadata.take().into_iter().flatten().collect(),
        }
    };
}
pub(crate) use headers_of;

/// The digests in an input's headers.
macro_rules! sums_of {
    ($input:expr) => {
        Checksum {
            checksum_crc32: $input.checksum_crc32.take(),
            checksum_crc32c: $input.checksum_crc32c.take(),
            checksum_crc64nvme: $input.checksum_crc64nvme.take(),
            checksum_sha1: $input.checksum_sha1.take(),
            checksum_sha256: $input.checksum_sha256.take(),
            checksum_type: None,
        }
    };
}
pub(crate) use sums_of;

pub(crate) fn etag(version: Version) -> ETag {
    ETag::Strong(version.etag())
}

/// The condition of a write. Only one of the two makes sense at a time; absence is what locks are made of.
pub(crate) fn write_condition(
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
) -> Result<Condition, Fault> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::Always),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.into_value())),
        (None, Some(_)) => Err(Fault::Unsupported("If-None-Match with an entity tag on a write")),
        (Some(_), Some(_)) => Err(Fault::Unsupported("If-Match together with If-None-Match")),
    }
}

/// The conditions of a read, in the order HTTP demands (RFC 9110, 13.2.2).
struct ReadCondition {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    fn check(&self, object: &Object) -> Result<(), Fault> {
        let is = |wanted: &ETagCondition| match wanted {
            ETagCondition::Any => true,
            ETagCondition::ETag(tag) => tag.value() == object.version.etag(),
        };
        // HTTP dates have whole seconds.
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let modified =
            Timestamp::from(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds(object.modified)));
        let fails = match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) => !is(wanted),
            (None, Some(since)) => modified > *since,
            (None, None) => false,
        };
        if fails {
            return Err(Fault::PreconditionFailed);
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(wanted), _) => is(wanted),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if unchanged { Err(Fault::NotModified) } else { Ok(()) }
    }
}

/// The bytes asked for, and the `Content-Range` when they are a part.
fn span(range: Option<Range>, size: u64) -> Result<(std::ops::Range<u64>, Option<String>), Fault> {
    let Some(range) = range else { return Ok((0..size, None)) };
    let span = range.check(size).map_err(|_| Fault::InvalidRange(size))?;
    let text = format!("bytes {}-{}/{size}", span.start, span.end - 1);
    Ok((span, Some(text)))
}

impl Service {
    pub(crate) async fn put(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = req.input;
        refuse!(input,
            tagging => "x-amz-tagging",
            server_side_encryption => "x-amz-server-side-encryption",
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm",
            object_lock_mode => "x-amz-object-lock-mode",
            object_lock_legal_hold_status => "x-amz-object-lock-legal-hold",
            website_redirect_location => "x-amz-website-redirect-location",
            write_offset_bytes => "x-amz-write-offset-bytes",
            expires => "Expires",
        );
        let headers = headers_of!(input);
        let condition = write_condition(input.if_match, input.if_none_match)?;
        let claims = Claims { md5: input.content_md5, sums: sums_of!(input), ..Claims::default() }
            .with_request(&req.headers, req.trailing_headers);
        let (bucket, key) = (input.bucket, input.key);
        let (version, sums) = receive(&self.store, input.body, claims, move |store, mut tmp| {
            store.commit(&bucket, &key, &mut tmp, &headers, &condition)
        })
        .await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(version)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..PutObjectOutput::default()
        }))
    }

    pub(crate) async fn get(&self, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
        refuse!(input, version_id => "versionId", part_number => "partNumber",
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
        let condition = ReadCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let store = Arc::clone(&self.store);
        let (object, span, content_range, first) = blocking(move || {
            let mut object = store.open(&input.bucket, &input.key)?;
            condition.check(&object)?;
            let (span, content_range) = span(input.range, object.version.size)?;
            object.file.seek(SeekFrom::Start(span.start))?;
            let first = if span.end - span.start <= CHUNK {
                Some(read(&mut object.file, span.end - span.start)?)
            } else {
                None
            };
            Ok((object, span, content_range, first))
        })
        .await?;
        let length = span.end - span.start;
        let Object { file, version, modified, headers } = object;
        let body = match first {
            Some(bytes) => StreamingBlob::from(Body::from(bytes)),
            None => StreamingBlob::wrap(chunks(file, length)),
        };
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_length: Some(length as i64),
            content_range,
            content_type: Some(headers.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
            e_tag: Some(etag(version)),
            last_modified: Some(modified.into()),
            metadata: Some(headers.user.into_iter().collect()),
            ..GetObjectOutput::default()
        }))
    }

    pub(crate) async fn head(&self, input: HeadObjectInput) -> S3Result<S3Response<HeadObjectOutput>> {
        refuse!(input, version_id => "versionId", part_number => "partNumber",
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
        let condition = ReadCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let store = Arc::clone(&self.store);
        let (object, span, content_range) = blocking(move || {
            let object = store.open(&input.bucket, &input.key)?;
            condition.check(&object)?;
            let (span, content_range) = span(input.range, object.version.size)?;
            Ok((object, span, content_range))
        })
        .await?;
        let Object { version, modified, headers, .. } = object;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_length: Some((span.end - span.start) as i64),
            content_range,
            content_type: Some(headers.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
            e_tag: Some(etag(version)),
            last_modified: Some(modified.into()),
            metadata: Some(headers.user.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    pub(crate) async fn copy(&self, mut input: CopyObjectInput) -> S3Result<S3Response<CopyObjectOutput>> {
        refuse!(input,
            tagging => "x-amz-tagging",
            server_side_encryption => "x-amz-server-side-encryption",
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm",
            copy_source_sse_customer_algorithm => "x-amz-copy-source-server-side-encryption-customer-algorithm",
            object_lock_mode => "x-amz-object-lock-mode",
            checksum_algorithm => "x-amz-checksum-algorithm on a copy",
            expires => "Expires",
        );
        let replace = input.metadata_directive.as_ref().is_some_and(|text| text.as_str() == MetadataDirective::REPLACE);
        let headers = replace.then(|| headers_of!(input));
        let source = Source {
            place: input.copy_source,
            condition: ReadCondition {
                if_match: input.copy_source_if_match,
                if_none_match: input.copy_source_if_none_match,
                if_modified_since: input.copy_source_if_modified_since,
                if_unmodified_since: input.copy_source_if_unmodified_since,
            },
        };
        let (store, bucket, key) = (Arc::clone(&self.store), input.bucket, input.key);
        let (version, modified) = blocking(move || {
            let (from_bucket, from_key) = source.names()?;
            if (from_bucket, from_key) == (bucket.as_str(), key.as_str()) && headers.is_none() {
                return Err(Fault::InvalidRequest(
                    "an object can be copied onto itself only with new headers".to_owned(),
                ));
            }
            let mut object = source.open(&store)?;
            let mut tmp = store.layout.tmp()?;
            io::copy(&mut object.file, &mut tmp.file)?;
            let headers = headers.unwrap_or(object.headers);
            let version = store.commit(&bucket, &key, &mut tmp, &headers, &Condition::Always)?;
            Ok((version, tmp.file.metadata()?.modified()?))
        })
        .await?;
        let result = CopyObjectResult {
            e_tag: Some(etag(version)),
            last_modified: Some(modified.into()),
            ..CopyObjectResult::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() }))
    }

    pub(crate) async fn delete(&self, input: DeleteObjectInput) -> S3Result<S3Response<DeleteObjectOutput>> {
        refuse!(input, version_id => "versionId",
            if_match_last_modified_time => "x-amz-if-match-last-modified-time", if_match_size => "x-amz-if-match-size");
        let condition = write_condition(input.if_match, None)?;
        let store = Arc::clone(&self.store);
        blocking(move || store.delete(&input.bucket, &input.key, &condition)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(crate) async fn delete_many(&self, input: DeleteObjectsInput) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let quiet = input.delete.quiet == Some(true);
        let (store, bucket, objects) = (Arc::clone(&self.store), input.bucket, input.delete.objects);
        let (deleted, errors) = blocking(move || {
            store.bucket(&bucket)?;
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in objects {
                let done = match object.version_id {
                    Some(_) => Err(Fault::Unsupported("VersionId")),
                    None => store.delete(&bucket, &object.key, &Condition::Always),
                };
                match done {
                    Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() }),
                    Err(fault) => {
                        let message = fault.to_string();
                        let code = s3s::S3Error::from(fault).code().as_str().to_owned();
                        errors.push(Error {
                            code: Some(code),
                            key: Some(object.key),
                            message: Some(message),
                            ..Error::default()
                        });
                    }
                }
            }
            Ok((deleted, errors))
        })
        .await?;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }
}

/// Where a copy comes from.
struct Source {
    place: CopySource,
    condition: ReadCondition,
}

impl Source {
    fn names(&self) -> Result<(&str, &str), Fault> {
        match &self.place {
            CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
            CopySource::Bucket { .. } => Err(Fault::Unsupported("versionId of a copy's source")),
            _ => Err(Fault::Unsupported("an ARN as a copy's source")),
        }
    }

    fn open(&self, store: &Store) -> Result<Object, Fault> {
        let (bucket, key) = self.names()?;
        let object = store.open(bucket, key)?;
        match self.condition.check(&object) {
            // A copy has no answer "not modified".
            Err(Fault::NotModified) => Err(Fault::PreconditionFailed),
            Err(fault) => Err(fault),
            Ok(()) => Ok(object),
        }
    }
}

/// Opens the source of a part, at the start of its range, and tells how long that is.
pub(crate) fn open_part_source(store: &Store, input: &UploadPartCopyInput) -> Result<(Object, u64), Fault> {
    let source = Source {
        place: input.copy_source.clone(),
        condition: ReadCondition {
            if_match: input.copy_source_if_match.clone(),
            if_none_match: input.copy_source_if_none_match.clone(),
            if_modified_since: input.copy_source_if_modified_since.clone(),
            if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
        },
    };
    let mut object = source.open(store)?;
    let range = match &input.copy_source_range {
        Some(text) => Some(
            Range::parse(text)
                .map_err(|_| Fault::InvalidRequest(format!("x-amz-copy-source-range: {text} is no range")))?,
        ),
        None => None,
    };
    let (span, _) = span(range, object.version.size)?;
    object.file.seek(SeekFrom::Start(span.start))?;
    Ok((object, span.end - span.start))
}

fn read(file: &mut std::fs::File, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; length as usize];
    file.read_exact(&mut buffer)?;
    Ok(buffer.into())
}

/// The next `length` bytes of a file, a chunk at a time.
fn chunks(file: std::fs::File, length: u64) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let take = left.min(CHUNK);
        let step = tokio::task::spawn_blocking(move || read(&mut file, take).map(|bytes| (bytes, file)));
        let (bytes, file) = step.await.map_err(io::Error::other)??;
        Ok(Some((bytes, (file, left - take))))
    })
}
