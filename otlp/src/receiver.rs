//! A collector on loopback that keeps what it is told: both protocols, with or without TLS. For tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::connect::BoxedIo;
use crate::message::{AnyValue, KeyValue, MetricsRequest, TracesRequest, any_value, metric};

/// A span as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// `service.name` of who sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its trace, in hexadecimal; so are the next two.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// What it is part of; empty for none.
    pub parent: String,
    /// W3C's `tracestate`.
    pub state: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// Names and values as text.
    pub attributes: BTreeMap<String, String>,
    /// 0 unset, 1 ok, 2 error.
    pub status: i32,
    /// What the status says.
    pub message: String,
}

/// All that was received.
#[derive(Default)]
struct State {
    spans: Vec<Received>,
    /// Numbers of metrics by name and labels.
    metrics: BTreeMap<String, f64>,
    /// Headers of the last request.
    headers: HeaderMap,
    requests: usize,
    /// How many requests are answered with a failure that passes.
    failures: usize,
}

/// The collector. It works until it is dropped.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
    // Ends what serves.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Receiver {
    /// gRPC on a port of its own.
    ///
    /// # Errors
    /// The system's, when it cannot listen.
    pub fn grpc() -> io::Result<Receiver> {
        Receiver::start(true, None)
    }

    /// gRPC over TLS.
    ///
    /// # Errors
    /// The system's, when it cannot listen.
    pub fn grpc_over(config: ServerConfig) -> io::Result<Receiver> {
        Receiver::start(true, Some(Arc::new(config).into()))
    }

    /// Protobuf over HTTP/1.1.
    ///
    /// # Errors
    /// The system's, when it cannot listen.
    pub fn http() -> io::Result<Receiver> {
        Receiver::start(false, None)
    }

    fn start(grpc: bool, tls: Option<TlsAcceptor>) -> io::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let served = state.clone();
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (served.clone(), tls.clone());
                tokio::spawn(async move {
                    let stream: BoxedIo = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    serve(stream, grpc, state).await;
                });
            }
        });
        Ok(Receiver { address, state, runtime: Some(runtime) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next so many requests fail for now.
    pub fn fail(&self, requests: usize) {
        self.state().failures = requests;
    }

    /// Waits until what was received is as wanted, and gives the spans.
    ///
    /// # Panics
    /// After a minute.
    pub fn until(&self, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        self.wait(|state| !wanted(&state.spans)).spans.clone()
    }

    /// Waits for a number of a metric, named as `name{label="value"}` with labels in the order of their names.
    ///
    /// # Panics
    /// After a minute.
    pub fn metric(&self, name: &str) -> f64 {
        self.wait(|state| !state.metrics.contains_key(name)).metrics.get(name).copied().unwrap_or_default()
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        self.state().headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// Waits for so many requests.
    ///
    /// # Panics
    /// After a minute.
    pub fn until_requests(&self, count: usize) {
        drop(self.wait(|state| state.requests < count));
    }

    #[allow(clippy::panic)]
    fn wait(&self, unwanted: impl Fn(&mut State) -> bool) -> MutexGuard<'_, State> {
        let until = Instant::now() + Duration::from_secs(60);
        let left = || until.saturating_duration_since(Instant::now());
        let waited = self.state.1.wait_timeout_while(self.state(), left(), unwanted);
        let (state, late) = waited.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            let names: Vec<&str> = state.spans.iter().map(|span| span.name.as_str()).collect();
            panic!("not received within a minute; there are {names:?} and {:?}", state.metrics);
        }
        state
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn body(bytes: &'static [u8], trailers: Option<HeaderMap>) -> Body {
    Full::new(Bytes::from_static(bytes)).with_trailers(async move { trailers.map(Ok) }).boxed_unsync()
}

async fn serve(stream: BoxedIo, grpc: bool, state: Arc<(Mutex<State>, Condvar)>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(request, grpc, &state).await) }
    });
    // A client that goes away ends its connection.
    let _ = match grpc {
        true => {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(TokioIo::new(stream), service).await
        }
        false => hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
    };
}

async fn answer(request: Request<Incoming>, grpc: bool, state: &(Mutex<State>, Condvar)) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    let Ok(whole) = incoming.collect().await else { return Response::new(body(&[], None)) };
    let mut bytes = whole.to_bytes();
    let fails = {
        let mut state = state.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests += 1;
        state.headers.clone_from(&head.headers);
        let fails = state.failures > 0;
        state.failures = state.failures.saturating_sub(1);
        fails
    };
    let mut taken = false;
    if !fails {
        let encoding = if grpc { "grpc-encoding" } else { "content-encoding" };
        let packed = head.headers.get(encoding).is_some_and(|value| value == "gzip");
        if grpc && bytes.len() >= 5 {
            bytes.advance(5);
        }
        taken = take(head.uri.path(), &unpacked(bytes, packed), state);
    }
    state.1.notify_all();
    let mut response = Response::new(body(&[], None));
    if grpc {
        let code = if fails {
            "14"
        } else if taken {
            "0"
        } else {
            "12"
        };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(code));
        response = Response::new(body(&[0; 5], Some(trailers)));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    } else if fails || !taken {
        *response.status_mut() = if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NOT_FOUND };
    }
    response
}

fn unpacked(bytes: Bytes, packed: bool) -> Vec<u8> {
    let mut plain = Vec::new();
    match packed {
        true => drop(GzDecoder::new(&bytes[..]).read_to_end(&mut plain)),
        false => plain.extend_from_slice(&bytes),
    }
    plain
}

fn take(path: &str, message: &[u8], state: &(Mutex<State>, Condvar)) -> bool {
    let mut state = state.0.lock().unwrap_or_else(PoisonError::into_inner);
    match path {
        "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
            let Ok(request) = TracesRequest::decode(message) else { return false };
            for one in request.resource_spans {
                let service = texts(one.resource.unwrap_or_default().attributes).remove("service.name");
                let spans = one.scope_spans.into_iter().flat_map(|scope| scope.spans);
                let received = spans.map(|span| received(service.clone().unwrap_or_default(), span));
                state.spans.extend(received.collect::<Vec<_>>());
            }
        }
        "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
            let Ok(request) = MetricsRequest::decode(message) else { return false };
            let metrics = request.resource_metrics.into_iter().flat_map(|one| one.scope_metrics);
            for one in metrics.flat_map(|scope| scope.metrics) {
                let mut keep = |labels, number| {
                    state.metrics.insert(named(&one.name, texts(labels)), number);
                };
                match one.data {
                    Some(metric::Data::Gauge(gauge)) => {
                        gauge.data_points.into_iter().for_each(|p| keep(p.attributes, p.as_double.unwrap_or_default()));
                    }
                    Some(metric::Data::Sum(sum)) => {
                        sum.data_points.into_iter().for_each(|p| keep(p.attributes, p.as_double.unwrap_or_default()));
                    }
                    Some(metric::Data::Histogram(histogram)) => {
                        histogram.data_points.into_iter().for_each(|p| keep(p.attributes, p.count as f64));
                    }
                    None => return false,
                }
            }
        }
        _ => return false,
    }
    true
}

fn received(service: String, span: crate::message::Span) -> Received {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let status = span.status.unwrap_or_default();
    Received {
        service,
        name: span.name,
        trace: hex(span.trace_id),
        id: hex(span.span_id),
        parent: hex(span.parent_span_id),
        state: span.trace_state,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: texts(span.attributes),
        status: status.code,
        message: status.message,
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: AnyValue| match value.value {
        Some(any_value::Value::Text(text)) => text,
        Some(any_value::Value::Bool(value)) => value.to_string(),
        Some(any_value::Value::Int(number)) => number.to_string(),
        None => String::new(),
    };
    attributes.into_iter().map(|one| (one.key, one.value.map(text).unwrap_or_default())).collect()
}

fn named(name: &str, labels: BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}
