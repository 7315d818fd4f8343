//! The nodes of a run as a tree: steps below their template, attempts below their retry, iterations below their loop.

use std::collections::{HashMap, HashSet};

use tiphys_api::NodeType;
use tiphys_local::{NodeView, WorkflowView};

use super::style::{Style, duration};

/// All nodes seen so far.
#[derive(Debug, Default)]
pub struct Tree {
    workflow: WorkflowView,
    nodes: Vec<NodeView>,
    places: HashMap<String, usize>,
    /// The ids of the nodes that are shown; all of them where it is not said.
    selected: Option<HashSet<String>>,
}

/// One row before it is coloured and cut.
struct Row {
    stem: String,
    node: usize,
}

impl Tree {
    pub fn set_workflow(&mut self, view: WorkflowView) {
        self.workflow = view;
    }

    /// Takes in a node, new or changed. Nodes are shown in the order in which they first came.
    pub fn set_node(&mut self, node: NodeView) {
        match self.places.get(&node.id) {
            Some(place) => self.nodes[*place] = node,
            None => {
                self.places.insert(node.id.clone(), self.nodes.len());
                self.nodes.push(node);
            }
        }
    }

    /// Shows these nodes alone, each where it stands in the whole.
    pub fn select(&mut self, ids: HashSet<String>) {
        self.selected = Some(ids);
    }

    /// The tree as rows, cut to a width; with a height, finished nodes make room for those at work.
    pub fn rows(&self, style: &Style, width: Option<usize>, height: Option<usize>) -> Vec<String> {
        let mut rows = self.laid_out();
        if let Some(selected) = &self.selected {
            rows.retain(|row| selected.contains(&self.nodes[row.node].id));
        }
        let mut hidden = 0;
        if let Some(height) = height {
            // One row for the heading, one for what is hidden.
            let room = height.saturating_sub(2);
            while rows.len() > room {
                let finished = rows.iter().position(|row| {
                    let phase = self.nodes[row.node].phase;
                    phase.is_fulfilled() && !phase.is_failed_or_error() && self.is_leaf(row.node, &rows)
                });
                rows.remove(finished.unwrap_or(rows.len() - 1));
                hidden += 1;
            }
        }
        let names =
            rows.iter().map(|row| row.stem.chars().count() + 2 + self.nodes[row.node].display_name.chars().count());
        let name_width = names.max().unwrap_or(0).min(60);
        let templates = rows.iter().map(|row| self.nodes[row.node].template.chars().count());
        let template_width = templates.max().unwrap_or(0).min(40);
        let mut out = vec![self.heading(style)];
        out.extend(rows.iter().map(|row| self.row(row, style, name_width, template_width, width)));
        if hidden > 0 {
            out.push(style.faint(&format!("… {hidden} more")));
        }
        out
    }

    fn heading(&self, style: &Style) -> String {
        let WorkflowView { name, phase, progress, started_at, finished_at, message, suspended } = &self.workflow;
        let mut heading = format!("{}  {}", style.bold(name), style.phase(*phase));
        for part in [progress.clone(), duration(*started_at, *finished_at), message.clone()] {
            if !part.is_empty() {
                heading.push_str("  ");
                heading.push_str(&part.replace('\n', " "));
            }
        }
        if *suspended {
            heading.push_str("  (suspended)");
        }
        heading
    }

    fn row(&self, row: &Row, style: &Style, names: usize, templates: usize, width: Option<usize>) -> String {
        let node = &self.nodes[row.node];
        let used = row.stem.chars().count() + 2 + node.display_name.chars().count();
        let pad = " ".repeat(names.saturating_sub(used));
        let took = duration(node.started_at, node.finished_at);
        let mut tail = format!("{pad}  {:templates$}  {took:>6}  {}", node.template, node.message.replace('\n', " "));
        if let Some(width) = width {
            tail = tail.chars().take(width.saturating_sub(used)).collect();
        }
        let text = format!("{}{} {}{tail}", style.stem(&row.stem), style.glyph(node.phase), node.display_name);
        text.trim_end().to_owned()
    }

    fn is_leaf(&self, node: usize, rows: &[Row]) -> bool {
        let stem = |row: &Row| row.stem.chars().count();
        let Some(at) = rows.iter().position(|row| row.node == node) else { return true };
        rows.get(at + 1).is_none_or(|next| stem(next) <= stem(&rows[at]))
    }

    /// Each node below its parent, step groups left out.
    fn laid_out(&self) -> Vec<Row> {
        let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        let owners = self.owners();
        for (index, node) in self.nodes.iter().enumerate() {
            if node.kind == NodeType::StepGroup {
                continue;
            }
            let owner = owners.get(&index).copied().or_else(|| self.places.get(&node.boundary).copied());
            children.entry(owner.filter(|owner| *owner != index)).or_default().push(index);
        }
        let mut rows = Vec::with_capacity(self.nodes.len());
        let mut seen = HashSet::new();
        let mut open: Vec<(usize, String, String)> = Vec::new();
        for root in children.get(&None).into_iter().flatten().rev() {
            open.push((*root, String::new(), String::new()));
        }
        while let Some((node, stem, below)) = open.pop() {
            if !seen.insert(node) {
                continue;
            }
            rows.push(Row { stem, node });
            let inner = children.get(&Some(node)).map(Vec::as_slice).unwrap_or_default();
            for (place, child) in inner.iter().enumerate().rev() {
                let last = place + 1 == inner.len();
                let stem = format!("{below}{}", if last { "└─ " } else { "├─ " });
                open.push((*child, stem, format!("{below}{}", if last { "   " } else { "│  " })));
            }
        }
        rows
    }

    /// Nodes that belong to another than their boundary: attempts, iterations.
    fn owners(&self) -> HashMap<usize, usize> {
        let mut owners = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if !matches!(node.kind, NodeType::Retry | NodeType::TaskGroup) {
                continue;
            }
            let attempt = format!("{}(", node.name);
            for child in node.children.iter().filter_map(|id| self.places.get(id)) {
                if self.nodes[*child].name.starts_with(&attempt) {
                    owners.insert(*child, index);
                }
            }
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_api::NodePhase;

    fn node(name: &str, kind: NodeType, phase: NodePhase, boundary: &str, children: &[&str]) -> NodeView {
        NodeView {
            id: name.into(),
            name: name.into(),
            display_name: name.rsplit('.').next().unwrap_or(name).into(),
            kind,
            template: "t".into(),
            phase,
            message: String::new(),
            boundary: boundary.into(),
            children: children.iter().map(|child| (*child).to_owned()).collect(),
            progress: String::new(),
            started_at: None,
            finished_at: None,
            hooked: false,
        }
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.set_workflow(WorkflowView { name: "wf".into(), progress: "1/3".into(), ..WorkflowView::default() });
        for node in [
            node("wf", NodeType::Steps, NodePhase::Running, "", &["wf[0]"]),
            node("wf[0]", NodeType::StepGroup, NodePhase::Succeeded, "wf", &["wf[0].a"]),
            node("wf[0].a", NodeType::Pod, NodePhase::Succeeded, "wf", &["wf[1]"]),
            node("wf[1].b", NodeType::Retry, NodePhase::Running, "wf", &["wf[1].b(0)", "wf[1].b(1)"]),
            node("wf[1].b(0)", NodeType::Pod, NodePhase::Failed, "wf", &[]),
            node("wf[1].b(1)", NodeType::Pod, NodePhase::Running, "wf", &[]),
            node("wf.onExit", NodeType::Pod, NodePhase::Pending, "", &[]),
        ] {
            tree.set_node(node);
        }
        tree
    }

    #[test]
    fn nodes_stand_below_what_they_belong_to() {
        let expected = "wf    1/3\n● wf          t\n├─ ✔ a        t\n└─ ● b        t\n   ├─ ✖ b(0)  t\n   └─ ● b(1)  t\n◷ onExit      t";
        let rows = tree().rows(&Style::new(false), None, None);
        assert_eq!(rows.join("\n"), expected);
    }

    #[test]
    fn nodes_may_be_selected() {
        let mut tree = tree();
        tree.select(HashSet::from(["wf[1].b(0)".to_owned()]));
        let rows = tree.rows(&Style::new(false), None, None);
        assert_eq!(rows, ["wf    1/3", "   ├─ ✖ b(0)  t"]);
    }

    #[test]
    fn finished_nodes_make_room() {
        let rows = tree().rows(&Style::new(false), Some(12), Some(7));
        assert_eq!(rows.len(), 7);
        assert!(!rows.iter().any(|row| row.contains("✔ a")), "{rows:?}");
        assert_eq!(rows[6], "… 1 more");
        assert!(rows[1..].iter().all(|row| row.chars().count() <= 12), "{rows:?}");
    }
}
