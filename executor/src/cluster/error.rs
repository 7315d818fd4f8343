//! What can go wrong with a request to the Kubernetes API, and whether repeating it may help.

use std::time::Duration;

/// A request to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It is not known where the API server is or how to speak to it: flags, kubeconfig or environment are wrong.
    #[error("{0}")]
    Config(String),
    /// The server was not reached, or the connection broke before the whole answer had come.
    #[error("cannot {doing}: {reason}")]
    Unreachable {
        /// What was tried: verb and object.
        doing: String,
        /// What the network said.
        reason: String,
        /// Nothing was sent, so that the server cannot have acted on it.
        unsent: bool,
    },
    /// The server answered with an error.
    #[error("cannot {doing}: {message} (HTTP {status}{})", among(.reason))]
    Refused {
        /// What was tried: verb and object.
        doing: String,
        /// HTTP status.
        status: u16,
        /// The Status object's machine-readable reason, for example `NotFound`; empty when there is none.
        reason: String,
        /// The Status object's message, or the beginning of what came instead.
        message: String,
        /// How long the server asks to be left alone.
        after: Option<Duration>,
    },
    /// The server's answer is not what the API promises.
    #[error("cannot {doing}: the API server's answer is unusable: {reason}")]
    Unusable {
        /// What was tried: verb and object.
        doing: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The time that is left to this process ran out before the request passed.
    #[error("gave up, since the Pod must end now: {0}")]
    OutOfTime(String),
}

/// A reason as it is put behind the status.
fn among(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(", {reason}") }
}

impl ClusterError {
    /// Whether the same request may pass later (argo: util/errors/errors.go, IsTransientErr).
    ///
    /// Quota and etcd failures have no status of their own: the API tells them apart by nothing but the Status' message.
    pub fn retry(&self) -> bool {
        match self {
            Self::Config(_) | Self::OutOfTime(_) => false,
            Self::Unreachable { .. } | Self::Unusable { .. } => true,
            Self::Refused { status, reason, message, .. } => match status {
                408 | 429 | 502 | 503 | 504 => true,
                403 => message.contains("exceeded quota"),
                409 => message.contains("Operation cannot be fulfilled on resourcequota"),
                500 => {
                    reason == "ServerTimeout"
                        || [
                            "resource quota evaluation timed out",
                            "etcdserver: leader changed",
                            "etcdserver: request timed out",
                        ]
                        .iter()
                        .any(|text| message.contains(text))
                }
                _ => false,
            },
        }
    }

    /// Whether the server has certainly not acted on the request, so that even one that must happen only once may be
    /// repeated.
    pub fn untouched(&self) -> bool {
        match self {
            Self::Unreachable { unsent, .. } => *unsent,
            Self::Refused { status, .. } => matches!(status, 401 | 403 | 409 | 429 | 503),
            Self::Config(_) | Self::Unusable { .. } | Self::OutOfTime(_) => false,
        }
    }

    /// HTTP status, when the server answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// There is no such object, or no such kind.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// An object of that name is there already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { status: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// The object has changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409) && !self.is_already_exists()
    }

    /// The version that a watch or list wants to go on from is no longer kept.
    pub fn is_expired(&self) -> bool {
        self.status() == Some(410)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, reason: &str, message: &str) -> ClusterError {
        let (doing, reason, message) = ("get pods/x".to_owned(), reason.to_owned(), message.to_owned());
        ClusterError::Refused { doing, status, reason, message, after: None }
    }

    #[test]
    fn what_may_pass_later() {
        for (status, reason, message, expected) in [
            (429, "TooManyRequests", "slow down", true),
            (503, "ServiceUnavailable", "", true),
            (504, "Timeout", "", true),
            (403, "Forbidden", "pods \"x\" is forbidden: exceeded quota: q", true),
            (403, "Forbidden", "User cannot create", false),
            (409, "Conflict", "Operation cannot be fulfilled on resourcequotas \"q\"", true),
            (409, "AlreadyExists", "pods \"x\" already exists", false),
            (500, "InternalError", "etcdserver: leader changed", true),
            (500, "ServerTimeout", "", true),
            (500, "InternalError", "broken", false),
            (401, "Unauthorized", "", false),
            (422, "Invalid", "", false),
            (410, "Expired", "", false),
        ] {
            assert_eq!(refused(status, reason, message).retry(), expected, "{status} {reason} {message}");
        }
    }

    #[test]
    fn a_refusal_tells_status_reason_and_message() {
        let error = refused(403, "Forbidden", "User \"x\" cannot get resource \"pods\"");
        let expected = "cannot get pods/x: User \"x\" cannot get resource \"pods\" (HTTP 403, Forbidden)";
        assert_eq!(error.to_string(), expected);
        assert!(refused(409, "AlreadyExists", "").is_already_exists() && refused(409, "Conflict", "").is_conflict());
    }
}
