//! Which messages tell of something that passes. argo: util/errors/errors.go, IsTransientErr.

/// Pieces of messages of network, quota and server troubles.
const PIECES: [&str; 16] = [
    "exceeded quota",
    "the object has been modified",
    "Operation cannot be fulfilled on resourcequota",
    "too many requests",
    "TooManyRequests",
    "connection refused",
    "connection reset by peer",
    "transport is closing",
    "unexpected EOF",
    "TLS handshake timeout",
    "i/o timeout",
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "http2: client connection lost",
    "Service Unavailable",
    "timed out waiting",
];

/// Whether trying again may help.
pub(crate) fn is_transient(message: &str) -> bool {
    PIECES.iter().any(|piece| message.contains(piece))
}
