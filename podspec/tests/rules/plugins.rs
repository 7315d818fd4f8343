//! Artifact plugins.

use serde_json::json;
use tiphys_podspec::{ArtifactDriver, ImageCommand, Layout};

use crate::support::{Setup, carried, container, container_setup, mounts, names, variable, volume};

fn with_plugins(template: &str) -> Setup {
    container_setup(template).with_config(|config| {
        for name in ["one", "two"] {
            let driver = ArtifactDriver { image: format!("{name}:1"), connection_timeout_seconds: 7 };
            config.artifact_drivers.insert(name.into(), driver);
            config
                .images
                .insert(format!("{name}:1"), ImageCommand { entrypoint: vec![format!("/{name}")], cmd: vec![] });
        }
    })
}

fn plugin(name: &str, artifact: &str) -> String {
    format!("artifacts: [{{name: {artifact}, path: /{artifact}, plugin: {{name: {name}, configuration: c, key: k}}}}]")
}

fn both() -> Setup {
    with_plugins(&format!("inputs: {{{}}}\noutputs: {{{}}}", plugin("one", "in"), plugin("two", "out")))
}

#[test]
fn inputs_are_loaded_by_init_containers_and_outputs_saved_by_sidecars() {
    let pod = both().build();
    assert_eq!(names(&pod["spec"]["initContainers"]), ["init", "init-artifact-one"]);
    assert_eq!(names(&pod["spec"]["containers"]), ["wait", "main", "artifact-plugin-two"]);
    let options = ["--loglevel", "info", "--log-format", "text", "--gloglevel", "0", "--"];
    let command = |words: &[&str], end: &[&str]| json!([words, &options[..], end].concat());
    assert_eq!(
        container(&pod, "init-artifact-one")["command"],
        command(
            &["/var/run/argo/argoexec", "artifact-plugin-init", "--plugin-name", "one"],
            &["/one", "/tmp/artifact-plugins/one/socket"]
        )
    );
    assert_eq!(container(&pod, "init-artifact-one")["image"], json!("one:1"));
    let sidecar = container(&pod, "artifact-plugin-two");
    assert_eq!(
        sidecar["command"],
        command(&["/var/run/argo/argoexec", "artifact-plugin-sidecar"], &["/two", "/tmp/artifact-plugins/two/socket"])
    );
    assert_eq!(
        mounts(sidecar),
        [
            "/tmp/artifact-plugins/two=artifact-plugin-two",
            "/mainctrfs/in=input-artifacts/in",
            "/tmp/argo/outputs=tmp-dir-argo/argo/outputs",
            "/var/run/argo=var-run-argo",
        ]
    );
    let wait = container(&pod, "wait");
    assert_eq!(variable(wait, "ARGO_ARTIFACT_PLUGIN_NAMES"), Some("artifact-plugin-two"));
    assert!(mounts(wait).contains(&"/tmp/argo/outputs=tmp-dir-argo/argo/outputs".to_owned()));
    assert!(volume(&pod, "artifact-plugin-two").is_some() && volume(&pod, "artifact-plugin-one").is_none());
    assert_eq!(carried(&pod)["outputs"]["artifacts"][0]["plugin"]["connectionTimeoutSeconds"], json!(7));
}

#[test]
fn without_an_init_container_one_sidecar_does_both() {
    let pod = both().with_config(|config| config.layout = Layout::ImageVolume).build();
    assert_eq!(pod["spec"].get("initContainers"), None);
    assert_eq!(names(&pod["spec"]["containers"]), ["supervisor", "main", "artifact-plugin-one", "artifact-plugin-two"]);
    let supervisor = container(&pod, "supervisor");
    assert_eq!(variable(supervisor, "ARGO_ARTIFACT_PLUGIN_NAMES"), Some("artifact-plugin-one,artifact-plugin-two"));
    assert_eq!(variable(supervisor, "ARGO_INPUT_ARTIFACT_PLUGIN_NAMES"), Some("one"));
    let sidecar = container(&pod, "artifact-plugin-one");
    assert_eq!(sidecar["command"][0], json!("/argo-bin/bin/argoexec"));
    assert_eq!(
        mounts(sidecar)[..3],
        [
            "/tmp/artifact-plugins/one=artifact-plugin-one",
            "/argo-bin=argoexec-bin:ro",
            "/argo/inputs/artifacts=input-artifacts"
        ]
    );
    let paths: Vec<String> =
        mounts(supervisor).iter().map(|mount| mount.split('=').next().unwrap().to_owned()).collect();
    let distinct: std::collections::BTreeSet<&String> = paths.iter().collect();
    assert_eq!(distinct.len(), paths.len(), "{paths:?}");
}

#[test]
fn an_artifact_without_a_plugin_takes_the_archives() {
    let repository = |archive_logs| tiphys_api::ArtifactRepository {
        archive_logs,
        plugin: Some(Box::new(tiphys_api::PluginArtifactRepository { name: "one".into(), ..Default::default() })),
        ..Default::default()
    };
    let configured = with_plugins("{}").with_config(|config| config.artifact_repository = repository(Some(true)));
    let asked = with_plugins("{}")
        .with_spec("archiveLogs: true")
        .with_config(|config| config.artifact_repository = repository(None));
    for pod in [configured.build(), asked.build()] {
        assert_eq!(names(&pod["spec"]["containers"]), ["wait", "main", "artifact-plugin-one"]);
        assert_eq!(carried(&pod)["archiveLocation"]["plugin"]["key"], json!("wf/wf-step-1"));
    }
    let silent = with_plugins("{}").with_config(|config| config.artifact_repository = repository(None)).build();
    assert_eq!(names(&silent["spec"]["containers"]), ["wait", "main"]);
}

#[test]
fn unknown_plugins_are_named() {
    let setup = container_setup(&format!("outputs: {{{}}}", plugin("three", "out")));
    assert_eq!(setup.error(), "artifact driver three not found");
}
