//! Registries: where images come from, who we are there, and the requests of the distribution protocol.

mod challenge;
mod login;
mod pull_secrets;
mod remote;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::reference::Reference;
use login::{Login, Logins};
pub use pull_secrets::PullSecrets;
pub(crate) use remote::{Remote, reason};

/// How long a registry may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a download may stand still.
const STILL: Duration = Duration::from_secs(30);

/// Mirrors and logins. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    mirrors: BTreeMap<String, Vec<String>>,
    logins: Logins,
    secrets: Option<PullSecrets>,
    client: Arc<OnceLock<reqwest::Client>>,
}

impl Registries {
    /// No mirrors; nobody is logged in anywhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mirror as `HOST=URL`: images of HOST are looked for at URL first, in the order the mirrors were added,
    /// then at HOST. A URL may be `http://`; without a scheme it is `https://`, for a loopback host `http://`.
    ///
    /// # Errors
    /// The text has another form.
    pub fn with_mirror(mut self, text: &str) -> Result<Self, Error> {
        let refuse = || Error::Mirror { text: text.to_owned() };
        let (host, url) = text.split_once('=').ok_or_else(refuse)?;
        let url = match url.contains("://") {
            true => url.to_owned(),
            false => base(url),
        };
        let parsed = reqwest::Url::parse(&url).map_err(|_| refuse())?;
        let plain = parsed.query().is_none() && parsed.fragment().is_none() && parsed.password().is_none();
        let good =
            matches!(parsed.scheme(), "http" | "https") && parsed.has_host() && plain && parsed.username().is_empty();
        // What is no registry in a name can be none here.
        let name: Reference = format!("{host}/a/b").parse().map_err(|_| refuse())?;
        if !good || host.is_empty() || !same_host(host, name.registry()) {
            return Err(refuse());
        }
        self.mirrors.entry(name.registry().to_owned()).or_default().push(url.trim_end_matches('/').to_owned());
        Ok(self)
    }

    /// Takes logins from a docker configuration (`config.json`). A file that is not there holds none.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn with_docker_config(mut self, path: &Path) -> Result<Self, Error> {
        self.logins = Logins::read(path)?;
        Ok(self)
    }

    /// Takes logins from Secrets, in place of a docker configuration.
    #[must_use]
    pub fn with_pull_secrets(self, secrets: PullSecrets) -> Self {
        Self { secrets: Some(secrets), ..self }
    }

    fn login(&self, host: &str, reference: &Reference) -> (Login, String) {
        match &self.secrets {
            Some(secrets) => secrets.find(host, reference.repository()),
            None => self.logins.find(host),
        }
    }

    /// The places where an image may be, mirrors first.
    pub(crate) fn remotes(&self, reference: &Reference) -> Result<Vec<Remote>, Error> {
        let host = reference.registry();
        let origin = match host {
            "docker.io" => "https://registry-1.docker.io".to_owned(),
            host => base(host),
        };
        let client = self.client()?;
        let mirrors = self.mirrors.get(host).into_iter().flatten();
        let mut remotes = Vec::new();
        for url in mirrors {
            let name = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest.split('/').next().unwrap_or(rest));
            remotes.push(Remote::new(client.clone(), url.clone(), name, reference, self.login(name, reference)));
        }
        remotes.push(Remote::new(client, origin, host, reference, self.login(host, reference)));
        Ok(remotes)
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        // Whoever is first decides; all of ours use the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("tiphys/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(PATIENCE)
                .read_timeout(STILL)
        };
        let client = builder().build().or_else(|error| {
            // A machine without certificates can still use registries over plain HTTP.
            tracing::debug!(%error, "no TLS certificates; only registries over http can be used");
            let none = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
            builder().tls_backend_preconfigured(none.with_no_client_auth()).build()
        });
        let client = client.map_err(|error| Error::malformed("the HTTP client", error))?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// Docker Hub has two names.
fn same_host(written: &str, read: &str) -> bool {
    written == read || written == "index.docker.io"
}

/// The address of a host without a scheme: plain HTTP only on this machine.
fn base(host: &str) -> String {
    let name = host.split('/').next().unwrap_or(host);
    let name = match name.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => name,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    format!("{}://{host}", if loopback { "http" } else { "https" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_over_plain_http() {
        for (host, url) in [
            ("quay.io", "https://quay.io"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.0.0.9:1", "http://127.0.0.9:1"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ] {
            assert_eq!(base(host), url);
        }
    }

    #[test]
    fn mirrors_are_read_strictly() {
        for good in ["docker.io=http://mirror:5000/", "index.docker.io=mirror", "quay.io:443=https://m/prefix"] {
            assert!(Registries::new().with_mirror(good).is_ok(), "{good}");
        }
        for bad in
            ["", "docker.io", "=http://m", "docker.io=", "docker.io=ftp://m", "docker.io=http://u:p@m", "a=http://m"]
        {
            let error = Registries::new().with_mirror(bad).unwrap_err();
            assert!(error.to_string().contains("HOST=URL"), "{bad}");
        }
    }
}
