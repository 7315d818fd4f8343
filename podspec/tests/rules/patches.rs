//! Late variables and the user's patches.

use serde_json::json;

use crate::support::{carried, container, container_setup, mounts, variable, volume};

#[test]
fn the_workflows_patch_comes_before_the_templates() {
    let pod = container_setup("podSpecPatch: '{\"terminationGracePeriodSeconds\": 5, \"priority\": 2}'")
        .with_spec("podSpecPatch: \"terminationGracePeriodSeconds: 9\\nactiveDeadlineSeconds: 1\"")
        .build();
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], json!(5));
    assert_eq!(pod["spec"]["activeDeadlineSeconds"], json!(1));
    assert_eq!(pod["spec"]["priority"], json!(2));
    for name in ["wait", "main"] {
        assert_eq!(variable(container(&pod, name), "ARGO_TERMINATION_GRACE_PERIOD_SECONDS"), Some("5"));
    }
    assert_eq!(variable(container(&pod, "init"), "ARGO_TERMINATION_GRACE_PERIOD_SECONDS"), None);
}

#[test]
fn what_a_patch_changes_is_still_wrapped() {
    let patch = "containers: [{name: main, image: known, command: null, env: [{name: A, value: '{{workflow.name}}'}]}, {name: wait, resources: {limits: {cpu: 1}}}]\nvolumes: [{name: v, emptyDir: {}}]";
    let pod = container_setup("{}").with_spec(&format!("podSpecPatch: {}", json!(patch))).build();
    let main = container(&pod, "main");
    assert_eq!(main["command"].as_array().unwrap()[8..], [json!("--"), json!("/entry")]);
    assert_eq!(main["args"], json!(["word"]));
    assert_eq!(variable(main, "A"), Some("wf"));
    assert_eq!(container(&pod, "wait")["resources"], json!({"limits": {"cpu": 1}}));
    assert!(volume(&pod, "v").is_some() && volume(&pod, "var-run-argo").is_some());
    assert_eq!(mounts(main), ["/var/run/argo=var-run-argo"]);
}

#[test]
fn a_patch_with_an_image_of_the_executor_gets_its_scratch_space() {
    let patch = "containers: [{name: main, image: 'executor:1'}]";
    let pod = container_setup("{}").with_spec(&format!("podSpecPatch: {}", json!(patch))).build();
    assert_eq!(mounts(container(&pod, "main")), ["/tmp=tmp-dir-argo/1", "/var/run/argo=var-run-argo"]);
}

#[test]
fn a_patch_that_cannot_be_applied_says_why() {
    let error = |patch: &str| container_setup("{}").with_spec(&format!("podSpecPatch: {}", json!(patch))).error();
    assert!(error("a: [").starts_with("the podSpecPatch of the workflow is no valid YAML: "));
    assert_eq!(
        error("containers: [{image: x}]"),
        "podSpecPatch cannot be merged: `containers`: an element has no `name`, which tells the elements of this list apart; add it"
    );
    assert_eq!(
        error("just text"),
        "podSpecPatch cannot be merged: patch is no object; a patch is applied to an object and is one itself"
    );
    assert!(error("containers: [{name: main, args: 5}]").starts_with("podSpecPatch is not as Kubernetes wants it: "));
    assert_eq!(
        container_setup("{}").with_spec("podSpecPatch: '# nothing'").build()["spec"]["restartPolicy"],
        json!("Never")
    );
}

#[test]
fn quotes_in_a_value_stay_quotes() {
    let mut setup = container_setup(
        "{metadata: {annotations: {say: '{{word}}'}}, container: {image: known, args: ['{{word}}', '{{unknown}}']}}",
    );
    setup.variables.insert("word".into(), "say \"hi\"\n".into());
    let pod = setup.build();
    let said = json!(["say \"hi\"\n", "{{unknown}}"]);
    assert_eq!(container(&pod, "main")["args"], said);
    assert_eq!(carried(&pod)["container"]["args"], said);
    assert_eq!(pod["metadata"]["annotations"]["say"], said[0]);
}

#[test]
fn a_container_that_a_patch_brings_is_told_its_name() {
    let patch = r#"{"containers": [{"name": "proxy", "image": "known", "command": ["proxy"]}]}"#;
    let pod = container_setup("{}").with_spec(&format!("podSpecPatch: {}", json!(patch))).build();
    for name in ["main", "proxy"] {
        let made = container(&pod, name);
        assert_eq!(made["command"][1], "emissary");
        assert_eq!(variable(made, "ARGO_CONTAINER_NAME"), Some(name));
    }
}
