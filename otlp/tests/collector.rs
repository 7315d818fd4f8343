//! Spans and metrics on their way to a collector on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tiphys_contract::{SpanId, TraceId};
use tiphys_otlp::receiver::Receiver;
use tiphys_otlp::{
    ExportError, Exporter, Family, FamilyKind, Kind, Measure, Outcome, Pace, Point, Resource, Sampler, Settings,
    Signal, Span, Spans,
};

fn exporter(signal: Signal, address: &str, more: &[(&str, &str)]) -> Exporter {
    let variables: BTreeMap<&str, &str> =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", address)].into_iter().chain(more.iter().copied()).collect();
    let find = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let settings = Settings::of(signal, find).unwrap().unwrap();
    Exporter::new(settings, &Resource::of("tests", find).unwrap()).unwrap()
}

fn span(name: &'static str) -> Span {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Span {
        trace: TraceId::of("w"),
        state: "workflow=a/b".into(),
        id: SpanId::of(&[name]),
        parent: Some(SpanId::of(&["parent"])),
        name,
        kind: Kind::Internal,
        start,
        end: start + Duration::from_millis(1500),
        attributes: vec![("name", "b".into()), ("acquired", true.into())],
        outcome: Outcome::Failed("Failed".into()),
    }
}

const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
const GZIP: (&str, &str) = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
const HEADERS: (&str, &str) = ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue");

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_as_they_were_told() {
    for (receiver, more) in [
        (Receiver::grpc().unwrap(), vec![HEADERS]),
        (Receiver::grpc().unwrap(), vec![HEADERS, GZIP]),
        (Receiver::http().unwrap(), vec![HEADERS, HTTP]),
        (Receiver::http().unwrap(), vec![HEADERS, HTTP, GZIP]),
    ] {
        let exporter = exporter(Signal::Traces, &format!("http://{}", receiver.address), &more);
        exporter.spans(&[span("one")]).await.unwrap();
        exporter.spans(&[span("two"), span("three")]).await.unwrap();
        let received = receiver.until(|spans| spans.len() == 3);
        let one = &received[0];
        assert_eq!((one.service.as_str(), one.name.as_str(), one.state.as_str()), ("tests", "one", "workflow=a/b"));
        assert_eq!(one.trace, TraceId::of("w").to_string());
        assert_eq!(
            (one.id.clone(), one.parent.clone()),
            (span("one").id.to_string(), SpanId::of(&["parent"]).to_string())
        );
        assert_eq!((one.start, one.end - one.start), (1_700_000_000_000_000_000, 1_500_000_000));
        assert_eq!((one.attributes["name"].as_str(), one.attributes["acquired"].as_str()), ("b", "true"));
        assert_eq!((one.status, one.message.as_str()), (2, "Failed"));
        assert_eq!(receiver.header("x-tenant").as_deref(), Some("blue"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_behind_tls_is_trusted_by_its_certificate_alone() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let receiver = Receiver::grpc_over(config).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let pem = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
    std::fs::write(file.path(), format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n")).unwrap();
    let address = format!("https://localhost:{}", receiver.address.port());
    let trusts = ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.path().to_str().unwrap());
    exporter(Signal::Traces, &address, &[trusts]).spans(&[span("one")]).await.unwrap();
    receiver.until(|spans| spans.len() == 1);
    let error = exporter(Signal::Traces, &address, &[]).spans(&[span("two")]).await.unwrap_err();
    assert!(matches!(&error, ExportError::Unreachable { reason, .. } if reason.contains("certificate")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_happened_and_whether_they_pass() {
    for (receiver, more) in [(Receiver::grpc().unwrap(), vec![]), (Receiver::http().unwrap(), vec![HTTP])] {
        let address = format!("http://{}", receiver.address);
        let exporter = exporter(Signal::Traces, &address, &more);
        receiver.fail(1);
        let error = exporter.spans(&[span("one")]).await.unwrap_err();
        assert!(error.retry(), "{error}");
        assert!(error.to_string().starts_with(&format!("the collector at {address} refuses: ")), "{error}");
        drop(receiver);
        let gone = exporter.spans(&[span("one")]).await.unwrap_err();
        assert!(matches!(gone, ExportError::Unreachable { .. }) && gone.retry(), "{gone}");
    }
    // Nothing else is there that speaks OTLP.
    let receiver = Receiver::http().unwrap();
    let elsewhere = format!("http://{}/elsewhere", receiver.address);
    let error = exporter(Signal::Traces, &elsewhere, &[HTTP]).spans(&[span("one")]).await.unwrap_err();
    assert!(!error.retry() && error.to_string().ends_with("refuses: 404 Not Found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_gathered_and_what_waits_is_sent_at_the_end() {
    let receiver = Receiver::grpc().unwrap();
    let exporter = exporter(Signal::Traces, &format!("http://{}", receiver.address), &[]);
    let pace = Pace { delay: Duration::from_secs(3600), queue: 100, batch: 2 };
    let (spans, sending) = Spans::begin(exporter, pace, Sampler::default());
    for name in ["a", "b", "c"] {
        spans.tell(span(name));
    }
    // A full batch does not wait; the third span would, for an hour.
    assert_eq!(receiver.until(|spans| spans.len() >= 2).len(), 2);
    sending.finish().await;
    assert_eq!(receiver.until(|spans| spans.len() >= 3).len(), 3);
    assert_eq!(receiver.requests(), 2);
    // Nobody sends any more, and nobody waits for that.
    spans.tell(span("d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_refuses_for_now_is_sent_again() {
    let receiver = Receiver::grpc().unwrap();
    receiver.fail(1);
    let exporter = exporter(Signal::Traces, &format!("http://{}", receiver.address), &[]);
    let pace = Pace { delay: Duration::from_millis(1), ..Pace::default() };
    let (spans, sending) = Spans::begin(exporter, pace, Sampler::default());
    spans.tell(span("a"));
    assert_eq!(receiver.until(|spans| !spans.is_empty()).len(), 1);
    assert_eq!(receiver.requests(), 2);
    sending.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_arrive_as_numbers_and_samples() {
    let receiver = Receiver::grpc().unwrap();
    let exporter = exporter(Signal::Metrics, &format!("http://{}", receiver.address), &[]);
    let family = |name: &str, kind, measure| Family {
        name: name.into(),
        help: "h".into(),
        kind,
        points: vec![Point { labels: vec![("a".into(), "x".into())], measure }],
    };
    let samples = Measure::Samples { bounds: vec![1.0, 2.0], counts: vec![3, 0, 1], sum: 9.0 };
    let families = vec![
        family("runs", FamilyKind::Counter, Measure::Number(2.0)),
        family("level", FamilyKind::Gauge, Measure::Number(-1.5)),
        family("took", FamilyKind::Histogram, samples),
    ];
    exporter.metrics(families, SystemTime::now()).await.unwrap();
    let told = ["runs{a=\"x\"}", "level{a=\"x\"}", "took{a=\"x\"}"].map(|name| receiver.metric(name));
    assert_eq!(told, [2.0, -1.5, 4.0]);
}
