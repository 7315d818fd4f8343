//! What of a workflow is told as spans: itself and its phases, its nodes and theirs, Pods, writes, turns, locks.
//! argo: workflow/tracing/workflow.go, whose names and attributes these are.
//!
//! A span is told when it is over, by an id that follows from the workflow's uid and the node's id. So nothing of it has to be kept:
//! the controller that sees the end of a node comes to the same id as the one that made its Pod, and the start is in the status.

use std::time::SystemTime;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_api::{NodePhase, NodeStatus, Workflow, WorkflowPhase};
use tiphys_contract::{SpanId, TraceContext, TraceId, TraceParent};
use tiphys_engine::{Fact, LockAnswer, LockHolder, LockRequest, NodeId};
use tiphys_otlp::{Kind, Outcome, Span, Spans, Value};

/// Longest value of W3C's `tracestate`.
const LONGEST_STATE: usize = 256;

/// The trace of one workflow.
pub(super) struct Trace {
    teller: Teller,
    namespace: String,
    name: String,
    uid: String,
    root: SpanId,
    /// Since when the workflow is known, and since when it is in its phase.
    since: SystemTime,
    phase: (WorkflowPhase, SystemTime),
    open: FxHashMap<NodeId, OpenNode>,
    /// Nodes of whose end was told.
    closed: FxHashSet<NodeId>,
    /// Since when each holder waits for an answer, and for what.
    locks: FxHashMap<LockHolder, (SystemTime, String)>,
}

/// A node that is not over.
struct OpenNode {
    since: SystemTime,
    phase: NodePhase,
    message: String,
    phase_since: SystemTime,
}

/// Tells spans of one trace.
#[derive(Clone)]
struct Teller {
    spans: Spans,
    trace: TraceId,
    state: String,
    sampled: bool,
}

/// A span that has begun. One that is dropped is not told.
pub(super) struct Begun {
    teller: Teller,
    id: SpanId,
    parent: SpanId,
    name: &'static str,
    start: SystemTime,
    attributes: Vec<(&'static str, Value)>,
}

impl Begun {
    /// What the process that goes on with it has to know.
    pub fn context(&self) -> TraceContext {
        let Teller { trace, sampled, state, .. } = &self.teller;
        TraceContext { parent: TraceParent { trace: *trace, span: self.id, sampled: *sampled }, state: state.clone() }
    }

    /// It is over.
    pub fn end(self, outcome: Outcome) {
        let Begun { teller, id, parent, name, start, attributes } = self;
        teller.tell((id, Some(parent)), name, (start, SystemTime::now()), attributes, outcome);
    }
}

impl Teller {
    fn tell(
        &self,
        (id, parent): (SpanId, Option<SpanId>),
        name: &'static str,
        (start, end): (SystemTime, SystemTime),
        attributes: Vec<(&'static str, Value)>,
        outcome: Outcome,
    ) {
        if self.sampled {
            let kind = if name == "nodePhase" { Kind::Producer } else { Kind::Internal };
            let (trace, state) = (self.trace, self.state.clone());
            self.spans.tell(Span { trace, state, id, parent, name, kind, start, end, attributes, outcome });
        }
    }
}

impl Trace {
    /// Of a workflow as it was read; None where nothing is traced.
    pub fn of(spans: Option<&Spans>, workflow: &Workflow) -> Option<Box<Trace>> {
        let spans = spans?.clone();
        let (metadata, status, now) = (&workflow.metadata, &workflow.status, SystemTime::now());
        let trace = TraceId::of(&metadata.uid);
        let state = format!("workflow={}/{}", metadata.namespace, metadata.name);
        let state = if state.len() <= LONGEST_STATE { state } else { String::new() };
        let sampled = spans.takes(&trace);
        let (mut open, mut closed) = (FxHashMap::default(), FxHashSet::default());
        for node in status.nodes.values() {
            let id = NodeId::from(node.id.as_str());
            if node.phase.is_fulfilled() {
                closed.insert(id);
            } else {
                // When its phase began is not written; who drove it before has told of the phases before that.
                open.insert(id, OpenNode::of(node, began(node.started_at.map(|time| time.0), now), now));
            }
        }
        Some(Box::new(Trace {
            root: SpanId::of(&[&metadata.uid, "workflow"]),
            teller: Teller { spans, trace, state, sampled },
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            since: began(status.started_at.map(|time| time.0), now),
            phase: (status.phase, now),
            open,
            closed,
            locks: FxHashMap::default(),
        }))
    }

    /// The trace's id as text.
    pub fn id(&self) -> String {
        self.teller.trace.to_string()
    }

    /// The workflow's own status has changed.
    pub fn workflow(&mut self, workflow: &Workflow) {
        let (now, phase) = (SystemTime::now(), workflow.status.phase);
        let (before, since) = self.phase;
        if before == phase {
            return;
        }
        self.phase = (phase, now);
        if before != WorkflowPhase::Unknown {
            let id = self.span(&["workflowPhase", &nanos(since)]);
            let attributes = vec![("phase", before.as_str().into())];
            self.teller.tell((id, Some(self.root)), "workflowPhase", (since, now), attributes, Outcome::Unset);
        }
        if phase.is_completed() {
            let attributes = vec![("name", self.name.as_str().into()), ("namespace", self.namespace.as_str().into())];
            let outcome = outcome(phase.as_str());
            self.teller.tell((self.root, None), "workflow", (self.since, now), attributes, outcome);
        }
    }

    /// A node is new or has changed.
    pub fn node(&mut self, node: &NodeStatus) {
        let (id, now) = (NodeId::from(node.id.as_str()), SystemTime::now());
        if self.closed.contains(&id) {
            // One that is over may still get outputs. A daemon that is begun again is not over.
            if node.phase.is_fulfilled() {
                return;
            }
            self.closed.remove(&id);
        }
        let mut open = self.open.remove(&id).unwrap_or_else(|| OpenNode::of(node, now, now));
        let message = short(node);
        if (open.phase, open.message.as_str()) != (node.phase, message) {
            self.node_phase(&node.id, &open, now);
            open = OpenNode { phase: node.phase, message: message.to_owned(), phase_since: now, ..open };
        }
        if !node.phase.is_fulfilled() {
            self.open.insert(id, open);
            return;
        }
        let attributes = vec![
            ("node_id", node.id.as_str().into()),
            ("name", self.name.as_str().into()),
            ("namespace", self.namespace.as_str().into()),
            ("node_type", node.r#type.as_str().into()),
        ];
        let own = (self.node_span(&node.id), Some(self.root));
        self.teller.tell(own, "node", (open.since, now), attributes, outcome(node.phase.as_str()));
        self.closed.insert(id);
    }

    fn node_phase(&self, node: &str, open: &OpenNode, now: SystemTime) {
        let phase = open.phase.as_str();
        let mut attributes = vec![("node_id", node.into()), ("node_phase", phase.into())];
        if !open.message.is_empty() {
            attributes.push(("message", open.message.as_str().into()));
        }
        // A node may be in the same phase more than once.
        let id = self.span(&["nodePhase", node, &nanos(open.phase_since)]);
        let own = (id, Some(self.node_span(node)));
        self.teller.tell(own, "nodePhase", (open.phase_since, now), attributes, Outcome::Unset);
    }

    /// A node's Pod is being made.
    pub fn pod(&self, node: &str) -> Begun {
        Begun {
            teller: self.teller.clone(),
            id: self.span(&["createWorkflowPod", node]),
            parent: self.node_span(node),
            name: "createWorkflowPod",
            start: SystemTime::now(),
            attributes: vec![("node_id", node.into())],
        }
    }

    /// Something that the controller does for the workflow, and does again and again.
    pub fn begin(&self, name: &'static str) -> Begun {
        let start = SystemTime::now();
        let id = self.span(&[name, &nanos(start)]);
        Begun { teller: self.teller.clone(), id, parent: self.root, name, start, attributes: Vec::new() }
    }

    /// Locks are asked for.
    pub fn asks(&mut self, request: &LockRequest) {
        let name = request.locks.first().map(ToString::to_string).unwrap_or_default();
        self.locks.insert(request.holder.clone(), (SystemTime::now(), name));
    }

    /// What became of that. Who waits in line is told again.
    pub fn told(&mut self, fact: &Fact) {
        let Fact::Locks { holder, answer } = fact else { return };
        let Some((since, name)) = self.locks.remove(holder) else { return };
        let mut span = self.begin("tryAcquireLock");
        span.start = since;
        span.attributes =
            vec![("lock_name", name.as_str().into()), ("acquired", matches!(answer, LockAnswer::Granted).into())];
        span.end(Outcome::Unset);
        if matches!(answer, LockAnswer::Waiting(_)) {
            self.locks.insert(holder.clone(), (SystemTime::now(), name));
        }
    }

    fn span(&self, names: &[&str]) -> SpanId {
        SpanId::of(&[&[self.uid.as_str()], names].concat())
    }

    fn node_span(&self, node: &str) -> SpanId {
        self.span(&["node", node])
    }
}

impl OpenNode {
    fn of(node: &NodeStatus, since: SystemTime, phase_since: SystemTime) -> OpenNode {
        OpenNode { since, phase: node.phase, message: short(node).to_owned(), phase_since }
    }
}

/// A moment as a name.
fn nanos(time: SystemTime) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// When something began that has begun before it was seen.
fn began(at: Option<Timestamp>, now: SystemTime) -> SystemTime {
    at.map_or(now, SystemTime::from).min(now)
}

/// Why a node waits, in a word. argo: workflow.go, phaseMessage.
fn short(node: &NodeStatus) -> &str {
    match (node.phase, node.message.split(':').next().unwrap_or_default()) {
        (NodePhase::Pending, reason) if reason != "PodInitializing" => reason,
        _ => "",
    }
}

/// What a phase says of the outcome. What was left out has not failed.
fn outcome(phase: &str) -> Outcome {
    match phase {
        "Succeeded" => Outcome::Ok,
        "Failed" | "Error" => Outcome::Failed(phase.to_owned()),
        _ => Outcome::Unset,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};
    use tiphys_otlp::receiver::{Received, Receiver};
    use tiphys_otlp::{Exporter, Pace, Resource, Sampler, Settings, Signal};

    use super::*;

    const UID: &str = "6c4b8fe1-3a63-4b0e-9c2b-6a4f3c1f6f10";

    fn spans(receiver: &Receiver) -> (Spans, tiphys_otlp::Sending) {
        let address = format!("http://{}", receiver.address);
        let find = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| address.clone());
        let settings = Settings::of(Signal::Traces, find).unwrap().unwrap();
        let exporter = Exporter::new(settings, &Resource::of("controller", |_| None).unwrap()).unwrap();
        Spans::begin(exporter, Pace::default(), Sampler::default())
    }

    fn workflow(phase: &str, nodes: Json) -> Workflow {
        let metadata = json!({"name": "w", "namespace": "n", "uid": UID});
        let status = json!({"phase": phase, "startedAt": "2026-01-02T03:04:05Z", "nodes": nodes});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn node(phase: &str, message: &str) -> NodeStatus {
        let started = "2026-01-02T03:04:06Z";
        let node = json!({"id": "w-1", "type": "Pod", "phase": phase, "message": message, "startedAt": started});
        serde_json::from_value(node).unwrap()
    }

    fn all<'a>(spans: &'a [Received], name: &str) -> Vec<&'a Received> {
        spans.iter().filter(|span| span.name == name).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_controller_goes_on_with_the_same_spans() {
        let receiver = Receiver::grpc().unwrap();
        let (sender, sending) = spans(&receiver);
        // The first one sees the workflow begin, makes the Pod, and is gone.
        let mut first = Trace::of(Some(&sender), &workflow("", json!({}))).unwrap();
        first.workflow(&workflow("Running", json!({})));
        for message in ["", "ContainerCreating", "ContainerCreating: x", "PodInitializing"] {
            first.node(&node("Pending", message));
        }
        let pod = first.pod("w-1");
        let context = pod.context();
        pod.end(Outcome::Unset);
        drop(first);
        // The second one finds it in its status, and sees the end.
        let found = json!({"w-1": node("Pending", "PodInitializing")});
        let mut second = Trace::of(Some(&sender), &workflow("Running", found)).unwrap();
        second.node(&node("Running", ""));
        second.node(&node("Failed", "boom"));
        second.node(&node("Failed", "boom once more"));
        second.workflow(&workflow("Failed", json!({})));
        sending.finish().await;
        let spans = receiver.until(|spans| !all(spans, "workflow").is_empty());

        let [root] = all(&spans, "workflow")[..] else { panic!("{spans:?}") };
        let [step] = all(&spans, "node")[..] else { panic!("{spans:?}") };
        let [made] = all(&spans, "createWorkflowPod")[..] else { panic!("{spans:?}") };
        assert_eq!((root.parent.as_str(), root.trace.as_str()), ("", TraceId::of(UID).to_string().as_str()));
        assert_eq!((&step.parent, &made.parent), (&root.id, &step.id));
        assert!(spans.iter().all(|span| span.trace == root.trace && span.state == "workflow=n/w"));
        assert_eq!(
            (context.parent.span.to_string(), context.parent.trace.to_string()),
            (made.id.clone(), root.trace.clone())
        );
        assert_eq!((step.status, step.message.as_str(), root.status), (2, "Failed", 2));
        // Where the first began is in the status.
        assert_eq!((root.start, step.start), (1_767_323_045_000_000_000, 1_767_323_046_000_000_000));
        let phases: Vec<(&str, &str)> = all(&spans, "nodePhase")
            .iter()
            .map(|span| {
                assert_eq!(span.parent, step.id);
                let message = span.attributes.get("message").map_or("", String::as_str);
                (span.attributes["node_phase"].as_str(), message)
            })
            .collect();
        assert_eq!(phases, [("Pending", ""), ("Pending", "ContainerCreating"), ("Pending", ""), ("Running", "")]);
        let [phase] = all(&spans, "workflowPhase")[..] else { panic!("{spans:?}") };
        assert_eq!((phase.attributes["phase"].as_str(), &phase.parent), ("Running", &root.id));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_for_a_lock_is_told_twice() {
        let receiver = Receiver::grpc().unwrap();
        let (sender, sending) = spans(&receiver);
        let mut trace = Trace::of(Some(&sender), &workflow("Running", json!({}))).unwrap();
        let holder = LockHolder { workflow: "n/w".into(), node: None };
        let lock = tiphys_engine::LockName::Mutex { namespace: "n".into(), name: "m".into() };
        let created = Timestamp::UNIX_EPOCH;
        let request = LockRequest { holder: holder.clone(), locks: vec![lock.clone()], priority: 0, created };
        trace.asks(&request);
        let waiting =
            LockAnswer::Waiting(tiphys_engine::LockWait { lock, message: String::new(), held_by: Vec::new() });
        for answer in [waiting, LockAnswer::Granted, LockAnswer::Granted] {
            trace.told(&Fact::Locks { holder: holder.clone(), answer });
        }
        sending.finish().await;
        let told = receiver.until(|spans| spans.len() >= 2);
        let acquired: Vec<&str> = told.iter().map(|span| span.attributes["acquired"].as_str()).collect();
        assert_eq!(acquired, ["false", "true"]);
        assert!(told[1].start >= told[0].end, "one begins where the other ended");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_sampled_is_handed_on_and_not_told() {
        let receiver = Receiver::grpc().unwrap();
        let address = format!("http://{}", receiver.address);
        let find = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| address.clone());
        let settings = Settings::of(Signal::Traces, find).unwrap().unwrap();
        let exporter = Exporter::new(settings, &Resource::of("controller", |_| None).unwrap()).unwrap();
        let (sender, sending) = Spans::begin(exporter, Pace::default(), Sampler::of("always_off", "").unwrap());
        let trace = Trace::of(Some(&sender), &workflow("Running", json!({}))).unwrap();
        let pod = trace.pod("w-1");
        assert!(pod.context().parent.to_string().ends_with("-00"));
        pod.end(Outcome::Unset);
        sending.finish().await;
        assert_eq!(receiver.requests(), 0);
        assert!(Trace::of(None, &workflow("Running", json!({}))).is_none());
    }
}
