//! What goes out to the API server of a workflow's status: what changed since the last write, and nothing else. With the first
//! write go the defaults that the workflow has got.
//!
//! A JSON merge patch (RFC 7396) that names the version it is for. Of nodes that are not over, what was written last is
//! kept, so that only fields that changed are sent; a node that is over rarely changes again, and goes out whole then.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};
use tiphys_api::{NodeStatus, Workflow, WorkflowSpec, WorkflowStatus};

use tiphys_nodes::MOST;

use super::nodes::Held;

/// What is told of a workflow whose status can no longer be written as a whole.
const LEAST: [&str; 6] = ["phase", "message", "startedAt", "finishedAt", "conditions", "progress"];

/// How large a workflow may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// Bytes of the whole object. argo: MAX_WORKFLOW_SIZE.
    pub most: usize,
    /// Whether nodes are kept outside whatever their size. argo: ALWAYS_OFFLOAD_NODE_STATUS.
    pub always_outside: bool,
}

impl Default for SizeLimits {
    fn default() -> SizeLimits {
        SizeLimits { most: 1 << 20, always_outside: false }
    }
}

/// How nodes go out. What has once gone out in one way does not go back to one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Going {
    /// Each as it is.
    #[default]
    Whole,
    /// All of them compressed.
    Packed,
    /// All of them to where there is more room; the object names the place.
    Outside,
}

/// What goes out.
#[derive(Debug)]
pub struct Outgoing {
    /// For the API server.
    pub patch: Value,
    /// Nodes as JSON that have to be kept outside before; the patch lacks their version.
    pub outside: Option<Vec<u8>>,
}

/// What the API server has.
#[derive(Debug, Default)]
pub struct Written {
    /// The version of the object.
    pub version: String,
    /// Labels that the workflow gets besides its own.
    pub marks: BTreeMap<String, String>,
    /// Annotations that it gets besides its own.
    pub notes: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// The spec as it was read, until the next write: that brings it to what the defaults make of it.
    spec: Option<Box<WorkflowSpec>>,
    /// The status without its nodes.
    head: Value,
    /// Nodes that were not over when they were written.
    open: FxHashMap<String, Value>,
    /// Which other nodes there are.
    closed: BTreeSet<String>,
    /// Bytes of each node, and of all.
    sizes: FxHashMap<String, usize>,
    bytes: usize,
    /// How nodes go out.
    pub going: Going,
    /// `status.offloadNodeStatusVersion`
    pub outside: String,
    /// Whether nodes go out though none has changed.
    due: bool,
    /// Bytes of what is neither node nor status.
    rest: usize,
    /// Bytes of the object without nodes and with compressed ones, when that was found to be too much.
    packed_bytes: usize,
    /// Whether no more than [`LEAST`] is told.
    least: bool,
    limits: SizeLimits,
}

impl Written {
    /// What was read from the API server; its nodes are whole. `held` says how they were there.
    pub fn of(workflow: &Workflow, held: Held, limits: SizeLimits) -> Written {
        let rest = [to_value(&workflow.spec), to_value(&workflow.metadata)];
        let mut written = Written {
            version: workflow.metadata.resource_version.clone(),
            labels: workflow.metadata.labels.clone(),
            annotations: workflow.metadata.annotations.clone(),
            spec: Some(Box::new(workflow.spec.clone())),
            head: head(&workflow.status),
            going: held.going,
            outside: held.version,
            rest: rest.iter().map(|value| value.to_string().len()).sum(),
            limits,
            ..Written::default()
        };
        for (id, node) in workflow.status.nodes.iter() {
            written.keep(id, node, to_value(node));
        }
        written
    }

    /// The same after somebody else has written: labels and annotations that are not ours stay as they are.
    pub fn over(&self, theirs: &Workflow, held: Held, ours: &Workflow) -> Written {
        let mut written = Written::of(theirs, held, self.limits);
        // What was not written is due still.
        written.due = self.due || self.going > written.going;
        written.going = written.going.max(self.going);
        (written.least, written.packed_bytes) = (self.least, self.packed_bytes);
        written.marks.clone_from(&self.marks);
        written.notes.clone_from(&self.notes);
        written.labels.retain(|name, _| ours.metadata.labels.contains_key(name));
        written.annotations.retain(|name, _| ours.metadata.annotations.contains_key(name));
        written
    }

    /// The patch that brings the API server from what it has to what the workflow is, as far as these nodes are concerned.
    /// None when there is nothing to say. It counts as written from here on: if it is not accepted, read the object anew.
    pub fn patch<'a>(&mut self, workflow: &Workflow, changed: impl Iterator<Item = &'a str>) -> Option<Outgoing> {
        let mut status = Map::new();
        let mut outside = None;
        let head = head(&workflow.status);
        if self.least {
            status = difference(&least_of(&self.head), &least_of(&head)).unwrap_or_default();
            self.head = head;
        } else if let Some(change) = difference(&self.head, &head) {
            status = change;
            self.head = head;
        }
        let mut nodes = Map::new();
        for id in changed {
            let Some(node) = workflow.status.nodes.get(id) else { continue };
            let value = to_value(node);
            let change = match self.open.get(id) {
                Some(before) => difference(before, &value),
                None if self.closed.contains(id) => Some(whole(&value)),
                None => value.as_object().cloned(),
            };
            if let Some(change) = change {
                self.keep(id, node, value);
                nodes.insert(id.to_owned(), Value::Object(change));
            }
        }
        if !self.least && (self.due || !nodes.is_empty()) {
            self.due = false;
            outside = self.put(nodes, workflow, &mut status);
        }
        let mut labels = workflow.metadata.labels.clone();
        labels.extend(self.marks.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut annotations = workflow.metadata.annotations.clone();
        annotations.extend(self.notes.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut metadata = Map::new();
        let texts = [("labels", &mut self.labels, &labels), ("annotations", &mut self.annotations, &annotations)];
        for (name, before, now) in texts {
            if before != now {
                if let Some(change) = difference(&json!(before), &json!(now)) {
                    metadata.insert(name.into(), Value::Object(change));
                }
                before.clone_from(now);
            }
        }
        // Where it came from a template, the object keeps what it had, and the status has what is executed.
        let is_own = workflow.status.stored_workflow_template_spec.is_none();
        let spec = self.spec.take().filter(|before| is_own && !self.least && **before != workflow.spec);
        let spec = spec.and_then(|before| difference(&settled(&before), &settled(&workflow.spec)));
        if status.is_empty() && metadata.is_empty() && spec.is_none() {
            return None;
        }
        metadata.insert("resourceVersion".into(), Value::String(self.version.clone()));
        let mut patch = json!({"metadata": metadata});
        if let Some(spec) = spec {
            patch["spec"] = Value::Object(spec);
            self.rest += patch["spec"].to_string().len();
        }
        if !status.is_empty() {
            patch["status"] = Value::Object(status);
        }
        Some(Outgoing { patch, outside })
    }

    /// Puts nodes into a patch of the status, as they go out; gives those that have to be kept outside.
    fn put(
        &mut self,
        nodes: Map<String, Value>,
        workflow: &Workflow,
        status: &mut Map<String, Value>,
    ) -> Option<Vec<u8>> {
        let rest = self.rest + self.head.to_string().len();
        let room = self.limits.most.saturating_sub(rest);
        if self.limits.always_outside {
            self.going = Going::Outside;
        } else if self.going == Going::Whole && self.bytes > room.min(MOST) {
            self.going = Going::Packed;
        }
        if self.going == Going::Whole {
            status.insert("nodes".into(), Value::Object(nodes));
            return None;
        }
        status.insert("nodes".into(), Value::Null);
        let json = tiphys_nodes::to_json(&workflow.status.nodes);
        if self.going == Going::Packed {
            let packed = tiphys_nodes::pack(&json);
            if packed.len() <= room {
                status.insert("compressedNodes".into(), Value::String(packed));
                return None;
            }
            self.packed_bytes = rest + packed.len();
            self.going = Going::Outside;
        }
        status.insert("compressedNodes".into(), Value::Null);
        Some(json)
    }

    /// The API server has refused nodes as too many: they go outside with the next write. Tells whether that is any help.
    pub fn go_outside(&mut self) -> bool {
        self.due = true;
        std::mem::replace(&mut self.going, Going::Outside) != Going::Outside
    }

    /// From now on only the end of the workflow is told.
    pub fn tell_least(&mut self) {
        self.least = true;
    }

    /// Why nodes went outside. argo: workflow/packer/packer.go.
    pub fn too_large(&self) -> String {
        let words = "workflow is longer than maximum allowed size.";
        match self.packed_bytes {
            0 => words.to_owned(),
            bytes => format!("{words} compressed size {bytes} > maxSize {}.", self.limits.most),
        }
    }

    fn keep(&mut self, id: &str, node: &NodeStatus, value: Value) {
        let bytes = value.to_string().len();
        self.bytes += bytes;
        self.bytes -= self.sizes.insert(id.to_owned(), bytes).unwrap_or_default();
        if node.phase.is_fulfilled() {
            self.open.remove(id);
            self.closed.insert(id.to_owned());
        } else {
            self.open.insert(id.to_owned(), value);
        }
    }
}

fn to_value(value: &impl serde::Serialize) -> Value {
    // Types of the API have text keys, and always serialise.
    serde_json::to_value(value).unwrap_or_default()
}

/// The spec but for what users ask for by changing it while the workflow runs: that is theirs to write.
fn settled(spec: &WorkflowSpec) -> Value {
    to_value(&WorkflowSpec { suspend: None, shutdown: String::new(), ..spec.clone() })
}

/// The status but for its nodes.
fn head(status: &WorkflowStatus) -> Value {
    to_value(&status.without_nodes())
}

/// What of it is told in the worst case.
fn least_of(head: &Value) -> Value {
    let fields = LEAST.iter().filter_map(|name| Some(((*name).to_owned(), head.get(*name)?.clone())));
    Value::Object(fields.collect())
}

/// Fields that a node may lose, so that a merge takes them away.
const LOSABLE: [&str; 8] =
    ["message", "finishedAt", "daemoned", "progress", "outputs", "podIP", "synchronizationStatus", "taskResultSynced"];

/// A node as a whole, over what was written of it before.
fn whole(node: &Value) -> Map<String, Value> {
    let mut node = node.as_object().cloned().unwrap_or_default();
    for field in LOSABLE {
        node.entry(field).or_insert(Value::Null);
    }
    node
}

/// The merge patch from one object to another; None when they are equal. What both have as objects is compared field by
/// field, anything else is replaced.
fn difference(before: &Value, now: &Value) -> Option<Map<String, Value>> {
    let empty = Map::new();
    let (before, now) = (before.as_object().unwrap_or(&empty), now.as_object().unwrap_or(&empty));
    let mut change = Map::new();
    for (field, value) in now {
        match before.get(field) {
            Some(old) if old == value => {}
            Some(old) if old.is_object() && value.is_object() => {
                if let Some(inner) = difference(old, value) {
                    change.insert(field.clone(), Value::Object(inner));
                }
            }
            _ => {
                change.insert(field.clone(), value.clone());
            }
        }
    }
    for field in before.keys().filter(|field| !now.contains_key(*field)) {
        change.insert(field.clone(), Value::Null);
    }
    (!change.is_empty()).then_some(change)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7396, section 2.
    fn merge(target: &mut Value, patch: &Value) {
        let Some(patch) = patch.as_object() else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (field, value) in patch {
            if value.is_null() {
                target.as_object_mut().map(|target| target.remove(field));
            } else {
                merge(&mut target[field.as_str()], value);
            }
        }
    }

    fn workflow(status: Value) -> Workflow {
        serde_json::from_value(json!({"metadata": {"name": "w", "resourceVersion": "1"}, "status": status})).unwrap()
    }

    #[test]
    fn only_what_changed_goes_out() {
        let before = workflow(json!({"phase": "Running", "storedTemplates": {"a": {"name": "a"}}, "nodes": {
            "a": {"id": "a", "phase": "Pending", "message": "m", "inputs": {"parameters": [{"name": "p", "value": "v"}]}},
            "b": {"id": "b", "phase": "Succeeded", "message": "x"}}}));
        let mut after = before.clone();
        let mut written = Written::of(&before, Held::default(), SizeLimits::default());
        assert!(written.patch(&after, ["a", "b"].into_iter().filter(|id| *id == "a")).is_none());
        after.status.progress = "1/2".into();
        after.metadata.labels.insert("l".into(), "1".into());
        for (id, node) in [
            ("a", json!({"id": "a", "phase": "Running", "inputs": {"parameters": [{"name": "p", "value": "v"}]}})),
            ("c", json!({"id": "c", "phase": "Pending"})),
        ] {
            after.status.nodes.insert(id.into(), serde_json::from_value(node).unwrap());
        }
        let patch = written.patch(&after, ["a", "c"].into_iter()).unwrap().patch;
        assert_eq!(patch["metadata"], json!({"resourceVersion": "1", "labels": {"l": "1"}}));
        assert_eq!(patch["status"]["progress"], "1/2");
        assert_eq!(patch["status"]["nodes"]["a"], json!({"phase": "Running", "message": null}));
        assert_eq!(patch["status"]["nodes"]["c"]["phase"], "Pending");
        assert_eq!(patch["status"].as_object().unwrap().len(), 2);
        // A node that is over goes out whole, and loses what it no longer has.
        let b = serde_json::from_value(json!({"id": "b", "phase": "Failed"})).unwrap();
        after.status.nodes.insert("b".into(), b);
        let patch = written.patch(&after, std::iter::once("b")).unwrap().patch;
        assert_eq!(patch["status"]["nodes"]["b"]["message"], Value::Null);
        assert_eq!(patch["status"]["nodes"]["b"]["phase"], "Failed");
    }

    #[test]
    fn defaults_go_out_once() {
        let mut ours = workflow(json!({}));
        let mut written = Written::of(&ours, Held::default(), SizeLimits::default());
        ours.spec =
            serde_json::from_value(json!({"podGC": {"strategy": "OnPodCompletion"}, "shutdown": "Stop"})).unwrap();
        let due = Some(json!({"podGC": {"strategy": "OnPodCompletion"}}));
        let spec = |written: &mut Written, ours: &Workflow| {
            written.patch(ours, std::iter::empty()).map(|out| out.patch["spec"].clone())
        };
        assert_eq!(spec(&mut written, &ours), due);
        assert_eq!(spec(&mut written, &ours), None);
        // Where that was refused since somebody else had written, it is due again.
        written = written.over(&workflow(json!({})), Held::default(), &ours);
        assert_eq!(spec(&mut written, &ours), due);
        written = written.over(&ours.clone(), Held::default(), &ours);
        assert_eq!(spec(&mut written, &ours), None);
    }

    #[test]
    fn many_nodes_go_out_compressed() {
        let mut large = workflow(json!({"phase": "Running", "nodes": {"a": {"id": "a", "phase": "Running"}}}));
        let mut written = Written::of(&large, Held::default(), SizeLimits::default());
        for index in 0..4000 {
            let id = format!("node-{index}");
            let node = json!({"id": id, "phase": "Succeeded", "message": "x".repeat(200)});
            large.status.nodes.insert(id, serde_json::from_value(node).unwrap());
        }
        let ids: Vec<String> = large.status.nodes.keys().cloned().collect();
        let patch = written.patch(&large, ids.iter().map(String::as_str)).unwrap().patch;
        assert_eq!(patch["status"]["nodes"], Value::Null);
        let mut read = Workflow::default();
        read.status.compressed_nodes = patch["status"]["compressedNodes"].as_str().unwrap().to_owned();
        tiphys_nodes::unpack(&mut read).unwrap();
        assert_eq!(read.status.nodes, large.status.nodes);
        // From then on nodes are not written beside it.
        large.status.progress = "1/2".into();
        let patch = written.patch(&large, std::iter::empty()).unwrap().patch;
        assert_eq!(patch["status"], json!({"progress": "1/2"}));
        large.status.nodes.insert("last".into(), serde_json::from_value(json!({"id": "last"})).unwrap());
        let patch = written.patch(&large, std::iter::once("last")).unwrap().patch;
        assert!(patch["status"]["nodes"].is_null() && patch["status"]["compressedNodes"].is_string());
    }

    #[test]
    fn what_is_still_too_large_goes_outside_and_then_only_the_end_is_told() {
        let mut large = workflow(json!({"phase": "Running", "nodes": {"a": {"id": "a", "phase": "Running"}}}));
        let limits = SizeLimits { most: 1500, always_outside: false };
        let mut written = Written::of(&large, Held::default(), limits);
        let node = json!({"id": "b", "message": (0..900).map(|number| number.to_string()).collect::<String>()});
        large.status.nodes.insert("b".into(), serde_json::from_value(node).unwrap());
        let Outgoing { patch, outside } = written.patch(&large, std::iter::once("b")).unwrap();
        assert_eq!(patch["status"], json!({"nodes": null, "compressedNodes": null}));
        let kept: tiphys_api::Nodes = serde_json::from_slice(&outside.unwrap()).unwrap();
        assert_eq!(kept, large.status.nodes);
        assert!(written.too_large().ends_with("> maxSize 1500."), "{}", written.too_large());
        // Where that was refused, the next write has them once more, also when it is of what somebody else wrote.
        assert!(!written.go_outside());
        written = written.over(&large, Held::default(), &large);
        assert!(written.patch(&large, std::iter::empty()).unwrap().outside.is_some());
        assert!(written.patch(&large, std::iter::empty()).is_none());
        written.tell_least();
        large.status.message = "m".into();
        large.status.stored_templates.insert("t".into(), tiphys_api::Template::default());
        let Outgoing { patch, outside } = written.patch(&large, std::iter::once("b")).unwrap();
        assert_eq!((&patch["status"], outside), (&json!({"message": "m"}), None));
    }

    #[test]
    fn nodes_may_go_outside_whatever_their_size() {
        let small = workflow(json!({"nodes": {"a": {"id": "a"}}}));
        let limits = SizeLimits { always_outside: true, ..SizeLimits::default() };
        let mut written = Written::of(&workflow(json!({})), Held::default(), limits);
        assert!(written.patch(&small, std::iter::once("a")).unwrap().outside.is_some());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(1)), Just(json!("a")), Just(json!(["x"])), Just(json!(true))];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| json!(map))
        })
    }

    proptest! {
        #[test]
        fn a_patch_leads_from_one_to_the_other(
            before in prop::collection::btree_map("[a-d]", any_value(), 0..4),
            now in prop::collection::btree_map("[a-d]", any_value(), 0..4),
        ) {
            let (before, now) = (json!(before), json!(now));
            let mut merged = before.clone();
            match difference(&before, &now) {
                Some(patch) => merge(&mut merged, &Value::Object(patch)),
                None => prop_assert_eq!(&before, &now),
            }
            prop_assert_eq!(merged, now);
        }
    }
}
