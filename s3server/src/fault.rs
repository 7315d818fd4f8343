//! What can go wrong with a request once it has been understood, and what S3 calls it.

use std::io;

use s3s::{S3Error, S3ErrorCode};

/// What MinIO answers when its disk is full: no client needs to try again at once.
const STORAGE_FULL: &str = "XMinioStorageFull";

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the bucket {0} does not exist")]
    NoSuchBucket(String),
    #[error("the bucket {0} exists already")]
    BucketExists(String),
    #[error("the bucket {0} still holds objects")]
    BucketNotEmpty(String),
    // Escaped, for a key may hold what XML cannot.
    #[error("there is no object {key:?} in the bucket {bucket}")]
    NoSuchKey { bucket: String, key: String },
    #[error("there is no multipart upload {0} under way for this key; it was completed, aborted or never begun")]
    NoSuchUpload(String),
    #[error("part {0} was not uploaded, or again since with another entity tag")]
    InvalidPart(i32),
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {0} is smaller than 5 MiB and not the last one")]
    PartTooSmall(i32),
    #[error("a precondition of the request does not hold")]
    PreconditionFailed,
    #[error("not modified")]
    NotModified,
    #[error("the range lies outside the object of {0} bytes")]
    InvalidRange(u64),
    #[error("the body ended early")]
    IncompleteBody,
    #[error("{name} does not match the body received")]
    BadDigest { name: &'static str },
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0} is not supported by the embedded S3 server")]
    Unsupported(&'static str),
    #[error("the S3 server's folder: {0}")]
    Io(#[from] io::Error),
}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::NoSuchBucket(_) => S3ErrorCode::NoSuchBucket,
            Fault::BucketExists(_) => S3ErrorCode::BucketAlreadyOwnedByYou,
            Fault::BucketNotEmpty(_) => S3ErrorCode::BucketNotEmpty,
            Fault::NoSuchKey { .. } => S3ErrorCode::NoSuchKey,
            Fault::NoSuchUpload(_) => S3ErrorCode::NoSuchUpload,
            Fault::InvalidPart(_) => S3ErrorCode::InvalidPart,
            Fault::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            Fault::PartTooSmall(_) => S3ErrorCode::EntityTooSmall,
            Fault::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            Fault::NotModified => S3ErrorCode::NotModified,
            Fault::InvalidRange(_) => S3ErrorCode::InvalidRange,
            Fault::IncompleteBody => S3ErrorCode::IncompleteBody,
            Fault::BadDigest { .. } => S3ErrorCode::BadDigest,
            Fault::InvalidRequest(_) => S3ErrorCode::InvalidRequest,
            Fault::Unsupported(_) => S3ErrorCode::NotImplemented,
            Fault::Io(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                let mut full = S3Error::with_message(
                    S3ErrorCode::Custom(STORAGE_FULL.into()),
                    "the disk is full: free some space",
                );
                full.set_status_code(hyper::StatusCode::INSUFFICIENT_STORAGE);
                return full;
            }
            Fault::Io(error) => {
                tracing::warn!(%error, "the embedded S3 server failed on its folder");
                S3ErrorCode::InternalError
            }
        };
        S3Error::with_message(code, fault.to_string())
    }
}
