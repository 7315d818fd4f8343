//! What is asked for over HTTP: metrics, and whether the controller lives and is ready.
//!
//! Metrics have a port of their own, over TLS unless that is switched off, with a certificate that is made at the start and
//! signed by nobody (as Argo's). Health is plain HTTP, on port 6060.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
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

/// Status and text for a path; nothing where there is no such path.
pub type Answer = Arc<dyn Fn(String) -> BoxFuture<'static, Option<(StatusCode, String)>> + Send + Sync>;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is not to be had.
    #[error("cannot listen on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// No certificate can be made.
    #[error("no certificate can be made: {0}")]
    Certificate(String),
}

/// Answers on a port, until the task is dropped.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(port: u16, secure: bool, answer: Answer) -> Result<tokio::task::JoinHandle<()>, ServeError> {
    let tls = if secure { Some(certificate()?) } else { None };
    // A machine without IPv6 has no such address.
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from(([0, 0, 0, 0], port))];
    let listener = TcpListener::bind(&any[..]).await.map_err(|source| ServeError::Listen { port, source })?;
    Ok(tokio::spawn(accept(listener, tls, answer)))
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

async fn respond(request: &Request<Incoming>, answer: &Answer) -> Response<String> {
    let known = match *request.method() {
        Method::GET | Method::HEAD => answer(request.uri().path().to_owned()).await,
        _ => Some((StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned())),
    };
    let (status, text) = known.unwrap_or_else(|| (StatusCode::NOT_FOUND, "there is nothing here\n".to_owned()));
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
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
