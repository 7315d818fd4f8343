//! The small language in which the test workflows say what their Pods do. See `workflows.yaml`.

use tiphys_api::document::{Object, parse};
use tiphys_api::{NodePhase, NodeResult, Outputs, Parameter, Template, Workflow};
use tiphys_engine::{
    ConfigMapData, ContainerState, ContainerStatus, PodPhase, PodRequest, PodState, Shutdown, TaskRequest,
};
use tiphys_sim::{Outcome, Request, Script, World};

/// Every Workflow of a manifest with the world it lives in.
pub fn workflows(manifest: &str) -> Vec<(Workflow, World)> {
    let mut world = World::default();
    let mut workflows = Vec::new();
    for document in parse("workflows.yaml", manifest).expect("the workflows can be read") {
        match document.object {
            Object::WorkflowTemplate(template) => {
                world.templates.insert(template.metadata.name, template.spec);
            }
            Object::ConfigMap(map) => {
                let data = ConfigMapData { data: map.data, ..ConfigMapData::default() };
                world.config_maps.insert(map.metadata.name, data);
            }
            Object::Workflow(workflow) => workflows.push(*workflow),
            _ => {}
        }
    }
    workflows
        .into_iter()
        .map(|mut workflow| {
            workflow.metadata.namespace = "default".into();
            workflow.metadata.uid = "0b5ed5a4-4b4a-4a4b-8f5f-d2b4c0ffee00".into();
            let asked = std::mem::take(&mut workflow.metadata.annotations);
            let requests = asked.iter().map(|(what, at)| (at.parse().expect("seconds"), request(what))).collect();
            (workflow, World { requests, ..world.clone() })
        })
        .collect()
}

fn request(what: &str) -> Request {
    match what {
        "stop-at" => Request::Shutdown(Shutdown::Stop),
        "terminate-at" => Request::Shutdown(Shutdown::Terminate),
        "suspend-at" => Request::Suspend(true),
        "resume-at" => Request::Suspend(false),
        other => panic!("no user asks for {other}"),
    }
}

/// What Pods and tasks do, from the words in their templates.
pub struct Words;

impl Script for Words {
    fn outcome(&mut self, request: &PodRequest) -> Outcome {
        outcome(request)
    }

    fn result(&mut self, request: &TaskRequest) -> (NodeResult, i64) {
        let body = request.template.http.as_ref().map_or("", |http| http.body.as_str());
        let mut result = NodeResult { phase: NodePhase::Succeeded, ..NodeResult::default() };
        let mut seconds = 1;
        for word in body.split_whitespace() {
            let (what, value) = word.split_once('=').unwrap_or((word, ""));
            match what {
                "result" => result.outputs.get_or_insert_default().result = Some(value.to_string()),
                "fails" => (result.phase, result.message) = (NodePhase::Failed, value.to_string()),
                "seconds" => seconds = value.parse().expect("seconds"),
                other => panic!("a task cannot {other}"),
            }
        }
        (result, seconds)
    }
}

/// What a Pod does, from the arguments of its containers.
fn outcome(request: &PodRequest) -> Outcome {
    let template = &request.template;
    let mut outcome = Outcome::success(Outputs::default());
    let mut containers = Vec::new();
    for (name, args) in commands(template) {
        containers.push(container(name, &args, template, &mut outcome));
    }
    containers.push(over("wait", 0));
    let failed = containers
        .iter()
        .any(|container| matches!(container.status, ContainerStatus::Terminated { exit_code, .. } if exit_code != 0));
    if outcome.state.phase != PodPhase::Pending {
        let phase = if failed { PodPhase::Failed } else { PodPhase::Succeeded };
        outcome.state = PodState { phase, containers, ..Default::default() };
    }
    outcome
}

fn commands(template: &Template) -> Vec<(&str, Vec<String>)> {
    match (&template.container_set, &template.container) {
        (Some(set), _) => {
            set.containers.iter().map(|container| (container.name.as_str(), container.args.clone())).collect()
        }
        (None, Some(container)) => vec![("main", container.args.clone())],
        (None, None) => Vec::new(),
    }
}

fn container(name: &str, args: &[String], template: &Template, outcome: &mut Outcome) -> ContainerState {
    let mut exit_code = 0;
    for arg in args {
        let (what, value) = arg.split_once('=').unwrap_or((arg, ""));
        match what {
            "exit" => exit_code = value.parse().expect("an exit code"),
            "seconds" => outcome.seconds = value.parse().expect("seconds"),
            "result" => outcome.outputs.result = Some(value.to_string()),
            "refused" => outcome.refused = "it may not be".into(),
            "forever" => outcome.daemon = true,
            "stuck" => {
                outcome.daemon = true;
                outcome.state.phase = PodPhase::Pending;
            }
            "out" => {
                let (parameter, value) = value.split_once(':').expect("NAME:VALUE");
                let declared = template.outputs.parameters.iter().find(|declared| declared.name == parameter);
                let declared = declared.expect("a declared output").clone();
                outcome.outputs.parameters.push(Parameter { value: Some(value.into()), ..declared });
            }
            other => panic!("a Pod cannot {other}"),
        }
    }
    over(name, exit_code)
}

fn over(name: &str, exit_code: i32) -> ContainerState {
    let reason = if exit_code == 0 { "Completed" } else { "Error" };
    let status =
        ContainerStatus::Terminated { exit_code, reason: reason.into(), message: String::new(), finished: None };
    ContainerState { name: name.into(), init: false, ready: false, status }
}
