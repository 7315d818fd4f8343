//! What a Pod came to, as Argo's controller would read it, beside what it read when the corpus was recorded.

use serde_json::{Map, Value, json};
use tiphys_contract::{container, env, label};
use tiphys_tests::normalise::normalise;

use crate::difference;

/// A Pod that is over, and what its executor reported.
pub struct Ended<'a> {
    /// The workflow.
    pub workflow: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// The node's id.
    pub id: &'a str,
    /// The node's name, with `{wf}` for the workflow's.
    pub node: &'a str,
    /// The Pod.
    pub pod: &'a Value,
    /// The WorkflowTaskResult, where there is one.
    pub result: Option<&'a Value>,
}

/// The first differences to the recorded node; none where they are equal.
pub fn compare(ended: &Ended<'_>, expected: &Value) -> Option<String> {
    report(ended).or_else(|| {
        let got = node(ended);
        let fields = ["phase", "message", "outputs"].iter();
        let found: Vec<String> = fields
            .filter_map(|field| difference::compare(&format!("/{field}"), &expected[*field], &got[*field]))
            .collect();
        (!found.is_empty()).then(|| found.join("\n"))
    })
}

/// What must hold of a report whatever it says.
fn report(ended: &Ended<'_>) -> Option<String> {
    let Some(result) = ended.result else {
        return Some("no WorkflowTaskResult".into());
    };
    let metadata = &result["metadata"];
    let is = |what: &str, expected: &str, got: &Value| {
        (got != expected).then(|| format!("WorkflowTaskResult: {what} is {got}, expected {expected:?}"))
    };
    let owner = &metadata["ownerReferences"][0];
    is("its workflow", ended.workflow, &metadata["labels"][label::WORKFLOW])
        .or_else(|| is("completed", "true", &metadata["labels"][label::REPORT_OUTPUTS_COMPLETED]))
        .or_else(|| is("its owner's uid", ended.uid, &owner["uid"]))
        .or_else(|| is("its owner", ended.workflow, &owner["name"]))
}

/// The node, normalised as the recorded ones are.
fn node(ended: &Ended<'_>) -> Value {
    let (phase, message) = phase(&ended.pod["status"], &container_set(ended.pod));
    let mut outputs = ended.result.map_or(Value::Null, |result| result["outputs"].clone());
    let main = terminated(&ended.pod["status"]["containerStatuses"]).find(|(name, _)| *name == container::MAIN);
    if let Some((_, main)) = main {
        if !outputs.is_object() {
            outputs = Value::Object(Map::new());
        }
        outputs["exitCode"] = main["exitCode"].to_string().into();
    }
    let name = ended.node.replace("{wf}", ended.workflow);
    let node = json!({"id": ended.id, "name": name, "phase": phase, "message": message, "outputs": outputs});
    let workflow = json!({
        "metadata": {"name": ended.workflow, "uid": ended.uid},
        "status": {"nodes": {ended.id: node}},
    });
    normalise(&workflow)["nodes"][ended.node].clone()
}

fn terminated(statuses: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let statuses = statuses.as_array().into_iter().flatten();
    statuses.filter_map(|one| Some((one["name"].as_str()?, one["state"].get("terminated")?)))
}

fn is_ours(name: &str) -> bool {
    name == container::INIT || container::is_auxiliary(name)
}

/// The names of a containerSet's containers, each of which counts as main.
fn container_set(pod: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let containers = list(&pod["spec"]["containers"]).into_iter().chain(list(&pod["spec"]["initContainers"]));
    let mut variables = containers.flat_map(|container| list(&container["env"]));
    let template = variables.find(|variable| variable["name"] == env::TEMPLATE).unwrap_or_default();
    let template: Value = serde_json::from_str(template["value"].as_str().unwrap_or_default()).unwrap_or_default();
    let names = list(&template["containerSet"]["containers"]);
    names.iter().filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

/// argo: operator.go, inferFailedReason, for Pods that are over.
fn phase(status: &Value, set: &[String]) -> (&'static str, String) {
    if status["phase"] == "Succeeded" {
        return ("Succeeded", String::new());
    }
    if let Some(message) = status["message"].as_str() {
        return ("Failed", message.to_owned());
    }
    let rank = |name: &str| u8::from(container::is_auxiliary(name));
    let mut containers: Vec<_> = terminated(&status["containerStatuses"]).collect();
    containers.sort_by_key(|(name, _)| rank(name));
    // Sidecars that were killed say nothing: they were told to end when main had.
    let sidecar = |name: &str| name != container::MAIN && !is_ours(name) && !set.iter().any(|one| one == name);
    let killed = |state: &Value| [137, 143].iter().any(|code| state["exitCode"] == *code);
    let mut ended = terminated(&status["initContainerStatuses"]).chain(containers);
    let first = ended.find(|(name, state)| state["exitCode"] != 0 && !(sidecar(name) && killed(state)));
    let Some((name, state)) = first else {
        return ("Succeeded", String::new());
    };
    let reason = state["reason"].as_str().unwrap_or_default();
    let mut text = format!("{name}: {reason} (exit code {})", state["exitCode"]);
    if let Some(message) = state["message"].as_str().filter(|message| !message.is_empty()) {
        text = format!("{text}: {message}");
    }
    (if is_ours(name) { "Error" } else { "Failed" }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that printed `5`, whose `wait` then failed or not.
    fn compared(wait: i64, result: &Value, expected: &Value) -> Option<String> {
        let state = |name: &str, code: i64, message: &str| {
            let state = json!({"exitCode": code, "reason": "Error", "message": message});
            json!({"name": name, "state": {"terminated": state}})
        };
        let phase = if wait == 0 { "Succeeded" } else { "Failed" };
        let statuses = json!([state("wait", wait, "no bucket"), state("main", 0, "")]);
        let pod = json!({"status": {"phase": phase, "containerStatuses": statuses}});
        let ended = Ended { workflow: "wf", uid: "u-1", id: "wf-1", node: "{wf}.a", pod: &pod, result: Some(result) };
        compare(&ended, expected)
    }

    fn result(completed: &str) -> Value {
        json!({
            "metadata": {
                "labels": {label::WORKFLOW: "wf", label::REPORT_OUTPUTS_COMPLETED: completed},
                "ownerReferences": [{"name": "wf", "uid": "u-1"}],
            },
            "outputs": {"result": "5", "artifacts": [{"name": "main-logs", "s3": {"key": "wf/wf-step-1000000007/main.log"}}]},
        })
    }

    #[test]
    fn a_node_is_what_the_controller_reads() {
        let artifacts = json!([{"name": "main-logs", "s3": {"key": "{wf}/{pod}/main.log"}}]);
        let outputs = json!({"result": "5", "exitCode": "0", "artifacts": artifacts});
        let expected = json!({"phase": "Succeeded", "outputs": outputs});
        assert_eq!(compared(0, &result("true"), &expected), None);
        let failed =
            json!({"phase": "Error", "message": "wait: Error (exit code 64): in other words", "outputs": outputs});
        assert_eq!(compared(64, &result("true"), &failed), None);
        assert!(compared(64, &result("true"), &expected).unwrap().contains("/phase"));
        let mut other = expected.clone();
        other["outputs"]["result"] = "6".into();
        assert!(compared(0, &result("true"), &other).unwrap().contains("/outputs/result: expected \"6\", got \"5\""));
    }

    #[test]
    fn killed_sidecars_say_nothing() {
        let state = |name: &str, code: i64| json!({"name": name, "state": {"terminated": {"exitCode": code, "reason": "Error"}}});
        let of = |states: [Value; 3]| phase(&json!({"phase": "Failed", "containerStatuses": states}), &[]);
        assert_eq!(of([state("wait", 0), state("main", 0), state("helper", 143)]).0, "Succeeded");
        let main = of([state("wait", 0), state("helper", 143), state("main", 143)]);
        assert_eq!(main, ("Failed", "main: Error (exit code 143)".to_owned()));
        let helper = of([state("wait", 0), state("main", 0), state("helper", 2)]);
        assert_eq!(helper, ("Failed", "helper: Error (exit code 2)".to_owned()));
        assert_eq!(of([state("wait", 64), state("main", 0), state("helper", 137)]).0, "Error");
    }

    #[test]
    fn a_containers_set_has_no_sidecars() {
        let template = json!({"containerSet": {"containers": [{"name": "one"}, {"name": "two"}]}}).to_string();
        let wait = json!({"name": "wait", "env": [{"name": env::TEMPLATE, "value": template}]});
        let set = container_set(&json!({"spec": {"containers": [wait]}}));
        assert_eq!(set, ["one", "two"]);
        let state = |name: &str, code: i64| json!({"name": name, "state": {"terminated": {"exitCode": code, "reason": "OOMKilled"}}});
        let status =
            json!({"phase": "Failed", "containerStatuses": [state("one", 137), state("two", 64), state("wait", 0)]});
        assert_eq!(phase(&status, &set).1, "one: OOMKilled (exit code 137)");
    }

    #[test]
    fn a_report_must_be_closed() {
        let expected = json!({"phase": "Succeeded"});
        assert!(compared(0, &result("false"), &expected).unwrap().contains("completed is \"false\""));
    }
}
