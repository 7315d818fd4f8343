//! `tiphys watch`: the live tree of a workflow on a cluster. Ctrl-C leaves it; the workflow goes on.

use std::collections::HashMap;

use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_engine::NodeSelector;
use tiphys_local::{Happening, NodeView, Observer, WorkflowView};

use super::outside::Found;
use super::{Cluster, none_local, within};
use crate::args::{Global, WatchArgs};
use crate::display::style::Style;
use crate::display::summary::summary;
use crate::display::whole::shown;
use crate::display::{Display, Wish};
use crate::failure::Failure;
use crate::output;

/// Shows a workflow until it is over.
pub fn watch(global: &Global, args: &WatchArgs) -> Result<(), Failure> {
    none_local(global, "watch", std::slice::from_ref(&args.workflow))?;
    let nodes = shown(&args.nodes)?;
    within(global, async |cluster| {
        let name = cluster.name(&args.workflow).await?;
        cluster.show(global, &name, nodes.as_ref()).await
    })
}

impl Cluster {
    /// Shows a workflow, or these of its nodes, until it is over, or until the user leaves.
    pub(super) async fn show(&self, global: &Global, name: &str, nodes: Option<&NodeSelector>) -> Result<(), Failure> {
        let display = Display::start(global, Wish { to_stderr: false, quiet: global.quiet });
        let mut told = Told { to: display.observer(), nodes: HashMap::new(), selector: nodes.cloned(), warned: false };
        let see = async |workflow| {
            let found = self.whole(workflow).await;
            told.tell(&found);
            found.workflow
        };
        let ended = tokio::select! {
            ended = self.follow(name, see) => Some(ended),
            _ = tokio::signal::ctrl_c() => None,
        };
        drop(told);
        display.finish();
        let Some(ended) = ended else {
            eprintln!("tiphys: {name} goes on; tiphys watch {name} shows it again");
            return Ok(());
        };
        let workflow = ended?.workflow(name, &self.namespace)?;
        if !global.quiet {
            output::print(&summary(&workflow, Style::of_stdout(global), None));
        }
        outcome(&workflow, global.quiet)
    }
}

/// What a workflow that is over means for the exit status; `aloud` says why it failed.
pub(super) fn outcome(workflow: &Workflow, aloud: bool) -> Result<(), Failure> {
    let (name, status) = (&workflow.metadata.name, &workflow.status);
    match status.phase {
        WorkflowPhase::Succeeded => Ok(()),
        phase => Err(Failure::failed(aloud.then(|| format!("{name} {phase}: {}", status.message)))),
    }
}

/// What the display knows of a workflow: it is told what changed.
struct Told {
    to: Observer,
    nodes: HashMap<String, NodeView>,
    /// Which of them are of interest.
    selector: Option<NodeSelector>,
    /// Whether it was told that nodes are not known.
    warned: bool,
}

impl Told {
    fn tell(&mut self, found: &Found) {
        let workflow = &found.workflow;
        if let Some(reason) = found.unknown.as_ref().filter(|_| !std::mem::replace(&mut self.warned, true)) {
            (self.to)(Happening::Warning(reason.clone()));
        }
        if let Some(selector) = &self.selector {
            let selected = workflow.status.nodes.values().filter(|node| selector.matches(node));
            (self.to)(Happening::Selected(selected.map(|node| node.id.clone()).collect()));
        }
        let views = workflow.status.nodes.values().map(NodeView::of);
        let mut changed: Vec<NodeView> = views.filter(|view| self.nodes.get(&view.id) != Some(view)).collect();
        changed.sort_by(|a, b| (a.started_at, &a.name).cmp(&(b.started_at, &b.name)));
        for node in changed {
            self.nodes.insert(node.id.clone(), node.clone());
            (self.to)(Happening::Node(Box::new(node)));
        }
        (self.to)(Happening::Workflow(WorkflowView::of(workflow)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tiphys_nodes::Form;

    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let to = heard.clone();
        let observer: Observer = Arc::new(move |happening| {
            if let Happening::Node(node) = happening {
                to.lock().unwrap().push(format!("{} {}", node.id, node.phase));
            }
        });
        let mut told = Told { to: observer, nodes: HashMap::new(), selector: None, warned: false };
        let workflow = |phase: &str| {
            let nodes = json!({
                "b": {"id": "b", "name": "b", "phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z"},
                "a": {"id": "a", "name": "a", "phase": phase, "startedAt": "2026-01-01T00:00:01Z"},
            });
            let workflow = serde_json::from_value(json!({"status": {"nodes": nodes}})).unwrap();
            Found { workflow, form: Form::Whole, unknown: None }
        };
        told.tell(&workflow("Running"));
        told.tell(&workflow("Running"));
        told.tell(&workflow("Failed"));
        assert_eq!(*heard.lock().unwrap(), ["b Succeeded", "a Running", "a Failed"]);
    }
}
