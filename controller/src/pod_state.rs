//! What a Pod's status tells the engine, and what its executor told in it.

use std::collections::BTreeMap;

use tiphys_contract::carry::{self, CarryError};
use tiphys_contract::{Offloaded, TaskResult, container, exit, label};
use tiphys_engine::{ContainerState, ContainerStatus as EngineStatus, Fact, NodeId, PodPhase, PodState};
use tiphys_podspec::usage;

use tiphys_kubernetes::{ContainerStatus, Pod, Resources, SpecContainer};

/// A Pod as it was seen.
#[derive(Debug)]
pub struct Seen {
    /// Its state.
    pub state: PodState,
    /// What was reported by the Pod itself: in a termination message, or in annotations. None when nothing was.
    pub report: Option<Report>,
}

/// `status.reason` of a Pod that ran into its `activeDeadlineSeconds`.
const DEADLINE: &str = "DeadlineExceeded";

/// What an executor reported.
#[derive(Debug)]
pub struct Report {
    /// The results.
    pub result: TaskResult,
    /// Whether nothing more comes.
    pub complete: bool,
}

impl Seen {
    /// Outputs that are complete, and lie in the artifact repository.
    pub fn offloaded(&self) -> Option<&Offloaded> {
        let report = self.report.as_ref().filter(|report| report.complete)?;
        report.result.offloaded.as_ref()
    }

    /// What the engine is told of the node's Pod: its results, then its state. `reporting` says that an object of its own tells
    /// when the results are complete.
    pub fn facts(self, node: NodeId, reporting: bool) -> impl Iterator<Item = Fact> {
        let results = self.report.map(|report| Fact::TaskResult {
            node: node.clone(),
            outputs: Box::new(report.result.outputs.unwrap_or_default()),
            progress: report.result.progress,
            complete: report.complete && !reporting,
        });
        results.into_iter().chain([Fact::Pod { node, state: Box::new(self.state) }])
    }
}

/// Reads a Pod. One whose results are there and cannot be read has failed.
pub fn read(pod: &Pod) -> Seen {
    let mut damage = None;
    let mut told = None;
    let mut containers = Vec::with_capacity(pod.spec.init_containers.len() + pod.spec.containers.len());
    let statuses = pod.status.init_container_statuses.iter().map(|status| (true, status));
    for (init, status) in statuses.chain(pod.status.container_statuses.iter().map(|status| (false, status))) {
        let sidecar = init && pod.spec.init_containers.iter().any(|one| one.name == status.name && is_sidecar(one));
        let (state, result) = container_state(status, &mut damage);
        told = told.or(result);
        containers.push(ContainerState {
            name: status.name.clone(),
            init: init && !sidecar,
            ready: status.ready,
            status: state,
        });
    }
    let solo = is_solo(&pod.metadata.annotations);
    if solo {
        containers.iter_mut().for_each(as_the_emissary_tells);
    }
    let is_running = |one: &ContainerState| !one.init && matches!(one.status, EngineStatus::Running);
    // That a deadline has passed is not how it ended, where that was only our way to end it.
    let ended = solo && pod.metadata.annotations.contains_key(label::ENDED) && pod.status.reason == DEADLINE;
    let main = containers.iter().find(|one| one.name == container::MAIN);
    let main_is_well = main.is_some_and(|main| matches!(main.status, EngineStatus::Terminated { exit_code: 0, .. }));
    let phase = match phase(&pod.status.phase) {
        // Main was through, and others that somebody put into the Pod went on.
        PodPhase::Failed if ended && main_is_well => PodPhase::Succeeded,
        // The kubelet says so before it ends the containers; what they still have to tell comes with their end.
        PodPhase::Failed if pod.status.reason == DEADLINE && containers.iter().any(is_running) => PodPhase::Running,
        phase => phase,
    };
    let over = matches!(phase, PodPhase::Succeeded | PodPhase::Failed);
    let reporter = reporter(&containers).map(|reporter| &reporter.status);
    let complete = match reporter {
        Some(EngineStatus::Terminated { .. }) => true,
        Some(EngineStatus::Running) => false,
        _ => over,
    };
    // One that runs will report, and whoever ends the step early waits for that: argo's wait tells so by its task result.
    let begun = complete || matches!(reporter, Some(EngineStatus::Running));
    let result = told.or_else(|| annotated(pod, &mut damage)).or_else(|| begun.then(TaskResult::default));
    let report = result.map(|result| Report { result, complete });
    let unschedulable =
        pod.status.conditions.iter().find(|one| one.r#type == "PodScheduled" && one.reason == "Unschedulable");
    let mut state = PodState {
        uid: pod.metadata.uid.clone(),
        phase,
        message: if ended { String::new() } else { pod.status.message.clone() },
        reason: if ended { String::new() } else { pod.status.reason.clone() },
        unschedulable: unschedulable.map(|one| one.message.clone()).unwrap_or_default(),
        ip: pod.status.pod_ip.clone(),
        host: pod.spec.node_name.clone(),
        started: if phase == PodPhase::Failed { started(pod) } else { Vec::new() },
        containers,
        resources_duration: if over { resources_duration(pod) } else { BTreeMap::new() },
    };
    if let Some(error) = damage {
        fail(&mut state, error.to_string());
    }
    Seen { state, report }
}

/// Whether no executor is in a Pod with these annotations.
pub fn is_solo(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(label::LAYOUT).is_some_and(|layout| layout == label::SOLO)
}

/// Containers that run or have run. One of which the kubelet lost sight has ended at no time.
fn started(pod: &Pod) -> Vec<String> {
    let has_run = |status: &&ContainerStatus| {
        status.state.running.is_some() || status.state.terminated.as_ref().is_some_and(|end| end.started_at.is_some())
    };
    pod.status.container_statuses.iter().filter(has_run).map(|status| status.name.clone()).collect()
}

/// Outputs that should be there cannot be had: going on without them would be worse than failing.
pub fn fail(state: &mut PodState, reason: String) {
    state.phase = PodPhase::Failed;
    state.message = reason;
}

/// A native sidecar is written among the init containers and runs beside the others.
fn is_sidecar(container: &SpecContainer) -> bool {
    container.restart_policy == "Always"
}

fn phase(word: &str) -> PodPhase {
    match word {
        "Running" => PodPhase::Running,
        "Succeeded" => PodPhase::Succeeded,
        "Failed" => PodPhase::Failed,
        // `Unknown` was once used for nodes that are away; nothing is known then, as before the start.
        _ => PodPhase::Pending,
    }
}

fn container_state(status: &ContainerStatus, damage: &mut Option<CarryError>) -> (EngineStatus, Option<TaskResult>) {
    if let Some(end) = &status.state.terminated {
        let told = carry::from_message(&end.message).unwrap_or_else(|error| {
            *damage = Some(error);
            carry::Told { message: end.message.clone(), result: None }
        });
        let status = EngineStatus::Terminated {
            exit_code: end.exit_code,
            reason: end.reason.clone(),
            message: told.message,
            finished: end.finished_at,
        };
        return (status, told.result);
    }
    if status.state.running.is_some() {
        return (EngineStatus::Running, None);
    }
    let waiting = status.state.waiting.clone().unwrap_or_default();
    (EngineStatus::Waiting { reason: waiting.reason, message: waiting.message }, None)
}

/// In a Pod without an executor the container runtime tells that a command is not there. Both name the command in the same
/// words; here it comes to what the emissary makes of it. argo: cmd/argoexec/commands/emissary.go.
fn as_the_emissary_tells(container: &mut ContainerState) {
    let EngineStatus::Terminated { exit_code, reason, message, .. } = &mut container.status else { return };
    if reason != "StartError" {
        return;
    }
    let Some(begin) = message.find("exec: \"") else { return };
    let words = message[begin..].trim_end();
    *message = format!("failed to find name in PATH: {}", words.strip_suffix(": unknown").unwrap_or(words));
    *reason = "Error".to_owned();
    *exit_code = exit::EXECUTOR_FAILURE;
}

/// The container that reports: `wait` or `supervisor`, else `main` where that is the executor itself.
fn reporter(containers: &[ContainerState]) -> Option<&ContainerState> {
    let aux =
        containers.iter().find(|one| !one.init && (one.name == container::WAIT || one.name == container::SUPERVISOR));
    aux.or_else(|| containers.iter().find(|one| !one.init && one.name == container::MAIN))
}

/// What the annotations tell, if they tell anything. A user may give a Pod its first progress by annotation, so that one
/// counts at any time.
fn annotated(pod: &Pod, damage: &mut Option<CarryError>) -> Option<TaskResult> {
    let lookup = |name: &str| pod.metadata.annotations.get(name).map(String::as_str);
    let result = carry::from_annotations(lookup).unwrap_or_else(|error| {
        *damage = Some(error);
        TaskResult::default()
    });
    (!result.is_empty() || lookup(label::OUTPUTS).is_some()).then_some(result)
}

/// What the Pod's containers have used. What the Pod asks for as a whole is charged once, to the first that asks for nothing
/// itself. argo: util/resource/duration.go.
fn resources_duration(pod: &Pod) -> BTreeMap<String, i64> {
    let asks = |resources: &Resources| !resources.limits.is_empty() || !resources.requests.is_empty();
    let mut specs = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let for_all = specs.find(|spec| !asks(&spec.resources)).filter(|_| asks(&pod.spec.resources));
    let mut sum = BTreeMap::new();
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    for status in statuses {
        let Some(end) = &status.state.terminated else { continue };
        let (Some(from), Some(to)) = (end.started_at, end.finished_at) else { continue };
        let specs = pod.spec.init_containers.iter().chain(&pod.spec.containers);
        let Some(spec) = specs.into_iter().find(|spec| spec.name == status.name) else { continue };
        let resources = match for_all {
            Some(first) if first.name == spec.name => &pod.spec.resources,
            _ => &spec.resources,
        };
        let requests = usage::requests(&resources.limits, &resources.requests);
        usage::add(&mut sum, &requests, to.0.as_second() - from.0.as_second());
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(pod: serde_json::Value) -> Seen {
        read(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_termination_message_brings_the_results_with_the_end() {
        let body = json!({"outputs": {"result": "42"}});
        let result = TaskResult::from_json(body.to_string().as_bytes()).unwrap();
        let message = carry::to_message(&result, "no bucket", carry::MESSAGE_BYTES).unwrap();
        let end = |message: &str| {
            json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": message,
            "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:20Z"}})
        };
        let pod = json!({
            "metadata": {"uid": "u"},
            "spec": {"nodeName": "host", "containers": [{"name": "wait"}, {"name": "main"}]},
            "status": {"phase": "Succeeded", "podIP": "10.0.0.1", "containerStatuses": [
                {"name": "wait", "state": end(&message)}, {"name": "main", "state": end("")}]},
        });
        let Seen { state, report } = seen(pod);
        let report = report.unwrap();
        assert!(report.complete && report.result == result);
        assert_eq!((state.phase, state.host.as_str(), state.ip.as_str()), (PodPhase::Succeeded, "host", "10.0.0.1"));
        assert_eq!(state.resources_duration["cpu"], 4);
        let EngineStatus::Terminated { message, finished, .. } = &state.containers[0].status else {
            panic!("{state:?}")
        };
        assert_eq!(message, "no bucket");
        assert!(finished.is_some());
    }

    #[test]
    fn annotations_are_complete_when_their_writer_has_ended() {
        let pod = |wait: serde_json::Value| {
            json!({
                "metadata": {"annotations": {label::OUTPUTS: r#"{"result":"1"}"#, label::PROGRESS: "1/2"}},
                "status": {"phase": "Running", "containerStatuses": [
                    {"name": "wait", "state": wait}, {"name": "main", "state": {"terminated": {"exitCode": 0}}}]},
            })
        };
        let report = seen(pod(json!({"running": {}}))).report.unwrap();
        assert!(!report.complete && report.result.progress == "1/2");
        assert!(seen(pod(json!({"terminated": {"exitCode": 0}}))).report.unwrap().complete);
    }

    #[test]
    fn a_pod_that_has_said_nothing_reports_nothing() {
        let pod = json!({"status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}],
            "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]}});
        let Seen { state, report } = seen(pod);
        assert!(report.is_none());
        assert_eq!(state.unschedulable, "0/1 nodes");
        assert!(
            matches!(&state.containers[0].status, EngineStatus::Waiting { reason, .. } if reason == "ContainerCreating")
        );
    }

    #[test]
    fn a_deadline_has_passed_when_the_containers_have_ended() {
        let pod = |state: serde_json::Value| {
            json!({"status": {
            "phase": "Failed", "reason": DEADLINE, "message": "Pod was active too long",
            "containerStatuses": [{"name": "wait", "state": state}, {"name": "main", "state": {"terminated": {"exitCode": 143}}}]}})
        };
        let first = seen(pod(json!({"running": {}})));
        assert!(first.state.phase == PodPhase::Running && !first.report.unwrap().complete);
        let last = seen(pod(json!({"terminated": {"exitCode": 0}})));
        assert!(last.state.phase == PodPhase::Failed && last.report.unwrap().complete);
    }

    #[test]
    fn outputs_that_lie_elsewhere_are_told_when_they_are_complete() {
        let body = json!({"offloaded": {"artifact": {"name": "outputs", "s3": {"key": "k"}}, "sha256": "00", "bytes": 300_000}});
        let result = TaskResult::from_json(body.to_string().as_bytes()).unwrap();
        let message = carry::to_message(&result, "", carry::MESSAGE_BYTES).unwrap();
        let end = |message: &str| json!({"terminated": {"exitCode": 0, "message": message}});
        let over = seen(json!({"status": {"phase": "Succeeded", "containerStatuses": [
            {"name": "wait", "state": end(&message)}, {"name": "main", "state": end("")}]}}));
        assert_eq!(over.offloaded().map(|away| away.bytes), Some(300_000));
        let annotation = json!({label::REPORT: body.to_string()});
        let begun =
            seen(json!({"metadata": {"annotations": annotation}, "status": {"phase": "Running", "containerStatuses": [
            {"name": "wait", "state": {"running": {}}}, {"name": "main", "state": end("")}]}}));
        assert_eq!(begun.offloaded(), None);
    }

    #[test]
    fn a_pod_without_an_executor_that_was_ended_ends_as_its_main_container_did() {
        let pod = |code: i32, annotations: serde_json::Value| {
            let main = json!({"name": "main", "state": {"terminated": {"exitCode": code, "reason": "Error"}}});
            let other = json!({"name": "proxy", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}});
            let Seen { state, .. } =
                seen(json!({"metadata": {"annotations": annotations}, "status": {"phase": "Failed",
                "reason": DEADLINE, "message": "too long", "containerStatuses": [main, other]}}));
            (state.phase, state.message)
        };
        let ended = json!({label::LAYOUT: label::SOLO, label::ENDED: "true"});
        assert_eq!(pod(0, ended.clone()), (PodPhase::Succeeded, String::new()));
        assert_eq!(pod(143, ended), (PodPhase::Failed, String::new()));
        assert_eq!(pod(143, json!({label::LAYOUT: label::SOLO})), (PodPhase::Failed, "too long".into()));
    }

    #[test]
    fn a_command_that_is_not_there_is_told_alike_with_and_without_an_executor() {
        let pod = |message: &str, annotations: serde_json::Value| {
            let end = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": message}});
            let Seen { state, .. } = seen(json!({"metadata": {"annotations": annotations},
                "status": {"phase": "Failed", "containerStatuses": [{"name": "main", "state": end}]}}));
            let EngineStatus::Terminated { exit_code, reason, message, .. } = &state.containers[0].status else {
                panic!("{state:?}")
            };
            (*exit_code, reason.clone(), message.clone())
        };
        let solo = json!({label::LAYOUT: label::SOLO});
        let told = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create \
                    failed: unable to start container process: exec: \"no\": executable file not found in $PATH: unknown";
        let words = "failed to find name in PATH: exec: \"no\": executable file not found in $PATH";
        assert_eq!(pod(told, solo.clone()), (64, "Error".into(), words.into()));
        // What the emissary would not have come to, and Pods in which it was not to be started by itself.
        let other = "failed to create containerd task: no space left on device";
        assert_eq!(pod(other, solo), (128, "StartError".into(), other.into()));
        assert_eq!(pod(told, json!({})), (128, "StartError".into(), told.into()));
    }

    #[test]
    fn what_a_pod_asks_for_as_a_whole_is_charged_once() {
        let asked = |pod: serde_json::Value, main: serde_json::Value| {
            let end = json!({"terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}});
            let seen = seen(json!({
                "spec": {"resources": pod, "containers": [{"name": "main", "resources": main}, {"name": "sidecar"}, {"name": "other"}]},
                "status": {"phase": "Succeeded", "containerStatuses": [
                    {"name": "other", "state": end}, {"name": "main", "state": end}, {"name": "sidecar", "state": end}]}}));
            (seen.state.resources_duration["cpu"], seen.state.resources_duration["memory"])
        };
        let two = json!({"requests": {"cpu": "2"}});
        assert_eq!(asked(two.clone(), json!({})), (120 + 6 + 6, 3 * 60));
        assert_eq!(asked(two, json!({"limits": {"cpu": "1"}})), (60 + 120 + 6, 3 * 60));
        assert_eq!(asked(json!({}), json!({})), (3 * 6, 3 * 60));
    }

    #[test]
    fn damage_is_told() {
        let pod = json!({"status": {"phase": "Failed", "containerStatuses": [
            {"name": "wait", "state": {"terminated": {"exitCode": 0, "message": "tiphys-result:1:%%"}}}]}});
        let Seen { state, report } = seen(pod);
        assert!(report.unwrap().complete && state.phase == PodPhase::Failed);
        assert!(state.message.starts_with("the results in the termination message are damaged"), "{}", state.message);
    }
}
