//! What workflows take from ConfigMaps: values of parameters, and where their artifacts go.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::Workflow;
use tiphys_engine::{Action, ConfigMapData, ConfigMapFound, EngineConfig, Fact, Need, Run};
use tiphys_tests::settle::settle;

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

fn map(labels: &[(&str, &str)], data: &[(&str, &str)]) -> ConfigMapFound {
    let texts = |texts: &[(&str, &str)]| {
        texts.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    };
    Ok(Some(ConfigMapData { labels: texts(labels), data: texts(data), ..ConfigMapData::default() }))
}

/// A workflow after its first turn, and what its container is told. ConfigMaps are found by `namespace/name`.
fn begin(spec: &Value, maps: &[(&str, ConfigMapFound)]) -> (Run, String) {
    let object = json!({"metadata": {"name": "wf", "namespace": "theirs"}, "spec": spec});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let config = EngineConfig { controller_namespace: "argo".into(), ..EngineConfig::default() };
    let mut run = Run::new(workflow, config, now());
    let plan = settle(&mut run, now(), |need| {
        let Need::ConfigMap { namespace, name } = need else { panic!("{need:?}") };
        let place = format!("{namespace}/{name}");
        let found = maps.iter().find(|(known, _)| *known == place).map_or(Ok(None), |(_, found)| found.clone());
        Fact::ConfigMap { namespace, name, found }
    });
    let mut told = String::new();
    for action in plan.actions {
        if let Action::CreatePod(request) = action {
            told = request.template.container.as_ref().map(|container| container.args.join(" ")).unwrap_or_default();
        }
    }
    (run, told)
}

const OF_PARAMETERS: &[(&str, &str)] = &[("workflows.argoproj.io/configmap-type", "Parameter")];

/// What a step with one input is told, or why its node erred; the input is called with these arguments.
fn input(input: &Value, arguments: &Value, found: ConfigMapFound) -> String {
    let spec = json!({"entrypoint": "main", "templates": [
        {"name": "main", "steps": [[{"name": "a", "template": "say", "arguments": {"parameters": arguments}}]]},
        {"name": "say", "inputs": {"parameters": [input]},
            "container": {"image": "i", "args": ["{{inputs.parameters.p}}"]}},
    ]});
    let (run, told) = begin(&spec, &[("theirs/m", found)]);
    if !told.is_empty() {
        return told;
    }
    let mut messages = run.workflow().status.nodes.values().map(|node| node.message.as_str());
    messages.find(|message| message.starts_with("unable")).unwrap_or_default().into()
}

#[test]
fn an_inputs_config_map_wins_over_its_default() {
    let reference = json!({"configMapKeyRef": {"name": "m", "key": "k"}});
    let plain = json!({"name": "p", "default": "default", "valueFrom": reference});
    let none = json!([]);
    let found = || map(OF_PARAMETERS, &[("k", "kept")]);
    assert_eq!(input(&plain, &none, found()), "kept");
    assert_eq!(input(&json!({"name": "p", "value": "value", "valueFrom": reference}), &none, found()), "kept");
    assert_eq!(input(&plain, &json!([{"name": "p", "value": "given"}]), found()), "given");
    let absent = "unable to retrieve inputs.parameters.p from ConfigMap: ConfigMap 'm' does not";
    assert!(input(&plain, &none, Ok(None)).starts_with(absent));
}

#[test]
fn an_inputs_default_stands_for_what_is_not_there_alone() {
    let from = json!({"configMapKeyRef": {"name": "m", "key": "k"}, "default": "default"});
    let with_default = json!({"name": "p", "valueFrom": from});
    let none = json!([]);
    for absent in [Ok(None), map(OF_PARAMETERS, &[]), map(&[], &[("k", "kept")])] {
        assert_eq!(input(&with_default, &none, absent), "default");
    }
    let other = map(&[("workflows.argoproj.io/configmap-type", "Cache")], &[("k", "kept")]);
    assert_eq!(
        input(&with_default, &none, other),
        "unable to retrieve inputs.parameters.p from ConfigMap: ConfigMap 'm' needs to have the label \
         workflows.argoproj.io/configmap-type: Parameter to load parameters"
    );
    assert_eq!(
        input(&with_default, &none, Err("configmaps \"m\" is forbidden".into())),
        "unable to retrieve inputs.parameters.p from ConfigMap: ConfigMap 'm' cannot be read: configmaps \"m\" is forbidden"
    );
}

/// Where a workflow's artifacts go, or why it cannot begin.
fn repository(reference: Option<Value>, maps: &[(&str, ConfigMapFound)]) -> String {
    let mut spec = json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "i"}}]});
    spec["artifactRepositoryRef"] = reference.into();
    let (run, _) = begin(&spec, maps);
    let status = &run.workflow().status;
    let Some(found) = &status.artifact_repository_ref else { return status.message.clone() };
    let repository = found.artifact_repository.as_ref().and_then(|found| found.s3.as_ref());
    let bucket = repository.map_or("", |s3| s3.bucket.as_str());
    format!("{} {}#{} {bucket}", found.namespace, found.config_map, found.key)
}

#[test]
fn a_repository_is_looked_for_in_both_namespaces() {
    let reference = || Some(json!({"configMap": "repos", "key": "k"}));
    let of = |bucket: &str| map(&[], &[("k", &format!("s3: {{bucket: {bucket}}}"))]);
    assert_eq!(repository(reference(), &[("argo/repos", of("a"))]), "argo repos#k a");
    assert_eq!(repository(reference(), &[("theirs/repos", of("t")), ("argo/repos", of("a"))]), "theirs repos#k t");
    // A key that is missing is as good as no ConfigMap.
    let other = map(&[], &[("other", "s3: {}")]);
    assert_eq!(repository(reference(), &[("theirs/repos", other.clone()), ("argo/repos", of("a"))]), "argo repos#k a");
    assert_eq!(
        repository(reference(), &[("theirs/repos", other.clone())]),
        "failed to resolve artifact repository: failed to find any artifact repository for artifact repository ref \
         \"repos#k\""
    );
    // Without a reference the controller's namespace has no say.
    assert_eq!(
        repository(None, &[("theirs/artifact-repositories", other), ("argo/artifact-repositories", of("a"))]),
        " # "
    );
}

#[test]
fn a_repository_that_cannot_be_read_is_not_passed_over() {
    let forbidden = || Err("configmaps \"repos\" is forbidden".to_string());
    assert_eq!(
        repository(Some(json!({"configMap": "repos"})), &[("theirs/repos", forbidden())]),
        "failed to resolve artifact repository: error getting config map for artifact repository ref \"theirs/repos#\": \
         configmaps \"repos\" is forbidden"
    );
    assert_eq!(
        repository(None, &[("theirs/artifact-repositories", forbidden())]),
        "failed to resolve artifact repository: error getting config map for artifact repository ref \"theirs/#\": \
         configmaps \"repos\" is forbidden"
    );
}
