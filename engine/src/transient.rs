//! Which messages tell of something that passes. argo: util/errors/errors.go, IsTransientErr, as far as it asks a text: of a node
//! there is nothing else.

use regex::Regex;

/// Pieces of messages of network and server troubles.
const PIECES: [&str; 16] = [
    "client rate limiter Wait returned an error",
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "etcdserver: too many requests",
    "unexpected error when reading response body",
    "stream error when reading response body",
    "Connection closed by foreign host",
    "net/http: TLS handshake timeout",
    "i/o timeout",
    "connection timed out",
    "connection reset by peer",
    "http2: client connection lost",
    "http2: server sent GOAWAY and closed the connection",
    "request did not complete within requested timeout",
    "connect: connection refused",
    "invalid connection",
];

/// What the library says with which Argo asks its database.
const NO_ROWS: &str = "upper: no more rows in";

/// Whether trying again may help; `pattern` is what else passes (TRANSIENT_ERROR_PATTERN).
pub(crate) fn is_transient(message: &str, pattern: Option<&Regex>) -> bool {
    PIECES.iter().chain([&NO_ROWS]).any(|piece| message.contains(piece))
        || pattern.is_some_and(|pattern| pattern.is_match(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_what_argo_takes_for_it() {
        for (message, passes) in [
            ("Post \"https://10.0.0.1\": dial tcp 10.0.0.1:443: connect: connection refused", true),
            ("read tcp: connection timed out", true),
            ("rpc error: etcdserver: too many requests", true),
            ("main: Error (exit code 1): connection refused", false),
            // Argo knows these by their status, and a node's message has none.
            ("pods \"x\" is forbidden: exceeded quota: pods", false),
            ("too many requests", false),
            ("OOMKilled (exit code 137)", false),
        ] {
            assert_eq!(is_transient(message, None), passes, "{message}");
        }
        let pattern = Regex::new("OOM|exit code 42").unwrap();
        assert!(is_transient("OOMKilled (exit code 137)", Some(&pattern)));
        assert!(!is_transient("Error (exit code 1)", Some(&pattern)));
    }
}
