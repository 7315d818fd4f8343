//! Connections for HTTP/2, over TLS where the address says so.

use std::io;
use std::sync::Arc;

use http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exporter::ExportError;
use crate::settings::Settings;

/// A stream of bytes of whatever kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One type for all streams, so that what works on them is there once in a program that has to be small.
pub type BoxedIo = Box<dyn Io>;

/// TLS for HTTP/2, where the address says so.
///
/// # Errors
/// [`ExportError::Setup`] when a certificate or key is not usable.
pub fn tls(settings: &Settings) -> Result<Option<TlsConnector>, ExportError> {
    if settings.endpoint.scheme_str() != Some("https") {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    match &settings.certificate {
        Some(path) => {
            let unusable =
                |reason: String| ExportError::Setup(format!("the certificates in {}: {reason}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
        }
        // What cannot be read of them is as good as not there; the handshake tells what is missing.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let setup = |error: rustls::Error| ExportError::Setup(format!("TLS: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(setup)?;
    let config = config.with_root_certificates(roots);
    let mut config = match &settings.identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let unusable = |error: rustls::pki_types::pem::Error| {
                ExportError::Setup(format!("{} and {}: {error}", certificate.display(), key.display()))
            };
            let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(unusable)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(unusable)?;
            config.with_client_auth_cert(chain, key).map_err(setup)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// A connection to the server of an address.
///
/// # Errors
/// The system's, or that of the handshake.
pub async fn connect(endpoint: &Uri, tls: Option<&TlsConnector>) -> io::Result<BoxedIo> {
    let host = endpoint.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = endpoint.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = TcpStream::connect((bare, port)).await?;
    let _ = stream.set_nodelay(true);
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => {
            let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
            Ok(Box::new(tls.connect(name, stream).await?))
        }
    }
}
