//! Main containers: what they run, the configuration's defaults below them, and what is too large for the Pod.

use serde_json::{Value, json};
use tiphys_podspec::{Error, ImageCommand};

use crate::support::{carried, container, container_setup, mounts, names, read, setup, variable, volume};

fn after_dashes(container: &Value) -> Vec<&str> {
    let command = container["command"].as_array().unwrap();
    command.iter().map(|word| word.as_str().unwrap()).skip_while(|word| *word != "--").skip(1).collect()
}

#[test]
fn an_image_lends_its_command() {
    let run = |fields: &str| {
        let pod = setup(&format!("{{name: s, container: {{image: known, {fields}}}}}")).build();
        let main = container(&pod, "main").clone();
        (after_dashes(&main).join(" "), main["args"].clone())
    };
    assert_eq!(run(""), ("/entry".into(), json!(["word"])));
    assert_eq!(run("args: [x]"), ("/entry".into(), json!(["x"])));
    assert_eq!(run("command: [c]"), ("c".into(), json!(null)));

    let unknown = setup("{name: s, container: {image: 'registry/x:1'}}");
    let error = Error::CommandUnknown { image: "registry/x:1".into(), container: "main".into() };
    assert_eq!(unknown.try_build().unwrap_err(), error);
    assert_eq!(
        error.to_string(),
        "container `main` names no command and the entry point of image `registry/x:1` is not known; \
         name the `command` in the template, or list the image under `images` in the configuration"
    );
    let empty = unknown.with_config(|config| {
        config.images.insert("registry/x:1".into(), ImageCommand::default());
    });
    let missing =
        "container `main` names no command and image `registry/x:1` has none; name the `command` in the template";
    assert_eq!(empty.error(), missing);
}

#[test]
fn defaults_lie_below_main_containers() {
    let defaults = "{imagePullPolicy: Always, resources: {limits: {cpu: '1', memory: 1Gi}}, env: [{name: A, value: d}, {name: B, value: d}]}";
    let pod = setup("{name: s, container: {name: other, image: known, resources: {limits: {cpu: '2'}}, env: [{name: B, value: own}]}, sidecars: [{name: side, image: known}]}")
        .with_config(|config| config.main_container = Some(read(defaults)))
        .build();
    let main = container(&pod, "main");
    assert_eq!(main["imagePullPolicy"], json!("Always"));
    assert_eq!(main["resources"], json!({"limits": {"cpu": "2", "memory": "1Gi"}}));
    assert_eq!(variable(main, "A"), Some("d"));
    assert_eq!(variable(main, "B"), Some("own"));
    assert_eq!(container(&pod, "side").get("imagePullPolicy"), None);
}

#[test]
fn members_of_a_set_keep_their_names_and_share_mounts() {
    let pod = setup(
        "{name: s, volumes: [{name: w, emptyDir: {}}], containerSet: {volumeMounts: [{name: w, mountPath: /w}], containers: \
         [{name: a, image: known}, {name: main, image: known, dependencies: [a]}]}}",
    )
    .build();
    assert_eq!(names(&pod["spec"]["containers"]), ["wait", "a", "main"]);
    assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], json!("main"));
    for name in ["a", "main"] {
        assert_eq!(mounts(container(&pod, name)), ["/w=w", "/var/run/argo=var-run-argo"]);
        assert_eq!(container(&pod, name).get("dependencies"), None);
    }
    assert_eq!(mounts(container(&pod, "wait"))[0], "/mainctrfs/w=w");

    let pod =
        setup("{name: s, containerSet: {containers: [{name: a, image: known}, {name: b, image: known}]}}").build();
    assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], json!("b"));
}

#[test]
fn a_script_is_staged_and_passed_as_the_last_argument() {
    let pod = setup("{name: s, script: {image: i, command: [sh], args: [-e], source: 'echo'}}").build();
    let main = container(&pod, "main");
    assert_eq!(main["args"], json!(["-e", "/argo/staging/script"]));
    assert_eq!(main.get("source"), None);
    for name in ["init", "main"] {
        assert!(mounts(container(&pod, name)).contains(&"/argo/staging=argo-staging".to_owned()), "{name}");
    }
    assert!(mounts(container(&pod, "wait")).contains(&"/mainctrfs/argo/staging=argo-staging".to_owned()));
    let pod = setup("{name: s, script: {image: i, command: [sh], source: ''}}").build();
    assert_eq!(container(&pod, "main").get("args"), None);
}

#[test]
fn the_template_is_carried_as_go_prints_it() {
    let template = carried(
        &setup("{name: s, inputs: {parameters: [{name: p, value: '1'}], artifacts: [{name: a, path: /a, http: {headers: [{name: h, value: v}]}}]}, container: {image: known}, sidecars: [{name: x, image: known}]}")
            .build(),
    );
    assert_eq!(
        template,
        json!({
            "name": "s",
            "inputs": {"artifacts": [{"name": "a", "path": "/a", "http": {"url": "", "headers": [{"name": "h", "value": "v"}]}}]},
            "outputs": {},
            "metadata": {},
            "container": {"name": "", "image": "known", "resources": {}},
            "sidecars": [{"name": "x", "image": "known", "resources": {}}],
            "archiveLocation": {"archiveLogs": false},
        })
    );
}

#[test]
fn a_template_that_is_too_large_goes_into_a_config_map() {
    let long = "x".repeat(131_072);
    let setup = setup("{name: s, script: {image: known, source: X}}");
    let mut template = (*setup.request.template).clone();
    template.script.as_mut().unwrap().source = long.clone();
    let pod = setup.with_request(|request| request.template = template.into()).try_build().unwrap();

    let config_map = pod.config_map.clone().unwrap();
    assert_eq!(config_map["metadata"]["name"], json!("wf-step-1"));
    assert_eq!(config_map["metadata"]["labels"], json!({"workflows.argoproj.io/workflow": "wf"}));
    assert_eq!(config_map["metadata"]["ownerReferences"][0]["uid"], json!("uid"));
    let carried: Value = serde_json::from_str(config_map["data"]["ARGO_TEMPLATE"].as_str().unwrap()).unwrap();
    assert_eq!(carried["script"]["source"], json!(long));
    let pod = pod.to_value();
    let init = container(&pod, "init");
    assert_eq!(variable(init, "ARGO_TEMPLATE"), Some("offloaded"));
    assert_eq!(mounts(init).last().unwrap(), "/argo/config=argo-env-config");
    assert_eq!(volume(&pod, "argo-env-config").unwrap()["configMap"], json!({"name": "wf-step-1"}));
    assert!(!mounts(container(&pod, "main")).contains(&"/argo/config=argo-env-config".to_owned()));
}

#[test]
fn arguments_that_are_too_large_go_into_a_config_map() {
    let long = "x".repeat(131_072);
    let setup = container_setup("{}");
    let mut template = (*setup.request.template).clone();
    template.container.as_mut().unwrap().args = vec!["a".into(), long.clone()];
    let pod = setup.with_request(|request| request.template = template.into()).try_build().unwrap();
    let data = pod.config_map.clone().unwrap()["data"].clone();
    assert_eq!(data["ARGO_CONTAINER_ARGS_FILE"], json!(json!(["a", long]).to_string()));
    let pod = pod.to_value();
    let main = container(&pod, "main");
    assert_eq!(main.get("args"), None);
    assert_eq!(variable(main, "ARGO_CONTAINER_ARGS_FILE"), Some("/argo/config/ARGO_CONTAINER_ARGS_FILE"));
    assert_eq!(mounts(main).last().unwrap(), "/argo/config=argo-env-config");
}

#[test]
fn templates_without_a_pod_are_refused() {
    for template in ["{name: s, suspend: {}}", "{name: s, steps: []}", "{name: s}"] {
        assert_eq!(setup(template).error(), "template `s` runs no Pod");
    }
}
