//! Small servers that speak the protocols of GCS, OSS and Azure on loopback. Each checks who asks before anything else,
//! and compares checksums as the real ones do.
#![allow(dead_code, clippy::unwrap_used)] // Each binary uses its own part; a failed set-up fails the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use crc_fast::CrcAlgorithm;
use serde_json::json;

use super::site::{Answer, Request, Site, answer, unescape};

/// Objects, and uploads under way with their parts.
#[derive(Default)]
pub struct Kept {
    pub objects: BTreeMap<String, Vec<u8>>,
    pub uploads: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    next: u64,
}

pub type Shared = Arc<Mutex<Kept>>;

/// What a test does to an answer before it is sent.
pub type Twist = Box<dyn Fn(&Request, Answer) -> Answer + Send + Sync>;

pub fn none() -> Twist {
    Box::new(|_, answer| answer)
}

fn crc(algorithm: CrcAlgorithm, bytes: &[u8]) -> u64 {
    crc_fast::checksum(algorithm, bytes)
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{:016x}-{}\"", crc(CrcAlgorithm::Crc64Nvme, bytes), bytes.len())
}

fn refusal(status: u16, code: &str) -> Answer {
    answer(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by rule</Message></Error>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `bytes=a-b` of `all`; none for a range that begins behind its end.
fn ranged<'a>(text: &str, all: &'a [u8]) -> Option<&'a [u8]> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    (from < all.len()).then(|| &all[from..all.len().min(to + 1)])
}

/// A page of at most 1000 keys after `token`, and the next token.
fn page<'a>(kept: &'a Kept, prefix: &str, token: Option<&String>) -> (Vec<(&'a String, usize)>, Option<String>) {
    let after =
        kept.objects.iter().filter(|(key, _)| key.starts_with(prefix) && token.is_none_or(|token| *key > token));
    let mut keys: Vec<_> = after.map(|(key, bytes)| (key, bytes.len())).take(1001).collect();
    let more = keys.len() > 1000;
    keys.truncate(1000);
    let next = keys.last().filter(|_| more).map(|(key, _)| (*key).clone());
    (keys, next)
}

/// How GCS and OSS tell and take checksums.
#[derive(Clone, Copy, PartialEq)]
pub enum Flavour {
    Gcs,
    Oss,
}

impl Flavour {
    fn told(self, answer: Answer, bytes: &[u8]) -> Answer {
        match self {
            Flavour::Gcs => answer.with("x-goog-hash", crc32c(bytes)).with("x-goog-hash", "md5=ignored"),
            Flavour::Oss => answer.with("x-oss-hash-crc64ecma", crc(CrcAlgorithm::Crc64Xz, bytes).to_string()),
        }
    }

    fn accepts(self, request: &Request) -> bool {
        let hash = request.header("x-goog-hash");
        self != Flavour::Gcs || hash == crc32c(&request.body)
    }
}

fn crc32c(bytes: &[u8]) -> String {
    format!("crc32c={}", STANDARD.encode((crc(CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes()))
}

/// A bucket at `/bucket/`, for whom `allowed` lets in.
pub async fn bucket(
    flavour: Flavour,
    allowed: impl Fn(&Request) -> bool + Send + Sync + 'static,
    twist: Twist,
) -> (Site, Shared) {
    let kept = Shared::default();
    let shared = kept.clone();
    let site = Site::start(move |request| {
        if !allowed(request) {
            return refusal(403, "SignatureDoesNotMatch");
        }
        twist(request, bucket_answer(flavour, request, &mut shared.lock().unwrap()))
    });
    (site.await, kept)
}

fn bucket_answer(flavour: Flavour, request: &Request, kept: &mut Kept) -> Answer {
    let Some(key) = request.path().strip_prefix("/bucket/") else { return refusal(404, "NoSuchBucket") };
    let (key, query) = (unescape(&key.replace('+', "%2B")), request.query());
    match (request.method.as_str(), query.get("uploadId")) {
        ("GET", _) if key.is_empty() => {
            let (keys, next) =
                page(kept, query.get("prefix").map_or("", String::as_str), query.get("continuation-token"));
            let items = keys
                .iter()
                .map(|(key, size)| format!("<Contents><Key>{}</Key><Size>{size}</Size></Contents>", escaped(key)));
            let next = next.map(|next| format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(&next)));
            let (items, next) = (items.collect::<String>(), next.unwrap_or_default());
            answer(200, format!("<ListBucketResult>{items}{next}</ListBucketResult>"))
        }
        ("PUT", _) if key.is_empty() => answer(200, ""),
        ("POST", None) if query.contains_key("uploads") => {
            kept.next += 1;
            let id = format!("upload/{}+=", kept.next);
            kept.uploads.insert(id.clone(), BTreeMap::new());
            answer(
                200,
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
            )
        }
        ("PUT", Some(id)) => match kept.uploads.get_mut(id) {
            None => refusal(404, "NoSuchUpload"),
            Some(_) if !flavour.accepts(request) => refusal(400, "BadDigest"),
            Some(parts) => {
                parts.insert(format!("{:0>6}", query["partNumber"]), request.body.clone());
                flavour.told(answer(200, ""), &request.body).with("etag", etag(&request.body))
            }
        },
        ("POST", Some(id)) => match kept.uploads.remove(id) {
            None => refusal(404, "NoSuchUpload"),
            Some(parts) => {
                let named = String::from_utf8(request.body.clone()).unwrap();
                assert!(parts.values().all(|part| named.contains(&etag(part))), "{named}");
                let whole: Vec<u8> = parts.into_values().flatten().collect();
                let told = flavour.told(answer(200, "<CompleteMultipartUploadResult/>"), &whole);
                kept.objects.insert(key, whole);
                told
            }
        },
        ("DELETE", Some(id)) => {
            kept.uploads.remove(id);
            answer(204, "")
        }
        ("PUT", None) if !flavour.accepts(request) => refusal(400, "BadDigest"),
        ("PUT", None) => {
            kept.objects.insert(key, request.body.clone());
            flavour.told(answer(200, ""), &request.body)
        }
        ("DELETE", None) => match kept.objects.remove(&key) {
            Some(_) => answer(204, ""),
            None => refusal(404, "NoSuchKey"),
        },
        ("GET" | "HEAD", None) => match kept.objects.get(&key) {
            None => refusal(404, "NoSuchKey"),
            Some(all) => {
                let wanted = request.header("if-match");
                if !wanted.is_empty() && wanted != etag(all) {
                    return refusal(412, "PreconditionFailed");
                }
                let part = ranged(request.header("range"), all);
                let answer = answer(if part.is_some() { 206 } else { 200 }, part.unwrap_or(all));
                flavour.told(answer, all).with("etag", etag(all)).with("accept-ranges", "bytes")
            }
        },
        other => panic!("{other:?}"),
    }
}

/// A server for tokens of a service account whose public key it has, and of a metadata server.
pub async fn google() -> Site {
    Site::start(|request| match request.path() {
        "/token" => {
            let form = request.form();
            let parts: Vec<&str> = form["assertion"].split('.').collect();
            let key = include_bytes!("../data/service-account-public.der");
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, key);
            let signed = format!("{}.{}", parts[0], parts[1]);
            let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
            let good = key.verify(signed.as_bytes(), &signature).is_ok()
                && claims["iss"] == "robot@project.iam.gserviceaccount.com"
                && claims["scope"].as_str().unwrap().contains("devstorage")
                && form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer";
            match good {
                true => answer(200, json!({"access_token": "account-token", "expires_in": 3600}).to_string()),
                false => {
                    answer(400, json!({"error": "invalid_grant", "error_description": "bad signature"}).to_string())
                }
            }
        }
        "/computeMetadata/v1/instance/service-accounts/default/token"
            if request.header("metadata-flavor") == "Google" =>
        {
            answer(200, json!({"access_token": "machine-token", "expires_in": 3600}).to_string())
        }
        _ => answer(404, ""),
    })
    .await
}

/// The service account's key as Google's JSON has it, with its tokens from `url`.
pub fn service_account(url: &str) -> String {
    json!({
        "type": "service_account",
        "client_email": "robot@project.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": include_str!("../data/service-account.pem"),
        "token_uri": format!("{url}/token"),
    })
    .to_string()
}

/// Whether OSS would accept the request's signature, worked out from what arrived.
pub fn oss_allows(request: &Request, access: &str, secret: &str, token: Option<&str>) -> bool {
    let own = request.headers.iter().filter(|(name, _)| name.starts_with("x-oss-"));
    let own: String = own.map(|(name, value)| format!("{name}:{value}\n")).collect();
    let signed = ["uploads", "uploadId", "partNumber", "lifecycle", "continuation-token"];
    let query = request.query();
    let query = query.iter().filter(|(name, _)| signed.contains(&name.as_str()));
    let query: Vec<_> =
        query.map(|(name, value)| if value.is_empty() { name.clone() } else { format!("{name}={value}") }).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let text = format!(
        "{}\n{}\n{}\n{}\n{own}{}{query}",
        request.method,
        request.header("content-md5"),
        request.header("content-type"),
        request.header("date"),
        unescape(&request.path().replace('+', "%2B")),
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let signature = STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()));
    request.header("authorization") == format!("OSS {access}:{signature}")
        && request.headers.get("x-oss-security-token").map(String::as_str) == token
}

/// Whether Azure would accept the request's signature by the account's key, worked out from what arrived.
pub fn azure_allows(request: &Request, account: &str, key: &str) -> bool {
    let own = request.headers.iter().filter(|(name, _)| name.starts_with("x-ms-"));
    let own: String = own.map(|(name, value)| format!("{name}:{value}\n")).collect();
    let query: String = request.query().iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
    let length = if request.body.is_empty() { String::new() } else { request.body.len().to_string() };
    let text = format!(
        "{}\n\n\n{length}\n\n{}\n\n\n{}\n\n\n\n{own}/{account}{}{query}",
        request.method,
        request.header("content-type"),
        request.header("if-match"),
        request.path(),
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap());
    let signature = STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()));
    request.header("authorization") == format!("SharedKey {account}:{signature}")
}

/// A container at `/account/container`, for whom `allowed` lets in.
pub async fn container(allowed: impl Fn(&Request) -> bool + Send + Sync + 'static, twist: Twist) -> (Site, Shared) {
    let kept = Shared::default();
    let shared = kept.clone();
    let site = Site::start(move |request| {
        if !allowed(request) {
            return refusal(403, "AuthenticationFailed");
        }
        twist(request, container_answer(request, &mut shared.lock().unwrap()))
    });
    (site.await, kept)
}

fn container_answer(request: &Request, kept: &mut Kept) -> Answer {
    let Some(key) = request.path().strip_prefix("/account/container") else { return refusal(404, "ContainerNotFound") };
    let key = unescape(&key.trim_start_matches('/').replace('+', "%2B"));
    let query = request.query();
    let crc_of = |bytes: &[u8]| STANDARD.encode(crc(CrcAlgorithm::Crc64Nvme, bytes).to_le_bytes());
    let sent = request.header("x-ms-content-crc64");
    match (request.method.as_str(), query.get("comp").map(String::as_str)) {
        ("GET", Some("list")) => {
            let (keys, next) = page(kept, query.get("prefix").map_or("", String::as_str), query.get("marker"));
            let items = keys.iter().map(|(key, size)| {
                let key = escaped(key);
                format!(
                    "<Blob><Name>{key}</Name><Properties><Content-Length>{size}</Content-Length></Properties></Blob>"
                )
            });
            let (items, next) = (items.collect::<String>(), escaped(&next.unwrap_or_default()));
            answer(
                200,
                format!(
                    "\u{feff}<EnumerationResults><Blobs>{items}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
                ),
            )
        }
        ("PUT", Some("block" | "blocklist") | None) if !sent.is_empty() && sent != crc_of(&request.body) => {
            refusal(400, "Crc64Mismatch")
        }
        ("PUT", Some("block")) => {
            kept.uploads.entry(key).or_default().insert(query["blockid"].clone(), request.body.clone());
            answer(201, "")
        }
        ("PUT", Some("blocklist")) => {
            let blocks = kept.uploads.get(&key).cloned().unwrap_or_default();
            let list = String::from_utf8(request.body.clone()).unwrap();
            let mut whole = Vec::new();
            for id in list.split("<Latest>").skip(1).map(|rest| rest.split('<').next().unwrap()) {
                match blocks.get(id) {
                    Some(block) => whole.extend_from_slice(block),
                    None => return refusal(400, "InvalidBlockList"),
                }
            }
            kept.objects.insert(key, whole);
            answer(201, "")
        }
        ("PUT", None) => {
            assert_eq!(request.header("x-ms-blob-type"), "BlockBlob");
            kept.objects.insert(key, request.body.clone());
            answer(201, "")
        }
        ("DELETE", None) => match kept.objects.remove(&key) {
            Some(_) => answer(202, ""),
            None => refusal(404, "BlobNotFound"),
        },
        ("GET" | "HEAD", None) => {
            let Some(all) = kept.objects.get(&key) else { return refusal(404, "BlobNotFound") };
            let wanted = request.header("if-match");
            if !wanted.is_empty() && wanted != etag(all) {
                return refusal(412, "ConditionNotMet");
            }
            if request.header("x-ms-range").is_empty() {
                return answer(200, all.clone()).with("etag", etag(all));
            }
            match ranged(request.header("x-ms-range"), all) {
                None => refusal(416, "InvalidRange"),
                Some(part) => answer(206, part)
                    .with("etag", etag(all))
                    .with("x-ms-content-crc64", crc_of(part))
                    .with("content-range", format!("bytes 0-0/{}", all.len())),
            }
        }
        other => panic!("{other:?}"),
    }
}
