//! Volume claims come before the first node: the workflow says so while one cannot be made yet, and ends where it never can.
//! argo: operator.go, operate and createPVCs.

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::{NodePhase, Workflow, WorkflowPhase};
use tiphys_engine::{EngineConfig, Fact, Need, Run, Shutdown, claims_at_hand};

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

fn workflow() -> Workflow {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "volumeClaimTemplates": [{"metadata": {"name": "work"}, "spec": {}}],
            "templates": [{"name": "main", "container": {"image": "x"}}]}});
    serde_json::from_value(object).expect("a workflow")
}

/// The workflow when it has asked for its claims.
fn asking() -> Run {
    let mut run = Run::new(workflow(), EngineConfig::default(), now());
    let mut asked = Vec::new();
    loop {
        let plan = run.plan(now());
        if plan.needs.is_empty() {
            break;
        }
        for need in plan.needs {
            if let Need::ConfigMap { namespace, name } = need {
                run.observe(Fact::ConfigMap { namespace, name, found: Ok(None) }, now());
            } else {
                asked.push(need);
            }
        }
    }
    assert_eq!(asked, [Need::VolumeClaims]);
    run
}

/// Tells a fact; whether the status changed, and what the workflow says then.
fn tell(run: &mut Run, fact: Fact) -> (bool, WorkflowPhase, String) {
    run.observe(fact, now());
    let changed = run.plan(now()).status_changed;
    let status = &run.workflow().status;
    (changed, status.phase, status.message.clone())
}

fn refused(transient: bool) -> Fact {
    Fact::VolumeClaimRefused { message: "exceeded quota".into(), transient }
}

fn made(run: &Run) -> Fact {
    claims_at_hand("wf", run.spec())
}

#[test]
fn there_is_no_node_before_the_claims_are_there() {
    let mut run = asking();
    assert_eq!(run.workflow().status.phase, WorkflowPhase::Running);
    assert!(run.workflow().status.nodes.is_empty());
    let waits = "Waiting for a PVC to be created. exceeded quota";
    assert_eq!(tell(&mut run, refused(true)), (true, WorkflowPhase::Pending, waits.into()));
    assert_eq!(tell(&mut run, refused(true)), (false, WorkflowPhase::Pending, waits.into()));
    assert!(run.workflow().status.nodes.is_empty());
    let claims = made(&run);
    assert_eq!(tell(&mut run, claims), (true, WorkflowPhase::Running, String::new()));
    assert_eq!(run.node("wf").map(|node| node.phase), Some(NodePhase::Pending));
    assert_eq!(run.workflow().status.persistent_volume_claims.len(), 1);
    let claims = made(&run);
    assert_eq!(tell(&mut run, claims), (false, WorkflowPhase::Running, String::new()));
}

#[test]
fn a_claim_that_cannot_be_made_ends_the_workflow() {
    let mut run = asking();
    let error = "pvc create error: exceeded quota";
    assert_eq!(tell(&mut run, refused(false)), (true, WorkflowPhase::Error, error.into()));
    assert!(run.is_finished());
    assert!(run.workflow().status.nodes.is_empty());
    assert!(run.workflow().status.finished_at.is_some());
}

#[test]
fn who_is_stopped_waits_for_no_claim() {
    let mut run = asking();
    tell(&mut run, refused(true));
    let (_, phase, message) = tell(&mut run, Fact::Shutdown(Shutdown::Stop));
    assert_eq!((phase, message.as_str()), (WorkflowPhase::Failed, "Stopped with strategy 'Stop'"));
}

#[test]
fn claims_that_are_in_the_status_are_not_asked_for_again() {
    let mut run = asking();
    let claims = made(&run);
    tell(&mut run, claims);
    let mut again = Run::restore(run.workflow().clone(), EngineConfig::default(), now());
    let asked = again.plan(now()).needs;
    assert!(!asked.contains(&Need::VolumeClaims), "{asked:?}");
}
