//! Volume claims that cannot be made yet: the workflow says so for as long as that is so.

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_engine::{EngineConfig, Fact, Run};
use tiphys_tests::settle::{no_config_map, settle};

#[test]
fn a_workflow_says_what_claim_it_waits_for() {
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let object = json!({"metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "volumeClaimTemplates": [{"metadata": {"name": "work"}, "spec": {}}],
            "templates": [{"name": "main", "container": {"image": "x"}}]}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let mut run = Run::new(workflow, EngineConfig::default(), now);
    settle(&mut run, now, no_config_map);
    let mut told = |fact: Fact| {
        run.observe(fact, now);
        let changed = run.plan(now).status_changed;
        let status = &run.workflow().status;
        assert_eq!(status.phase, WorkflowPhase::Running);
        (changed, status.message.clone())
    };
    let refused = || Fact::VolumeClaimRefused("exceeded quota".into());
    let waits = "Waiting for a PVC to be created. exceeded quota";
    assert_eq!(told(refused()), (true, waits.into()));
    assert_eq!(told(refused()), (false, waits.into()));
    let claims = vec![json!({"name": "work", "persistentVolumeClaim": {"claimName": "wf-work"}})];
    assert_eq!(told(Fact::VolumeClaims(claims.clone())), (true, String::new()));
    assert_eq!(told(Fact::VolumeClaims(claims)), (false, String::new()));
}
