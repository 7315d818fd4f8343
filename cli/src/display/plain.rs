//! Plain lines: one for each change of a node, one for each line of a log.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::Duration;

use tiphys_api::{NodePhase, WorkflowPhase};
use tiphys_local::{Happening, NodeView, WorkflowView};

use super::Screen;
use super::style::{Style, duration, log_line};

/// Plain lines on a stream; warnings go to standard error.
pub struct Plain {
    out: Box<dyn Write + Send>,
    nodes: HashMap<String, (NodePhase, String)>,
    /// The nodes that are of interest; None: all.
    selected: Option<HashSet<String>>,
    workflow: Option<(WorkflowPhase, String)>,
}

impl Plain {
    pub fn new(out: Box<dyn Write + Send>) -> Plain {
        Plain { out, nodes: HashMap::new(), selected: None, workflow: None }
    }

    fn line(&mut self, text: &str) {
        // A reader that has left early does not end the run.
        let _ = writeln!(self.out, "{text}");
    }

    fn node(&mut self, node: &NodeView) {
        let now = (node.phase, node.message.clone());
        let is_meant = self.selected.as_ref().is_none_or(|selected| selected.contains(&node.id));
        if !is_meant || self.nodes.get(&node.id) == Some(&now) {
            return;
        }
        self.nodes.insert(node.id.clone(), now);
        let text = fields(&node.name, node.phase.as_str(), &duration(node.started_at, node.finished_at), &node.message);
        self.line(&text);
    }

    fn workflow(&mut self, view: &WorkflowView) {
        let now = (view.phase, view.message.clone());
        if self.workflow.as_ref() == Some(&now) {
            return;
        }
        self.workflow = Some(now);
        let took = duration(view.started_at, view.finished_at);
        let text = fields(&format!("workflow/{}", view.name), view.phase.as_str(), &took, &view.message);
        self.line(&text);
    }
}

/// `node phase duration message`, without trailing blanks.
fn fields(name: &str, phase: &str, took: &str, message: &str) -> String {
    let line = format!("{name}  {phase:<9}  {took:>5}  {}", message.replace('\n', " "));
    line.trim_end().to_owned()
}

impl Screen for Plain {
    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Workflow(view) => self.workflow(&view),
            Happening::Selected(ids) => self.selected = Some(ids),
            Happening::Node(node) => self.node(&node),
            Happening::Log(line) => {
                let text = log_line(&line, &Style::new(false));
                self.line(&text);
            }
            Happening::Warning(text) => eprintln!("tiphys: warning: {text}"),
            Happening::Note(text) => eprintln!("tiphys: {text}"),
        }
    }

    fn draw(&mut self) -> Option<Duration> {
        let _ = self.out.flush();
        None
    }

    fn close(&mut self) {
        let _ = self.out.flush();
    }
}
