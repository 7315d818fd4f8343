//! Metrics that workflows and templates define: what is told, and when.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{Outputs, Workflow};
use tiphys_engine::{
    Action, ContainerState, ContainerStatus, EngineConfig, Fact, GaugeOperation, Measured, NodeId, PodPhase, PodState,
    Run,
};
use tiphys_tests::settle::{no_config_map, settle};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

struct Driven {
    run: Run,
    told: Vec<String>,
    pods: Vec<NodeId>,
}

impl Driven {
    fn begin(spec: Value) -> Driven {
        let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": spec});
        let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
        let run = Run::new(workflow, EngineConfig::default(), at(0));
        let mut driven = Driven { run, told: Vec::new(), pods: Vec::new() };
        driven.plan(0);
        driven
    }

    fn plan(&mut self, second: i64) {
        for action in settle(&mut self.run, at(second), no_config_map).actions {
            match action {
                Action::Measure(one) => {
                    let labels: Vec<String> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    let what = match one.measured {
                        Measured::Counter { value } => format!("+{value}"),
                        Measured::Gauge { operation: GaugeOperation::Set, value } => format!("={value}"),
                        Measured::Gauge { operation, value } => format!("{operation:?} {value}"),
                        Measured::Histogram { bounds, value } => format!("{bounds:?} {value}"),
                        Measured::Duration { since, until } => {
                            let after = |time: Timestamp| time.duration_since(at(0)).as_secs();
                            format!("from {} to {:?}", after(since), until.map(after))
                        }
                    };
                    self.told.push(format!("{second}: {}{{{}}} {what}", one.name, labels.join(",")));
                }
                Action::CreatePod(request) => self.pods.push(request.node.clone()),
                _ => {}
            }
        }
    }

    /// The Pod that was asked for last ends.
    fn end(&mut self, exit_code: i32, result: &str, second: i64) {
        let node = self.pods.pop().expect("a Pod");
        let outputs =
            Outputs { result: Some(result.into()), exit_code: Some(exit_code.to_string()), ..Outputs::default() };
        self.run.observe(
            Fact::TaskResult {
                node: node.clone(),
                outputs: Box::new(outputs),
                progress: String::new(),
                complete: true,
            },
            at(second),
        );
        let phase = if exit_code == 0 { PodPhase::Succeeded } else { PodPhase::Failed };
        let status = ContainerStatus::Terminated {
            exit_code,
            reason: String::new(),
            message: String::new(),
            finished: Some(tiphys_api::Time(at(second))),
        };
        let container = ContainerState { name: "main".into(), init: false, ready: false, status };
        let state = PodState { phase, containers: vec![container], ..PodState::default() };
        self.run.observe(Fact::Pod { node, state: Box::new(state) }, at(second));
        self.plan(second);
    }

    fn condition(&self) -> String {
        let conditions = &self.run.workflow().status.conditions;
        conditions.iter().find(|one| one.r#type == "MetricsError").map(|one| one.message.clone()).unwrap_or_default()
    }
}

fn template(metrics: Value) -> Value {
    json!([{"name": "main", "inputs": {"parameters": [{"name": "p", "value": "7"}]}, "metrics": {"prometheus": metrics},
        "container": {"image": "x"}}])
}

#[test]
fn a_template_tells_when_its_node_is_over() {
    let metrics = json!([
        {"name": "live", "help": "h", "gauge": {"realtime": true, "value": "{{duration}}"}},
        {"name": "runs", "help": "h", "labels": [{"key": "of", "value": "{{workflow.name}}/{{status}}"}],
            "counter": {"value": "1"}},
        {"name": "failures", "help": "h", "when": "{{status}} == Failed", "counter": {"value": "1"}},
        {"name": "seconds", "help": "h", "histogram": {"buckets": [1, 2.5], "value": "{{duration}}"}},
        {"name": "result", "help": "h", "gauge": {"operation": "Sub", "value": "{{outputs.result}}"}},
        {"name": "input", "help": "h", "gauge": {"value": "{{inputs.parameters.p}}"}},
    ]);
    let mut driven = Driven::begin(json!({"entrypoint": "main", "templates": template(metrics)}));
    assert_eq!(driven.told, ["0: live{} from 0 to None"]);
    driven.end(0, "3.5", 4);
    assert_eq!(
        driven.told[1..],
        [
            "4: live{} from 0 to Some(4)",
            "4: runs{of=wf/Succeeded} +1",
            "4: seconds{} [1.0, 2.5] 4",
            "4: result{} Sub 3.5",
            "4: input{} =7",
        ]
    );
    assert_eq!(driven.condition(), "");
}

#[test]
fn attempts_tell_for_themselves_but_the_last() {
    let metrics = json!([{"name": "runs", "help": "h", "labels": [{"key": "code", "value": "{{exitCode}}"},
        {"key": "status", "value": "{{status}}"}], "counter": {"value": "1"}}]);
    let mut templates = template(metrics);
    templates[0]["retryStrategy"] = json!({"limit": 3});
    let mut driven = Driven::begin(json!({"entrypoint": "main", "templates": templates}));
    driven.end(5, "", 1);
    driven.end(0, "", 2);
    assert_eq!(driven.told, ["1: runs{code=5,status=Failed} +1", "2: runs{code=0,status=Succeeded} +1"]);
}

#[test]
fn a_workflow_tells_when_it_is_over() {
    let metrics = json!({"prometheus": [
        {"name": "live", "help": "h", "gauge": {"realtime": true, "value": "{{workflow.duration}}"}},
        {"name": "done", "help": "h", "when": "{{workflow.status}} == Succeeded", "gauge": {"value": "{{workflow.duration}}"}},
    ]});
    let spec =
        json!({"entrypoint": "main", "metrics": metrics, "templates": [{"name": "main", "container": {"image": "x"}}]});
    let mut driven = Driven::begin(spec);
    assert_eq!(driven.told, ["0: live{} from 0 to None"]);
    driven.end(0, "", 9);
    assert_eq!(driven.told[1..], ["9: live{} from 0 to Some(9)", "9: done{} =9"]);
}

#[test]
fn what_cannot_be_told_is_a_condition_and_fails_nothing() {
    let metrics = json!([
        {"name": "text", "help": "h", "counter": {"value": "many"}},
        {"name": "odd", "help": "h", "when": "{{status}} ==", "counter": {"value": "1"}},
        {"name": "unknown", "help": "h", "counter": {"value": "{{nothing}}"}},
        {"name": "live", "help": "h", "gauge": {"realtime": true, "value": "{{status}}"}},
    ]);
    let mut driven = Driven::begin(json!({"entrypoint": "main", "templates": template(metrics)}));
    driven.end(0, "", 1);
    assert!(driven.told.is_empty(), "{:?}", driven.told);
    assert_eq!(driven.run.workflow().status.phase.as_str(), "Succeeded");
    let told = [
        "'status' is not available as a real time metric",
        "could not construct metric 'text': strconv.ParseFloat: parsing \"many\": invalid syntax",
        "unable to compute 'when' clause for metric 'wf': Invalid 'when' expression 'Succeeded ==': Unexpected end of expression",
        "unable to substitute parameters for metric 'unknown': failed to resolve {{nothing}}",
    ];
    assert_eq!(driven.condition(), told.join(", "));
}
