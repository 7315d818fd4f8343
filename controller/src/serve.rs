//! What is asked for over HTTP: metrics, whether the controller lives and is ready, and profiles.
//!
//! Metrics have a port of their own, over TLS unless that is switched off, with a certificate that is made at the start and
//! signed by nobody (as Argo's). Health is plain HTTP, on port 6060; so are profiles, on an address of their own.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at a time; more wait until one ends.
const CONNECTIONS: usize = 32;
/// A request whose head, or a connection whose handshake, takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is answered to who asks for a path, with its query; nothing where there is no such path. It is dropped when who asked
/// is gone.
pub type Answer = Arc<dyn Fn(Uri) -> BoxFuture<'static, Option<Response<Bytes>>> + Send + Sync>;

/// An answer in words.
pub fn text(status: StatusCode, words: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(words.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not to be had.
    #[error("cannot listen on {place}")]
    Listen {
        /// The address, or the port of all addresses.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// No certificate can be made.
    #[error("no certificate can be made: {0}")]
    Certificate(String),
}

/// Answers on a port of all addresses, until the task is aborted.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(port: u16, secure: bool, answer: Answer) -> Result<tokio::task::JoinHandle<()>, ServeError> {
    let tls = if secure { Some(certificate()?) } else { None };
    // A machine without IPv6 has no such address.
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from(([0, 0, 0, 0], port))];
    let failed = |source| ServeError::Listen { place: format!("port {port}"), source };
    let listener = TcpListener::bind(&any[..]).await.map_err(failed)?;
    Ok(tokio::spawn(accept(listener, tls, answer)))
}

/// Answers on one address in plain HTTP, until the task is aborted: the address, with the port that port 0 has become.
///
/// # Errors
/// The address is not to be had.
pub async fn serve_at(
    address: SocketAddr,
    answer: Answer,
) -> Result<(SocketAddr, tokio::task::JoinHandle<()>), ServeError> {
    let failed = |source| ServeError::Listen { place: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((address, tokio::spawn(accept(listener, None, answer))))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, answer: Answer) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: others may end meanwhile.
                tracing::warn!(%error, "a connection is not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, answer) = (tls.clone(), answer.clone());
        tokio::spawn(async move {
            let _turn = turn;
            match tls {
                None => talk(stream, answer).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
                        talk(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(respond(&request, &answer).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn respond(request: &Request<Incoming>, answer: &Answer) -> Response<Full<Bytes>> {
    let known = match *request.method() {
        Method::GET | Method::HEAD => answer(request.uri().clone()).await,
        _ => Some(text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n")),
    };
    known.unwrap_or_else(|| text(StatusCode::NOT_FOUND, "there is nothing here\n")).map(Full::new)
}

/// A certificate for this run alone.
fn certificate() -> Result<TlsAcceptor, ServeError> {
    let failed = |error: &dyn std::fmt::Display| ServeError::Certificate(error.to_string());
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|error| failed(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
