//! What a URL is asked with.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::OAuth2;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;
use crate::store::rest;

/// A user's name and password.
#[derive(Clone, Debug)]
pub struct BasicAuth {
    /// The name.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

impl BasicAuth {
    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> Secret {
        let pair = format!("{}:{}", self.username.expose(), self.password.expose());
        Secret::new(format!("Basic {}", STANDARD.encode(pair)))
    }
}

/// A certificate that shows who asks.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: Secret,
    /// Its key, in PEM.
    pub key: Secret,
}

/// One URL and how to ask for it.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The workflow's field that these settings come from, for messages: `artifacts[].http`.
    pub field: &'static str,
    /// The URL.
    pub url: String,
    /// Headers of each request, in order; names may repeat.
    pub headers: Vec<(String, Secret)>,
    /// Basic authentication.
    pub basic_auth: Option<BasicAuth>,
    /// A token to show instead of a name and password.
    pub oauth2: Option<OAuth2>,
    /// A certificate to show to servers that want one.
    pub client_certificate: Option<ClientCertificate>,
    /// Write what is to be saved into a file first, so that a redirect with status 307 or 308 can be followed with the
    /// same body. WebHDFS needs no file: its servers are asked for the place before anything is sent.
    pub save_via_file: bool,
    /// The server tells checksums of its files, as Artifactory does: they are compared.
    pub checksums: bool,
    /// Repetition of each request.
    pub retry: Retry,
}

impl HttpConfig {
    /// A URL without headers or credentials.
    pub fn new(url: impl Into<String>) -> Self {
        HttpConfig {
            field: "artifacts[].http",
            url: url.into(),
            headers: Vec::new(),
            basic_auth: None,
            oauth2: None,
            client_certificate: None,
            save_via_file: false,
            checksums: false,
            retry: Retry::default(),
        }
    }

    /// A client that follows no redirects by itself: which headers go where is the store's to decide.
    pub(super) fn client(&self) -> Result<Client> {
        let mut builder =
            rest::builder().connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(60));
        if let Some(ClientCertificate { certificate, key }) = &self.client_certificate {
            let pem = format!("{}\n{}", certificate.expose(), key.expose());
            let wrong = |_| {
                let why = "they are no certificate and key in PEM that belong together";
                Error::Refused(format!("{}.auth.clientCert: {why}", self.field))
            };
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).map_err(wrong)?);
            return builder.build().map_err(wrong);
        }
        rest::finish(builder)
    }

    /// The headers of each request.
    pub(super) fn header_map(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong =
                || Error::Refused(format!("{}.headers: {name:?} or its value is not valid in HTTP", self.field));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.append(header, value);
        }
        Ok(headers)
    }
}
