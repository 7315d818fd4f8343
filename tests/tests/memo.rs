//! Kept results: when one is used, and what is said where it cannot be.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tiphys_api::{Outputs, Workflow};
use tiphys_engine::{Action, EngineConfig, Fact, MemoEntry, Need, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

/// What becomes of a Pod whose result is kept under that key, for at most so long, the cache having that to say.
fn outcome(key: &str, max_age: &str, found: Result<Option<MemoEntry>, String>) -> String {
    let memoize = json!({"key": key, "maxAge": max_age, "cache": {"configMap": {"name": "c"}}});
    let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": {"entrypoint": "main",
        "templates": [{"name": "main", "memoize": memoize, "container": {"image": "x"}}]}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let mut run = Run::new(workflow, EngineConfig::default(), now());
    let plan = settle(&mut run, now(), |need| match need {
        Need::Memo { cache, key } => Fact::Memo { cache, key, found: found.clone() },
        need => no_config_map(need),
    });
    let runs = plan.actions.iter().any(|action| matches!(action, Action::CreatePod(_)));
    let Some(node) = run.node("wf") else { return run.workflow().status.message.clone() };
    let memo = node.memoization_status.as_ref().and_then(|status| status.hit);
    let result = node.outputs.as_ref().and_then(|outputs| outputs.result.clone()).unwrap_or_default();
    format!("{} {result}{} hit={memo:?} runs={runs}", node.phase, node.message)
}

fn entry(node: &str, seconds_old: i64) -> Result<Option<MemoEntry>, String> {
    let outputs = Some(Outputs { result: Some("kept".into()), ..Outputs::default() });
    Ok(Some(MemoEntry { node: node.into(), outputs, created: now() - SignedDuration::from_secs(seconds_old) }))
}

#[test]
fn a_kept_result_is_used_while_it_is_young_enough() {
    const HIT: &str = "Succeeded kept hit=Some(true) runs=false";
    const MISS: &str = "Pending  hit=Some(false) runs=true";
    assert_eq!(outcome("k", "", entry("n", 1_000_000)), HIT);
    assert_eq!(outcome("k", "1m", entry("n", 60)), HIT);
    assert_eq!(outcome("k", "1m", entry("n", 61)), MISS);
    assert_eq!(outcome("k", "1m", Ok(None)), MISS);
    // An entry of no node is none.
    assert_eq!(outcome("k", "", entry("", 1)), MISS);
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let wrong = "Error invalid maxAge: time: invalid duration \"long\" hit=None runs=false";
    assert_eq!(outcome("k", "long", Ok(None)), wrong);
    assert_eq!(outcome("k", "long", entry("n", 1)), wrong);
    assert_eq!(outcome("a b", "", Ok(None)), "Error invalid cache key: a b hit=None runs=false");
    assert_eq!(outcome("-k", "", Ok(None)), "Error invalid cache key: -k hit=None runs=false");
    assert_eq!(outcome("k", "", Err("no cache here".into())), "Error no cache here hit=None runs=false");
}

#[test]
fn what_would_be_retried_keeps_its_type_when_it_is_not_run() {
    let of = |retry: serde_json::Value| {
        let memoize = json!({"key": "k", "cache": {"configMap": {"name": "c"}}});
        let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": {"entrypoint": "main",
            "templates": [{"name": "main", "memoize": memoize, "retryStrategy": retry, "container": {"image": "x"}}]}});
        let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
        let mut run = Run::new(workflow, EngineConfig::default(), now());
        settle(&mut run, now(), |need| match need {
            Need::Memo { cache, key } => Fact::Memo { cache, key, found: entry("n", 1) },
            need => no_config_map(need),
        });
        run.node("wf").map(|node| (node.r#type.to_string(), node.progress.clone()))
    };
    assert_eq!(of(json!({"limit": 1})), Some(("Retry".into(), String::new())));
    assert_eq!(of(json!(null)), Some(("Pod".into(), "1/1".into())));
}
