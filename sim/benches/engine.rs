//! What an event costs the engine, and how long whole workflows take, without IO.
//!
//! `cargo bench -p tiphys-sim`. Prints medians; quote ratios within one run.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tiphys_api::{Outputs, Workflow};
use tiphys_engine::{Action, EngineConfig, Fact, PodPhase, PodState, Run};

/// Workflows of one kind are run until so many events were measured: a hundred alone say more of a cold start.
const EVENTS: usize = 5_000;

fn main() {
    println!("event cost (one Pod ends, its node and the counts follow), median of at least {EVENTS} events");
    let sizes = [100, 1_000, 10_000, 50_000];
    let fan_outs = |order| sizes.map(|nodes| report("fan-out", nodes, || fan_out(nodes), order));
    let times = |costs: [f64; 4]| println!("  50,000 against 100 nodes: {:.2}x", costs[3] / costs[0]);
    times(fan_outs(Order::Reversed));
    println!("Pods that end in no order:");
    times(fan_outs(Order::Mixed));
    for nodes in [100, 1_000, 10_000] {
        report("DAG chain", nodes, || dag_chain(nodes), Order::Reversed);
    }
    report("steps chain", 10_000, || steps_chain(10_000), Order::Reversed);
}

/// Prints, and gives, what an event costs in workflows of a kind; and how long the last one took as a whole.
fn report(kind: &str, nodes: usize, workflow: impl Fn() -> Workflow, order: Order) -> f64 {
    let mut costs = Vec::new();
    let mut total = 0.0;
    while costs.len() < EVENTS {
        total = drive(workflow(), order, &mut costs);
    }
    costs.sort_by(f64::total_cmp);
    let cost = costs.get(costs.len() / 2).copied().unwrap_or_default();
    println!("  {kind} of {nodes:>6}: {:>8.2} us an event, {total:>7.2} s in all", cost * 1e6);
    cost
}

/// Which of the Pods that are there ends next.
#[derive(Clone, Copy)]
enum Order {
    /// The one that came last.
    Reversed,
    /// Any: what the last one left in the processor's caches is of no use.
    Mixed,
}

/// Runs a workflow whose Pods all succeed. Adds the seconds of each event but the last; gives the seconds of the whole.
fn drive(workflow: Workflow, order: Order, costs: &mut Vec<f64>) -> f64 {
    let mut now = Timestamp::from_second(1_700_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
    let begun = Instant::now();
    let mut run = Run::new(workflow, EngineConfig::default(), now);
    let mut pods = Vec::new();
    take(&mut run, now, &mut pods);
    let mut place = 0_usize;
    while !pods.is_empty() {
        let node = match order {
            Order::Reversed => pods.swap_remove(pods.len() - 1),
            Order::Mixed => {
                place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                pods.swap_remove((place >> 33) % pods.len())
            }
        };
        now += SignedDuration::from_millis(1);
        let start = Instant::now();
        let outputs = Box::<Outputs>::default();
        run.observe(
            Fact::TaskResult { node: Clone::clone(&node), outputs, progress: String::new(), complete: true },
            now,
        );
        let state = PodState { phase: PodPhase::Succeeded, ..Default::default() };
        run.observe(Fact::Pod { node, state: Box::new(state) }, now);
        take(&mut run, now, &mut pods);
        costs.push(start.elapsed().as_secs_f64());
    }
    assert!(run.is_finished(), "the workflow did not end");
    costs.pop();
    begun.elapsed().as_secs_f64()
}

fn take(run: &mut Run, now: Timestamp, pods: &mut Vec<tiphys_engine::NodeId>) {
    loop {
        let plan = run.plan(now);
        for action in plan.actions {
            if let Action::CreatePod(request) = action {
                pods.push(request.node);
            }
        }
        if plan.needs.is_empty() {
            break;
        }
        for need in plan.needs {
            if let tiphys_engine::Need::ConfigMap { namespace, name } = need {
                run.observe(Fact::ConfigMap { namespace, name, found: Ok(None) }, now);
            }
        }
    }
}

fn workflow(spec: serde_json::Value) -> Workflow {
    let object = json!({"metadata": {"name": "bench", "namespace": "default"}, "spec": spec});
    serde_json::from_value(object).unwrap_or_default()
}

fn step() -> serde_json::Value {
    json!({"name": "step", "inputs": {"parameters": [{"name": "n"}]},
           "container": {"image": "busybox", "command": ["echo", "{{inputs.parameters.n}}"]}})
}

fn fan_out(nodes: usize) -> Workflow {
    workflow(json!({"entrypoint": "main", "templates": [
        {"name": "main", "dag": {"tasks": [{"name": "a", "template": "step",
            "arguments": {"parameters": [{"name": "n", "value": "{{item}}"}]},
            "withSequence": {"count": nodes.to_string()}}]}},
        step()]}))
}

fn dag_chain(nodes: usize) -> Workflow {
    let tasks: Vec<serde_json::Value> = (0..nodes)
        .map(|n| {
            let mut task = json!({"name": format!("t{n}"), "template": "step",
                "arguments": {"parameters": [{"name": "n", "value": n.to_string()}]}});
            if n > 0 {
                task["depends"] = json!(format!("t{}", n - 1));
                task["arguments"]["parameters"][0]["value"] = json!(format!("{{{{tasks.t{}.status}}}}", n - 1));
            }
            task
        })
        .collect();
    workflow(json!({"entrypoint": "main", "templates": [{"name": "main", "dag": {"tasks": tasks}}, step()]}))
}

fn steps_chain(nodes: usize) -> Workflow {
    let steps: Vec<serde_json::Value> = (0..nodes)
        .map(|n| json!([{"name": format!("s{n}"), "template": "step", "arguments": {"parameters": [{"name": "n", "value": "x"}]}}]))
        .collect();
    workflow(json!({"entrypoint": "main", "templates": [{"name": "main", "steps": steps}, step()]}))
}
