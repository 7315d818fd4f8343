//! What a request can come to besides success, and whether asking again can help.

use std::time::Duration;

use serde::Deserialize;

use crate::Backoff;

/// A request that the API server did not fulfil.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// `reason` of the Status object, as `AlreadyExists`.
        reason: String,
        /// Its message: the words that users know.
        message: String,
        /// `Retry-After`, where the server sent it.
        retry_after: Option<Duration>,
    },
    /// The server was not reached, or the answer broke off.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is not what the API promises.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The gate is shut that it had to pass: whoever asked has nothing more to do here.
    #[error("what asked for it has been handed over")]
    Shut,
    /// It would have changed something, and whoever asked may only look.
    #[error("{0} is not sent: this process only looks")]
    ReadOnly(String),
}

/// The parts of a `v1` Status.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub message: String,
    pub reason: String,
    pub code: u16,
}

impl ApiError {
    /// The HTTP status; 0 where there is none.
    pub fn code(&self) -> u16 {
        match self {
            ApiError::Refused { code, .. } => *code,
            _ => 0,
        }
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// The object is there already.
    pub fn is_already_there(&self) -> bool {
        matches!(self, ApiError::Refused { code: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// The object is not the one that was read.
    pub fn is_conflict(&self) -> bool {
        self.code() == 409 && !self.is_already_there()
    }

    /// The object is more than the server or etcd takes. etcd's own words come through with status 500, and are all that
    /// tells it from a failure that passes. argo: util/errors, IsRequestEntityTooLargeErr.
    pub fn is_too_large(&self) -> bool {
        match self {
            ApiError::Refused { code: 413, .. } => true,
            ApiError::Refused { message, .. } => {
                message.contains("request is too large") || message.contains("larger than max")
            }
            _ => false,
        }
    }

    /// The version from which to watch is too old.
    pub fn is_gone(&self) -> bool {
        self.code() == 410
    }

    /// Whether the same request can succeed later without anybody changing it. argo: util/errors, IsTransientErr: overload,
    /// time-outs, quotas, and a server that is away.
    pub fn is_transient(&self) -> bool {
        match self {
            _ if self.is_too_large() => false,
            ApiError::Refused { code: 403, message, .. } => message.contains("exceeded quota"),
            ApiError::Refused { code: 409, message, .. } => {
                // Quotas are kept by compare and swap; losing that race says nothing about the object.
                message.contains("Operation cannot be fulfilled on resourcequota")
            }
            ApiError::Refused { code, .. } => matches!(code, 408 | 429 | 500 | 502 | 503 | 504),
            ApiError::Unreachable(_) => true,
            ApiError::Unreadable(_) | ApiError::Shut | ApiError::ReadOnly(_) => false,
        }
    }

    /// The gate is shut.
    pub fn is_shut(&self) -> bool {
        matches!(self, ApiError::Shut)
    }

    /// Waits as long as the server asks for, else the next pause.
    pub async fn wait(&self, backoff: &mut Backoff) {
        tokio::time::sleep(self.retry_after().unwrap_or_else(|| backoff.pause())).await;
    }

    /// What the server wants to be waited for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_again() {
        let refused = |code, reason: &str, message: &str| ApiError::Refused {
            code,
            reason: reason.into(),
            message: message.into(),
            retry_after: None,
        };
        for (error, transient) in [
            (refused(429, "TooManyRequests", ""), true),
            (refused(503, "", ""), true),
            (refused(403, "Forbidden", "pods \"x\" is forbidden: exceeded quota: q"), true),
            (refused(403, "Forbidden", "pods is forbidden: User \"a\" cannot create"), false),
            (refused(409, "Conflict", "Operation cannot be fulfilled on resourcequotas \"q\""), true),
            (refused(409, "Conflict", "the object has been modified"), false),
            (refused(422, "Invalid", ""), false),
            (refused(500, "", "etcdserver: request is too large"), false),
            (refused(413, "RequestEntityTooLarge", ""), false),
            (ApiError::Unreachable(String::new()), true),
            (ApiError::Shut, false),
        ] {
            assert_eq!(error.is_transient(), transient, "{error:?}");
        }
        assert!(refused(409, "AlreadyExists", "").is_already_there());
        assert!(refused(409, "Conflict", "").is_conflict());
    }
}
