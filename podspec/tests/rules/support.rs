//! A small workflow around the template under test.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tiphys_api::{Template, WorkflowSpec};
use tiphys_podspec::{Error, ImageCommand, Input, Pod, PodConfig, Request, build};

/// A template, a spec, a configuration and a request that can be changed before the Pod is built.
pub struct Setup {
    pub spec: WorkflowSpec,
    pub config: PodConfig,
    pub request: Request,
    /// Values of template tags.
    pub variables: BTreeMap<String, String>,
}

/// A setup for a template in YAML.
pub fn setup(template: &str) -> Setup {
    let template: Template = read(template);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Setup {
        spec: WorkflowSpec::default(),
        config: PodConfig {
            executor_image: "executor:1".into(),
            images: [(
                "known".to_owned(),
                ImageCommand { entrypoint: vec!["/entry".into()], cmd: vec!["word".into()] },
            )]
            .into(),
            ..PodConfig::default()
        },
        request: Request {
            node_id: "wf-1".into(),
            node_name: "wf.step".into(),
            pod_name: "wf-step-1".into(),
            template: Arc::new(template),
            ..Request::default()
        },
        variables: [pair("workflow.name", "wf"), pair("pod.name", "wf-step-1")].into(),
    }
}

/// A container template, to which YAML can be added.
pub fn container_setup(more: &str) -> Setup {
    setup("{name: step, container: {image: busybox, command: [sh]}}").with_template(more)
}

impl Setup {
    /// Adds top-level fields to the template.
    pub fn with_template(mut self, more: &str) -> Setup {
        let mut template = json!(*self.request.template);
        if let Value::Object(more) = tiphys_api::yaml::to_json(more).unwrap() {
            template.as_object_mut().unwrap().extend(more);
        }
        self.request.template = Arc::new(serde_json::from_value(template).unwrap());
        self
    }

    /// Sets the workflow's spec.
    pub fn with_spec(mut self, spec: &str) -> Setup {
        self.spec = read(spec);
        self
    }

    /// Changes the configuration.
    pub fn with_config(mut self, change: impl FnOnce(&mut PodConfig)) -> Setup {
        change(&mut self.config);
        self
    }

    /// Changes the request.
    pub fn with_request(mut self, change: impl FnOnce(&mut Request)) -> Setup {
        change(&mut self.request);
        self
    }

    /// Builds, or says why not.
    pub fn try_build(&self) -> Result<Pod, Error> {
        let substitute = |text: &str| {
            let mut text = text.to_owned();
            for (name, value) in &self.variables {
                let value = json!(value).to_string();
                text = text.replace(&format!("{{{{{name}}}}}"), &value[1..value.len() - 1]);
            }
            Ok(text)
        };
        build(&Input {
            workflow_name: "wf",
            namespace: "ns",
            workflow_uid: "uid",
            spec: &self.spec,
            request: &self.request,
            config: &self.config,
            substitute: &substitute,
        })
    }

    /// The Pod as Kubernetes takes it.
    pub fn build(&self) -> Value {
        self.try_build().unwrap().to_value()
    }

    /// The message of the error.
    pub fn error(&self) -> String {
        self.try_build().unwrap_err().to_string()
    }
}

/// A typed value in YAML.
pub fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(tiphys_api::yaml::to_json(text).unwrap()).unwrap()
}

/// The container of that name, init container or not.
pub fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    all.into_iter().find(|container| container["name"] == json!(name)).unwrap_or_else(|| panic!("no container {name}"))
}

/// Names of containers or volumes.
pub fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap()).collect()
}

/// Mounts of a container as `path=volume[/sub path][:ro]`.
pub fn mounts(container: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| {
            let sub = mount.get("subPath").map(|sub| format!("/{}", text(sub))).unwrap_or_default();
            let read_only = if mount["readOnly"] == json!(true) { ":ro" } else { "" };
            format!("{}={}{sub}{read_only}", text(&mount["mountPath"]), text(&mount["name"]))
        })
        .collect()
}

/// The value of a variable; None where there is no such variable or it has no value.
pub fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"].as_array()?.iter().rfind(|variable| variable["name"] == json!(name))?["value"].as_str()
}

/// The template that the Pod carries.
pub fn carried(pod: &Value) -> Value {
    let all = ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    let text = all.into_iter().find_map(|container| variable(container, "ARGO_TEMPLATE")).unwrap();
    serde_json::from_str(text).unwrap()
}

/// The volume of that name.
pub fn volume<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    pod["spec"]["volumes"].as_array()?.iter().find(|volume| volume["name"] == json!(name))
}
