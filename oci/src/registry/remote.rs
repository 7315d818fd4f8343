//! One repository at one registry, or at a mirror of it: requests, and the token they need.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::PATIENCE;
use super::challenge::{self, Challenge};
use super::login::Login;
use crate::error::Error;
use crate::reference::Reference;

/// A place where an image may be.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    base: String,
    /// The host, to name it.
    pub registry: String,
    image: String,
    repository: String,
    login: Login,
    advice: String,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Remote {
    pub fn new(
        client: Client,
        base: String,
        registry: &str,
        reference: &Reference,
        (login, advice): (Login, String),
    ) -> Self {
        Self {
            client,
            base,
            registry: registry.to_owned(),
            image: reference.to_string(),
            repository: reference.repository().to_owned(),
            login,
            advice,
            authorization: Mutex::new(None),
        }
    }

    /// Asks for `manifests/VERSION` or `blobs/DIGEST`, logging in when the registry wants it.
    ///
    /// `patience`: how long the answer may take to begin.
    pub async fn get(&self, path: &str, accept: &str, patience: Option<Duration>) -> Result<Response, Error> {
        let url = format!("{}/v2/{}/{path}", self.base, self.repository);
        let mut challenged = false;
        loop {
            let known = self.authorization.lock().await.clone();
            let mut request = self.client.get(&url).header(ACCEPT, accept);
            if let Some(known) = &known {
                request = request.header(AUTHORIZATION, known);
            }
            let answer = self.send(request, path, patience).await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer),
                StatusCode::UNAUTHORIZED if !challenged => {
                    challenged = true;
                    self.log_in(&answer, &known, patience).await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorised()),
                StatusCode::NOT_FOUND => {
                    return Err(Error::NotFound { image: self.image.clone(), registry: self.registry.clone() });
                }
                status => return Err(self.failed(path, format!("it answered {status}"))),
            }
        }
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        what: &str,
        patience: Option<Duration>,
    ) -> Result<Response, Error> {
        let answer = match patience {
            Some(patience) => tokio::time::timeout(patience, request.send())
                .await
                .map_err(|_| self.not_reachable(format!("it did not answer within {} seconds", patience.as_secs())))?,
            None => request.send().await,
        };
        answer.map_err(|error| match error.is_connect() || error.is_timeout() {
            true => self.not_reachable(reason(error)),
            false => self.failed(what, reason(error)),
        })
    }

    /// Answers the registry's challenge, unless somebody else did meanwhile.
    async fn log_in(
        &self,
        answer: &Response,
        used: &Option<HeaderValue>,
        patience: Option<Duration>,
    ) -> Result<(), Error> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE);
        let mut challenges: Vec<Challenge> =
            headers.iter().filter_map(|header| header.to_str().ok()).filter_map(challenge::parse).collect();
        challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
        let mut authorization = self.authorization.lock().await;
        if *authorization != *used {
            return Ok(());
        }
        *authorization = Some(match challenges.into_iter().next() {
            Some(Challenge::Basic) => self.basic().ok_or_else(|| self.unauthorised())?,
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
                self.token(&realm, service.as_deref(), &scope, patience).await?
            }
            None => return Err(self.unauthorised()),
        });
        Ok(())
    }

    /// Gets a token; without a login, one for everybody.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        patience: Option<Duration>,
    ) -> Result<HeaderValue, Error> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let what = "its login";
        let url = Url::parse(realm).map_err(|_| self.failed(what, "it names no address for tokens"))?;
        // A password goes over plain HTTP only where the registry itself does.
        let basic = self.basic().filter(|_| url.scheme() == "https" || self.base.starts_with("http://"));
        let query = [("service", service), ("scope", Some(scope))];
        let mut url = url;
        url.query_pairs_mut().extend_pairs(query.iter().filter_map(|(name, value)| Some((name, (*value)?))));
        let mut request = self.client.get(url);
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let answer = self.send(request, what, patience).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorised()),
            status => return Err(self.failed(what, format!("the token server answered {status}"))),
        }
        let text = answer.bytes().await.map_err(|error| self.failed(what, reason(error)))?;
        let token: Option<Token> = serde_json::from_slice(&text).ok();
        let token = token.and_then(|token| token.token.or(token.access_token)).filter(|token| !token.is_empty());
        let header = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
        header.map(sensitive).ok_or_else(|| self.failed(what, "the token server gave no token"))
    }

    fn basic(&self) -> Option<HeaderValue> {
        let Login::Password { user, password } = &self.login else { return None };
        let text = STANDARD.encode(format!("{user}:{}", password.expose()));
        HeaderValue::try_from(format!("Basic {text}")).ok().map(sensitive)
    }

    fn unauthorised(&self) -> Error {
        Error::Unauthorised { image: self.image.clone(), registry: self.registry.clone(), advice: self.advice.clone() }
    }

    fn not_reachable(&self, reason: String) -> Error {
        Error::NotReachable { registry: self.registry.clone(), reason }
    }

    /// The registry did something else than it should.
    pub fn failed(&self, what: &str, reason: impl Into<String>) -> Error {
        Error::Registry { registry: self.registry.clone(), what: what.to_owned(), reason: reason.into() }
    }

    /// How long a first answer may take.
    pub fn patience() -> Option<Duration> {
        Some(PATIENCE)
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// An error with its causes, without addresses: those of downloads may hold signatures.
pub(crate) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
