//! The executor's own containers.

use serde_json::{Value, json};
use tiphys_contract::{TraceContext, TraceParent};
use tiphys_podspec::{ExecutorDefaults, KubeConfig};

use crate::support::{carried, container, container_setup, mounts, names, setup, variable, volume};

#[test]
fn configured_defaults_reach_every_container_of_the_executor() {
    let pod = container_setup("{}")
        .with_config(|config| {
            config.executor_image_pull_policy = "Never".into();
            config.log_level = "debug".into();
            config.log_format = "json".into();
            config.instance_id = "blue".into();
            config.executor = ExecutorDefaults {
                resources: Some(json!({"limits": {"cpu": "1"}})),
                security_context: Some(json!({"runAsUser": 5})),
                env: vec![json!({"name": "PROXY", "value": "p"})],
                args: vec!["-v".into()],
            };
            config.kube_config = Some(KubeConfig {
                secret_name: "cluster".into(),
                secret_key: "config".into(),
                ..KubeConfig::default()
            });
        })
        .build();
    for name in ["init", "wait"] {
        let made = container(&pod, name);
        assert_eq!(made["imagePullPolicy"], json!("Never"));
        assert_eq!(made["resources"], json!({"limits": {"cpu": "1"}}));
        assert_eq!(made["securityContext"], json!({"runAsUser": 5}));
        assert_eq!(made["args"], json!(["-v", "--kubeconfig=/kube/config"]));
        assert_eq!(
            made["command"],
            json!(["argoexec", name, "--loglevel", "debug", "--log-format", "json", "--gloglevel", "0"])
        );
        assert_eq!(mounts(made)[0], "/kube/config=kubeconfig/config:ro");
        assert_eq!(variable(made, "PROXY"), Some("p"));
        assert_eq!(variable(made, "ARGO_INSTANCE_ID"), Some("blue"));
    }
    assert_eq!(variable(container(&pod, "main"), "PROXY"), None);
    assert_eq!(volume(&pod, "kubeconfig").unwrap()["secret"], json!({"secretName": "cluster"}));
}

#[test]
fn a_resource_template_is_locked_down_and_waits_only_to_save_logs() {
    let template = "{name: r, resource: {action: create, manifest: 'kind: ConfigMap', setOwnerReference: true}}";
    let pod = setup(template).build();
    assert_eq!(names(&pod["spec"]["containers"]), ["main"]);
    let main = container(&pod, "main");
    assert_eq!(main["command"][0], json!("/var/run/argo/argoexec"));
    assert_eq!(main["command"].as_array().unwrap()[8..11], [json!("--"), json!("argoexec"), json!("resource")]);
    assert_eq!(mounts(main), ["/tmp=tmp-dir-argo/0", "/var/run/argo=var-run-argo"]);
    for (name, read_only) in [("main", json!(true)), ("init", json!(null))] {
        let context = &container(&pod, name)["securityContext"];
        assert_eq!(context["runAsUser"], json!(8737));
        assert_eq!(context["readOnlyRootFilesystem"], read_only);
    }
    let manifest = carried(&pod)["resource"]["manifest"].as_str().unwrap().to_owned();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["metadata"]["ownerReferences"][0]["uid"], json!("uid"));

    let pod = setup(template).with_config(|config| config.archive_logs = true).build();
    assert_eq!(names(&pod["spec"]["containers"]), ["wait", "main"]);
    assert_eq!(mounts(container(&pod, "main"))[0], "/tmp=tmp-dir-argo/1");

    let list = setup("{name: r, resource: {action: create, manifest: '[]', setOwnerReference: true}}");
    assert!(list.error().starts_with("resource.manifest: setOwnerReference needs a manifest"));
}

#[test]
fn progress_is_off_when_a_tick_is_zero() {
    let pod = container_setup("{}").with_config(|config| config.progress_file_tick = std::time::Duration::ZERO).build();
    assert_eq!(variable(container(&pod, "main"), "ARGO_PROGRESS_FILE"), None);
}

#[test]
fn every_container_knows_its_deadline() {
    let setup = container_setup("{}");
    assert_eq!(variable(container(&setup.build(), "main"), "ARGO_DEADLINE"), Some("0001-01-01T00:00:00Z"));
    let deadline = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let pod = setup.with_request(|request| request.deadline = Some(deadline)).build();
    for name in ["init", "wait", "main"] {
        assert_eq!(variable(container(&pod, name), "ARGO_DEADLINE"), Some("2026-01-02T03:04:05Z"));
    }
}

#[test]
fn a_trace_is_handed_on_to_every_container() {
    let state = |pod: &Value, name: &str| {
        let pod = container(pod, name);
        ["TRACEPARENT", "TRACESTATE"].map(|name| variable(pod, name).map(str::to_owned))
    };
    let setup = container_setup("metadata: {annotations: {workflows.argoproj.io/span-id: mine}}");
    let plain = setup.build();
    for name in ["init", "wait", "main"] {
        assert_eq!(state(&plain, name), [None, None]);
    }
    assert_eq!(plain["metadata"]["annotations"].get("workflows.argoproj.io/trace-id"), None);
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = TraceContext { parent: TraceParent::parse(text).unwrap(), state: "workflow=ns/wf".into() };
    let pod = setup.with_request(|request| request.trace = Some(trace)).build();
    for name in ["init", "wait", "main"] {
        assert_eq!(state(&pod, name), [Some(text.to_owned()), Some("workflow=ns/wf".to_owned())]);
    }
    let annotation = |name: &str| &pod["metadata"]["annotations"][format!("workflows.argoproj.io/{name}")];
    assert_eq!(annotation("trace-id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(annotation("span-id"), "00f067aa0ba902b7");
}

#[test]
fn without_a_cluster_nobody_owns_the_pod() {
    let setup = container_setup("{}");
    let mut pod = setup.try_build().unwrap();
    assert_eq!(pod.owner_references.len(), 1);
    pod.owner_references.clear();
    assert_eq!(pod.to_value()["metadata"].get("ownerReferences"), None);
}
