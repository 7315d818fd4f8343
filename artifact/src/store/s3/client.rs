//! The SDK's client, built so that a process that lives for one step pays only for what it uses.

use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, IdentityCache, SharedCredentialsProvider, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::identity::{Finder, Identity};
use super::{Addressing, Encryption, S3Config, refused, region};
use crate::error::{Error, Result};
use crate::names::Names;

/// A server that does not take the connection, or does not begin to answer, in this time is tried again.
const CONNECT: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// The client, and whether payloads are to be signed.
pub(super) fn build(config: &S3Config) -> Result<(Client, bool)> {
    let (scheme, host) = match config.endpoint.split_once("://") {
        Some((scheme, host)) => (Some(scheme), host),
        None => (None, config.endpoint.as_str()),
    };
    let host = host.trim_end_matches('/');
    check(config, scheme, host)?;
    let insecure = config.insecure || scheme == Some("http");
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(region(config))
        .credentials_provider(credentials(config))
        .identity_cache(IdentityCache::lazy().load_timeout(config.retry.within + FIRST_BYTE).build())
        .http_client(http_client(config, insecure)?)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(FIRST_BYTE).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(config.retry.stall).build())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        // Asked for where a whole object is loaded; with a range some servers send the whole object's.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(path_style(config, host));
    if !host.is_empty() && host != "s3.amazonaws.com" {
        builder = builder.endpoint_url(format!("{}://{host}", if insecure { "http" } else { "https" }));
    }
    Ok((Client::from_conf(builder.build()), insecure && !is_loopback(host)))
}

fn credentials(config: &S3Config) -> SharedCredentialsProvider {
    match &config.identity {
        Identity::Keys { access, secret, token } => {
            let token = token.as_ref().map(|token| token.expose().trim().to_owned());
            // Argo trims both keys (s3.go, NewClient): Secrets made from files often end in a newline.
            let (access, secret) = (access.expose().trim(), secret.expose().trim());
            SharedCredentialsProvider::new(Credentials::new(access, secret, token, None, "artifact"))
        }
        Identity::Ambient { environment, role } => {
            SharedCredentialsProvider::new(Finder::new(environment, role, &config.region, &config.retry))
        }
    }
}

fn check(config: &S3Config, scheme: Option<&str>, host: &str) -> Result<()> {
    if config.bucket.is_empty() {
        return Err(refused("artifacts[].s3.bucket is missing: name the bucket there or in the artifact repository"));
    }
    let known = matches!(scheme, None | Some("http" | "https"));
    if !known || host.contains('/') || host.contains(char::is_whitespace) {
        return Err(refused(format!("artifacts[].s3.endpoint {:?} is not a host with optional port", config.endpoint)));
    }
    if matches!(config.encryption, Encryption::Customer(_)) && (config.insecure || scheme == Some("http")) {
        return Err(refused(
            "artifacts[].s3.encryptionOptions.serverSideCustomerKeySecret would send the key in clear: \
             remove `insecure: true`",
        ));
    }
    Ok(())
}

/// Without TLS no certificate is loaded, which is most of a client's start-up time.
fn http_client(config: &S3Config, insecure: bool) -> Result<SharedHttpClient> {
    let mut trust = if insecure { TrustStore::empty() } else { TrustStore::default() };
    if let Some(pem) = &config.ca {
        let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            return Err(refused("artifacts[].s3.caSecret holds no certificate in PEM format"));
        }
        trust = TrustStore::empty().with_pem_certificate(pem.as_bytes());
    }
    let provider = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    let context = TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| Error::permanent("preparing TLS for S3", error))?;
    Ok(provider.tls_context(context).build_with_resolver(Names))
}

/// The clouds that want the bucket in the host name; it cannot be there when the name has dots, because certificates
/// cover one label.
fn path_style(config: &S3Config, host: &str) -> bool {
    match config.addressing {
        Addressing::Path => true,
        Addressing::VirtualHosted => false,
        Addressing::Auto => {
            let name = host.split(':').next().unwrap_or_default();
            let cloud = ["amazonaws.com", "amazonaws.com.cn", "storage.googleapis.com", "aliyuncs.com"];
            let virtual_host = name.is_empty() || cloud.iter().any(|domain| name.ends_with(domain));
            !virtual_host || config.bucket.contains('.')
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn config(endpoint: &str, bucket: &str) -> S3Config {
        S3Config::new(endpoint, bucket, Secret::new("a"), Secret::new("b"))
    }

    #[test]
    fn addressing_follows_the_endpoint() {
        for (endpoint, bucket, path) in [
            ("minio:9000", "b", true),
            ("s3.amazonaws.com", "b", false),
            ("", "b", false),
            ("s3.amazonaws.com", "b.with.dots", true),
            ("s3.eu-west-1.amazonaws.com", "b", false),
            ("storage.googleapis.com", "b", false),
            ("127.0.0.1:9000", "b", true),
        ] {
            assert_eq!(path_style(&config(endpoint, bucket), endpoint), path, "{endpoint} {bucket}");
        }
    }

    #[test]
    fn bad_settings_name_their_field() {
        let text = |config: &S3Config| build(config).map(|_| ()).unwrap_err().to_string();
        assert!(text(&config("minio:9000", "")).contains("s3.bucket"));
        assert!(text(&config("minio:9000/path", "b")).contains("s3.endpoint"));
        assert!(text(&config("ftp://minio", "b")).contains("s3.endpoint"));
        let mut clear = config("minio:9000", "b");
        clear.insecure = true;
        clear.encryption = Encryption::Customer(Secret::new("password"));
        assert!(text(&clear).contains("serverSideCustomerKeySecret"));
    }

    #[test]
    fn a_ca_must_be_one() {
        let mut with_ca = config("minio:9000", "b");
        with_ca.ca = Some("not PEM".into());
        assert!(build(&with_ca).map(|_| ()).unwrap_err().to_string().contains("s3.caSecret"));
    }

    #[test]
    fn loopback_is_recognised() {
        assert!(is_loopback("127.0.0.1:9000") && is_loopback("localhost:9000") && is_loopback("[::1]:9000"));
        assert!(!is_loopback("minio:9000") && !is_loopback("10.0.0.1"));
    }
}
