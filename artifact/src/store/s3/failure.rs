//! What an S3 request's failure means: gone, refused for good, or worth another try.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::{Class, Error};
use crate::store::rest::refused_by_tls;

/// Codes that pass, from AWS's documentation and from what compatible servers send.
const PASSING: [&str; 16] = [
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "XMinioServerNotInitialized",
    "PriorRequestNotComplete",
];
/// Codes of a body that changed on its way.
const DAMAGED: [&str; 5] =
    ["BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"];

/// Whether the service answered with one of these codes.
pub(super) fn code_is<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}

/// Whether the server seems not to know about checksums in requests.
pub(super) fn dislikes_checksums<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code_is(error, &["InvalidArgument", "InvalidRequest", "NotImplemented", "XNotImplemented", "UnsupportedHeader"])
}

/// The failure of the operation `doing`, which names its object, with its class.
pub(super) fn fault<E>(doing: String, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 412) {
        return Error::Changed { doing, why: message(&error) };
    }
    let fault = match class(&error) {
        Class::NotFound => {
            Error::NotFound { what: doing.split_once(' ').map_or(doing.clone(), |(_, what)| what.into()) }
        }
        Class::Corrupt => Error::corrupt(doing, message(&error)),
        Class::Transient => Error::transient(doing, message(&error)),
        Class::Permanent => Error::permanent(doing, message(&error)),
    };
    match own(&error) {
        // Credentials were asked for often enough.
        Some(own) if !own.retry() => fault.exhausted(),
        _ => fault,
    }
}

fn class<E: ProvideErrorMetadata + StdError + 'static>(error: &SdkError<E, HttpResponse>) -> Class {
    match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or_default();
            let status = answer.raw().status().as_u16();
            match code {
                "NoSuchKey" | "NotFound" | "NoSuchUpload" => Class::NotFound,
                "" if status == 404 => Class::NotFound,
                code if PASSING.contains(&code) => Class::Transient,
                code if DAMAGED.contains(&code) => Class::Corrupt,
                // Not implemented, and no space left: neither passes by waiting a little.
                _ if status >= 500 && !matches!(status, 501 | 507) || status == 429 || status == 408 => {
                    Class::Transient
                }
                _ => Class::Permanent,
            }
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Class::Transient,
        _ if own(error).is_some() => own(error).map_or(Class::Permanent, Error::class),
        SdkError::DispatchFailure(failure) if failure.is_user() || refused_by_tls(error) => Class::Permanent,
        SdkError::DispatchFailure(_) => Class::Transient,
        _ => Class::Permanent,
    }
}

/// Our own error among the causes: credentials that could not be had.
fn own<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<Error>() {
            return Some(own);
        }
        next = error.source();
    }
    None
}

/// The server's own words where there are some, with their code and status.
fn message<E: ProvideErrorMetadata + StdError + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or("no code");
            match answer.err().message() {
                Some(message) if !message.is_empty() => format!("{message} ({code}, HTTP {status})"),
                _ => format!("{code}, HTTP {status}"),
            }
        }
        // Why there are no credentials is said without the SDK's layers around it; it was repeated already.
        other => match own(other) {
            Some(own) => own.to_string(),
            None => other.source().map_or_else(|| other.to_string(), chain),
        },
    }
}

/// An error with its causes, each once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
