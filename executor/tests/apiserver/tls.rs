//! The server's side of TLS, as Kubernetes serves its API. The certificates here are of no use elsewhere: they are for
//! 127.0.0.1 and `localhost`, and the authority's key is gone.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http::Stream;

/// Who signed the server's certificate.
pub const AUTHORITY: &str = include_str!("tls/ca.crt");

/// What stands between a connection and HTTP.
pub fn server() -> impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    move |stream| {
        let connection = ServerConnection::new(config.clone()).ok()?;
        Some(Box::new(StreamOwned::new(connection, stream)))
    }
}
