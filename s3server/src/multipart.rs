//! Requests about multipart uploads.

use std::io::{self, Read as _};
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use crate::body::{Claims, blocking, receive};
use crate::fault::Fault;
use crate::listing::{Encoding, limit, url_encode};
use crate::meta::Headers;
use crate::objects::{etag, headers_of, open_part_source, refuse, sums_of, write_condition};
use crate::service::Service;

impl Service {
    pub(crate) async fn create_upload(
        &self,
        mut input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        refuse!(input,
            tagging => "x-amz-tagging",
            server_side_encryption => "x-amz-server-side-encryption",
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm",
            object_lock_mode => "x-amz-object-lock-mode",
            object_lock_legal_hold_status => "x-amz-object-lock-legal-hold",
            website_redirect_location => "x-amz-website-redirect-location",
            expires => "Expires",
        );
        let headers = headers_of!(input);
        let (store, bucket, key) = (Arc::clone(&self.store), input.bucket.clone(), input.key.clone());
        let id = blocking(move || store.create_upload(&bucket, &key, headers)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(crate) async fn put_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = req.input;
        refuse!(input, sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
        let claims = Claims { md5: input.content_md5, sums: sums_of!(input), ..Claims::default() }
            .with_request(&req.headers, req.trailing_headers);
        let (bucket, key, id, number) = (input.bucket, input.key, input.upload_id, input.part_number);
        let (version, sums) = receive(&self.store, input.body, claims, move |store, mut tmp| {
            store.commit_part(&bucket, &key, &id, number, &mut tmp)
        })
        .await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag(version)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..UploadPartOutput::default()
        }))
    }

    pub(crate) async fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<S3Response<UploadPartCopyOutput>> {
        refuse!(input,
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm",
            copy_source_sse_customer_algorithm => "x-amz-copy-source-server-side-encryption-customer-algorithm",
        );
        let store = Arc::clone(&self.store);
        let (version, modified) = blocking(move || {
            let (object, length) = open_part_source(&store, &input)?;
            let mut tmp = store.layout.tmp()?;
            io::copy(&mut object.file.take(length), &mut tmp.file)?;
            let version =
                store.commit_part(&input.bucket, &input.key, &input.upload_id, input.part_number, &mut tmp)?;
            Ok((version, tmp.file.metadata()?.modified()?))
        })
        .await?;
        let result = CopyPartResult {
            e_tag: Some(etag(version)),
            last_modified: Some(modified.into()),
            ..CopyPartResult::default()
        };
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() }))
    }

    pub(crate) async fn list_upload_parts(&self, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
        let max_parts = limit(input.max_parts)?;
        let store = Arc::clone(&self.store);
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let mut parts = blocking(move || store.parts(&bucket, &key, &id)).await?;
        let after = input.part_number_marker.unwrap_or(0);
        parts.retain(|part| part.number > after);
        let truncated = parts.len() > max_parts as usize;
        parts.truncate(max_parts as usize);
        let last = parts.last().map(|part| part.number);
        let parts = parts.into_iter().map(|part| Part {
            part_number: Some(part.number),
            e_tag: Some(etag(part.version)),
            size: Some(part.version.size as i64),
            last_modified: Some(part.modified.into()),
            ..Part::default()
        });
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(max_parts),
            part_number_marker: Some(after),
            is_truncated: Some(truncated),
            next_part_number_marker: last.filter(|_| truncated),
            parts: Some(parts.collect()),
            ..ListPartsOutput::default()
        }))
    }

    pub(crate) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        // Every part was verified when it arrived.
        refuse!(input,
            checksum_crc32 => "x-amz-checksum-crc32 of a whole multipart upload",
            checksum_crc32c => "x-amz-checksum-crc32c of a whole multipart upload",
            checksum_crc64nvme => "x-amz-checksum-crc64nvme of a whole multipart upload",
            checksum_sha1 => "x-amz-checksum-sha1 of a whole multipart upload",
            checksum_sha256 => "x-amz-checksum-sha256 of a whole multipart upload",
            mpu_object_size => "x-amz-mp-object-size",
        );
        let condition = write_condition(input.if_match, input.if_none_match)?;
        let mut parts = Vec::new();
        for part in input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default() {
            let (Some(number), Some(tag)) = (part.part_number, part.e_tag) else {
                return Err(Fault::InvalidRequest("each part needs PartNumber and ETag".to_owned()).into());
            };
            parts.push((number, tag.into_value()));
        }
        let (store, bucket, key, id) =
            (Arc::clone(&self.store), input.bucket.clone(), input.key.clone(), input.upload_id);
        let version = blocking(move || store.complete_upload(&bucket, &key, &id, &parts, &condition)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, url_encode(&input.key))),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(version)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    pub(crate) async fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        refuse!(input, delimiter => "delimiter in a list of multipart uploads");
        let max_uploads = limit(input.max_uploads)?;
        let encoding = Encoding::new(input.encoding_type)?;
        let (store, bucket) = (Arc::clone(&self.store), input.bucket.clone());
        let mut uploads = blocking(move || store.uploads(&bucket)).await?;
        let prefix = input.prefix.unwrap_or_default();
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        // Without an upload id the marker stands after all uploads of its key.
        let is_after = |key: &str, id: &str| match after.1.is_empty() {
            true => key > after.0.as_str(),
            false => (key, id) > (after.0.as_str(), after.1.as_str()),
        };
        uploads.retain(|(upload, _)| upload.key.starts_with(&prefix) && is_after(&upload.key, &upload.id));
        let truncated = uploads.len() > max_uploads as usize;
        uploads.truncate(max_uploads as usize);
        let last = uploads.last().filter(|_| truncated).map(|(upload, _)| (upload.key.clone(), upload.id.clone()));
        let (next_key, next_id) = last.unzip();
        let uploads = uploads.into_iter().map(|(upload, began)| MultipartUpload {
            key: Some(encoding.text(upload.key)),
            upload_id: Some(upload.id),
            initiated: Some(began.into()),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            uploads: Some(uploads.collect()),
            prefix: Some(encoding.text(prefix)),
            max_uploads: Some(max_uploads),
            is_truncated: Some(truncated),
            next_key_marker: next_key.map(|key| encoding.text(key)),
            next_upload_id_marker: next_id,
            encoding_type: encoding.named(),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
