//! `http` templates: one request, and what its answer means.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, Response, Url};
use serde_json::{Value, json};
use tiphys_api::{Http, HttpHeader};
use tiphys_artifact::{Names, http_error};
use tiphys_expr::lang::eval_bool;

use crate::cluster::{Cluster, Resource};

/// Longest body of an answer in bytes. It becomes the node's result, and the object that carries it must stay below what
/// the API server takes.
const LONGEST_BODY: usize = 1 << 20;

/// Clients with their connections: one that looks at certificates, and one for `insecureSkipVerify`.
pub struct Clients {
    strict: Client,
    lax: Client,
}

impl Clients {
    /// Makes the clients. They trust the machine's authorities, and those in the files of a folder (which need not be
    /// there).
    ///
    /// # Errors
    /// The text for the user when an authority of the folder cannot be used.
    pub fn new(authorities_in: Option<&Path>) -> Result<Self, String> {
        // The first provider installed stays; that there is one already is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = concat!("tiphys-executor/", env!("CARGO_PKG_VERSION"));
        let mut strict = Client::builder().user_agent(agent).dns_resolver(Names);
        let authorities = authorities_in.map_or_else(|| Ok(Vec::new()), authorities)?;
        if !authorities.is_empty() {
            strict = strict.tls_certs_merge(authorities);
        }
        let lax = Client::builder().user_agent(agent).dns_resolver(Names).tls_danger_accept_invalid_certs(true);
        let failed = |error: reqwest::Error| format!("cannot make an HTTP client: {}", error.without_url());
        Ok(Self { strict: strict.build().map_err(failed)?, lax: lax.build().map_err(failed)? })
    }
}

/// Authorities in a folder: on a cluster that of the Secret that users may give the agent.
fn authorities(folder: &Path) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for path in files.map(|entry| entry.path()).filter(|path| path.is_file()) {
        let unusable = |reason: String| format!("cannot use the authorities in {}: {reason}", path.display());
        let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        found.extend(Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?);
    }
    Ok(found)
}

/// Where the values of headers are that come from Secrets.
pub trait Secrets {
    /// What a Secret holds under a key, as it is now.
    ///
    /// # Errors
    /// The text for the user.
    fn bytes(&self, name: &str, key: &str) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

impl Secrets for Cluster {
    async fn bytes(&self, name: &str, key: &str) -> Result<Vec<u8>, String> {
        let secret = self.objects(&Resource::SECRET).get(name).await.map_err(|error| error.to_string())?;
        let encoded = secret["data"][key].as_str();
        let encoded = encoded.ok_or_else(|| format!("secret {name:?} does not have the key {key:?}"))?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
        bytes.map_err(|_| format!("secret {name:?} holds no base64 under the key {key:?}"))
    }
}

/// Sends the request and judges the answer; gives the node's result.
///
/// # Errors
/// The text for the user, who finds it as the message of the failed node.
pub async fn execute(clients: &Clients, secrets: &impl Secrets, http: &Http) -> Result<Value, String> {
    let exchange = async {
        let response = send(clients, secrets, http).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok::<_, String>((status, headers, body(response).await?))
    };
    let (status, headers, body) = match http.timeout_seconds {
        None => exchange.await?,
        Some(seconds) => {
            let time = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let late = |_| format!("{}: no whole answer within {seconds} s (timeoutSeconds)", shown(http));
            tokio::time::timeout(time, exchange).await.map_err(late)??
        }
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let (phase, message) = match http.success_condition.as_str() {
        "" if (200..300).contains(&status) => ("Succeeded", String::new()),
        "" => ("Failed", format!("received non-2xx response code: {status}")),
        condition => match eval_bool(condition, &scope(http, status, &headers, &body)?) {
            Ok(true) => ("Succeeded", String::new()),
            Ok(false) => ("Failed", format!("successCondition '{condition}' evaluated false")),
            Err(error) => return Err(error.to_string()),
        },
    };
    let mut result = json!({"phase": phase, "outputs": {"result": body}});
    if !message.is_empty() {
        result["message"] = json!(message);
    }
    Ok(result)
}

/// The request for messages, as Go's client shows it; a password in the URL is not shown.
fn shown(http: &Http) -> String {
    let method = method(http);
    let mut letters = method.chars();
    let first = letters.next().unwrap_or('G');
    let url = match http.url.parse::<Url>() {
        Ok(mut url) => {
            if url.password().is_some() {
                // Refused only for URLs that can have no password.
                let _ = url.set_password(Some("xxxxx"));
            }
            url.to_string()
        }
        Err(_) => http.url.clone(),
    };
    format!("{first}{} {url:?}", letters.as_str().to_lowercase())
}

fn method(http: &Http) -> &str {
    if http.method.is_empty() { "GET" } else { &http.method }
}

async fn send(clients: &Clients, secrets: &impl Secrets, http: &Http) -> Result<Response, String> {
    let client = if http.insecure_skip_verify { &clients.lax } else { &clients.strict };
    let method = Method::from_bytes(method(http).as_bytes())
        .map_err(|_| format!("net/http: invalid method {:?}", http.method))?;
    let url: Url = http.url.parse().map_err(|error| format!("parse {:?}: {error}", http.url))?;
    let mut headers = HeaderMap::new();
    for header in &http.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| format!("net/http: invalid header field name {:?}", header.name))?;
        let value = value(secrets, header).await?;
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| format!("net/http: invalid header field value for {:?}", header.name))?;
        value.set_sensitive(header.value_from.is_some());
        // A request has one host.
        match name == reqwest::header::HOST {
            true => drop(headers.insert(name, value)),
            false => drop(headers.append(name, value)),
        }
    }
    let request = client.request(method, url).headers(headers);
    let request = match request_body(http)? {
        body if body.is_empty() => request,
        body => request.body(body),
    };
    request.send().await.map_err(|error| format!("{}: {}", shown(http), http_error(error)))
}

fn request_body(http: &Http) -> Result<Vec<u8>, String> {
    match &http.body_from {
        None => Ok(http.body.clone().into_bytes()),
        Some(from) => base64::engine::general_purpose::STANDARD
            .decode(&from.bytes)
            .map_err(|error| format!("http.bodyFrom.bytes is no base64: {error}")),
    }
}

/// A header's value, where needed from its Secret as it is now.
async fn value(secrets: &impl Secrets, header: &HttpHeader) -> Result<String, String> {
    let Some(selector) = header.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref()) else {
        return Ok(header.value.clone());
    };
    let (name, key) = (&selector.name, &selector.key);
    let bytes = secrets.bytes(name, key).await?;
    String::from_utf8(bytes).map_err(|_| format!("secret {name:?} holds no text under the key {key:?}"))
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(http_error)? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return Err(format!(
                "the response is longer than {LONGEST_BODY} bytes, which is the most that a result can hold"
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a success condition sees.
fn scope(http: &Http, status: u16, headers: &HeaderMap, body: &str) -> Result<tiphys_expr::Value, String> {
    use tiphys_expr::Value;
    let mut asked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for header in &http.headers {
        asked.entry(canonical(&header.name)).or_default().push(header.value.clone());
    }
    let mut answered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        answered.entry(canonical(name.as_str())).or_default().push(value);
    }
    let lists = |headers: BTreeMap<String, Vec<String>>| {
        Value::map(headers.into_iter().map(|(name, values)| (name, Value::strs(values))))
    };
    let request = Value::map([
        ("method", Value::str(http.method.as_str())),
        ("url", Value::str(http.url.as_str())),
        ("body", Value::str(http.body.as_str())),
        ("bodyBytes", Value::Bytes(request_body(http)?.into())),
        ("headers", lists(asked)),
    ]);
    let response = Value::map([
        ("statusCode", Value::Int(i64::from(status))),
        ("body", Value::str(body)),
        ("headers", lists(answered)),
    ]);
    Ok(Value::map([("request", request), ("response", response)]))
}

/// A header's name as Go writes it: `Content-Type`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let letter = |c: char| {
        let c = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        upper = c == '-';
        c
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_gos() {
        for (name, expected) in [("content-type", "Content-Type"), ("X-API-key", "X-Api-Key"), ("etag", "Etag")] {
            assert_eq!(canonical(name), expected);
        }
    }

    #[test]
    fn messages_hide_passwords() {
        let http = Http { url: "http://u:secret@h/p?q".into(), method: "POST".into(), ..Http::default() };
        assert_eq!(shown(&http), "Post \"http://u:xxxxx@h/p?q\"");
    }
}
