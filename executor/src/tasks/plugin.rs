//! Executor plugins: servers in the agent's Pod that carry out `plugin` templates.
//!
//! argo: workflow/util/plugin/plugin.go, pkg/plugins/executor. A template goes to one plugin after the other until one
//! answers with a node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tiphys_artifact::Secret;

use super::settings::Known;
use crate::cluster::Pauses;
use crate::duration;

/// A plugin that does not answer within this time is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// So often a plugin is asked.
const TRIES: u32 = 5;
/// Longest answer in bytes.
const LONGEST_ANSWER: usize = 2 << 20;

/// The workflow as plugins are told of it.
#[derive(Clone, Debug)]
pub struct Workflow {
    pub name: String,
    pub namespace: String,
    pub uid: String,
}

/// A plugin's server.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    url: String,
    token: Secret,
    client: Client,
    /// It does not carry out templates, and need not be asked again.
    unwilling: AtomicBool,
}

/// What a plugin made of a template.
#[derive(Debug, Default)]
pub struct Reply {
    /// The node's result; none when another plugin should be asked.
    pub node: Option<Value>,
    /// When the template should be given to the plugin again.
    pub requeue: Option<Duration>,
}

enum Failure {
    /// It may pass.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl Plugin {
    /// A plugin and the token that it expects.
    ///
    /// # Errors
    /// The text for the user.
    pub fn new(known: &Known, token: Secret) -> Result<Self, String> {
        let client = Client::builder().timeout(ANSWER_WITHIN).no_proxy().build();
        let client = client.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        let url = format!("{}/api/v1/template.execute", known.address.trim_end_matches('/'));
        Ok(Self { name: known.name.clone(), url, token, client, unwilling: AtomicBool::new(false) })
    }

    /// Gives the template to the plugin.
    ///
    /// # Errors
    /// The text for the user: the plugin failed, or could not be reached in five tries.
    pub async fn execute(&self, workflow: &Workflow, template: &Value) -> Result<Reply, String> {
        if self.unwilling.load(Ordering::Relaxed) {
            return Ok(Reply::default());
        }
        let metadata = json!({"name": workflow.name, "namespace": workflow.namespace, "uid": workflow.uid});
        let body = json!({"workflow": {"metadata": metadata}, "template": template}).to_string();
        let mut pauses = Pauses::default();
        let mut tries = 1;
        loop {
            match self.call(body.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Passing(_)) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(pauses.next(None)).await;
                }
                Err(Failure::Passing(reason) | Failure::Lasting(reason)) => {
                    return Err(format!("plugin {:?}: {reason}", self.name));
                }
            }
        }
    }

    async fn call(&self, body: String) -> Result<Reply, Failure> {
        let request = self.client.post(&self.url).bearer_auth(self.token.expose());
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        let unreached = |error: reqwest::Error| match error.is_connect() || error.is_timeout() {
            true => Failure::Passing(error.to_string()),
            false => Failure::Lasting(error.to_string()),
        };
        let mut response = request.send().await.map_err(unreached)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreached)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > LONGEST_ANSWER {
                return Err(Failure::Lasting(format!("its answer is longer than {LONGEST_ANSWER} bytes")));
            }
        }
        let text = || String::from_utf8_lossy(&answer).trim().to_owned();
        match status {
            StatusCode::OK => reply(&answer).map_err(Failure::Lasting),
            StatusCode::NOT_FOUND => {
                self.unwilling.store(true, Ordering::Relaxed);
                Ok(Reply::default())
            }
            StatusCode::SERVICE_UNAVAILABLE => Err(Failure::Passing(text())),
            StatusCode::TOO_MANY_REQUESTS => Err(Failure::Passing(format!("{status}: {}", text()))),
            status => Err(Failure::Lasting(format!("{status}: {}", text()))),
        }
    }
}

fn reply(answer: &[u8]) -> Result<Reply, String> {
    let unusable = |reason: String| format!("its answer is unusable: {reason}");
    let mut reply: Value = serde_json::from_slice(answer).map_err(|error| unusable(error.to_string()))?;
    let requeue = match &reply["requeue"] {
        Value::Null => None,
        Value::String(text) => {
            Some(duration::parse(text).ok_or_else(|| unusable(format!("requeue {text:?} is no duration")))?)
        }
        other => return Err(unusable(format!("requeue is {other}"))),
    };
    let node = Some(reply["node"].take()).filter(|node| !node.is_null());
    Ok(Reply { node, requeue: requeue.filter(|requeue| !requeue.is_zero()) })
}
