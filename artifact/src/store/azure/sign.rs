//! The signature of a request by the account's key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use ring::hmac;

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::bucket::header;

/// An account and its key.
pub(super) struct SharedKey {
    account: String,
    key: hmac::Key,
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

impl SharedKey {
    /// The account is the first label of the host, or the first part of the path where the host is this machine's, as
    /// for emulators (argo: azure.go, determineAccountName).
    pub(super) fn new(base: &Url, key: &Secret) -> Result<Self> {
        let host = base.host_str().unwrap_or_default();
        let account = match host.starts_with("127.0.0.1") || host.starts_with("localhost") {
            true => base.path_segments().and_then(|mut parts| parts.next()).unwrap_or_default(),
            false => host.split('.').next().unwrap_or_default(),
        };
        let wrong = |_| {
            Error::Refused("artifacts[].azure.accountKeySecret holds neither a key in base64 nor a SAS token".into())
        };
        let key = STANDARD.decode(key.expose().trim()).map_err(wrong)?;
        Ok(SharedKey { account: account.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// The value of the `Authorization` header.
    pub(super) fn authorization(
        &self,
        method: &Method,
        url: &Url,
        query: &[(&str, &str)],
        headers: &HeaderMap,
        length: usize,
    ) -> String {
        let text = self.text(method, url, query, headers, length);
        let signature = STANDARD.encode(hmac::sign(&self.key, text.as_bytes()));
        format!("SharedKey {}:{signature}", self.account)
    }

    fn text(&self, method: &Method, url: &Url, query: &[(&str, &str)], headers: &HeaderMap, length: usize) -> String {
        let part = |name: &str| header(headers, name).unwrap_or_default().to_owned();
        let length = if length == 0 { String::new() } else { length.to_string() };
        let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ms-")).collect();
        own.sort_by_key(|(name, _)| name.as_str());
        let own = own.iter().map(|(name, value)| format!("{name}:{}\n", value.to_str().unwrap_or_default().trim()));
        let mut query = query.to_vec();
        query.sort();
        let query = query.iter().map(|(name, value)| format!("\n{name}:{value}"));
        format!(
            "{method}\n\n\n{length}\n{}\n{}\n\n\n{}\n{}\n\n{}\n{}/{}{}{}",
            part("content-md5"),
            part("content-type"),
            part("if-match"),
            part("if-none-match"),
            part("range"),
            own.collect::<String>(),
            self.account,
            url.path(),
            query.collect::<String>(),
        )
    }
}
