//! What holds for every workflow: random trees of steps, DAGs, loops, conditions, retries and limits, with random outcomes.

use std::collections::BTreeMap;
use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tiphys_api::{NodePhase, NodeStatus, NodeType, Outputs, Template, Workflow};
use tiphys_engine::{PodRequest, Run, Shutdown};
use tiphys_sim::{Alive, Ending, Faults, Outcome, Request, World, simulate_watched};
use tiphys_tests::difference::difference;
use tiphys_tests::normalise::normalise;

/// A template and what it calls.
#[derive(Clone, Debug)]
enum Shape {
    /// A Pod: the exit code of each attempt (the last one for all that follow), how long it runs, how often it is retried.
    Pod {
        codes: Vec<u8>,
        seconds: u8,
        limit: Option<u8>,
    },
    Steps {
        groups: Vec<Vec<Item>>,
        parallelism: Option<u8>,
        fail_fast: bool,
    },
    Dag {
        tasks: Vec<Task>,
        parallelism: Option<u8>,
        fail_fast: bool,
        all: bool,
        limit: Option<u8>,
    },
}

/// A step, or what is in a task.
#[derive(Clone, Debug)]
struct Item {
    shape: Shape,
    when: Option<bool>,
    items: Option<u8>,
    goes_on: bool,
}

/// A task of a DAG; the numbers choose among the tasks before it and the results that are asked of them.
#[derive(Clone, Debug)]
struct Task {
    item: Item,
    on: Vec<(u8, u8)>,
    any: bool,
}

fn pod() -> impl Strategy<Value = Shape> {
    let code = prop_oneof![3 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    (vec(code, 1..3), 1..5_u8, option::weighted(0.3, 0..3_u8)).prop_map(|(codes, seconds, limit)| Shape::Pod {
        codes,
        seconds,
        limit,
    })
}

fn item(shape: impl Strategy<Value = Shape>) -> impl Strategy<Value = Item> {
    let when = option::weighted(0.2, any::<bool>());
    let items = option::weighted(0.25, 0..4_u8);
    (shape, when, items, prop::bool::weighted(0.3)).prop_map(|(shape, when, items, goes_on)| Item {
        shape,
        when,
        items,
        goes_on,
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    pod().prop_recursive(3, 24, 4, |inner| {
        let limit = || option::weighted(0.3, 1..4_u8);
        let fast = || prop::bool::weighted(0.1);
        let steps = (vec(vec(item(inner.clone()), 1..4), 1..4), limit(), fast())
            .prop_map(|(groups, parallelism, fail_fast)| Shape::Steps { groups, parallelism, fail_fast });
        let task = (item(inner), vec((any::<u8>(), any::<u8>()), 0..3), any::<bool>())
            .prop_map(|(item, on, any)| Task { item, on, any });
        let dag = (vec(task, 1..6), limit(), fast(), any::<bool>(), option::weighted(0.15, 0..2_u8)).prop_map(
            |(tasks, parallelism, fail_fast, all, limit)| Shape::Dag { tasks, parallelism, fail_fast, all, limit },
        );
        prop_oneof![steps, dag]
    })
}

/// Writes the templates of a shape.
#[derive(Default)]
struct Writer {
    templates: Vec<Value>,
    fails_fast: bool,
}

impl Writer {
    fn template(&mut self, shape: &Shape) -> String {
        let name = format!("t{}", self.templates.len());
        self.templates.push(Value::Null);
        let place = self.templates.len() - 1;
        let mut template = match shape {
            Shape::Pod { codes, seconds, .. } => {
                let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
                json!({"container": {"image": "x", "args": [codes.join(","), seconds.to_string()]}})
            }
            Shape::Steps { groups, .. } => {
                let mut number = 0;
                let groups: Vec<Vec<Value>> = groups
                    .iter()
                    .map(|group| group.iter().map(|item| self.item(&mut number, item)).collect())
                    .collect();
                json!({ "steps": groups })
            }
            Shape::Dag { tasks, all, .. } => {
                let mut number = 0;
                let written: Vec<Value> = tasks
                    .iter()
                    .enumerate()
                    .map(|(index, task)| {
                        let mut written = self.item(&mut number, &task.item);
                        let depends = depends(index, task);
                        if !depends.is_empty() {
                            written["depends"] = json!(depends);
                            // Argo refuses the two side by side.
                            written.as_object_mut().map(|task| task.remove("continueOn"));
                        }
                        written
                    })
                    .collect();
                let dag_with_depends = written.iter().any(|task| !task["depends"].is_null());
                let mut written = written;
                if dag_with_depends {
                    for task in &mut written {
                        task.as_object_mut().map(|task| task.remove("continueOn"));
                    }
                }
                json!({"dag": {"tasks": written, "failFast": all}})
            }
        };
        template["name"] = json!(name);
        let (parallelism, fail_fast, limit) = match shape {
            Shape::Pod { limit, .. } => (None, false, *limit),
            Shape::Steps { parallelism, fail_fast, .. } => (*parallelism, *fail_fast, None),
            Shape::Dag { parallelism, fail_fast, limit, .. } => (*parallelism, *fail_fast, *limit),
        };
        if let Some(parallelism) = parallelism {
            template["parallelism"] = json!(parallelism);
        }
        if fail_fast {
            self.fails_fast = true;
            template["failFast"] = json!(true);
        }
        if let Some(limit) = limit {
            template["retryStrategy"] = json!({"limit": limit.to_string(), "retryPolicy": "Always"});
        }
        self.templates[place] = template;
        name
    }

    fn item(&mut self, number: &mut u32, item: &Item) -> Value {
        let mut written = json!({"name": format!("s{number}"), "template": self.template(&item.shape)});
        *number += 1;
        if let Some(when) = item.when {
            written["when"] = json!(if when { "1 == 1" } else { "1 == 2" });
        }
        if let Some(count) = item.items {
            written["withSequence"] = json!({"count": count.to_string()});
        }
        if item.goes_on {
            written["continueOn"] = json!({"failed": true, "error": true});
        }
        written
    }
}

fn depends(index: usize, task: &Task) -> String {
    const RESULTS: [&str; 6] = ["", ".Succeeded", ".Failed", ".Skipped", ".Omitted", ".Errored"];
    if index == 0 {
        return String::new();
    }
    let named = |(on, result): &(u8, u8)| {
        let text = format!("s{}{}", usize::from(*on) % index, RESULTS[usize::from(*result) % RESULTS.len()]);
        if result & 0x40 == 0 { text } else { format!("!{text}") }
    };
    let parts: Vec<String> = task.on.iter().map(named).collect();
    parts.join(if task.any { " || " } else { " && " })
}

/// A random workflow, shown as its spec.
struct Drawn {
    workflow: Workflow,
    /// Whether its outcome may depend on what comes first.
    fails_fast: bool,
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.workflow.spec).unwrap_or_default())
    }
}

fn workflow() -> impl Strategy<Value = Drawn> {
    (shape(), option::weighted(0.3, 1..4_i64), option::weighted(0.2, pod())).prop_map(
        |(shape, parallelism, on_exit)| {
            let mut writer = Writer::default();
            let entrypoint = writer.template(&shape);
            let mut spec = json!({"entrypoint": entrypoint});
            if let Some(on_exit) = on_exit {
                spec["onExit"] = json!(writer.template(&on_exit));
            }
            if let Some(parallelism) = parallelism {
                spec["parallelism"] = json!(parallelism);
            }
            spec["templates"] = json!(writer.templates);
            let object = json!({"metadata": {"name": "prop", "namespace": "default"}, "spec": spec});
            let workflow = serde_json::from_value(object).expect("a workflow");
            Drawn { workflow, fails_fast: writer.fails_fast }
        },
    )
}

fn outcome(request: &PodRequest) -> Outcome {
    let args = request.template.container.as_ref().map(|container| container.args.clone()).unwrap_or_default();
    let codes: Vec<i32> = args[0].split(',').map(|code| code.parse().expect("a code")).collect();
    let attempt: usize = request.variables.get("retries").map_or(0, |number| number.parse().expect("a number"));
    let code = codes[attempt.min(codes.len() - 1)];
    let mut outcome = if code == 0 { Outcome::success(Outputs::default()) } else { Outcome::failure(code, "") };
    outcome.seconds = args[1].parse().expect("seconds");
    outcome
}

fn run(workflow: &Workflow, faults: &Faults) -> Result<Ending, String> {
    simulate_watched(workflow.clone(), &World::default(), &mut outcome, faults, &mut limits_hold)
}

/// At no moment are there more Pods than the workflow allows, nor more active children than a template allows.
fn limits_hold(run: &Run, alive: &[Alive]) -> Result<(), String> {
    let spec = run.spec();
    let pods = i64::try_from(alive.len()).unwrap_or(i64::MAX);
    if spec.parallelism.is_some_and(|limit| pods > limit) {
        return Err(format!("{pods} Pods where the workflow allows {:?}", spec.parallelism));
    }
    let nodes = &run.workflow().status.nodes;
    let mut active: BTreeMap<&str, i64> = BTreeMap::new();
    for node in nodes.values() {
        let counts = matches!(node.r#type, NodeType::Pod | NodeType::Steps | NodeType::Dag);
        if counts && matches!(node.phase, NodePhase::Pending | NodePhase::Running) {
            *active.entry(&node.boundary_id).or_default() += 1;
        }
    }
    for (boundary, count) in active {
        let Some(node) = nodes.get(boundary) else { continue };
        let template = spec.templates.iter().find(|template| template.name == node.template_name);
        let limit = template.and_then(|template| template.parallelism);
        if limit.is_some_and(|limit| count > limit) {
            return Err(format!("{count} active children of {} where its template allows {limit:?}", node.name));
        }
    }
    Ok(())
}

/// Every link leads somewhere, everything is over, and the progress adds up.
fn is_sound(workflow: &Workflow) -> Result<(), String> {
    let status = &workflow.status;
    let known = |id: &String| id.is_empty() || status.nodes.contains_key(id);
    for node in status.nodes.values() {
        let links = node.children.iter().chain(&node.outbound_nodes).chain([&node.boundary_id]);
        for id in links {
            if !known(id) {
                return Err(format!("{} refers to {id}, which is not there", node.name));
            }
        }
        if !node.phase.is_fulfilled() || node.finished_at.is_none() {
            return Err(format!("{} is {} at the end, finished {:?}", node.name, node.phase, node.finished_at));
        }
    }
    let parents: Vec<&String> = status.nodes.values().flat_map(|node| &node.children).collect();
    let roots = [workflow.metadata.name.clone(), format!("{}.onExit", workflow.metadata.name)];
    for node in status.nodes.values().filter(|node| !roots.contains(&node.name)) {
        let hung = parents.iter().filter(|id| **id == &node.id).count();
        if hung == 0 {
            return Err(format!("{} hangs under nothing", node.name));
        }
    }
    let total = |node: &&NodeStatus| matches!(node.r#type, NodeType::Pod);
    let (done, all) = status.progress.split_once('/').ok_or("no progress")?;
    let (done, all): (usize, usize) = (done.parse().unwrap_or(usize::MAX), all.parse().unwrap_or(0));
    let pods = status.nodes.values().filter(total).count();
    let succeeded = status.nodes.values().filter(total).filter(|node| node.phase == NodePhase::Succeeded).count();
    if (done, all) != (succeeded, pods) {
        return Err(format!("progress {} of {pods} Pods, of which {succeeded} succeeded", status.progress));
    }
    Ok(())
}

fn outcome_of(ending: &Ending) -> Value {
    normalise(&serde_json::to_value(&ending.workflow).unwrap_or_default())
}

/// Stops a workflow in one of four ways at that second, under the seed's faults.
fn stopped(mut workflow: Workflow, at: i64, how: u8, seed: u64) -> Result<(), String> {
    let asked = match how {
        0 => vec![(at, Request::Shutdown(Shutdown::Stop))],
        1 => vec![(at, Request::Shutdown(Shutdown::Terminate))],
        2 => vec![(at, Request::Suspend(true)), (at + 5, Request::Suspend(false))],
        _ => {
            workflow.spec.active_deadline_seconds = Some(at + 1);
            Vec::new()
        }
    };
    let world = World { requests: asked, ..Default::default() };
    let crash = if seed.is_multiple_of(2) { 10 } else { 0 };
    let faults = Faults { seed, crash, stale: 50, delay: 20, lose_pods: seed.is_multiple_of(3), ..Default::default() };
    let ending = simulate_watched(workflow, &world, &mut outcome, &faults, &mut limits_hold)?;
    is_sound(&ending.workflow)?;
    if ending.left.is_empty() { Ok(()) } else { Err(format!("{:?}", ending.left)) }
}

/// Runs a workflow with the seed's delays and losses, and with a crash at some moment: it comes to the same.
fn disturbed(drawn: &Drawn, seed: u64, moment: u64) -> Result<(), String> {
    let ending = run(&drawn.workflow, &Faults::default())?;
    let delayed = Faults { seed, delay: 50, double: 20, drop: 10, stale: 50, crash: seed % 10, ..Default::default() };
    let crash_at = Some(moment % ending.moments);
    let crashed = Faults { seed, crash_at, stale: 50, lose_pods: seed.is_multiple_of(2), ..Default::default() };
    for faults in [delayed, crashed] {
        let other = run(&drawn.workflow, &faults)?;
        is_sound(&other.workflow)?;
        // With failFast, what had begun when the first child failed depends on what was seen first.
        let outcomes = [&ending, &other].map(|ending| of_any_order(&drawn.workflow, outcome_of(ending)));
        let difference = difference("", &outcomes[0], &outcomes[1]).filter(|_| !drawn.fails_fast);
        difference.map_or(Ok(()), |text| Err(format!("under {faults:?}\n{text}")))?;
    }
    Ok(())
}

/// Where a workflow and its templates both limit how much runs, who begins first depends on which limit was met, and the
/// first child that failed is the one that is named.
fn of_any_order(workflow: &Workflow, outcome: Value) -> Value {
    let limits = |template: &Template| template.parallelism.is_some();
    if workflow.spec.parallelism.is_none() || !workflow.spec.templates.iter().any(limits) {
        return outcome;
    }
    match outcome {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) if name == "message" && text.starts_with("child '") => (name, "a child".into()),
                value => (name, of_any_order(workflow, value)),
            })
            .collect(),
        other => other,
    }
}

/// How many workflows are drawn for each property; `PROPTEST_CASES` says otherwise.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_workflow_ends_within_its_limits_and_sound(drawn in workflow()) {
        let ending = run(&drawn.workflow, &Faults::default()).map_err(TestCaseError::fail)?;
        is_sound(&ending.workflow).map_err(TestCaseError::fail)?;
        prop_assert!(ending.left.is_empty(), "{:?}", ending.left);
    }

    #[test]
    fn a_workflow_that_is_stopped_ends_sound_whenever_that_is(
        drawn in workflow(), at in 0..12_i64, how in 0..4_u8, seed in any::<u64>(),
    ) {
        stopped(drawn.workflow, at, how, seed).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn neither_the_order_of_facts_nor_a_crash_changes_the_outcome(
        drawn in workflow(), seed in any::<u64>(), moment in any::<u64>(),
    ) {
        disturbed(&drawn, seed, moment).map_err(TestCaseError::fail)?;
    }
}

/// The clock and the dice of expressions are the engine's, too: the same facts at the same times, the same workflow.
#[test]
fn time_and_chance_repeat_themselves() {
    let object = json!({"metadata": {"name": "chance", "namespace": "default"}, "spec": {
        "entrypoint": "main", "templates": [
            {"name": "main", "steps": [[{"name": "a", "template": "pod", "arguments": {"parameters": [
                {"name": "p", "value": "{{=now().Unix()}} {{=sprig.uuidv4()}} {{=sprig.uuidv4()}}"}]}}]]},
            {"name": "pod", "inputs": {"parameters": [{"name": "p"}]},
             "container": {"image": "busybox", "args": ["0", "1"]}}]}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let value = || {
        let ending = run(&workflow, &Faults::default()).expect("it ends");
        let pod = ending.workflow.status.nodes.values().find(|node| node.r#type == NodeType::Pod).cloned();
        let inputs = pod.and_then(|pod| pod.inputs).expect("inputs");
        inputs.parameters[0].value.clone().expect("a value").as_str().to_owned()
    };
    let first = value();
    let words: Vec<&str> = first.split(' ').collect();
    // The simulator's clock, not the machine's.
    assert!(words[0].starts_with("1700000"), "{first}");
    assert_ne!(words[1], words[2]);
    assert_eq!(first, value());
}

/// What properties found once.
#[test]
fn what_was_found_by_chance_stays_mended() {
    let found = [
        // A crash before a held item had a node.
        (
            json!({"entrypoint": "t0", "parallelism": 1, "templates": [
                {"name": "t0", "steps": [[{"name": "s0", "template": "t1", "withSequence": {"count": "2"}}]]},
                {"name": "t1", "container": {"image": "x", "args": ["0", "1"]}}]}),
            (0, 0, 1_317_094_242_649_512_512),
        ),
        // A task that began after its DAG had failed fast.
        (
            json!({"entrypoint": "t0", "templates": [
                {"name": "t0", "dag": {"tasks": [{"name": "s0", "template": "t1"}, {"name": "s3", "template": "t6",
                    "depends": "s0.Failed"}]}},
                {"name": "t1", "container": {"image": "x", "args": ["0", "4"]}},
                {"name": "t6", "failFast": true, "dag": {"failFast": false, "tasks": [{"name": "s0", "template": "t1"},
                    {"name": "s1", "template": "t1"},
                    {"name": "s2", "template": "t1", "withSequence": {"count": "1"}}]}}]}),
            (0, 0, 0),
        ),
    ];
    for (spec, (at, how, seed)) in found {
        stopped(prop(&spec), at, how, seed).expect("it ends");
    }
    // Two limits, of which now one and now the other held up a step.
    let spec = json!({"entrypoint": "t0", "parallelism": 3, "templates": [
        {"name": "t0", "parallelism": 3, "steps": [[{"name": "s0", "template": "t1", "withSequence": {"count": "3"}},
            {"name": "s1", "template": "t3"}, {"name": "s2", "template": "t4"}]]},
        {"name": "t1", "dag": {"tasks": [{"name": "s0", "template": "t2"}], "failFast": false}},
        {"name": "t2", "container": {"image": "x", "args": ["0", "1"]}},
        {"name": "t3", "container": {"image": "x", "args": ["1", "1"]}},
        {"name": "t4", "container": {"image": "x", "args": ["1", "1"]}}]});
    let drawn = Drawn { workflow: prop(&spec), fails_fast: false };
    disturbed(&drawn, 2_179_164_595_288_224_722, 0).expect("the same");
}

fn prop(spec: &Value) -> Workflow {
    let object = json!({"metadata": {"name": "prop", "namespace": "default"}, "spec": spec});
    serde_json::from_value(object).expect("a workflow")
}
