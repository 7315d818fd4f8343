//! Where and as whom.

use serde_json::json;
use std::sync::Arc;

use crate::support::{container, container_setup, mounts, read, volume};

#[test]
fn template_then_boundary_then_workflow() {
    let workflow = "{nodeSelector: {a: wf}, affinity: {podAffinity: {}}, tolerations: [{key: wf}]}";
    let boundary = "{nodeSelector: {a: boundary}, affinity: {nodeAffinity: {}}, tolerations: [{key: boundary}]}";
    let own = "{nodeSelector: {a: own}, affinity: {podAntiAffinity: {}}, tolerations: [{key: own}]}";
    let pod = |template: &str, boundary: Option<&str>| {
        let boundary = boundary.map(|text| Arc::new(read(text)));
        container_setup(template).with_spec(workflow).with_request(|request| request.boundary = boundary).build()
    };
    for (pod, selector, affinity) in [
        (pod(own, Some(boundary)), "own", "podAntiAffinity"),
        (pod("{}", Some(boundary)), "boundary", "nodeAffinity"),
        (pod("{}", None), "wf", "podAffinity"),
    ] {
        assert_eq!(pod["spec"]["nodeSelector"], json!({"a": selector}));
        assert_eq!(pod["spec"]["affinity"], json!({affinity: {}}));
        assert_eq!(pod["spec"]["tolerations"], json!([{"key": selector}]));
    }
}

#[test]
fn template_then_workflow() {
    let fields = |who: &str| {
        format!(
            "{{schedulerName: {who}, priorityClassName: {who}, podPriorityClassName: {who}, serviceAccountName: {who}, \
             securityContext: {{runAsUser: 1, fsGroup: {}}}, hostAliases: [{{ip: {who}}}], podResources: {{limits: {{cpu: {who}}}}}, \
             resourceClaims: [{{name: {who}}}]}}",
            who.len()
        )
    };
    let expect = |pod: &serde_json::Value, who: &str, aliases: serde_json::Value| {
        let spec = &pod["spec"];
        for field in ["schedulerName", "priorityClassName", "serviceAccountName"] {
            assert_eq!(spec[field], json!(who), "{field}");
        }
        assert_eq!(spec["securityContext"]["fsGroup"], json!(who.len()));
        assert_eq!(spec["resources"], json!({"limits": {"cpu": who}}));
        assert_eq!(spec["resourceClaims"], json!([{"name": who}]));
        assert_eq!(spec["hostAliases"], aliases);
    };
    let both = container_setup(&fields("step")).with_spec(&fields("workflow")).build();
    expect(&both, "step", json!([{"ip": "workflow"}, {"ip": "step"}]));
    let inherited = container_setup("{}").with_spec(&fields("workflow")).build();
    expect(&inherited, "workflow", json!([{"ip": "workflow"}]));
}

#[test]
fn fields_of_the_workflow_alone() {
    let spec =
        "{hostNetwork: true, dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1]}, imagePullSecrets: [{name: s}]}";
    let pod = container_setup("{}").with_spec(spec).build();
    assert_eq!(
        pod["spec"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| !name.ends_with("ontainers") && *name != "volumes")
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>(),
        [
            r#"dnsConfig={"nameservers":["1.1.1.1"]}"#,
            r#"dnsPolicy="None""#,
            "hostNetwork=true",
            r#"imagePullSecrets=[{"name":"s"}]"#,
            r#"restartPolicy="Never""#,
        ]
    );
}

#[test]
fn a_debugging_pause_takes_the_deadline_away_but_not_the_timeout() {
    let deadline = |template: &str| {
        let setup = container_setup(template).with_request(|request| request.active_deadline_seconds = Some(7));
        setup.build()["spec"]["activeDeadlineSeconds"].clone()
    };
    let pausing = "container: {image: i, command: [c], env: [{name: ARGO_DEBUG_PAUSE_AFTER, value: 'true'}]}";
    assert_eq!(deadline("{}"), json!(7));
    assert_eq!(deadline(pausing), json!(null));
    assert_eq!(deadline(&format!("timeout: 7s\n{pausing}")), json!(7));
}

#[test]
fn the_executor_may_run_as_another_account() {
    let spec = "{serviceAccountName: user, automountServiceAccountToken: false, executor: {serviceAccountName: robot}}";
    let setup = container_setup("{}").with_spec(spec);
    assert_eq!(setup.error(), "the token Secret of the executor's service account `robot` is not known");

    let pod =
        setup.with_config(|config| config.token_secrets = [("robot".into(), "robot-token".into())].into()).build();
    assert_eq!(pod["spec"]["automountServiceAccountToken"], json!(false));
    assert_eq!(pod["spec"]["serviceAccountName"], json!("user"));
    assert_eq!(volume(&pod, "exec-sa-token").unwrap()["secret"], json!({"secretName": "robot-token"}));
    let token = "/var/run/secrets/kubernetes.io/serviceaccount=exec-sa-token:ro".to_owned();
    assert!(mounts(container(&pod, "init")).contains(&token) && mounts(container(&pod, "wait")).contains(&token));
    assert!(!mounts(container(&pod, "main")).contains(&token));

    let template = "executor: {serviceAccountName: mine}";
    let error = container_setup(template).with_spec(spec).error();
    assert_eq!(error, "the token Secret of the executor's service account `mine` is not known");
    let error = container_setup("automountServiceAccountToken: false").error();
    assert_eq!(error, "executor.serviceAccountName must not be empty if automountServiceAccountToken is false");
}

#[test]
fn hosts_that_failed_are_avoided() {
    let affinity = |template: &str| {
        let setup =
            container_setup(template).with_request(|request| request.avoid_hosts = vec!["a".into(), "b".into()]);
        setup.build()["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
    };
    let terms = |terms: &str| {
        format!(
            "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: {terms}}}}}}}"
        )
    };
    let avoid = json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a", "b"]});
    let zone = json!({"key": "zone", "operator": "Exists"});
    assert_eq!(affinity("{}"), json!([{"matchExpressions": [avoid]}]));
    assert_eq!(affinity("affinity: {podAffinity: {}}"), json!([{"matchExpressions": [avoid]}]));
    assert_eq!(affinity(&terms("[]")), json!([{"matchExpressions": [avoid]}]));
    assert_eq!(
        affinity(&terms(
            "[{matchExpressions: [{key: zone, operator: Exists}]}, {matchExpressions: [{key: zone, operator: Exists}]}]"
        )),
        json!([{"matchExpressions": [zone, avoid]}, {"matchExpressions": [zone]}])
    );
    assert_eq!(
        affinity(&terms("[{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [b, c]}]}]")),
        json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["b", "c", "a"]}]}])
    );
}

#[test]
fn metadata_of_the_workflow_then_the_template() {
    let pod = container_setup("metadata: {labels: {b: template}, annotations: {kill: template}}")
        .with_spec("{podMetadata: {labels: {a: workflow, b: workflow}}, podGC: {strategy: OnPodSuccess, deleteDelayDuration: 90s}}")
        .with_config(|config| {
            config.instance_id = "blue".into();
            config.status_finalizer = true;
        })
        .with_request(|request| request.on_exit = true)
        .build();
    assert_eq!(
        pod["metadata"],
        json!({
            "name": "wf-step-1",
            "namespace": "ns",
            "labels": {
                "a": "workflow",
                "b": "template",
                "workflows.argoproj.io/completed": "false",
                "workflows.argoproj.io/controller-instanceid": "blue",
                "workflows.argoproj.io/on-exit": "true",
                "workflows.argoproj.io/workflow": "wf",
            },
            "annotations": {
                "kill": "template",
                "kubectl.kubernetes.io/default-container": "main",
                "workflows.argoproj.io/node-id": "wf-1",
                "workflows.argoproj.io/node-name": "wf.step",
                "workflows.argoproj.io/pod-gc-strategy": "OnPodSuccess/1m30s",
            },
            "ownerReferences": [{
                "apiVersion": "argoproj.io/v1alpha1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Workflow",
                "name": "wf",
                "uid": "uid",
            }],
            "finalizers": ["workflows.argoproj.io/status"],
        })
    );
    let error = container_setup("{}").with_spec("podGC: {deleteDelayDuration: soon}").error();
    assert_eq!(error, "podGC.deleteDelayDuration: `soon` is no duration; write it as `90s`, `5m` or `1h30m`");
}
