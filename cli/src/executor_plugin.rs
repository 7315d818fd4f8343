//! `tiphys executor-plugin build`: the ConfigMap that declares an executor plugin, from the folder of its sources.
//! argo: cmd/argo/commands/executorplugin, workflow/util/plugin/configmap.go.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tiphys_api::{ExecutorPlugin, yaml};
use tiphys_engine::validate::executor_plugin_mistake;

use crate::args::ExecutorPluginCommand;
use crate::failure::Failure;
use crate::output;

const MANIFEST: &str = "plugin.yaml";

/// Does what is asked for with a plugin.
pub fn executor_plugin(command: ExecutorPluginCommand) -> Result<(), Failure> {
    let ExecutorPluginCommand::Build { folder } = command;
    let manifest = folder.join(MANIFEST);
    let text = fs::read_to_string(&manifest).map_err(|error| cannot("read", &manifest, error))?;
    let plugin = plugin(&text, server(&folder)?)
        .map_err(|reason| Failure::invalid(Some(format!("{}: {reason}", manifest.display()))))?;
    let name = format!("{}-executor-plugin", plugin["metadata"]["name"].as_str().unwrap_or_default());
    let map = config_map(&plugin, &name);
    let made = [
        (
            format!("{name}-configmap.yaml"),
            format!("# This is an auto-generated file. DO NOT EDIT\n{}", yaml::print(&map)),
        ),
        ("README.md".to_owned(), readme(&plugin, &name)),
    ];
    for (file, text) in made {
        let path = folder.join(file);
        fs::write(&path, text).map_err(|error| cannot("write", &path, error))?;
        output::print(&format!("{} created\n", path.display()));
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::usage(format!("cannot {what} {}: {error}", path.display()))
}

/// The plugin's program, where it lies beside the manifest: the one file `server.*`.
fn server(folder: &Path) -> Result<Option<String>, Failure> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let paths = entries.map_err(|error| cannot("read", folder, error))?.into_iter().map(|entry| entry.path());
    let is_server = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("server."));
    let servers: Vec<PathBuf> = paths.filter(is_server).collect();
    match &servers[..] {
        [] => Ok(None),
        [one] => fs::read_to_string(one).map(Some).map_err(|error| cannot("read", one, error)),
        _ => Err(Failure::usage(format!("{}: there is more than one server.* file", folder.display()))),
    }
}

/// The manifest, checked, with the program as the container's argument.
fn plugin(manifest: &str, server: Option<String>) -> Result<Value, String> {
    let mut plugin = yaml::to_json(manifest).map_err(|error| error.to_string())?;
    let known = |value: &Value, path: &str, fields: &[&str]| {
        let unknown = value.as_object().into_iter().flatten().map(|(name, _)| name);
        match unknown.into_iter().find(|name| !fields.contains(&name.as_str())) {
            Some(name) => Err(format!("unknown field {path}{name}")),
            None => Ok(()),
        }
    };
    known(&plugin, "", &["apiVersion", "kind", "metadata", "spec"])?;
    known(&plugin["spec"], "spec.", &["sidecar"])?;
    known(&plugin["spec"]["sidecar"], "spec.sidecar.", &["automountServiceAccountToken", "container"])?;
    if plugin["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return Err("metadata.name is missing".to_owned());
    }
    if let (Some(server), Value::Object(container)) = (server, &mut plugin["spec"]["sidecar"]["container"]) {
        container.insert("args".to_owned(), json!([server]));
    }
    let typed: ExecutorPlugin = serde_json::from_value(plugin.clone()).map_err(|error| error.to_string())?;
    match executor_plugin_mistake(&typed) {
        Some(mistake) => Err(format!("sidecar is invalid: {mistake}")),
        None => Ok(plugin),
    }
}

fn config_map(plugin: &Value, name: &str) -> Value {
    let (metadata, sidecar) = (&plugin["metadata"], &plugin["spec"]["sidecar"]);
    let mut made = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"workflows.argoproj.io/configmap-type": plugin["kind"]}},
        "data": {
            "sidecar.automountServiceAccountToken": sidecar["automountServiceAccountToken"].as_bool().unwrap_or_default().to_string(),
            "sidecar.container": yaml::print(&sidecar["container"]),
        },
    });
    for field in ["annotations", "labels"] {
        for (name, value) in metadata[field].as_object().into_iter().flatten() {
            made["metadata"][field][name] = value.clone();
        }
    }
    if let Some(namespace) = metadata["namespace"].as_str().filter(|namespace| !namespace.is_empty()) {
        made["metadata"]["namespace"] = namespace.into();
    }
    made
}

fn readme(plugin: &Value, map: &str) -> String {
    let metadata = &plugin["metadata"];
    let annotation = |name: &str| metadata["annotations"][name].as_str().unwrap_or_default();
    let name = metadata["name"].as_str().unwrap_or_default();
    let image = plugin["spec"]["sidecar"]["container"]["image"].as_str().unwrap_or_default();
    let (version, description) =
        (annotation("workflows.argoproj.io/version"), annotation("workflows.argoproj.io/description"));
    format!(
        "<!-- This is an auto-generated file. DO NOT EDIT -->\n# {name}\n\n* Needs: {version}\n* Image: {image}\n\n\
         {description}\n\nInstall:\n\n    kubectl apply -f {map}-configmap.yaml\n\nUninstall:\n\n    kubectl delete cm {map}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "
kind: ExecutorPlugin
apiVersion: argoproj.io/v1alpha1
metadata:
  name: hello
  annotations: {workflows.argoproj.io/description: Says hello., workflows.argoproj.io/version: '>= v3.3'}
spec:
  sidecar:
    container:
      name: hello
      image: python
      command: [python, -u, -c]
      ports: [{containerPort: 4355}]
      securityContext: {runAsNonRoot: true}
      resources: {requests: {cpu: 1m}, limits: {cpu: 1m}}
";

    #[test]
    fn a_folder_becomes_a_config_map() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plugin.yaml"), MANIFEST).unwrap();
        fs::write(folder.path().join("server.py"), "print(1)\n").unwrap();
        let build = || executor_plugin(ExecutorPluginCommand::Build { folder: folder.path().to_owned() });
        build().unwrap();
        let text = fs::read_to_string(folder.path().join("hello-executor-plugin-configmap.yaml")).unwrap();
        let map = yaml::to_json(&text).unwrap();
        assert_eq!(map["metadata"]["labels"], json!({"workflows.argoproj.io/configmap-type": "ExecutorPlugin"}));
        assert_eq!(map["metadata"]["annotations"]["workflows.argoproj.io/version"], ">= v3.3");
        assert_eq!(map["data"]["sidecar.automountServiceAccountToken"], "false");
        let container = yaml::to_json(map["data"]["sidecar.container"].as_str().unwrap()).unwrap();
        assert_eq!((&container["image"], &container["args"]), (&json!("python"), &json!(["print(1)\n"])));
        let readme = fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(readme.contains("# hello\n\n* Needs: >= v3.3\n* Image: python\n\nSays hello.\n"), "{readme}");
        fs::write(folder.path().join("server.js"), "").unwrap();
        assert!(build().unwrap_err().message().is_some_and(|words| words.contains("more than one server.*")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, expected) in [
            ("ports: [{containerPort: 4355}]", "", "sidecar is invalid: at least one port is mandatory"),
            ("sidecar:", "sideCar:", "unknown field spec.sideCar"),
            ("name: hello\n  ann", "ann", "metadata.name is missing"),
        ] {
            assert_eq!(plugin(&MANIFEST.replacen(from, to, 1), None).unwrap_err(), expected);
        }
    }
}
