//! A workflow that failed is retried: it runs to its end, and what went well is not run again.

#[path = "faults/script.rs"]
mod script;

use std::collections::BTreeSet;

use jiff::Timestamp;
use script::Words;
use tiphys_api::{NodePhase, NodeResult, NodeType, Workflow, WorkflowPhase};
use tiphys_engine::{ContainerStatus, PodPhase, PodRequest, RetryOptions, TaskRequest, retry_workflow};
use tiphys_sim::{Ending, Faults, Outcome, Request, Script, World, simulate_from, simulate_watched};

fn later() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn run(workflow: Workflow, world: &World) -> Ending {
    simulate_watched(workflow, world, &mut Words, &Faults::default(), &mut |_, _| Ok(()))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Everything goes well, and in time.
struct Healed;

impl Script for Healed {
    fn outcome(&mut self, request: &PodRequest) -> Outcome {
        let mut outcome = Words.outcome(request);
        (outcome.daemon, outcome.refused) = (request.template.is_daemon(), String::new());
        outcome.seconds = 1;
        outcome.state.phase = PodPhase::Succeeded;
        for container in &mut outcome.state.containers {
            if let ContainerStatus::Terminated { exit_code, .. } = &mut container.status {
                *exit_code = 0;
            }
        }
        outcome
    }

    fn result(&mut self, request: &TaskRequest) -> (NodeResult, i64) {
        let (result, _) = Words.result(request);
        (NodeResult { phase: NodePhase::Succeeded, message: String::new(), ..result }, 1)
    }
}

fn run_again(workflow: Workflow, world: &World, faults: &Faults) -> Result<Ending, String> {
    let world = World { requests: vec![(1000, Request::Suspend(false))], ..world.clone() };
    simulate_from(later(), workflow, &world, &mut Healed, faults, &mut |_, _| Ok(()))
}

fn retry(workflow: &Workflow, options: RetryOptions) -> Result<tiphys_engine::Retried, String> {
    retry_workflow(workflow.clone(), options, later())
}

fn succeeded_pods(workflow: &Workflow) -> BTreeSet<String> {
    let nodes = workflow.status.nodes.values();
    let pods = nodes.filter(|node| node.r#type == NodeType::Pod && node.phase == NodePhase::Succeeded);
    pods.map(|node| node.name.clone()).collect()
}

/// Here something succeeded because something else had failed: that is not run again, and the workflow fails as before.
const GONE_ON_FROM: &str = "dag-depends";
/// Here the workflow itself is wrong, and remains so.
const WRONG: &str = "locks-refused";

#[test]
fn every_failed_workflow_gets_to_its_end() {
    for (workflow, world) in script::workflows(include_str!("faults/workflows.yaml")) {
        let name = workflow.metadata.name.clone();
        let first = run(workflow, &world).workflow;
        if first.status.phase == WorkflowPhase::Succeeded || [GONE_ON_FROM, WRONG].contains(&name.as_str()) {
            continue;
        }
        let retried = retry(&first, RetryOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kept = succeeded_pods(&retried.workflow);
        for seed in 0..10 {
            let crash = if seed == 0 { 0 } else { 20 };
            let faults = Faults { seed, crash, ..Default::default() };
            let second = run_again(retried.workflow.clone(), &world, &faults)
                .unwrap_or_else(|error| panic!("{name} under {faults:?}: {error}"));
            let status = &second.workflow.status;
            assert_eq!(status.phase, WorkflowPhase::Succeeded, "{name} under {faults:?}: {}", status.message);
            for node in status.nodes.values() {
                assert!(node.phase.is_fulfilled(), "{name} under {faults:?}: {} is {}", node.name, node.phase);
                let hash = node.id.trim_start_matches(&name);
                let is_its = |pod: &String| if hash.is_empty() { *pod == name } else { pod.ends_with(hash) };
                let again = second.created.iter().any(is_its);
                assert!(!(kept.contains(&node.name) && again), "{name}: {} ran again", node.name);
            }
        }
    }
}

fn failed_dag() -> (Workflow, World) {
    let manifest = r#"
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: wf}
spec:
  entrypoint: main
  onExit: ok
  arguments: {parameters: [{name: kept, value: "1"}, {name: count, value: "2"}]}
  templates:
    - name: main
      dag:
        tasks:
          - {name: a, template: ok}
          - {name: b, template: bad, dependencies: [a]}
          - {name: c, template: ok, dependencies: [b]}
          - {name: d, template: ok, withSequence: {count: "{{workflow.parameters.count}}"}}
          - {name: e, template: some, arguments: {parameters: [{name: item, value: "{{item}}"}]}, withSequence: {count: "{{workflow.parameters.count}}"}}
    - {name: ok, container: {image: x}}
    - {name: bad, container: {image: x, args: ["exit=1"]}}
    - name: some
      inputs: {parameters: [{name: item}]}
      container: {image: x, args: ["exit={{inputs.parameters.item}}"]}
"#;
    script::workflows(manifest).pop().expect("a workflow")
}

fn names(workflow: &Workflow) -> Vec<String> {
    let mut names: Vec<String> =
        workflow.status.nodes.values().map(|node| format!("{} {}", node.name, node.phase)).collect();
    names.sort();
    names
}

#[test]
fn what_failed_is_removed_and_what_is_around_it_is_open() {
    let (workflow, world) = failed_dag();
    let first = run(workflow, &world).workflow;
    let retried = retry(&first, RetryOptions::default()).expect("it can be retried");
    let open = [
        "wf Running",
        "wf.a Succeeded",
        "wf.d Succeeded",
        "wf.d(0:0) Succeeded",
        "wf.d(1:1) Succeeded",
        "wf.e Running",
        "wf.e(0:0) Succeeded",
    ];
    assert_eq!(names(&retried.workflow), open);
    let id = |name: &str| first.status.nodes.values().find(|node| node.name == name).expect("a node").id.clone();
    let hash = |name: &str| id(name).trim_start_matches("wf").to_string();
    let mut pods = vec![
        format!("wf-bad{}", hash("wf.b")),
        format!("wf-some{}", hash("wf.e(1:1)")),
        format!("wf-ok{}", hash("wf.onExit")),
    ];
    pods.sort();
    assert_eq!(retried.pods, pods);
    let status = &retried.workflow.status;
    assert_eq!((status.phase, status.message.as_str(), status.finished_at), (WorkflowPhase::Unknown, "", None));
    assert!(!retried.workflow.metadata.labels.contains_key("workflows.argoproj.io/completed"));
    assert!(status.conditions.iter().any(|condition| condition.r#type == "Completed" && condition.status == "False"));
}

#[test]
fn parameters_are_replaced_and_loops_made_anew() {
    let (workflow, world) = failed_dag();
    let first = run(workflow, &world).workflow;
    let options = RetryOptions { parameters: vec!["count=3".into(), "new=x=y".into()], ..Default::default() };
    let retried = retry(&first, options).expect("it can be retried");
    let given: Vec<String> = retried
        .workflow
        .spec
        .arguments
        .parameters
        .iter()
        .map(|parameter| format!("{}={}", parameter.name, parameter.value.as_ref().map_or("", |value| value.as_str())))
        .collect();
    assert_eq!(given, ["count=3", "new=x=y", "kept=1"]);
    let second = run_again(retried.workflow, &world, &Faults::default()).expect("it ends").workflow;
    let made = second.status.nodes.values().filter(|node| node.name.starts_with("wf.e(")).count();
    assert_eq!((second.status.phase, made), (WorkflowPhase::Succeeded, 3));
    let wrong = RetryOptions { parameters: vec!["count".into()], ..Default::default() };
    let error = retry(&first, wrong).expect_err("no value");
    assert_eq!(error, "expected parameter of the form: NAME=VALUE. Received: count");
}

#[test]
fn a_workflow_that_went_well_needs_a_selection() {
    let (mut workflow, world) = failed_dag();
    workflow.spec.templates[2].container.as_mut().expect("a container").args.clear();
    workflow.spec.arguments.parameters[1].value = Some("1".into());
    let first = run(workflow.clone(), &world).workflow;
    assert_eq!(first.status.phase, WorkflowPhase::Succeeded);
    let error = retry(&first, RetryOptions::default()).expect_err("nothing failed");
    assert_eq!(error, "To retry a succeeded workflow, set the options restartSuccessful and nodeFieldSelector");
    let nodes = "displayName=b,phase!=Failed".to_string();
    let options = RetryOptions { restart_successful: true, nodes, ..Default::default() };
    let retried = retry(&first, options).expect("b is selected");
    let kept: Vec<String> = names(&retried.workflow);
    assert_eq!(
        kept,
        [
            "wf Running",
            "wf.a Succeeded",
            "wf.d Succeeded",
            "wf.d(0:0) Succeeded",
            "wf.e Succeeded",
            "wf.e(0:0) Succeeded"
        ]
    );
    let second = run_again(retried.workflow, &world, &Faults::default()).expect("it ends");
    assert_eq!(second.workflow.status.phase, WorkflowPhase::Succeeded);
    assert_eq!(second.created.len(), 3, "{:?}", second.created);
    workflow.status.phase = WorkflowPhase::Running;
    let error = retry(&workflow, RetryOptions::default()).expect_err("it runs");
    assert_eq!(error, "Cannot retry a workflow in phase Running");
}
