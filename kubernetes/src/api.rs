//! Requests to the API server.

use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ApiError, Status};

/// Instead of an object its metadata alone: what a PATCH answers is not read.
const METADATA_ALONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// An answer that takes longer is given up. Longer than the server's own limit of 60 s.
const LONGEST: Duration = Duration::from_secs(75);

/// A connection to the API server.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
}

impl Api {
    /// Over a client.
    pub fn new(client: kube::Client) -> Api {
        Api { client }
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
        let body = Some(("application/json", serde_json::to_vec(object)?));
        let bytes = self.ask(Method::POST, path, "application/json", body).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Changes an object by a JSON merge patch (RFC 7396); gives its new version.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<String, ApiError> {
        let body = Some(("application/merge-patch+json", serde_json::to_vec(patch)?));
        let bytes = self.ask(Method::PATCH, path, METADATA_ALONE, body).await?;
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
        let body = Some(("application/json", serde_json::to_vec(options)?));
        match self.ask(Method::DELETE, path, "application/json", body).await {
            Err(error) if error.is_not_found() => Ok(()),
            answer => answer.map(|_| ()),
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
        tokio::time::timeout(LONGEST, asked).await.unwrap_or_else(late)
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
        let answer = self.client.send(request).await.map_err(|error| ApiError::Unreachable(chain(&error)))?;
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
