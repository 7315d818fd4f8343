//! From a recorded Pod back to the input of `build`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tiphys_api::yaml::to_json;
use tiphys_api::{ArtifactRepository, Template, WorkflowSpec};
use tiphys_podspec::{ImageCommand, Input, Pod, PodConfig, Request, build};

use super::{Case, Corpus, text, variable};

impl Corpus {
    /// Our Pod for a recorded one.
    pub fn build(&self, case: &Case, pod: &Value) -> Result<Pod, String> {
        let containers =
            || ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
        let carried =
            containers().find_map(|container| variable(container, "ARGO_TEMPLATE")).ok_or("it carries no template")?;
        let mut template: Value = serde_json::from_str(carried).map_err(|error| error.to_string())?;
        let repository = repository(&mut template);
        disown(&mut template);
        let template: Template = serde_json::from_value(template).map_err(|error| error.to_string())?;
        let spec: WorkflowSpec = serde_json::from_value(case.spec.clone()).map_err(|error| error.to_string())?;

        let variables = variables(&spec);
        let substitute = |text: &str| Ok(replace(text, &variables));
        let volumes = volumes(&spec, &substitute);
        let main = containers().find(|container| container["name"] != json!("init")).ok_or("no container")?;
        let request = Request {
            node_id: text(&pod["annotations"]["workflows.argoproj.io/node-id"]).into(),
            node_name: text(&pod["annotations"]["workflows.argoproj.io/node-name"]).into(),
            pod_name: "{pod}".into(),
            template: Arc::new(template),
            boundary: None,
            on_exit: pod["labels"].get("workflows.argoproj.io/on-exit").is_some(),
            include_script_output: variable(main, "ARGO_INCLUDE_SCRIPT_OUTPUT") == Some("true"),
            deadline: None,
            active_deadline_seconds: pod["spec"]["activeDeadlineSeconds"].as_i64(),
            volumes,
            avoid_hosts: Vec::new(),
            trace: None,
        };
        let config = config(repository);
        let input = Input {
            workflow_name: "{wf}",
            namespace: "argo",
            workflow_uid: "{uid}",
            spec: &spec,
            request: &request,
            config: &config,
            substitute: &substitute,
        };
        build(&input).map_err(|error| error.to_string())
    }
}

/// The namespace that the corpus was recorded in.
fn config(artifact_repository: ArtifactRepository) -> PodConfig {
    let image = |entrypoint: &[&str], cmd: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ImageCommand { entrypoint: owned(entrypoint), cmd: owned(cmd) }
    };
    let images = [
        ("argoproj/argosay:v2", image(&["/argosay"], &[])),
        ("argoproj/argosay:v1", image(&[], &["cowsay"])),
        ("busybox", image(&[], &["sh"])),
        ("alpine:3.23", image(&[], &["sh"])),
        ("curlimages/curl:latest", image(&["/usr/bin/curl"], &[])),
        ("nginx:1.13", image(&[], &["nginx", "-g", "daemon off;"])),
    ];
    PodConfig {
        executor_image: "quay.io/argoproj/argoexec:v4.1.2".into(),
        executor_image_pull_policy: "IfNotPresent".into(),
        images: images.map(|(image, command)| (image.to_owned(), command)).into(),
        artifact_repository,
        ..PodConfig::default()
    }
}

/// The repository, which may be another than the default. An archive location that was made from it is taken out of the
/// template, so that we must make it.
fn repository(template: &mut Value) -> ArtifactRepository {
    let location = template["archiveLocation"].clone();
    let mut bucket = "my-bucket";
    if location["s3"]["key"] == json!("{wf}/{pod}") && location["s3"]["endpoint"] == json!("10.200.0.1:9000") {
        template.as_object_mut().unwrap().remove("archiveLocation");
        bucket = text(&location["s3"]["bucket"]);
    }
    let selector = |key: &str| json!({"name": "my-minio-cred", "key": key});
    serde_json::from_value(json!({
        "archiveLogs": true,
        "s3": {
            "endpoint": "10.200.0.1:9000",
            "bucket": bucket,
            "insecure": true,
            "accessKeySecret": selector("accesskey"),
            "secretKeySecret": selector("secretkey"),
        },
    }))
    .unwrap()
}

/// Takes the workflow's owner reference out of the manifest of a resource template, so that we must put it in.
fn disown(template: &mut Value) {
    let resource = &mut template["resource"];
    if resource["setOwnerReference"] == json!(true) {
        let mut manifest = to_json(text(&resource["manifest"])).unwrap();
        manifest["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        resource["manifest"] = json!(manifest.to_string());
    }
}

fn variables(spec: &WorkflowSpec) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> =
        [("workflow.name", "{wf}"), ("workflow.uid", "{uid}"), ("workflow.namespace", "argo"), ("pod.name", "{pod}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    for parameter in &spec.arguments.parameters {
        if let Some(value) = &parameter.value {
            variables.insert(format!("workflow.parameters.{}", parameter.name), value.to_string());
        }
    }
    variables
}

/// Values are put into JSON text, so they are escaped.
fn replace(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in variables {
        let value = json!(value).to_string();
        text = text.replace(&format!("{{{{{name}}}}}"), &value[1..value.len() - 1]);
    }
    text
}

fn volumes(spec: &WorkflowSpec, substitute: &dyn Fn(&str) -> Result<String, String>) -> Vec<Value> {
    let claims = spec.volume_claim_templates.iter().map(|claim| {
        let name = text(&claim["metadata"]["name"]);
        json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{{wf}}-{name}")}})
    });
    spec.volumes
        .iter()
        .map(|volume| serde_json::from_str(&substitute(&volume.to_string()).unwrap()).unwrap())
        .chain(claims)
        .collect()
}
