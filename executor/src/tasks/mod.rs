//! The agent of a workflow: one Pod that carries out all its `http` and `plugin` templates. (Argo's word for it is agent;
//! the module `agent` of this crate is what serves the Pod of a single step.)
//!
//! argo: cmd/argoexec/commands/agent.go, workflow/executor/agent.go. `agent init` makes a token for each executor plugin,
//! `agent main` works on the workflow's WorkflowTaskSet until the workflow is over. Unlike there a full set of workers
//! never holds up the watch, and results are told as they come: while one report is on its way further results gather, and
//! leave together with the next.

pub mod http;
mod plugin;
mod report;
mod settings;
mod token;
mod work;

use std::ffi::OsString;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::paths::Paths;
use crate::process;

pub use settings::Settings;

/// Makes the plugins' tokens: `agent init`.
///
/// # Errors
/// The text for the user.
pub fn init(paths: &Paths, settings: &Settings) -> Result<(), String> {
    settings.plugins.iter().try_for_each(|plugin| token::make(paths, &plugin.name))
}

/// Works on the workflow's tasks until it is over: `agent main`.
///
/// # Errors
/// The text for the user: the WorkflowTaskSet cannot be read or written.
pub async fn main(paths: &Paths, settings: &Settings, cluster: &Cluster) -> Result<(), String> {
    process::end_when_told();
    let workflow = plugin::Workflow {
        name: settings.workflow.clone().ok_or("ARGO_WORKFLOW_NAME must hold the workflow's name")?,
        namespace: cluster.namespace().to_owned(),
        uid: settings.workflow_uid.clone(),
    };
    let mut plugins = Vec::new();
    for known in &settings.plugins {
        let token = token::read(paths, &known.name)?;
        plugins.push(plugin::Plugin::new(known, token)?);
    }
    let agent = work::Agent {
        cluster,
        clients: http::Clients::new(Some(&paths.agent_authorities))?,
        plugins: plugins.into_iter().map(Arc::new).collect(),
        workflow,
        workers: settings.workers,
    };
    agent.run().await
}

/// Which of the two is meant.
///
/// # Errors
/// The text for the user when it is neither.
pub fn is_init(words: &[OsString]) -> Result<bool, String> {
    match words {
        [word] if word == "init" => Ok(true),
        [word] if word == "main" => Ok(false),
        _ => Err("usage: agent init|main".to_owned()),
    }
}
