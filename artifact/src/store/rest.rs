//! What the stores that are spoken to in plain HTTP share: one client, the class of each answer, and readers of the
//! few forms of bodies.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::names::Names;
use crate::stream::ByteStream;

/// A server that does not take the connection, or says nothing for the second time, is tried again.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);
/// Services of the machine itself (metadata) answer at once or are not there.
const NEARBY: Duration = Duration::from_secs(2);
/// Bodies of errors and of small answers are not read further than this.
const SMALL_BODY: usize = 8 << 20;

/// The usual client: it follows no redirects, because credentials are meant for one host.
pub(crate) fn client() -> Result<Client> {
    finish(builder().connect_timeout(CONNECT).read_timeout(SILENCE))
}

/// A client for the machine's own services; never through a proxy.
pub(crate) fn nearby() -> Result<Client> {
    finish(builder().connect_timeout(NEARBY).timeout(2 * NEARBY).no_proxy())
}

/// A builder with the process's TLS provider in place.
pub(crate) fn builder() -> ClientBuilder {
    // The first provider installed stays; that there is one already is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(reqwest::redirect::Policy::none()).dns_resolver(Names)
}

pub(crate) fn finish(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Error::permanent("making an HTTP client", error.without_url()))
}

/// Sends the request; an answer that is not a success is an error with the server's own words, of the class that its
/// status has. `doing` names the operation and its object.
pub(crate) async fn send(doing: &str, request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.map_err(|error| fault(doing, error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refusal(doing, response).await)
}

/// Fields as a form's body.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("form:", fields);
    url.map_or_else(|_| String::new(), |url| url.query().unwrap_or_default().into())
}

/// A request that sends a form.
pub(crate) fn post_form(client: &Client, url: &str, form: String) -> RequestBuilder {
    client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
}

/// The error of an answer that is not a success.
async fn refusal(doing: &str, response: Response) -> Error {
    let status = response.status();
    // The status says enough where the words are lost.
    let body = small(response).await.unwrap_or_default();
    let words = words(&String::from_utf8_lossy(&body));
    let text = match words.is_empty() {
        true => format!("the server answered {status}"),
        false => format!("{words} (HTTP {})", status.as_u16()),
    };
    let code = words.split([':', ' ']).next().unwrap_or_default();
    match class(status) {
        Some(true) => Error::transient(doing, text),
        None if !matches!(code, "NoSuchBucket" | "ContainerNotFound") => not_found(doing),
        // Parts that the store forgot.
        Some(false) if code == "InvalidBlockList" => not_found(doing),
        _ if status == StatusCode::PRECONDITION_FAILED => Error::Changed { doing: doing.into(), why: text },
        _ if matches!(code, "BadDigest" | "InvalidDigest" | "Md5Mismatch" | "Crc64Mismatch" | "IncompleteBody") => {
            Error::corrupt(doing, text)
        }
        _ => Error::permanent(doing, Refusal { status, text }),
    }
}

/// An answer that will stay the same, with its status.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Refusal {
    status: StatusCode,
    text: String,
}

/// The status of the answer that the error is about, where it is one that stays.
pub(crate) fn status(error: &Error) -> Option<StatusCode> {
    let Error::Permanent { source, .. } = error else { return None };
    source.downcast_ref::<Refusal>().map(|refusal| refusal.status)
}

fn not_found(doing: &str) -> Error {
    Error::NotFound { what: doing.split_once(' ').map_or(doing, |(_, what)| what).into() }
}

/// Whether a status passes with time; none for "not there".
fn class(status: StatusCode) -> Option<bool> {
    match status {
        StatusCode::NOT_FOUND => None,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Some(true),
        StatusCode::NOT_IMPLEMENTED => Some(false),
        status => Some(status.is_server_error()),
    }
}

/// A request that got no answer, or whose answer broke off.
pub(crate) fn fault(doing: &str, error: reqwest::Error) -> Error {
    let permanent = error.is_builder() || error.is_redirect() || refused_by_tls(&error);
    let text = text(error);
    if permanent { Error::permanent(doing, text) } else { Error::transient(doing, text) }
}

/// What an HTTP client's error tells with its causes, without the URL, which may carry credentials.
pub fn text(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A certificate that is not trusted stays so.
pub(crate) fn refused_by_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

/// The body of an answer as a stream. It breaks off with a `Transient` error, also when nothing comes for so long.
pub(crate) fn body(response: Response, doing: String, stall: Duration) -> ByteStream {
    let chunks = stream::unfold(Some((response, doing)), move |state| async move {
        let (mut response, doing) = state?;
        match tokio::time::timeout(stall, response.chunk()).await {
            Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some((response, doing)))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(fault(&doing, error)), None)),
            Err(_) => Some((Err(Error::transient(doing, format!("nothing came for {stall:?}"))), None)),
        }
    });
    chunks.boxed()
}

/// A body that must be small.
pub(crate) async fn small(mut response: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault("reading an answer", error))? {
        if body.len() + chunk.len() > SMALL_BODY {
            return Err(Error::permanent("reading an answer", "it is larger than 8 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A body in JSON.
pub(crate) async fn json(doing: &str, response: Response) -> Result<Value> {
    let body = small(response).await?;
    serde_json::from_slice(&body).map_err(|error| Error::permanent(doing, format!("the answer is no JSON: {error}")))
}

/// A text in an answer's JSON.
pub(crate) fn field<'a>(doing: &str, answer: &'a Value, name: &str) -> Result<&'a str> {
    answer[name].as_str().ok_or_else(|| Error::permanent(doing, format!("the answer has no {name}")))
}

/// The code and message of an error's body, whether XML or JSON.
fn words(body: &str) -> String {
    if let Ok(answer) = serde_json::from_str::<Value>(body) {
        let error = if answer["error"].is_object() { &answer["error"] } else { &answer };
        let named = ["Code", "code", "error", "Message", "message", "error_description"];
        return joined(named.iter().filter_map(|name| error[name].as_str()));
    }
    joined(["Code", "Message"].iter().filter_map(|tag| element(body, tag)))
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let text = words.take(2).collect::<Vec<_>>().join(": ");
    text.lines().next().unwrap_or_default().chars().take(500).collect()
}

/// The text of the first element of that name, for messages and values without entities.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let begin = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let length = xml.get(begin..)?.find("</")?;
    xml.get(begin..begin + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_words_are_found_in_each_form() {
        assert_eq!(
            words("<?xml?><Error><Code>NoSuchKey</Code><Message>gone\nRequestId</Message></Error>"),
            "NoSuchKey: gone"
        );
        assert_eq!(words(r#"{"error": {"code": 404, "message": "No such object"}}"#), "No such object");
        assert_eq!(words(r#"{"error": "invalid_grant", "error_description": "bad key"}"#), "invalid_grant: bad key");
        assert_eq!(words("<html>"), "");
    }
}
