//! One request and its answer, and the repetition of what failed for now.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tiphys_artifact::http_error;

use super::config::Credentials;
use super::{Cluster, ClusterError, Pauses};

/// Longest answer in bytes that is taken: far above what the API server makes of one page.
const LONGEST_ANSWER: usize = 64 << 20;
/// So much of an answer that is no Status goes into a message.
const SHOWN: usize = 300;

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    /// Verb and object, for messages: they go on from `cannot`.
    pub(super) doing: String,
    /// To be repeated only when the server cannot have acted on it.
    pub(super) once: bool,
}

impl Call {
    /// A request for an absolute path without query.
    pub fn get(path: String, doing: String) -> Self {
        Self { method: Method::GET, path, query: Vec::new(), body: None, doing, once: false }
    }
}

impl Cluster {
    /// Sends a request until it passes, fails for good, or the time is over.
    ///
    /// # Errors
    /// As [`ClusterError`] tells.
    pub async fn send(&self, call: &Call) -> Result<Value, ClusterError> {
        let mut pauses = Pauses::default();
        let mut last = None;
        let tries = async {
            loop {
                let error = match self.send_once(call).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                if !error.retry() || (call.once && !error.untouched()) {
                    return Err(error);
                }
                let pause = pauses.next(after(&error));
                tracing::warn!("{error}; trying again in {pause:.1?}");
                last = Some(error.to_string());
                tokio::time::sleep(pause).await;
            }
        };
        let done = self.patience.bound(tries).await;
        let out_of_time = || last.unwrap_or_else(|| format!("cannot {}: no answer yet", call.doing));
        done.unwrap_or_else(|| Err(ClusterError::OutOfTime(out_of_time())))
    }

    async fn send_once(&self, call: &Call) -> Result<Value, ClusterError> {
        let mut response = self.open(call, self.timeout).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(call, error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Err(unusable(call, format!("it is longer than {LONGEST_ANSWER} bytes")));
            }
        }
        serde_json::from_slice(&body).map_err(|error| unusable(call, error.to_string()))
    }

    /// Sends a request once; the answer's body has not been read and is there within `timeout`.
    pub(super) async fn open(&self, call: &Call, timeout: Duration) -> Result<Response, ClusterError> {
        let mut url = self.server.clone();
        // An API server may live below a path, for example behind Rancher.
        url.set_path(&format!("{}{}", self.server.path().trim_end_matches('/'), call.path));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self.http.request(call.method.clone(), url).timeout(timeout);
        request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        request = match &self.credentials {
            Credentials::None => request,
            Credentials::Basic { username, password } => request.basic_auth(username, Some(password.expose())),
            Credentials::Token(token) => request.bearer_auth(token.expose()),
            // Read each time: the kubelet replaces it before it expires.
            Credentials::TokenFile(path) => match std::fs::read_to_string(path) {
                Ok(token) => request.bearer_auth(token.trim()),
                Err(error) => {
                    let path = path.display();
                    return Err(ClusterError::Config(format!(
                        "cannot read the service account's token {path}: {error}"
                    )));
                }
            },
        };
        if let Some((kind, body)) = &call.body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static(kind)).body(body.clone());
        }
        let response = request.send().await.map_err(|error| unreachable(call, error))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refused(call, response).await),
        }
    }
}

fn after(error: &ClusterError) -> Option<Duration> {
    match error {
        ClusterError::Refused { after, .. } => *after,
        _ => None,
    }
}

fn unreachable(call: &Call, error: reqwest::Error) -> ClusterError {
    let unsent = error.is_connect();
    ClusterError::Unreachable { doing: call.doing.clone(), reason: http_error(error), unsent }
}

fn unusable(call: &Call, reason: String) -> ClusterError {
    ClusterError::Unusable { doing: call.doing.clone(), reason }
}

/// The error that an answer tells: a Status object, or whatever a proxy in between has to say.
async fn refused(call: &Call, mut response: Response) -> ClusterError {
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    // The status is what counts; a message that breaks off is still a message.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > 1 << 20 {
            break;
        }
    }
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    from_status(call, status, &told, seconds.map(Duration::from_secs), &body)
}

/// The error of a Status object, with the HTTP status beside it.
pub(super) fn from_status(
    call: &Call,
    status: StatusCode,
    told: &Value,
    after: Option<Duration>,
    body: &[u8],
) -> ClusterError {
    let message = match told["message"].as_str() {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => {
            let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).trim().to_owned();
            if text.is_empty() { status.canonical_reason().unwrap_or("no reason given").to_owned() } else { text }
        }
    };
    let reason = told["reason"].as_str().unwrap_or_default().to_owned();
    let after = after.or_else(|| told["details"]["retryAfterSeconds"].as_u64().map(Duration::from_secs));
    ClusterError::Refused { doing: call.doing.clone(), status: status.as_u16(), reason, message, after }
}
