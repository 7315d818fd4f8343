//! Pods without an init container.

use serde_json::json;
use tiphys_podspec::Layout;

use crate::support::{Setup, carried, container, container_setup, mounts, names, setup, variable, volume};

fn initless(setup: Setup) -> Setup {
    setup.with_config(|config| {
        config.layout = Layout::ImageVolume;
        config.executor_image_pull_policy = "Always".into();
    })
}

#[test]
fn the_supervisor_stages_and_reports() {
    let pod = initless(setup(
        "{name: s, inputs: {artifacts: [{name: a, path: /a, raw: {data: x}}]}, volumes: [{name: w, emptyDir: {}}], \
         script: {image: i, command: [sh], source: x, volumeMounts: [{name: w, mountPath: /w}]}}",
    ))
    .build();
    assert_eq!(pod["spec"].get("initContainers"), None);
    assert_eq!(names(&pod["spec"]["containers"]), ["supervisor", "main"]);
    assert_eq!(
        names(&pod["spec"]["volumes"]),
        ["var-run-argo", "tmp-dir-argo", "w", "argoexec-bin", "input-artifacts", "argo-staging"]
    );
    assert_eq!(
        volume(&pod, "argoexec-bin").unwrap()["image"],
        json!({"reference": "executor:1", "pullPolicy": "Always"})
    );
    let supervisor = container(&pod, "supervisor");
    assert_eq!(variable(supervisor, "ARGO_INITLESS_POD"), Some("true"));
    assert!(variable(supervisor, "ARGO_TEMPLATE").is_some());
    assert_eq!(
        mounts(supervisor),
        [
            "/argo/inputs/artifacts=input-artifacts",
            "/mainctrfs/w=w",
            "/argo/staging=argo-staging",
            "/mainctrfs/argo/inputs/artifacts=input-artifacts",
            "/mainctrfs/argo/staging=argo-staging",
            "/tmp=tmp-dir-argo/0",
            "/var/run/argo=var-run-argo",
        ]
    );
    let main = container(&pod, "main");
    assert_eq!(main["command"][0], json!("/argo-bin/bin/argoexec"));
    assert_eq!(variable(main, "ARGO_WAIT_FOR_READY"), Some("true"));
    assert_eq!(variable(main, "ARGO_TEMPLATE"), None);
    assert_eq!(
        mounts(main),
        [
            "/w=w",
            "/argo/inputs/artifacts=input-artifacts",
            "/argo/staging=argo-staging",
            "/argo-bin=argoexec-bin:ro",
            "/var/run/argo=var-run-argo",
        ]
    );
}

#[test]
fn without_a_supervisor_main_carries_the_template() {
    let resource = "{name: r, resource: {action: get, manifest: x}}";
    let pod = initless(setup(resource)).build();
    assert_eq!(names(&pod["spec"]["containers"]), ["main"]);
    let main = container(&pod, "main");
    assert_eq!(carried(&pod)["name"], json!("r"));
    assert_eq!(variable(main, "ARGO_WAIT_FOR_READY"), None);
    assert!(mounts(main).contains(&"/argo-bin=argoexec-bin:ro".to_owned()));

    let fetched = "{name: r, resource: {action: get, manifestFrom: {artifact: {name: a}}}}";
    assert_eq!(names(&initless(setup(fetched)).build()["spec"]["containers"]), ["supervisor", "main"]);
}

#[test]
fn every_member_of_a_set_waits_for_the_supervisor() {
    let set = "{name: s, containerSet: {containers: [{name: a, image: known}, {name: b, image: known}]}}";
    let pod = initless(setup(set)).build();
    for name in ["a", "b"] {
        assert_eq!(variable(container(&pod, name), "ARGO_WAIT_FOR_READY"), Some("true"));
    }
}

#[test]
fn an_artifact_must_not_be_staged_over_a_volume() {
    let template = "{name: s, inputs: {artifacts: [{name: a, path: /data, raw: {data: x}}]}, volumes: [{name: w, emptyDir: {}}], \
                    container: {image: known, volumeMounts: [{name: w, mountPath: /data/shared}]}}";
    assert!(setup(template).try_build().is_ok());
    assert_eq!(
        initless(setup(template)).error(),
        "input artifact `a` goes to /data, and a volume is mounted below it at /data/shared; \
         Pods without an init container cannot stage it, so choose another path"
    );
}

#[test]
fn a_step_of_which_nothing_is_wanted_is_the_users_container_alone() {
    let solo = |setup: Setup| setup.with_config(|config| config.solo = true).build();
    let pod = solo(container_setup("{}"));
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!((&containers[0]["name"], &containers[0]["command"]), (&json!("main"), &json!(["sh"])));
    assert!(pod["spec"].get("initContainers").is_none() && containers[0].get("volumeMounts").is_none());
    assert_eq!(pod["metadata"]["annotations"]["workflows.argoproj.io/tiphys-layout"], "solo");
    // A signal that ends it must not be kept from it as the first process of a namespace.
    assert_eq!(pod["spec"]["shareProcessNamespace"], json!(true));
    let host = solo(container_setup("podSpecPatch: '{hostPID: true}'"));
    assert!(host["spec"].get("shareProcessNamespace").is_none());
    // What the others are makes no difference to it.
    let initless = container_setup("{}").with_config(|config| config.layout = Layout::ImageVolume);
    assert_eq!(solo(initless), pod);
    // The runtime knows what an image runs.
    let plain = solo(setup("{name: step, container: {image: unknown}}"));
    assert!(plain["spec"]["containers"][0].get("command").is_none());
}

#[test]
fn what_an_executor_does_needs_one() {
    for more in [
        "outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}",
        "inputs: {artifacts: [{name: a, path: /a, raw: {data: x}}]}",
        "outputs: {artifacts: [{name: a, path: /a}]}",
        "sidecars: [{name: s, image: known}]",
        "daemon: true",
        "archiveLocation: {archiveLogs: true, s3: {bucket: b, key: k}}",
        "container: {image: busybox, command: [sh], env: [{name: ARGO_DEBUG_PAUSE_AFTER, value: 'true'}]}",
        "container: {image: busybox, command: [sh, -c, 'echo 1/2 > $ARGO_PROGRESS_FILE']}",
        "podSpecPatch: '{containers: [{name: wait, resources: {limits: {memory: 1Gi}}}]}'",
    ] {
        let pod = container_setup(more).with_config(|config| config.solo = true).build();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "init", "{more}");
        assert!(pod["metadata"]["annotations"].get("workflows.argoproj.io/tiphys-layout").is_none());
    }
    let result = container_setup("{}").with_request(|request| request.include_script_output = true);
    let pod = result.with_config(|config| config.solo = true).build();
    assert_eq!(pod["spec"]["containers"][0]["name"], "wait");
}
