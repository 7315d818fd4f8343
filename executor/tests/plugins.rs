//! Artifact plugins as real processes: a gRPC server of another program at a unix socket, and the executor's sides of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use apiserver::ApiServer;
use pod::{Pod, code, finish, run, signal, text, until};
use serde_json::{Value, json};

/// A Pod beside a plugin named `p` that keeps its artifacts in a folder.
struct Plugged {
    pod: Pod,
    store: PathBuf,
}

impl Plugged {
    fn new(template: Value) -> Self {
        let pod = Pod::new(&template.to_string());
        let store = pod.root().join("store");
        fs::create_dir_all(&store).unwrap();
        Self { pod, store }
    }

    fn put(&self, key: &str, content: &str) {
        let path = self.store.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn kept(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.store.join(key)).ok()
    }

    fn socket(&self) -> PathBuf {
        self.pod.paths.plugins.join("p/socket")
    }

    /// A sub-command that runs the plugin's server.
    fn with_server(&self, words: &[&str], mode: &str) -> Command {
        let mut command = self.pod.executor(words);
        command.arg("--").arg(plugin()).arg(&self.store).arg(mode).arg(self.socket());
        command.env("ARGO_CONTAINER_NAME", "artifact-plugin-p");
        command
    }

    fn sidecar(&self, mode: &str) -> Child {
        fs::create_dir_all(self.socket().parent().unwrap()).unwrap();
        self.with_server(&["artifact-plugin-sidecar", "--loglevel", "info"], mode).spawn().unwrap()
    }

    /// Lets the server's container end, as `wait` does.
    fn end(&self, sidecar: Child) {
        assert_eq!(code(&finish(sidecar)), 0);
        assert_eq!(self.pod.exit_code("artifact-plugin-p").as_deref(), Some("143"), "SIGTERM came by the mailbox");
    }
}

/// The example `artifact_plugin`, which Cargo builds next to the tests.
fn plugin() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/artifact_plugin")
}

fn by_plugin(name: &str, key: &str) -> Value {
    json!({"name": name, "path": format!("/in/{name}"),
        "plugin": {"name": "p", "key": key, "configuration": "conf", "connectionTimeoutSeconds": 5}})
}

#[test]
fn inputs_are_loaded_from_within_the_plugins_container() {
    let inputs = [
        by_plugin("file", "a"),
        by_plugin("folder", "dir"),
        json!({"name": "raw", "path": "/in/raw", "raw": {"data": "x"}}),
        json!({"name": "late", "path": "/in/late", "optional": true,
            "plugin": {"name": "p", "key": "gone", "configuration": "conf"}}),
        json!({"name": "other", "path": "/in/other", "plugin": {"name": "q", "key": "k", "configuration": "conf"}}),
    ];
    let plugged = Plugged::new(json!({"container": {"image": "x"}, "inputs": {"artifacts": inputs}}));
    plugged.put("a", "content");
    plugged.put("dir/b", "deep");
    let words = ["artifact-plugin-init", "--plugin-name", "p", "--loglevel", "info"];
    let output = run(plugged.with_server(&words, "stream"));
    assert_eq!(code(&output), 0, "{} {}", plugged.pod.message(), text(&output.stderr));
    let loaded = &plugged.pod.paths.input_artifacts;
    assert_eq!(fs::read_to_string(loaded.join("file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(loaded.join("folder/b")).unwrap(), "deep");
    for name in ["raw", "late", "other"] {
        assert!(!loaded.join(name).exists(), "{name} is not this plugin's matter");
    }
}

#[test]
fn init_leaves_plugins_inputs_and_brings_the_program_that_loads_them() {
    let inputs = [by_plugin("file", "a"), json!({"name": "raw", "path": "/in/raw", "raw": {"data": "x"}})];
    let plugged = Plugged::new(json!({"container": {"image": "x"}, "inputs": {"artifacts": inputs}}));
    let output = run(plugged.pod.executor(&["init", "--loglevel", "info"]));
    assert_eq!(code(&output), 0, "{}", plugged.pod.message());
    let loaded = &plugged.pod.paths.input_artifacts;
    assert!(loaded.join("raw").is_file() && !loaded.join("file").exists());
    let delivered = fs::metadata(plugged.pod.paths.emissary()).unwrap().len();
    assert_eq!(delivered, fs::metadata(plugin().with_file_name("rooted")).unwrap().len());
}

#[test]
fn a_plugin_that_fails_is_told() {
    for (key, mode, message) in [
        ("broken", "stream", "artifact file failed to load: plugin p load failed: it is broken"),
        ("gone", "stream", "artifact file failed to load: plugin p:gone does not exist"),
        ("a", "dies", "plugin \"p\" cannot be used: its server ended before there was a socket: exit status: 3"),
    ] {
        let plugged =
            Plugged::new(json!({"container": {"image": "x"}, "inputs": {"artifacts": [by_plugin("file", key)]}}));
        let output = run(plugged.with_server(&["artifact-plugin-init", "--plugin-name", "p"], mode));
        assert_eq!((code(&output), plugged.pod.message().as_str()), (64, message));
    }
    let plugged = Plugged::new(json!({"container": {"image": "x"}}));
    let output = run(plugged.with_server(&["artifact-plugin-init", "--plugin-name", "../p"], "stream"));
    assert_eq!(code(&output), 64);
    assert_eq!(plugged.pod.message(), "--plugin-name \"../p\" is no name of a plugin");
}

/// Outputs of each kind, saved by `wait` through a sidecar.
fn outputs_are_saved(mode: &str) {
    let plugged = Plugged::new(json!({}));
    let pod = &plugged.pod;
    let repository = json!({"archiveLogs": true, "plugin": {"name": "p", "key": "wf/pod", "configuration": "conf"}});
    let template = json!({"name": "t", "container": {"image": "x"}, "archiveLocation": repository, "outputs": {
    "artifacts": [
        {"name": "tar", "path": pod.at("tar")},
        {"name": "plain", "path": pod.at("plain"), "archive": {"none": {}}},
        {"name": "folder", "path": pod.at("folder"), "archive": {"none": {}},
            "plugin": {"name": "p", "key": "own/folder", "configuration": "conf"}},
        {"name": "zip", "path": pod.at("plain"), "archive": {"zip": {}}},
    ]}});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    let sidecar = plugged.sidecar(mode);
    until("the server is there", || plugged.socket().exists());
    // The kubelet's SIGTERM must not end it.
    signal(&sidecar, 15);
    let own = pod.root().join("own");
    let script = format!(
        "mkdir -p {0}/folder; echo large > {0}/tar; head -c 3000000 /dev/zero >> {0}/tar; echo plain > {0}/plain; \
         echo deep > {0}/folder/x; echo logged",
        own.display()
    );
    assert_eq!(code(&run(pod.emissary("main", &script))), 0, "{}", pod.message());
    let result = pod.root().join("result.json");
    let mut wait = pod.executor(&["wait", "--loglevel", "info"]);
    wait.env("TIPHYS_RESULT_SINK", format!("file:{}", result.display()));
    wait.env("ARGO_ARTIFACT_PLUGIN_NAMES", "artifact-plugin-p");
    let output = run(wait);
    assert_eq!(code(&output), 0, "{} {}", pod.message(), text(&output.stderr));
    plugged.end(sidecar);
    assert!(plugged.kept("wf/pod/tar.tgz").unwrap().starts_with(&[0x1f, 0x8b]), "tar in gzip");
    assert_eq!(plugged.kept("wf/pod/plain").unwrap(), b"plain\n");
    assert_eq!(plugged.kept("own/folder/x").unwrap(), b"deep\n");
    assert!(plugged.kept("wf/pod/zip.zip").unwrap().starts_with(b"PK"));
    assert_eq!(plugged.kept("wf/pod/main.log").unwrap(), b"logged\n");
    let body: Value = serde_json::from_slice(&fs::read(result).unwrap()).unwrap();
    let reported = body["outputs"]["artifacts"].as_array().unwrap();
    assert_eq!(reported[0]["plugin"]["key"], "wf/pod/tar.tgz");
    let staging = pod.paths.scratch.join("argo/outputs/artifacts");
    assert!(fs::read_dir(staging).map_or(0, Iterator::count) == 0, "nothing is left behind");
}

#[test]
fn outputs_are_saved_as_streams() {
    outputs_are_saved("stream");
}

#[test]
fn outputs_are_saved_by_plugins_that_know_files_only() {
    outputs_are_saved("nostream");
}

#[test]
fn plugins_list_and_delete() {
    let source = json!({"name": "data", "plugin": {"name": "p", "key": "dir", "configuration": "conf"}});
    let plugged = Plugged::new(json!({"name": "t", "data": {"source": {"artifactPaths": source}}}));
    for key in ["dir/a", "dir/b", "wf/x", "wf/broken"] {
        plugged.put(key, "x");
    }
    let sidecar = plugged.sidecar("stream");
    let result = plugged.pod.root().join("result.json");
    let mut data = plugged.pod.executor(&["data"]);
    data.env("TIPHYS_RESULT_SINK", format!("file:{}", result.display()));
    assert_eq!(code(&run(data)), 0, "{}", plugged.pod.message());
    let body: Value = serde_json::from_slice(&fs::read(result).unwrap()).unwrap();
    assert_eq!(body["outputs"]["result"], "[\"dir/a\",\"dir/b\"]");

    let server = ApiServer::start();
    let tasks = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowartifactgctasks";
    let artifacts = json!({"x": by_plugin("x", "wf/x"), "broken": by_plugin("broken", "wf/broken")});
    server.put(
        tasks,
        json!({"metadata": {"name": "t", "labels": {"workflows.argoproj.io/artifact-gc-pod": "hash"}},
            "spec": {"artifactsByNode": {"n": {"artifacts": artifacts}}}}),
    );
    let url = server.url();
    let mut delete = plugged.pod.executor(&["artifact", "delete", "--server", &url, "-n", "argo"]);
    delete.env("ARGO_ARTIFACT_POD_NAME", "hash").env("ARGO_ARTIFACT_PLUGIN_NAMES", "artifact-plugin-p");
    assert_eq!(code(&run(delete)), 0, "{}", plugged.pod.message());
    plugged.end(sidecar);
    assert_eq!((plugged.kept("wf/x"), plugged.kept("wf/broken").is_some()), (None, true));
    let results =
        &server.object(&format!("{tasks}/t")).unwrap()["status"]["artifactResultsByNode"]["n"]["artifactResults"];
    assert_eq!(results["x"]["success"], true);
    assert_eq!(results["broken"]["error"], "plugin p delete failed: it is broken");
}
