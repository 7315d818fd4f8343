//! Orders to workflows on a cluster: what the Argo CLI writes into the object, so that any controller understands it.

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::{NodePhase, Workflow};
use tiphys_engine::{NodeSelector, SetNodes, resume_workflow, set_nodes};

use super::workflow::Change;
use super::{Cluster, neither, within};
use crate::args::{Global, ResumeArgs, Selectors, StopArgs, TerminateArgs};
use crate::failure::Failure;
use crate::output;
use crate::submit::pairs;

/// Starts nothing more. argo: util.go, SuspendWorkflow.
pub fn suspend(global: &Global, names: &[String]) -> Result<(), Failure> {
    each(global, names, &Selectors::default(), "suspended", async |cluster, name| {
        cluster
            .change(name, async |workflow| {
                if workflow.status.phase.is_completed() {
                    return Err(over(&workflow, "suspended"));
                }
                Ok((workflow.spec.suspend != Some(true)).then(|| json!({"spec": {"suspend": true}})))
            })
            .await
    })
}

/// Goes on, or ends suspend nodes. argo: util.go, ResumeWorkflow.
pub fn resume(global: &Global, names: &[String], args: &ResumeArgs) -> Result<(), Failure> {
    let set =
        SetNodes { phase: Some(NodePhase::Succeeded), message: String::new(), parameters: pairs(&args.parameters)? };
    let selector = args.node_field_selector.as_deref().map(NodeSelector::parse).transpose().map_err(Failure::usage)?;
    each(global, names, &Selectors::default(), "resumed", async |cluster, name| {
        let selected = match (&selector, &args.node, set.parameters.is_empty()) {
            (Some(selector), ..) => Some(selector.clone()),
            (None, Some(node), _) => Some(cluster.node(name, node).await?),
            // Whoever gives outputs means the nodes that wait for them: all that wait.
            (None, None, false) => Some(NodeSelector::default()),
            (None, None, true) => None,
        };
        match selected {
            Some(selector) => cluster.set(name, &selector, &set).await,
            None => cluster.resume(name).await,
        }
    })
}

/// Ends workflows gracefully, or fails suspend nodes. argo: util.go, StopWorkflow.
pub fn stop(global: &Global, names: &[String], args: &StopArgs) -> Result<(), Failure> {
    let selector = args.node_field_selector.as_deref().map(NodeSelector::parse).transpose().map_err(Failure::usage)?;
    let set = SetNodes { phase: Some(NodePhase::Failed), message: args.message.clone(), ..SetNodes::default() };
    let done = if args.dry_run { "would be stopped" } else { "stopped" };
    each(global, names, &args.selectors, done, async |cluster, name| match &selector {
        _ if args.dry_run => Ok(()),
        Some(selector) => cluster.set(name, selector, &set).await,
        None => cluster.shut_down(name, "Stop").await,
    })
}

/// Ends workflows at once. argo: util.go, TerminateWorkflow.
pub fn terminate(global: &Global, names: &[String], args: &TerminateArgs) -> Result<(), Failure> {
    let done = if args.dry_run { "would be terminated" } else { "terminated" };
    each(global, names, &args.selectors, done, async |cluster, name| match args.dry_run {
        true => Ok(()),
        false => cluster.shut_down(name, "Terminate").await,
    })
}

/// Does something to each workflow that is named or selected, and says that it is done.
async fn for_each(
    cluster: &Cluster,
    global: &Global,
    names: Vec<String>,
    done: &str,
    act: impl AsyncFn(&Cluster, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if names.is_empty() {
        output::print("no workflows found\n");
    }
    for name in names {
        act(cluster, &name).await?;
        if !global.quiet {
            output::print(&format!("workflow {name} {done}\n"));
        }
    }
    Ok(())
}

fn each(
    global: &Global,
    names: &[String],
    selectors: &Selectors,
    done: &str,
    act: impl AsyncFn(&Cluster, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let outcome = within(global, async |cluster| {
        let names = cluster.names(names, &selectors.selector, &selectors.field_selector).await?;
        for_each(&cluster, global, names, done, act).await
    });
    outcome.map_err(|error| neither(error, names))
}

fn over(workflow: &Workflow, done: &str) -> Failure {
    let (name, phase) = (&workflow.metadata.name, workflow.status.phase);
    Failure::failed(Some(format!("the workflow {name} is over ({phase}), so it cannot be {done}")))
}

impl Cluster {
    async fn shut_down(&self, name: &str, strategy: &str) -> Result<(), Failure> {
        self.change(name, async |workflow| {
            if workflow.status.phase.is_completed() {
                return Err(over(&workflow, if strategy == "Stop" { "stopped" } else { "terminated" }));
            }
            Ok((workflow.spec.shutdown != strategy).then(|| json!({"spec": {"shutdown": strategy}})))
        })
        .await
    }

    async fn resume(&self, name: &str) -> Result<(), Failure> {
        self.change_nodes(name, |found| {
            let suspended = found.workflow.spec.suspend == Some(true);
            let patch = if suspended { json!({"spec": {"suspend": null}}) } else { json!({}) };
            // Where the nodes cannot be read, the workflow itself can go on.
            if suspended && found.unknown.is_some() {
                return Ok(Some(Change { patch, workflow: found.workflow, changed: Vec::new() }));
            }
            let (mut workflow, _) = found.with_nodes()?;
            let changed =
                resume_workflow(&mut workflow, Timestamp::now()).map_err(|error| Failure::failed(Some(error)))?;
            Ok((suspended || !changed.is_empty()).then_some(Change { patch, workflow, changed }))
        })
        .await
    }

    /// Sets suspend nodes that wait.
    pub(super) async fn set(&self, name: &str, selector: &NodeSelector, set: &SetNodes) -> Result<(), Failure> {
        self.change_nodes(name, |found| {
            let (mut workflow, _) = found.with_nodes()?;
            let changed = set_nodes(&mut workflow, selector, set, Timestamp::now())
                .map_err(|error| Failure::failed(Some(format!("{name}: {error}"))))?;
            let patch = match &workflow.status.outputs {
                Some(outputs) => json!({"status": {"outputs": outputs}}),
                None => json!({}),
            };
            Ok(Some(Change { patch, workflow, changed }))
        })
        .await
    }

    /// The one node that an id, a name or a short name stands for.
    async fn node(&self, workflow: &str, node: &str) -> Result<NodeSelector, Failure> {
        let (workflow, _) = self.workflow(workflow).await?.with_nodes()?;
        let is =
            |own: &tiphys_api::NodeStatus| [&own.id, &own.name, &own.display_name].iter().any(|name| *name == node);
        let found = workflow.status.nodes.values().find(|own| is(own));
        let none = || Failure::failed(Some(format!("the workflow {} has no node {node:?}", workflow.metadata.name)));
        let id = &found.ok_or_else(none)?.id;
        NodeSelector::parse(&format!("id={id}")).map_err(Failure::usage)
    }
}
