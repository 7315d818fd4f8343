//! Google Cloud Storage, by its XML interface: it takes parts in any order and many at once, and any key as it is.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::bucket::{Bucket, Dialect, Signed, header, value};
use super::objects::Objects;
use super::token::Tokens;
use super::{Store, rest};
use crate::budget::Budget;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;

mod identity;

const ENDPOINT: &str = "https://storage.googleapis.com";
const HASH: HeaderName = HeaderName::from_static("x-goog-hash");

/// One bucket and who asks.
#[derive(Clone, Debug)]
pub(crate) struct GcsConfig {
    /// The bucket.
    pub bucket: String,
    /// The key of a service account, as Google's JSON has it; none for what the Pod is (workload identity).
    pub service_account: Option<Secret>,
    /// Where the Pod's identity is asked for, and `STORAGE_EMULATOR_HOST`.
    pub environment: Environment,
    /// Repetition of each request.
    pub retry: Retry,
}

/// The bucket as a store.
pub(crate) fn store(config: GcsConfig, budget: Arc<Budget>) -> Result<Arc<dyn Store>> {
    if config.bucket.is_empty() {
        return Err(Error::Refused(
            "artifacts[].gcs.bucket is missing: name the bucket there or in the repository".into(),
        ));
    }
    let endpoint = match config.environment.get("STORAGE_EMULATOR_HOST") {
        Some(host) if host.contains("://") => host.trim_end_matches('/').to_owned(),
        Some(host) => format!("http://{host}"),
        None => ENDPOINT.to_owned(),
    };
    let base: Result<Url, _> = format!("{endpoint}/{}/", config.bucket).parse();
    let base = base.map_err(|_| Error::Refused(format!("{:?} cannot be the name of a bucket", config.bucket)))?;
    let tokens = Tokens::new(identity::source(config.service_account.as_ref(), &config.environment)?, &config.retry);
    let stall = config.retry.stall;
    let bucket = Bucket { client: rest::client()?, dialect: Gcs { tokens }, base, name: config.bucket, stall };
    Ok(Arc::new(Objects::new(bucket, config.retry, budget)))
}

/// What is Google's own.
#[derive(Debug)]
struct Gcs {
    tokens: Tokens,
}

#[async_trait]
impl Dialect for Gcs {
    const SUM: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;
    const SCHEME: &'static str = "gs";

    async fn sign(&self, request: &mut Signed<'_>) -> Result<()> {
        let mut authorization = value(self.tokens.authorization().await?.expose())?;
        authorization.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    fn sum_header(&self, sum: u64) -> Option<(HeaderName, HeaderValue)> {
        let text = format!("crc32c={}", STANDARD.encode((sum as u32).to_be_bytes()));
        Some((HASH, HeaderValue::from_str(&text).ok()?))
    }

    fn sum_of(&self, headers: &HeaderMap) -> Option<u64> {
        // An object that is unpacked on its way has another checksum than what is kept.
        if header(headers, "x-goog-stored-content-encoding").is_some_and(|encoding| encoding != "identity") {
            return None;
        }
        let texts = headers.get_all(HASH).into_iter().filter_map(|value| value.to_str().ok());
        let crc = texts.flat_map(|text| text.split(',')).find_map(|text| text.trim().strip_prefix("crc32c="))?;
        let bytes: [u8; 4] = STANDARD.decode(crc).ok()?.try_into().ok()?;
        Some(u64::from(u32::from_be_bytes(bytes)))
    }
}
