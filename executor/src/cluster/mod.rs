//! The Kubernetes API, as far as the executor needs it: some forty lines of HTTP around JSON objects of any kind. The
//! typed client that the controller uses would cost the executor as much as everything else together.
//!
//! A request that fails for now is repeated until it passes, or until the Pod must end ([`Patience`]).

mod config;
mod error;
mod kubeconfig;
mod objects;
mod patience;
mod resource;
mod send;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Identity, Proxy, Url};
use tiphys_artifact::Names;

pub use config::{Config, Credentials};
pub use error::ClusterError;
pub use objects::{ListOptions, Objects, Patch};
pub use patience::{Limit, Patience, Pauses};
pub use resource::Resource;
pub use send::Call;
pub use watch::{Event, Watch};

/// A server that does not answer within this time is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A connection is made within this time or not at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A silent connection is probed after this time, so that a watch notices that its other end is gone.
const PROBE_AFTER: Duration = Duration::from_secs(20);

/// A cluster's API server. To be used within a tokio runtime with time and network.
pub struct Cluster {
    http: Client,
    server: Url,
    namespace: String,
    credentials: Credentials,
    patience: Patience,
    timeout: Duration,
    discovered: tokio::sync::Mutex<BTreeMap<String, Vec<Resource>>>,
}

impl Cluster {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClusterError::Config`] when the address or a certificate is not usable.
    pub fn new(config: Config, patience: Patience) -> Result<Self, ClusterError> {
        let server: Url = config
            .server
            .parse()
            .map_err(|error| ClusterError::Config(format!("the API server's address {:?}: {error}", config.server)))?;
        let wrong = |what: &str| {
            let what = what.to_owned();
            move |error: reqwest::Error| ClusterError::Config(format!("{what} is not usable: {}", error.without_url()))
        };
        // The first provider installed stays; that there is one already is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // HTTP/1.1: a dead HTTP/2 connection would take all requests with it, and there are only few.
        let mut client = Client::builder()
            .http1_only()
            .dns_resolver(Names)
            .connect_timeout(CONNECT_WITHIN)
            .tcp_keepalive(PROBE_AFTER)
            .tcp_keepalive_interval(PROBE_AFTER / 4)
            .tcp_keepalive_retries(4)
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(headers(&config)?)
            .user_agent(concat!("tiphys-executor/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(config.insecure);
        if let Some(pem) = &config.authority {
            let authorities = Certificate::from_pem_bundle(pem).map_err(wrong("the certificate authority"))?;
            client = client.tls_certs_only(authorities);
        }
        if let Some(pem) = &config.identity {
            let identity = Identity::from_pem(pem.expose().as_bytes()).map_err(wrong("the client certificate"))?;
            client = client.identity(identity);
        }
        if let Some(url) = &config.proxy {
            client = client.proxy(Proxy::all(url).map_err(wrong("the proxy's address"))?);
        }
        Ok(Self {
            http: client.build().map_err(wrong("the API server's TLS configuration"))?,
            server,
            namespace: config.namespace,
            credentials: config.credentials,
            patience,
            timeout: config.timeout.unwrap_or(ANSWER_WITHIN),
            discovered: Default::default(),
        })
    }

    /// The namespace of this Pod, or of the command line.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How long failed requests are repeated.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The objects of a kind, in this Pod's namespace.
    pub fn objects(&self, resource: &Resource) -> Objects<'_> {
        Objects::new(self, resource.clone())
    }
}

/// Headers of each request but for the authorisation: in whose place to act.
fn headers(config: &Config) -> Result<HeaderMap, ClusterError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.impersonate {
        let wrong = || ClusterError::Config(format!("{name}: {value:?} cannot be sent in a header"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}
