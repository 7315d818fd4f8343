//! OSS's signature of a request: HMAC-SHA1 over what names it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::identity::Keys;
use crate::store::bucket::{Signed, header};

/// Query parameters that are part of what is signed; the others only shape the answer.
const SIGNED: [&str; 5] = ["continuation-token", "lifecycle", "partNumber", "uploadId", "uploads"];

/// The value of the `Authorization` header.
pub(super) fn authorization(keys: &Keys, request: &Signed<'_>) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, keys.secret.expose().trim().as_bytes());
    let signature = hmac::sign(&key, text(request).as_bytes());
    format!("OSS {}:{}", keys.access.expose().trim(), STANDARD.encode(signature))
}

fn text(request: &Signed<'_>) -> String {
    let part = |name: &str| header(request.headers, name).unwrap_or_default();
    let mut own: Vec<_> = request.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-oss-")).collect();
    own.sort_by_key(|(name, _)| name.as_str());
    let own: String =
        own.iter().map(|(name, value)| format!("{name}:{}\n", value.to_str().unwrap_or_default())).collect();
    let mut query: Vec<_> = request.query.iter().filter(|(name, _)| SIGNED.contains(name)).collect();
    query.sort();
    let query = query.iter().map(|(name, value)| match value.is_empty() {
        true => (*name).to_owned(),
        false => format!("{name}={value}"),
    });
    let query: Vec<_> = query.collect();
    format!(
        "{}\n{}\n{}\n{}\n{own}/{}/{}{}{}",
        request.method,
        part("content-md5"),
        part("content-type"),
        part("date"),
        request.bucket,
        request.key,
        if query.is_empty() { "" } else { "?" },
        query.join("&"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use reqwest::Method;
    use reqwest::header::HeaderMap;

    #[test]
    fn the_documents_example_is_signed_as_there() {
        // https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-md5", "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM="),
            ("content-type", "text/html"),
            ("date", "Thu, 17 Nov 2005 18:49:58 GMT"),
            ("x-oss-magic", "abracadabra"),
            ("x-oss-meta-author", "foo@bar.com"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let keys = Keys {
            access: Secret::new("44CF9590006BF252F707"),
            secret: Secret::new("OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV"),
            token: None,
        };
        let mut request =
            Signed { method: &Method::PUT, headers: &mut headers, bucket: "oss-example", key: "nelson", query: &[] };
        assert_eq!(authorization(&keys, &request), "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=");
        request.query = &[("uploadId", "X"), ("max-keys", "1"), ("partNumber", "2")];
        assert!(text(&request).ends_with("/oss-example/nelson?partNumber=2&uploadId=X"));
    }
}
