//! Alibaba's Object Storage Service, by its own protocol and signature (version 1, as Argo's client signs).

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap};
use reqwest::{Method, Url};
use tokio::sync::OnceCell;

use super::bucket::{Bucket, Dialect, Signed, http_date, number, value};
use super::objects::Objects;
use super::{Store, rest};
use crate::budget::Budget;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;

mod identity;
mod sign;

use identity::Identity;

/// One bucket and who asks.
#[derive(Clone, Debug)]
pub(crate) struct OssConfig {
    /// Host with optional scheme; `https` where there is none.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// Access key, secret key and token; none for what the Pod is.
    pub keys: Option<(Secret, Secret, Option<Secret>)>,
    /// Where the Pod's identity is said.
    pub environment: Environment,
    /// Make the bucket before the first upload.
    pub create_bucket: bool,
    /// When objects get colder or go.
    pub lifecycle: Option<Lifecycle>,
    /// Repetition of each request.
    pub retry: Retry,
}

/// A rule that is set on the bucket before an upload, in place of all others there (argo: oss.go).
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    /// The keys that it is for.
    pub prefix: String,
    /// Days until objects move to the storage for rare access.
    pub infrequent_access: i64,
    /// Days until they are deleted.
    pub deletion: i64,
}

impl Lifecycle {
    fn check(&self) -> Result<()> {
        let rule = "artifacts[].oss.lifecycleRule";
        if self.infrequent_access < 0 || self.deletion < 0 {
            return Err(Error::Refused(format!("{rule}: days cannot be negative")));
        }
        if self.infrequent_access > self.deletion {
            return Err(Error::Refused(format!(
                "{rule}: markInfrequentAccessAfterDays cannot be larger than markDeletionAfterDays"
            )));
        }
        Ok(())
    }

    fn xml(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.prefix.as_bytes());
        let id: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = self.prefix.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let transition = match self.infrequent_access {
            0 => String::new(),
            days => format!("<Transition><Days>{days}</Days><StorageClass>IA</StorageClass></Transition>"),
        };
        let days = self.deletion;
        format!(
            "<LifecycleConfiguration><Rule><ID>{id}</ID><Prefix>{prefix}</Prefix><Status>Enabled</Status>{transition}\
             <Expiration><Days>{days}</Days></Expiration>\
             <AbortMultipartUpload><Days>{days}</Days></AbortMultipartUpload></Rule></LifecycleConfiguration>"
        )
    }
}

/// The bucket as a store.
pub(crate) fn store(config: OssConfig, budget: Arc<Budget>) -> Result<Arc<dyn Store>> {
    for (field, value) in [("bucket", &config.bucket), ("endpoint", &config.endpoint)] {
        if value.is_empty() {
            return Err(Error::Refused(format!(
                "artifacts[].oss.{field} is missing: give it there or in the repository"
            )));
        }
    }
    config.lifecycle.as_ref().map_or(Ok(()), Lifecycle::check)?;
    let identity = Identity::of(config.keys, config.environment, &config.retry)?;
    let base = base(&config.endpoint, &config.bucket).ok_or_else(|| {
        Error::Refused(format!("artifacts[].oss.endpoint {:?} is not a host with optional port", config.endpoint))
    })?;
    let lifecycle = config.lifecycle.filter(|rule| rule.deletion > 0);
    let dialect = Oss { identity, create_bucket: config.create_bucket, lifecycle, prepared: OnceCell::new() };
    let stall = config.retry.stall;
    let bucket = Bucket { client: rest::client()?, dialect, base, name: config.bucket, stall };
    Ok(Arc::new(Objects::new(bucket, config.retry, budget)))
}

/// The bucket's address: its name is part of the host, unless that is a number.
fn base(endpoint: &str, bucket: &str) -> Option<Url> {
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let host = host.trim_end_matches('/');
    let url: Url = format!("{scheme}://{host}/").parse().ok()?;
    match (scheme, url.host()?) {
        ("http" | "https", _) if url.path() != "/" => None,
        ("http" | "https", url::Host::Domain(_)) => format!("{scheme}://{bucket}.{host}/").parse().ok(),
        ("http" | "https", _) => format!("{scheme}://{host}/{bucket}/").parse().ok(),
        _ => None,
    }
}

/// What is OSS's own.
#[derive(Debug)]
pub(super) struct Oss {
    identity: Identity,
    create_bucket: bool,
    lifecycle: Option<Lifecycle>,
    prepared: OnceCell<()>,
}

impl Oss {
    async fn prepare_once(&self, bucket: &Bucket<Oss>) -> Result<()> {
        if self.create_bucket {
            let doing = format!("creating bucket {:?}", bucket.name);
            let made = bucket.send(&doing, Method::PUT, "", &[], HeaderMap::new(), Bytes::new()).await;
            // One that is there is fine if it can be used, which the upload itself shows.
            if let Err(error) = made
                && !error.to_string().contains("BucketAlreadyExists")
            {
                return Err(error);
            }
        }
        if let Some(rule) = &self.lifecycle {
            let body = rule.xml();
            let mut headers = HeaderMap::new();
            headers.insert("content-md5", value(&STANDARD.encode(Md5::digest(body.as_bytes())))?);
            let doing = format!("setting lifecycleRule on bucket {:?}", bucket.name);
            bucket.send(&doing, Method::PUT, "", &[("lifecycle", "")], headers, body.into()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Dialect for Oss {
    const SUM: CrcAlgorithm = CrcAlgorithm::Crc64Xz;
    const SCHEME: &'static str = "oss";

    async fn sign(&self, request: &mut Signed<'_>) -> Result<()> {
        let keys = self.identity.keys().await?;
        request.headers.insert(DATE, value(&http_date())?);
        if let Some(token) = &keys.token {
            let mut token = value(token.expose())?;
            token.set_sensitive(true);
            request.headers.insert("x-oss-security-token", token);
        }
        let mut authorization = value(&sign::authorization(&keys, request))?;
        authorization.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    fn sum_of(&self, headers: &HeaderMap) -> Option<u64> {
        number(headers, "x-oss-hash-crc64ecma")
    }

    async fn prepare(&self, bucket: &Bucket<Oss>) -> Result<()> {
        self.prepared.get_or_try_init(|| self.prepare_once(bucket)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_host() {
        let base = |endpoint: &str| base(endpoint, "b").map(String::from);
        assert_eq!(base("oss-cn-hangzhou.aliyuncs.com").as_deref(), Some("https://b.oss-cn-hangzhou.aliyuncs.com/"));
        assert_eq!(base("http://oss.local:80/").as_deref(), Some("http://b.oss.local/"));
        assert_eq!(base("http://127.0.0.1:9").as_deref(), Some("http://127.0.0.1:9/b/"));
        assert_eq!(base("http://host/path"), None);
        assert_eq!(base("ftp://host"), None);
    }

    #[test]
    fn rules_are_checked_and_written() {
        let rule = |infrequent_access, deletion| Lifecycle { prefix: "a&b".into(), infrequent_access, deletion };
        assert!(rule(8, 7).check().unwrap_err().to_string().contains("lifecycleRule"));
        assert!(rule(-1, 7).check().is_err());
        rule(7, 8).check().unwrap();
        let xml = rule(7, 8).xml();
        assert!(xml.contains("<Prefix>a&amp;b</Prefix>") && xml.contains("<Days>7</Days><StorageClass>IA"), "{xml}");
        assert!(!rule(0, 8).xml().contains("Transition"));
    }
}
