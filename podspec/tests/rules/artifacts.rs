//! Artifacts, volumes, Secrets and where outputs go.

use serde_json::{Value, json};

use crate::support::{carried, container, container_setup, mounts, names, read, setup, volume};

const S3: &str = "{endpoint: e, bucket: b, accessKeySecret: {name: s3, key: a}, secretKeySecret: {name: s3, key: s}}";

fn in_volume(more: &str) -> crate::support::Setup {
    let container =
        "container: {image: i, command: [c], volumeMounts: [{name: work, mountPath: /work, readOnly: true}]}";
    container_setup(&format!("{container}\nvolumes: [{{name: work, emptyDir: {{}}}}]\n{more}"))
}

#[test]
fn an_input_in_a_volume_is_written_there() {
    let pod = in_volume(
        "inputs: {artifacts: [{name: in, path: /work/in, raw: {data: x}}, {name: out, path: /tmp//./out/, raw: {data: x}}]}",
    )
    .build();
    assert_eq!(
        mounts(container(&pod, "main")),
        ["/work=work:ro", "/tmp/out=input-artifacts/out", "/var/run/argo=var-run-argo"]
    );
    assert_eq!(
        mounts(container(&pod, "init")),
        ["/argo/inputs/artifacts=input-artifacts", "/mainctrfs/work=work:ro", "/var/run/argo=var-run-argo"]
    );
    assert_eq!(
        mounts(container(&pod, "wait")),
        [
            "/mainctrfs/work=work",
            "/mainctrfs/tmp/out=input-artifacts/out",
            "/tmp=tmp-dir-argo/0",
            "/var/run/argo=var-run-argo"
        ]
    );
}

#[test]
fn an_optional_input_that_was_not_given_is_not_mounted() {
    let pod = in_volume(
        "inputs: {artifacts: [{name: a, path: /a, optional: true}, {name: b, path: /b, optional: true, s3: {key: k}}]}",
    )
    .build();
    assert_eq!(
        mounts(container(&pod, "main")),
        ["/work=work:ro", "/b=input-artifacts/b", "/var/run/argo=var-run-argo"]
    );
}

#[test]
fn paths_stay_where_they_say() {
    let error = |path: &str| {
        in_volume(&format!("inputs: {{artifacts: [{{name: a, path: '{path}', raw: {{data: x}}}}]}}")).error()
    };
    let escapes = "error in inputs.artifacts.a: Artifact 'a' attempted to use a path containing '..'. Directory traversal is not permitted";
    assert_eq!(error("/safe/../../etc"), escapes);
    assert_eq!(error("/safe/x/../../y"), escapes);
    assert_eq!(error("/safe/.."), escapes);
    assert_eq!(error(""), "error in inputs.artifacts.a: Artifact 'a' did not specify a path");
}

#[test]
fn only_volumes_that_are_mounted_are_taken_from_the_workflow() {
    let offered = vec![
        json!({"name": "a", "emptyDir": {}}),
        json!({"name": "b", "emptyDir": {}}),
        json!({"name": "c", "emptyDir": {}}),
    ];
    let template = "initContainers: [{name: i, image: i, volumeMounts: [{name: a, mountPath: /a}]}]\n\
                    sidecars: [{name: s, image: known, volumeMounts: [{name: c, mountPath: /c}]}]";
    let pod = in_volume(template).with_request(|request| request.volumes = offered.clone()).build();
    assert_eq!(names(&pod["spec"]["volumes"]), ["var-run-argo", "tmp-dir-argo", "work", "a", "c"]);
    assert_eq!(in_volume(template).error(), "volume 'a' not found in workflow spec");
}

#[test]
fn user_containers_may_mirror_mains_mounts() {
    let user = |name: &str, mirror: bool| format!("{{name: {name}, image: known, mirrorVolumeMounts: {mirror}}}");
    let pod = in_volume(&format!(
        "initContainers: [{}, {}]\nsidecars: [{}, {}]",
        user("i1", true),
        user("i2", false),
        user("s1", true),
        user("s2", false)
    ))
    .build();
    assert_eq!(names(&pod["spec"]["initContainers"]), ["init", "i1", "i2"]);
    assert_eq!(names(&pod["spec"]["containers"]), ["wait", "main", "s1", "s2"]);
    let shared = "/var/run/argo=var-run-argo";
    assert_eq!(mounts(container(&pod, "i1")), ["/work=work:ro", shared]);
    assert_eq!(mounts(container(&pod, "i2")), [shared]);
    assert_eq!(mounts(container(&pod, "s1")), ["/work=work:ro", shared]);
    assert_eq!(mounts(container(&pod, "s2")), [shared]);
    assert_eq!(container(&pod, "i1").get("mirrorVolumeMounts"), None);
}

#[test]
fn secrets_of_artifacts_become_volumes() {
    let template = format!(
        "inputs: {{artifacts: [{{name: i, path: /i, git: {{repo: r, sshPrivateKeySecret: {{name: ssh, key: id}}}}}}, \
         {{name: h, path: /h, http: {{url: u, auth: {{oauth2: {{clientIDSecret: {{name: web, key: id}}}}, basicAuth: {{passwordSecret: {{name: web, key: pw}}}}}}}}}}]}}\n\
         outputs: {{artifacts: [{{name: o, path: /o, s3: {S3}}}]}}\n\
         archiveLocation: {{s3: {{endpoint: e, bucket: b, key: k, accessKeySecret: {{name: s3, key: a}}, caSecret: {{name: ca, key: pem}}, \
         encryptionOptions: {{enableEncryption: true, serverSideCustomerKeySecret: {{name: sse, key: k}}}}}}}}"
    );
    let pod = container_setup(&template).build();
    let keys = |name: &str| -> Vec<String> {
        volume(&pod, name).unwrap()["secret"]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| format!("{}={}", item["key"].as_str().unwrap(), item["path"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(keys("s3"), ["a=a", "s=s"]);
    assert_eq!(keys("ssh"), ["id=id"]);
    assert_eq!(keys("web"), ["pw=pw", "id=id"]);
    assert_eq!(keys("ca"), ["pem=pem"]);
    assert_eq!(keys("sse"), ["k=k"]);
    for name in ["init", "wait"] {
        assert_eq!(mounts(container(&pod, name))[..2], ["/argo/secret/ca=ca:ro", "/argo/secret/s3=s3:ro"]);
    }
    assert!(mounts(container(&pod, "main")).iter().all(|mount| !mount.contains("/argo/secret")));
}

#[test]
fn the_repository_says_where_outputs_go() {
    let location = |repository: &str| -> Value {
        let setup = container_setup("outputs: {artifacts: [{name: o, path: /o}]}")
            .with_config(|config| config.artifact_repository = read(repository));
        carried(&setup.build())["archiveLocation"].clone()
    };
    for (repository, expected) in [
        ("{s3: {bucket: b}}", json!({"archiveLogs": false, "s3": {"bucket": "b", "key": "wf/wf-step-1"}})),
        (
            "{s3: {bucket: b, keyPrefix: p/}}",
            json!({"archiveLogs": false, "s3": {"bucket": "b", "key": "p/wf/wf-step-1"}}),
        ),
        (
            "{s3: {bucket: b, keyFormat: 'x/{{pod.name}}'}}",
            json!({"archiveLogs": false, "s3": {"bucket": "b", "key": "x/wf-step-1"}}),
        ),
        (
            "{gcs: {bucket: b}, archiveLogs: true}",
            json!({"archiveLogs": true, "gcs": {"bucket": "b", "key": "wf/wf-step-1"}}),
        ),
        (
            "{oss: {bucket: b, endpoint: e}}",
            json!({"archiveLogs": false, "oss": {"bucket": "b", "endpoint": "e", "key": "wf/wf-step-1"}}),
        ),
        (
            "{azure: {endpoint: e, container: c}}",
            json!({"archiveLogs": false, "azure": {"blob": "wf/wf-step-1", "container": "c", "endpoint": "e"}}),
        ),
        (
            "{hdfs: {addresses: [a], force: true}}",
            json!({"archiveLogs": false, "hdfs": {"addresses": ["a"], "force": true, "path": "wf/wf-step-1"}}),
        ),
        (
            "{artifactory: {repoURL: 'http://a'}}",
            json!({"archiveLogs": false, "artifactory": {"url": "http://a/wf/wf-step-1"}}),
        ),
        ("{}", json!({"archiveLogs": false})),
        ("{gcs: {bucket: b, keyFormat: own}}", json!({"archiveLogs": false, "gcs": {"bucket": "b", "key": "own"}})),
        (
            "{oss: {bucket: b, endpoint: e, keyFormat: own}}",
            json!({"archiveLogs": false, "oss": {"bucket": "b", "endpoint": "e", "key": "own"}}),
        ),
        (
            "{azure: {endpoint: e, container: c, blobNameFormat: own}}",
            json!({"archiveLogs": false, "azure": {"blob": "own", "container": "c", "endpoint": "e"}}),
        ),
        (
            "{hdfs: {addresses: [a], pathFormat: own}}",
            json!({"archiveLogs": false, "hdfs": {"addresses": ["a"], "path": "own"}}),
        ),
        (
            "{artifactory: {repoURL: 'http://a/', keyFormat: own}}",
            json!({"archiveLogs": false, "artifactory": {"url": "http://a/own"}}),
        ),
    ] {
        assert_eq!(location(repository), expected, "{repository}");
    }
    let error = container_setup("outputs: {artifacts: [{name: o, path: /o}]}")
        .with_config(|config| {
            config.artifact_repository = read("{s3: {bucket: b, keyFormat: 'x/{{workflow.labels.team}}'}}")
        })
        .error();
    assert_eq!(error, "failed to resolve {{workflow.labels.team}} in the location of archived outputs");
}

#[test]
fn a_location_is_made_only_where_something_is_archived() {
    let has_location = |template: &str, spec: &str, logs: bool| {
        let setup = container_setup(template).with_spec(spec).with_config(|config| config.archive_logs = logs);
        carried(&setup.build())["archiveLocation"]["archiveLogs"].as_bool()
    };
    assert_eq!(has_location("{}", "{}", false), None);
    assert_eq!(has_location("{}", "{}", true), Some(true));
    assert_eq!(has_location("{}", "archiveLogs: true", false), Some(true));
    assert_eq!(has_location("archiveLocation: {archiveLogs: false}", "archiveLogs: true", false), Some(false));
    assert_eq!(has_location("archiveLocation: {archiveLogs: true}", "archiveLogs: false", false), Some(true));
    assert_eq!(has_location("archiveLocation: {archiveLogs: false}", "archiveLogs: false", true), Some(true));
    let full = "outputs: {artifacts: [{name: o, path: /o, s3: {endpoint: e, bucket: b, key: k}}]}";
    assert_eq!(has_location(full, "{}", false), None);
    let own = "archiveLocation: {s3: {endpoint: e, bucket: own, key: k}}\noutputs: {artifacts: [{name: o, path: /o}]}";
    assert_eq!(carried(&container_setup(own).build())["archiveLocation"]["s3"]["bucket"], json!("own"));
}

#[test]
fn a_data_template_reads_with_its_own_secrets() {
    let pod = setup(&format!(
        "{{name: d, data: {{source: {{artifactPaths: {{name: a, s3: {S3}}}}}, transformation: [{{expression: x}}]}}}}"
    ))
    .build();
    assert_eq!(names(&pod["spec"]["containers"]), ["main"]);
    let main = container(&pod, "main");
    assert_eq!(mounts(main)[0], "/argo/secret/s3=s3:ro");
    let data: Value = serde_json::from_str(main["command"][11].as_str().unwrap()).unwrap();
    assert_eq!(data["transformation"], json!([{"expression": "x"}]));
    assert_eq!(crate::support::variable(main, "ARGO_INCLUDE_SCRIPT_OUTPUT"), Some("true"));
}
