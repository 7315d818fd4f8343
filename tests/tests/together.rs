//! Several workflows under one controller that need the same locks: they exclude each other, all of them end, and nothing
//! stays locked, whatever becomes of the controller on the way.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tiphys_api::{Outputs, Workflow, WorkflowPhase};
use tiphys_engine::{ConfigMapData, PodRequest, Run, Shutdown};
use tiphys_sim::{Alive, Ending, Faults, Outcome, Request, World, simulate_together};

/// The templates: what a Pod of each needs while it runs.
const TEMPLATES: &str = r#"[
    {"name": "free", "container": {"image": "x"}},
    {"name": "one", "synchronization": {"mutexes": [{"name": "m"}]}, "container": {"image": "x"}},
    {"name": "two", "synchronization": {"semaphores": [{"configMapKeyRef": {"name": "limits", "key": "two"}}]},
     "container": {"image": "x"}},
    {"name": "both", "synchronization": {"mutexes": [{"name": "m"}],
     "semaphores": [{"configMapKeyRef": {"name": "limits", "key": "two"}}]}, "container": {"image": "x"}},
    {"name": "retried", "synchronization": {"mutexes": [{"name": "m"}]}, "retryStrategy": {"limit": 2},
     "container": {"image": "x", "args": ["{{retries}}"]}},
    {"name": "around", "synchronization": {"mutexes": [{"name": "m"}]},
     "steps": [[{"name": "a", "template": "inner"}], [{"name": "b", "template": "innertwo"}]]},
    {"name": "inner", "container": {"image": "x"}},
    {"name": "innertwo", "synchronization": {"semaphores": [{"configMapKeyRef": {"name": "limits", "key": "two"}}]},
     "container": {"image": "x"}}]"#;
const CALLED: [&str; 6] = ["free", "one", "two", "both", "retried", "around"];
/// Templates whose Pods run under the mutex, and under the semaphore.
const UNDER_MUTEX: [&str; 5] = ["one", "both", "retried", "inner", "innertwo"];
const UNDER_SEMAPHORE: [&str; 3] = ["two", "both", "innertwo"];

/// A workflow: groups of steps, a lock of its own, a priority, a limit.
#[derive(Clone, Debug)]
struct Drawn {
    groups: Vec<Vec<u8>>,
    own: bool,
    priority: i64,
    parallelism: Option<u8>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let groups = vec(vec(0..6_u8, 1..5), 1..3);
    (groups, any::<bool>(), 0..3_i64, option::weighted(0.3, 1..3_u8))
        .prop_map(|(groups, own, priority, parallelism)| Drawn { groups, own, priority, parallelism })
}

fn workflow(number: usize, drawn: &Drawn) -> Workflow {
    let mut count = 0;
    let mut step = |template: &u8| {
        count += 1;
        json!({"name": format!("s{count}"), "template": CALLED[usize::from(*template)]})
    };
    let groups: Vec<Vec<Value>> = drawn.groups.iter().map(|group| group.iter().map(&mut step).collect()).collect();
    let mut templates: Vec<Value> = serde_json::from_str(TEMPLATES).expect("templates");
    templates.push(json!({"name": "main", "steps": groups}));
    let mut spec = json!({"entrypoint": "main", "templates": templates, "priority": drawn.priority});
    if drawn.own {
        spec["synchronization"] = json!({"mutexes": [{"name": "own"}]});
    }
    if let Some(parallelism) = drawn.parallelism {
        spec["parallelism"] = json!(parallelism);
    }
    let created = Timestamp::from_second(1_600_000_000 + i64::try_from(number).unwrap_or(0)).expect("a time");
    let object = json!({"metadata": {"name": format!("w{number}"), "namespace": "default",
        "creationTimestamp": created.to_string()}, "spec": spec});
    serde_json::from_value(object).expect("a workflow")
}

fn outcome(request: &PodRequest) -> Outcome {
    let retried = request.template.container.as_ref().is_some_and(|container| container.args == ["0"]);
    let mut outcome = if retried { Outcome::failure(1, "") } else { Outcome::success(Outputs::default()) };
    outcome.seconds = 1 + i64::try_from(request.node_name.len() % 3).unwrap_or(0);
    outcome
}

/// At no moment do more Pods run under a lock than it allows.
fn locks_hold(alive: &[Alive], semaphore: usize) -> Result<(), String> {
    let under = |templates: &[&str]| {
        let is_one = |pod: &&Alive| templates.iter().any(|template| pod.pod_name.contains(&format!("-{template}-")));
        alive.iter().filter(is_one).map(|pod| pod.pod_name.clone()).collect::<Vec<_>>()
    };
    for (pods, limit) in [(under(&UNDER_MUTEX), 1), (under(&UNDER_SEMAPHORE), semaphore)] {
        if pods.len() > limit {
            return Err(format!("{pods:?} run where {limit} may"));
        }
    }
    Ok(())
}

fn run(drawn: &[Drawn], requests: Vec<(i64, Request)>, faults: &Faults) -> Result<Vec<Ending>, String> {
    let limits = ConfigMapData { data: BTreeMap::from([("two".into(), "2".into())]), ..ConfigMapData::default() };
    let world = World { config_maps: BTreeMap::from([("limits".into(), limits)]), requests, ..World::default() };
    let largest = world.requests.iter().map(|(_, request)| match request {
        Request::ConfigMap { value, .. } => value.parse().unwrap_or(2),
        _ => 2,
    });
    let largest = largest.max().unwrap_or(2).max(2);
    let workflows = drawn.iter().enumerate().map(|(number, drawn)| workflow(number, drawn)).collect();
    let mut watch = |_: &Run, alive: &[Alive]| locks_hold(alive, largest);
    let start = Timestamp::from_second(1_700_000_000).expect("a time");
    simulate_together(start, workflows, &world, &mut outcome, faults, &mut watch)
}

/// A workflow that is over says nothing of locks any more, and nothing of it runs.
fn is_clean(ending: &Ending) -> Result<(), String> {
    let status = &ending.workflow.status;
    if status.synchronization.is_some() || !ending.left.is_empty() {
        return Err(format!("left: {:?}, {:?}", status.synchronization, ending.left));
    }
    for node in status.nodes.values() {
        if node.synchronization_status.is_some() || !node.phase.is_fulfilled() {
            return Err(format!("{} is {}, waiting for {:?}", node.name, node.phase, node.synchronization_status));
        }
    }
    Ok(())
}

fn faults(seed: u64) -> Faults {
    let crash = if seed.is_multiple_of(2) { 8 } else { 0 };
    Faults {
        seed,
        crash,
        refuse: 3,
        drop: 10,
        double: 15,
        delay: 20,
        stale: 50,
        lose_pods: seed.is_multiple_of(5),
        repeat_actions: seed.is_multiple_of(3),
        ..Faults::default()
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn workflows_that_share_locks_exclude_each_other_and_all_end(drawn in vec(drawn(), 2..5), seed in any::<u64>()) {
        for faults in [Faults::default(), faults(seed)] {
            let endings = run(&drawn, Vec::new(), &faults).map_err(TestCaseError::fail)?;
            for ending in &endings {
                is_clean(ending).map_err(TestCaseError::fail)?;
                let status = &ending.workflow.status;
                prop_assert_eq!(status.phase, WorkflowPhase::Succeeded, "{}", status.message);
            }
        }
    }

    #[test]
    fn limits_may_change_while_workflows_run(
        drawn in vec(drawn(), 2..4), changes in vec((0..15_i64, 1..4_u8), 1..4), seed in any::<u64>(),
    ) {
        let change = |(at, limit): &(i64, u8)| {
            (*at, Request::ConfigMap { name: "limits".into(), key: "two".into(), value: limit.to_string() })
        };
        let endings = run(&drawn, changes.iter().map(change).collect(), &faults(seed)).map_err(TestCaseError::fail)?;
        for ending in &endings {
            is_clean(ending).map_err(TestCaseError::fail)?;
            prop_assert_eq!(ending.workflow.status.phase, WorkflowPhase::Succeeded);
        }
    }

    #[test]
    fn workflows_that_are_stopped_leave_no_lock_behind(
        drawn in vec(drawn(), 2..5), at in 0..15_i64, stop in any::<bool>(), seed in any::<u64>(),
    ) {
        let strategy = if stop { Shutdown::Stop } else { Shutdown::Terminate };
        let endings = run(&drawn, vec![(at, Request::Shutdown(strategy))], &faults(seed)).map_err(TestCaseError::fail)?;
        for ending in &endings {
            is_clean(ending).map_err(TestCaseError::fail)?;
        }
    }
}

/// What a status says while one workflow has a lock and another waits for it, and how the second gets it.
#[test]
fn whoever_waits_says_for_what() {
    let own = Drawn { groups: vec![vec![1]], own: true, priority: 0, parallelism: None };
    let free = Drawn { groups: vec![vec![1]], own: false, priority: 0, parallelism: None };
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut watch = |run: &Run, _: &[Alive]| {
        let workflow = run.workflow();
        let status = &workflow.status;
        let locks = serde_json::to_string(&status.synchronization).unwrap_or_default();
        let waits = status.nodes.values().filter(|node| node.synchronization_status.is_some());
        let waits: Vec<String> = waits.map(|node| format!(" {} {} {}", node.name, node.phase, node.message)).collect();
        let shown = format!("{} {}{} {locks}", status.phase, status.message, waits.concat());
        let shown = shown.replace("  ", " ");
        let all = seen.entry(workflow.metadata.name.clone()).or_default();
        if all.last() != Some(&shown) {
            all.push(shown);
        }
        Ok(())
    };
    let limits = ConfigMapData { data: BTreeMap::from([("two".into(), "2".into())]), ..ConfigMapData::default() };
    let world = World { config_maps: BTreeMap::from([("limits".into(), limits)]), ..World::default() };
    let start = Timestamp::from_second(1_700_000_000).expect("a time");
    let workflows = vec![workflow(0, &own), workflow(1, &own), workflow(2, &free)];
    let endings = simulate_together(start, workflows, &world, &mut outcome, &Faults::default(), &mut watch);
    assert!(endings.expect("they end").iter().all(|ending| ending.workflow.status.phase == WorkflowPhase::Succeeded));
    let pod = |workflow: &str| tiphys_engine::NodeId::of(workflow, &format!("{workflow}[0].s1"));
    let held =
        |mutex: &str, holder: &str| format!(r#"{{"mutex":"default/Mutex/{mutex}","holder":"default/{holder}"}}"#);
    let nodes = [pod("w0"), pod("w1"), pod("w2")];
    // The second waits as a whole.
    let waiting = format!(r#"{{"mutex":{{"waiting":[{}]}}}}"#, held("own", "w0"));
    let first = &seen["w1"][..2];
    assert_eq!(first[0], " null", "nothing is said before it is known");
    assert_eq!(first[1], format!("Pending Waiting for default/Mutex/own lock. Lock status: 0/1 {waiting}"));
    // The third needs one lock only, and was quicker: the first waits with a node.
    let wait = "w0[0].s1 Pending Waiting for default/Mutex/m lock. Lock status: 0/1";
    let (own, other) = (held("own", "w0"), held("m", &format!("w2/{}", nodes[2])));
    let waiting = format!(r#"{{"mutex":{{"holding":[{own}],"waiting":[{other}]}}}}"#);
    assert!(seen["w0"].contains(&format!("Running {wait} {waiting}")), "{:#?}", seen["w0"]);
    assert!(seen["w2"].contains(&format!(r#"Running {{"mutex":{{"holding":[{other}]}}}}"#)), "{:#?}", seen["w2"]);
    let both =
        format!(r#"{{"mutex":{{"holding":[{},{}]}}}}"#, held("own", "w1"), held("m", &format!("w1/{}", nodes[1])));
    assert!(seen["w1"].contains(&format!("Running {both}")), "{:#?}", seen["w1"]);
    for (name, shown) in &seen {
        assert_eq!(shown.last().map(String::as_str), Some("Succeeded null"), "{name}");
    }
}
