//! What WebHDFS adds to HTTP. A file is saved in two steps: the namenode, asked without a body, names the datanode, and
//! that one alone gets the body. Errors have their reason in a body of JSON.

use reqwest::Url;
use serde_json::Value;

/// Whether the URL is one of WebHDFS, which HttpFS and several clouds serve as well.
pub(super) fn serves(url: &Url) -> bool {
    url.path().contains("/webhdfs/v1/")
}

/// Whether an upload to the URL begins with a request without body. HttpFS (`data=true`) and Azure (`write=true`) take
/// the body at once.
pub(super) fn asks_first(url: &Url) -> bool {
    let has = |key: &str, value: &str| {
        url.query_pairs().any(|(name, text)| name.eq_ignore_ascii_case(key) && text.eq_ignore_ascii_case(value))
    };
    serves(url) && has("op", "CREATE") && !has("data", "true") && !has("write", "true")
}

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// In the server's words.
    pub(super) text: String,
    /// A namenode that is not in charge for now, or that is still starting.
    pub(super) passes: bool,
}

/// The reason in an error's body, if it has one.
pub(super) fn reason(body: &[u8]) -> Option<Reason> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let exception = &answer["RemoteException"];
    let name = exception["exception"].as_str()?;
    let message = exception["message"].as_str().unwrap_or_default();
    let line: String = message.lines().next().unwrap_or_default().chars().take(500).collect();
    Some(Reason {
        text: format!("{name}: {line}"),
        passes: matches!(name, "StandbyException" | "RetriableException" | "SafeModeException"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_urls_ask_first() {
        for (url, asks) in [
            ("http://n:9870/webhdfs/v1/a/b?op=CREATE&overwrite=true", true),
            ("http://n:9870/webhdfs/v1/a?user.name=me&OP=create", true),
            ("http://n:9870/webhdfs/v1/a?op=OPEN", false),
            ("http://n:14000/webhdfs/v1/a?op=CREATE&data=true", false),
            ("https://n/webhdfs/v1/a?op=CREATE&write=true", false),
            ("http://n/files/a?op=CREATE", false),
        ] {
            assert_eq!(asks_first(&url.parse().unwrap()), asks, "{url}");
        }
    }

    #[test]
    fn a_reason_is_read() {
        let body = br#"{"RemoteException": {"exception": "StandbyException", "message": "not now\nat java"}}"#;
        assert_eq!(reason(body), Some(Reason { text: "StandbyException: not now".into(), passes: true }));
        assert_eq!(reason(b"<html>"), None);
    }
}
