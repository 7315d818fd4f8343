//! Requests to the API server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ApiError, Status};
use super::gate::Gate;
use super::read_only;
use super::watch::METADATA_ALONE;

/// An answer that takes longer is given up. Longer than the server's own limit of 60 s.
const LONGEST: Duration = Duration::from_secs(75);

/// A connection to the API server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    observer: Option<Arc<Observer>>,
    gate: Option<Arc<Gate>>,
}

/// Told of every answer.
pub type Observer = dyn Fn(&Answered<'_>) + Send + Sync;

/// A request that was answered, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered<'a> {
    /// What it was about, in the plural: `pods`.
    pub kind: &'a str,
    /// `Create`, `Get`, `List`, `Watch`, `Patch`, `Delete`, ….
    pub verb: &'static str,
    /// HTTP status; 0 where there was no answer.
    pub code: u16,
    /// Until the answer began.
    pub took: Duration,
}

impl Api {
    /// Over a client.
    pub fn new(client: kube::Client) -> Api {
        Api { client, observer: None, gate: None }
    }

    /// The same, with somebody who is told of every answer.
    #[must_use]
    pub fn observed(self, observer: Arc<Observer>) -> Api {
        Api { observer: Some(observer), ..self }
    }

    /// The same, behind a gate: once that is shut, no request is answered but with [`ApiError::Shut`]. Watches do not pass it,
    /// as they change nothing.
    #[must_use]
    pub fn behind(&self, gate: Arc<Gate>) -> Api {
        Api { gate: Some(gate), ..self.clone() }
    }

    /// The client below, for what needs more than a request.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// An object or a list.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.get_as(path, "application/json").await
    }

    /// An object or a list in a form of its own (`Accept`).
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get_as<T: DeserializeOwned>(&self, path: &str, accept: &'static str) -> Result<T, ApiError> {
        let bytes = self.ask(Method::GET, path, accept, None).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Makes an object; gives what the server made of it.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.create_as(path, object, "application/json").await
    }

    /// Makes an object; gives what the server made of it in a form of its own (`Accept`).
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create_as<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &Value,
        accept: &'static str,
    ) -> Result<T, ApiError> {
        let body = Some(("application/json", serde_json::to_vec(object)?));
        let bytes = self.ask(Method::POST, path, accept, body).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Puts an object in place of the one that is there, which must have the version that it names; gives what the server
    /// made of it.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        let body = Some(("application/json", serde_json::to_vec(object)?));
        let bytes = self.ask(Method::PUT, path, "application/json", body).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// What the server sends for as long as it does, piece by piece: the log of a container.
    ///
    /// # Errors
    /// See [`ApiError`]; a piece is an error where the answer broke off.
    pub async fn stream(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<impl AsRef<[u8]> + use<>, ApiError>> + Unpin + use<>, ApiError> {
        let answer = self.send(Method::GET, path, "*/*", None).await?;
        let pieces = answer.into_body().into_data_stream();
        Ok(pieces.map(|piece| piece.map_err(|error| ApiError::Unreachable(chain(&error)))))
    }

    /// Changes an object by a JSON merge patch (RFC 7396); gives its new version.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<String, ApiError> {
        self.patch_as(path, patch, "application/merge-patch+json").await
    }

    /// Changes an object of Kubernetes' own kinds by a strategic merge patch; gives its new version. It costs the server less
    /// than a JSON merge patch, for which the whole object is written as JSON and read again.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch_strategically(&self, path: &str, patch: &Value) -> Result<String, ApiError> {
        self.patch_as(path, patch, "application/strategic-merge-patch+json").await
    }

    async fn patch_as(&self, path: &str, patch: &Value, form: &'static str) -> Result<String, ApiError> {
        let body = Some((form, serde_json::to_vec(patch)?));
        let bytes = self.ask(Method::PATCH, path, METADATA_ALONE.1, body).await?;
        let mut object: Value = serde_json::from_slice(&bytes)?;
        match object["metadata"]["resourceVersion"].take() {
            Value::String(version) => Ok(version),
            _ => Ok(String::new()),
        }
    }

    /// Deletes an object. What depends on it is collected by the server afterwards.
    ///
    /// # Errors
    /// See [`ApiError`]; one that is gone is no error.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<(), ApiError> {
        self.delete_if_there(path, options).await.map(|_| ())
    }

    /// Deletes an object; tells whether it was there.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn delete_if_there(&self, path: &str, options: &Value) -> Result<bool, ApiError> {
        let body = Some(("application/json", serde_json::to_vec(options)?));
        match self.ask(Method::DELETE, path, "application/json", body).await {
            Err(error) if error.is_not_found() => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Vec<u8>, ApiError> {
        let asked = async {
            let answer = self.send(method, path, accept, body).await?;
            let bytes = answer.into_body().collect().await;
            bytes.map(|bytes| bytes.to_bytes().into()).map_err(|error| ApiError::Unreachable(chain(&error)))
        };
        let late = |_| Err(ApiError::Unreachable(format!("no answer within {} s", LONGEST.as_secs())));
        let answered = async { tokio::time::timeout(LONGEST, asked).await.unwrap_or_else(late) };
        match &self.gate {
            Some(gate) => gate.pass(answered).await,
            None => answered.await,
        }
    }

    /// Sends a request and gives the answer once it is known to be a success.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Response<Body>, ApiError> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| ApiError::Unreachable(format!("{path}: {error}")))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some((content, body)) = body {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
            *request.body_mut() = Body::from(body);
        }
        let (verb, began) = (request.method().clone(), Instant::now());
        let answer = self.client.send(request).await;
        if let Some(observer) = &self.observer {
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            let (kind, verb) = asked(&verb, path);
            observer(&Answered { kind, verb, code, took: began.elapsed() });
        }
        let answer = answer.map_err(|error| match read_only::refused(&error) {
            Some(request) => ApiError::ReadOnly(request.to_owned()),
            None => ApiError::Unreachable(chain(&error)),
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status().as_u16();
        let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        let message = match status.message.as_str() {
            "" => format!("the API server answered {code}"),
            _ => status.message,
        };
        Err(ApiError::Refused { code, reason: status.reason, message, retry_after })
    }
}

/// What a request is about, and what it wants done. argo: util/k8s/parse.go.
fn asked<'a>(method: &Method, path: &'a str) -> (&'a str, &'static str) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parts = path.split('/').skip(1);
    // `/api/v1/…` or `/apis/group/version/…`
    let rest = if parts.next() == Some("api") { 1 } else { 2 };
    let mut parts = parts.skip(rest);
    let mut kind = parts.next().unwrap_or_default();
    let mut name = parts.next();
    if kind == "namespaces"
        && let Some(inner) = parts.next()
    {
        (kind, name) = (inner, parts.next());
    }
    let watches = query.split('&').any(|one| one == "watch=1");
    let verb = match (method.as_str(), name) {
        ("GET", _) if watches => "Watch",
        ("GET", None) => "List",
        ("GET", Some(_)) => "Get",
        ("POST", _) => "Create",
        ("PATCH", _) => "Patch",
        ("PUT", _) => "Update",
        ("DELETE", None) => "DeleteCollection",
        ("DELETE", Some(_)) => "Delete",
        _ => "Unknown",
    };
    (kind, verb)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_are_about() {
        for (method, path, expected) in [
            (Method::POST, "/api/v1/namespaces/a/pods", ("pods", "Create")),
            (Method::GET, "/api/v1/pods?labelSelector=a&watch=1", ("pods", "Watch")),
            (Method::GET, "/apis/argoproj.io/v1alpha1/workflows?limit=500", ("workflows", "List")),
            (Method::PATCH, "/apis/argoproj.io/v1alpha1/namespaces/a/workflows/w", ("workflows", "Patch")),
            (Method::GET, "/api/v1/namespaces/a", ("namespaces", "Get")),
            (
                Method::DELETE,
                "/apis/argoproj.io/v1alpha1/namespaces/a/workflowtaskresults",
                ("workflowtaskresults", "DeleteCollection"),
            ),
        ] {
            assert_eq!(asked(&method, path), expected, "{method} {path}");
        }
    }
}
