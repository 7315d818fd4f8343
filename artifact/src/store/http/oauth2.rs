//! Client credentials of OAuth2 (argo: artifacts/http/clients.go, CreateOauth2Client): a program's own name and
//! password, exchanged for a token.

use async_trait::async_trait;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use url::form_urlencoded;

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::rest;
use crate::store::token::{Source, Token};

/// Who asks for a token, and where.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// The URL that gives tokens.
    pub token_url: Secret,
    /// The program's name.
    pub client_id: Secret,
    /// Its password.
    pub client_secret: Secret,
    /// What the token is to allow.
    pub scopes: Vec<String>,
    /// Further fields of the request for a token.
    pub parameters: Vec<(String, String)>,
}

impl OAuth2 {
    /// The form without name and password. A parameter takes the place of `grant_type` and of nothing else.
    ///
    /// # Errors
    /// When a parameter is a field that the request has anyway.
    pub(super) fn form(&self, field: &str) -> Result<Vec<(String, String)>> {
        let grant = self.parameters.iter().any(|(name, _)| name == "grant_type");
        let mut form = Vec::new();
        form.extend((!grant).then(|| ("grant_type".to_owned(), "client_credentials".to_owned())));
        form.extend((!self.scopes.is_empty()).then(|| ("scope".to_owned(), self.scopes.join(" "))));
        for (name, value) in &self.parameters {
            if name == "scope" && !self.scopes.is_empty() {
                return Err(Error::Refused(format!(
                    "{field}.auth.oauth2.endpointParams: scope is set by scopes already"
                )));
            }
            form.push((name.clone(), value.clone()));
        }
        Ok(form)
    }
}

/// Asks for tokens.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) config: OAuth2,
    pub(super) form: Vec<(String, String)>,
}

impl Client {
    async fn exchange(&self, in_header: bool) -> Result<Token> {
        let OAuth2 { token_url, client_id, client_secret, .. } = &self.config;
        let (id, secret) = (client_id.expose().trim(), client_secret.expose().trim());
        let mut fields: Vec<(&str, &str)> = self.form.iter().map(|(name, value)| (&**name, &**value)).collect();
        if !in_header {
            fields.extend([("client_id", id), ("client_secret", secret)]);
        }
        let doing = "asking for a token (artifacts[].http.auth.oauth2)";
        let request = rest::post_form(&rest::client()?, token_url.expose().trim(), rest::form(&fields));
        let request = request.header(ACCEPT, "application/json");
        let request = match in_header {
            // Escaped as in a form, so that neither can hold a colon (RFC 6749, 2.3.1).
            true => request.basic_auth(escaped(id), Some(escaped(secret))),
            false => request,
        };
        match rest::send(doing, request).await {
            Ok(response) => Token::of(doing, &rest::json(doing, response).await?),
            // Nobody may take a wrong address of tokens for a missing artifact.
            Err(gone) if gone.is_not_found() => {
                Err(Error::permanent(doing, "there is nothing at tokenURLSecret's URL"))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Source for Client {
    async fn ask(&self) -> Result<Token> {
        match self.exchange(true).await {
            // Servers take the credentials in the header or in the form, and some only in one of them.
            Err(refused)
                if matches!(rest::status(&refused), Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)) =>
            {
                self.exchange(false).await
            }
            outcome => outcome,
        }
    }
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
