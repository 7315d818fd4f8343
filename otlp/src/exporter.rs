//! Sends what is told, one request at a time.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, StatusCode};

use crate::connect;
use crate::grpc::{self, Channel};
use crate::message::{
    ExportResponse, KeyValue, MetricsRequest, ResourceMessage, ResourceMetrics, ResourceSpans, Scope, ScopeMetrics,
    ScopeSpans, TracesRequest,
};
use crate::metric::{self, Family};
use crate::settings::{Protocol, Resource, Settings, Signal};
use crate::span::Span;

/// How long an answer may take where nothing is said. OpenTelemetry: OTEL_EXPORTER_OTLP_TIMEOUT.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer in bytes that is read.
pub(crate) const LONGEST_ANSWER: usize = 64 << 10;
/// So much of what a collector says goes into a message.
const SHOWN: usize = 200;

/// Why something was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What was set is not usable.
    #[error("{0}")]
    Setup(String),
    /// There is no connection to the collector, or it broke.
    #[error("the collector at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the collector at {address} has not answered within {within:?}")]
    Late {
        /// Its address.
        address: String,
        /// How long it had.
        within: Duration,
    },
    /// It answered with a failure.
    #[error("the collector at {address} refuses: {reason}")]
    Refused {
        /// Its address.
        address: String,
        /// What it says.
        reason: String,
        /// Whether the same may be taken later.
        transient: bool,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
}

impl ExportError {
    /// Whether the same may be taken later. OpenTelemetry: OTLP, "Failures".
    pub fn retry(&self) -> bool {
        match self {
            ExportError::Setup(_) => false,
            ExportError::Unreachable { .. } | ExportError::Late { .. } => true,
            ExportError::Refused { transient, .. } => *transient,
        }
    }

    /// When the collector wants to be asked again.
    pub fn after(&self) -> Option<Duration> {
        match self {
            ExportError::Refused { after, .. } => *after,
            _ => None,
        }
    }
}

/// A way to a collector. Nothing is sent before there is something to tell.
pub struct Exporter {
    settings: Settings,
    resource: ResourceMessage,
    timeout: Duration,
    way: Way,
}

enum Way {
    Http(Client),
    Grpc(Box<Channel>),
}

impl Exporter {
    /// Of what was set.
    ///
    /// # Errors
    /// [`ExportError::Setup`] when a header, certificate or key is not usable.
    pub fn new(settings: Settings, resource: &Resource) -> Result<Exporter, ExportError> {
        let way = match settings.protocol {
            Protocol::Http => Way::Http(client(&settings)?),
            Protocol::Grpc => {
                let channel = Channel::new(&settings, headers(&settings)?, connect::tls(&settings)?);
                Way::Grpc(Box::new(channel))
            }
        };
        let attribute = |(key, value): &(String, _)| {
            let value: crate::span::Value = Clone::clone(value);
            KeyValue { key: key.clone(), value: Some(value.into()) }
        };
        let resource = ResourceMessage { attributes: resource.attributes.iter().map(attribute).collect() };
        Ok(Exporter { timeout: settings.timeout.unwrap_or(TIMEOUT), settings, resource, way })
    }

    /// The same, with less time for an answer, unless the time was set.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Exporter {
        self.timeout = self.settings.timeout.unwrap_or(timeout);
        self
    }

    /// Where it sends, without what may be secret.
    pub fn address(&self) -> String {
        grpc::address(&self.settings.endpoint)
    }

    /// Sends spans.
    ///
    /// # Errors
    /// As [`ExportError`] tells.
    pub async fn spans(&self, spans: &[Span]) -> Result<(), ExportError> {
        debug_assert_eq!(self.settings.signal, Signal::Traces);
        let spans = spans.iter().cloned().map(Into::into).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        self.send(&TracesRequest { resource_spans }.encode_to_vec()).await
    }

    /// Sends metrics as they are now; counters began at `since`.
    ///
    /// # Errors
    /// As [`ExportError`] tells.
    pub async fn metrics(&self, families: Vec<Family>, since: std::time::SystemTime) -> Result<(), ExportError> {
        debug_assert_eq!(self.settings.signal, Signal::Metrics);
        let now = std::time::SystemTime::now();
        let metrics = families.into_iter().map(|family| metric::encoded(family, since, now)).collect();
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
        let resource_metrics = vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics }];
        self.send(&MetricsRequest { resource_metrics }.encode_to_vec()).await
    }

    async fn send(&self, message: &[u8]) -> Result<(), ExportError> {
        let body = if self.settings.gzip { packed(message) } else { Bytes::copy_from_slice(message) };
        let sent = async {
            match &self.way {
                Way::Http(client) => self.post(client, body).await,
                Way::Grpc(channel) => channel.call(self.settings.signal.method(), &body).await,
            }
        };
        let late = |_| ExportError::Late { address: self.address(), within: self.timeout };
        let answer = tokio::time::timeout(self.timeout, sent).await.map_err(late)??;
        let refused = ExportResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
        if let Some(part) = refused.filter(|part| part.rejected > 0 || !part.error_message.is_empty()) {
            let said = shown(&part.error_message);
            tracing::warn!(rejected = part.rejected, said, "the collector has not taken all");
        }
        Ok(())
    }

    async fn post(&self, client: &Client, body: Bytes) -> Result<Bytes, ExportError> {
        let broken = |error: reqwest::Error| {
            let reason = innermost(&error.without_url());
            ExportError::Unreachable { address: self.address(), reason }
        };
        let request = client.post(self.settings.endpoint.to_string()).header(CONTENT_TYPE, "application/x-protobuf");
        let request = if self.settings.gzip { request.header(CONTENT_ENCODING, "gzip") } else { request };
        let mut answer = request.body(body).send().await.map_err(broken)?;
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            let room = LONGEST_ANSWER.saturating_sub(read.len());
            read.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if room == 0 {
                break;
            }
        }
        if status.is_success() {
            return Ok(read.into());
        }
        Err(ExportError::Refused {
            address: self.address(),
            reason: format!("{status} {}", shown(&String::from_utf8_lossy(&read))).trim_end().to_owned(),
            transient: matches!(status.as_u16(), 429 | 502 | 503 | 504) || status == StatusCode::REQUEST_TIMEOUT,
            after: after.map(Duration::from_secs),
        })
    }
}

fn scope() -> Scope {
    Scope { name: "tiphys".into(), version: env!("CARGO_PKG_VERSION").into() }
}

fn headers(settings: &Settings) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let wrong = || ExportError::Setup(format!("OTEL_EXPORTER_OTLP_HEADERS: {name} cannot be sent in a header"));
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
    }
    Ok(headers)
}

fn client(settings: &Settings) -> Result<Client, ExportError> {
    // The first provider installed stays; that there is one already is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder()
        .http1_only()
        .redirect(Policy::none())
        .default_headers(headers(settings)?)
        .user_agent(concat!("tiphys/", env!("CARGO_PKG_VERSION")));
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| ExportError::Setup(format!("{}: {error}", path.display())))
    };
    let unusable = |error: reqwest::Error| ExportError::Setup(format!("the certificates: {error}"));
    if let Some(path) = &settings.certificate {
        client = client.tls_certs_only(Certificate::from_pem_bundle(&read(path)?).map_err(unusable)?);
    }
    if let Some((certificate, key)) = &settings.identity {
        let whole = [read(certificate)?, read(key)?].concat();
        client = client.identity(Identity::from_pem(&whole).map_err(unusable)?);
    }
    client.build().map_err(unusable)
}

fn packed(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default().into()
}

/// What the error behind all others says: the others say that there is one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The beginning of what a collector says, on one line.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
