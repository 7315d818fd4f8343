//! The Kubernetes API by way of `kubectl proxy`, which knows every way of a KUBECONFIG to say who one is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// The proxy's words for an API server that is away, and its own while it starts.
const AWAY: [StatusCode; 2] = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
/// How often it is asked again, and after what pause: half a minute.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// A cluster that can be asked.
pub struct Api {
    proxy: Child,
    address: String,
}

impl Drop for Api {
    fn drop(&mut self) {
        // It is the child of this process alone, and nothing depends on how it ends.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

impl Api {
    /// Starts the proxy on a free port of loopback.
    ///
    /// # Errors
    /// When there is no kubectl, or it refuses the KUBECONFIG.
    pub fn open(kubeconfig: &Path) -> Result<Self> {
        let mut command = Command::new("kubectl");
        // Unless told otherwise it lets nobody run anything in a container, as the controller does.
        command.arg("--kubeconfig").arg(kubeconfig).args(["proxy", "--port=0", "--reject-paths=^$"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut proxy = command.spawn().context("kubectl cannot be started: install it")?;
        let mut line = String::new();
        let output = proxy.stdout.take().context("kubectl has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let api = Self { proxy, address };
        match api.address.contains(':') {
            true => Ok(api),
            false => bail!("kubectl proxy did not start with KUBECONFIG {}: {line}", kubeconfig.display()),
        }
    }

    /// Where the proxy listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Incoming>> {
        let stream = tokio::net::TcpStream::connect(&self.address).await.context("kubectl proxy has ended")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder().method(method).uri(path).header("host", &self.address);
        Ok(sender.send_request(request.header("content-type", content).body(Full::new(body))?).await?)
    }

    async fn answer(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let response = self.send(method, path, body).await.with_context(|| format!("asking for {path}"))?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Asks again where the API server is away, which some tests see to. Whatever is asked for may be asked for twice.
    async fn must(&self, method: Method, path: &str, body: Option<&Value>, fine: StatusCode) -> Result<Value> {
        let mut left = ATTEMPTS;
        let (status, answer) = loop {
            let away = |status: StatusCode| AWAY.contains(&status);
            match self.answer(method.clone(), path, body).await {
                Ok((status, _)) if away(status) && left > 0 => {}
                Err(_) if left > 0 => {}
                answer => break answer?,
            }
            left -= 1;
            tokio::time::sleep(PAUSE).await;
        };
        if !status.is_success() && status != fine {
            bail!("{method} {path}: {status}: {}", answer["message"].as_str().unwrap_or_default());
        }
        Ok(answer)
    }

    /// An object; none where it does not exist.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.must(Method::GET, path, None, StatusCode::NOT_FOUND).await?;
        Ok((answer["kind"] != "Status").then_some(answer))
    }

    /// Creates an object in a collection. One that is there already stays as it is.
    pub async fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        self.must(Method::POST, collection, Some(object), StatusCode::CONFLICT).await
    }

    /// Changes an object by a JSON merge patch.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<()> {
        self.must(Method::PATCH, path, Some(patch), StatusCode::OK).await.map(|_| ())
    }

    /// Deletes an object, which may be gone already.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.must(Method::DELETE, path, None, StatusCode::NOT_FOUND).await.map(|_| ())
    }

    /// Follows one object until it is gone.
    ///
    /// # Errors
    /// When it is not after `limit`.
    pub async fn until_gone(&self, collection: &str, name: &str, limit: Duration) -> Result<()> {
        let follow = async {
            while let Some(object) = self.get(&format!("{collection}/{name}")).await? {
                let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                let selected = format!("fieldSelector=metadata.name%3D{name}&resourceVersion={version}");
                let changes = self.send(Method::GET, &format!("{collection}?watch=1&{selected}"), None).await?;
                // Whatever it is that changes, it is looked at again.
                changes.into_body().frame().await;
            }
            Ok(())
        };
        match tokio::time::timeout(limit, follow).await {
            Ok(done) => done,
            Err(_) => bail!("{name} is not gone after {} s", limit.as_secs()),
        }
    }

    /// Follows a collection, whose path may have a query, until `enough` has been told of it: the kind of each event
    /// (`ADDED`, …) and the object. It begins with what is there.
    ///
    /// # Errors
    /// When the cluster ends it.
    pub async fn follow(&self, collection: &str, mut enough: impl FnMut(&str, &Value) -> bool) -> Result<()> {
        loop {
            // Without a version a watch begins with what is there. The server ends each after some minutes.
            let query = if collection.contains('?') { '&' } else { '?' };
            let path = format!("{collection}{query}watch=1");
            let mut body = self.send(Method::GET, &path, None).await?.into_body();
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                text.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line)?;
                    if event["type"] == "ERROR" {
                        bail!("watching {collection}: {}", event["object"]["message"]);
                    }
                    if enough(event["type"].as_str().unwrap_or_default(), &event["object"]) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Follows one object until it is as wanted, and gives it.
    ///
    /// # Errors
    /// When that is not so after `limit`, with the object as it was then.
    pub async fn until(
        &self,
        collection: &str,
        name: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let path = format!("{collection}?fieldSelector=metadata.name%3D{name}");
        let follow = async {
            let mut seen = |_: &str, object: &Value| {
                last = object.clone();
                wanted(object)
            };
            // Where the server is away, another watch may be had later.
            while self.follow(&path, &mut seen).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(limit, follow).await {
            Ok(()) => Ok(last),
            Err(_) => bail!("{name} is not as wanted after {} s: phase {}", limit.as_secs(), last["status"]["phase"]),
        }
    }
}
