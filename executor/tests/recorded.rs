//! Pods as Argo's controller made them, run with this executor: its commands, environment and mounts as recorded, in
//! containers, with a Kubernetes API on TLS and an S3 server. What the executor reports is compared with what argoexec
//! reported of the same Pod.
//!
//! The recordings are the corpus: `TIPHYS_CORPUS`, or `../shared/corpus` beside the project. Without it nothing is run.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use apiserver::{ApiServer, tls};
use pod::store::Store;
use serde_json::{Value, json};
use tiphys_sandbox::{ContainerSpec, Event, Mount, Rootfs, Sandbox, SandboxSpec};

/// Programs of the recorded images that a machine may lack, and a script that does as much as matters here.
const STAND_INS: [(&str, &str); 4] = [
    ("python", "exec python3 \"$@\""),
    ("cowsay", "echo \"$@\""),
    ("nginx", "echo serving"),
    // What is slept through makes no difference to the results.
    ("sleep", "exit 0"),
];
/// No Pod takes this long on a machine that works.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if tiphys_sandbox::is_sandbox_process() {
        return tiphys_sandbox::sandbox_main();
    }
    let Some(corpus) = corpus() else {
        println!("no corpus: nothing to compare with");
        return ExitCode::SUCCESS;
    };
    let (mut cases, mut pods, mut failed) = (0, 0, 0);
    for folder in folders(&corpus.join("cases")) {
        let (Some(recorded), Some(made)) = (read(&folder.join("taskresults.json")), read(&folder.join("pods.json")))
        else {
            continue;
        };
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        cases += 1;
        for pod in made.as_array().unwrap() {
            let id = &pod["annotations"]["workflows.argoproj.io/node-id"];
            let Some(result) = recorded.as_array().unwrap().iter().find(|result| result["metadata"]["name"] == *id)
            else {
                continue;
            };
            pods += 1;
            let difference = Replay::new(pod, result).difference();
            println!("{} {name} {id}", if difference.is_none() { "same   " } else { "DIFFERS" });
            if let Some(difference) = difference {
                println!("{difference}");
                failed += 1;
            }
        }
    }
    println!("{pods} Pods of {cases} cases, {failed} differ");
    if failed == 0 && pods > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("TIPHYS_CORPUS").map_or_else(beside, PathBuf::from);
    folder.join("cases").is_dir().then_some(folder)
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn read(file: &Path) -> Option<Value> {
    Some(serde_json::from_str(&fs::read_to_string(file).ok()?).unwrap())
}

/// A recorded Pod with real names in place of the recording's placeholders, and what it needs.
struct Replay {
    pod: Value,
    expected: Value,
    folder: tempfile::TempDir,
    server: ApiServer,
    store: Store,
}

impl Replay {
    fn new(pod: &Value, expected: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            pod: filled(pod),
            expected: filled(expected),
            folder,
            server: ApiServer::serve(tls::server()),
            store: Store::start(),
        }
    }

    fn difference(&self) -> Option<String> {
        let log = self.run();
        let name = self.expected["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtaskresults/{name}");
        let Some(mut found) = self.server.object(&path) else {
            return Some(format!("  nothing was reported; calls: {:?}\n{log}", self.server.lines()));
        };
        let metadata = found["metadata"].as_object_mut().unwrap();
        for field in ["namespace", "resourceVersion", "uid"] {
            metadata.remove(field);
        }
        let mut expected = self.expected.clone();
        if expected.get("outputs").is_none() {
            // It was recorded while the step ran: what is compared is what was there by then.
            found.as_object_mut().unwrap().remove("outputs");
            let label = "workflows.argoproj.io/report-outputs-completed";
            expected["metadata"]["labels"][label] = found["metadata"]["labels"][label].clone();
        }
        let mut brief: Vec<String> = self.server.calls().iter().map(|call| call.brief()).collect();
        brief.dedup();
        let order = vec!["POST argo/workflowtaskresults".to_owned(), format!("PATCH workflowtaskresults/{name}")];
        let same = found == expected && brief == order && self.server.calls().len() == 3;
        (!same)
            .then(|| format!("  expected {expected}\n  got      {found}\n  calls    {:?}\n{log}", self.server.lines()))
    }

    /// Runs the Pod to its end; returns what its containers printed.
    fn run(&self) -> String {
        let mut sandbox = SandboxSpec::new("pod", self.folder.path().join("scratch"));
        let of = |list: &str| -> Vec<ContainerSpec> {
            let containers = self.pod["spec"][list].as_array().into_iter().flatten();
            containers.map(|container| self.container(container)).collect()
        };
        sandbox.init = of("initContainers");
        sandbox.containers = of("containers");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = async {
            let (_sandbox, mut events) = Sandbox::start(&sandbox, Path::new("/proc/self/exe")).await.unwrap();
            let mut told = String::new();
            while let Some(event) = events.recv().await {
                match event {
                    Event::Failed(failure) => told += &format!("  {failure}\n"),
                    Event::Exited { container, exit } => told += &format!("  {container}: {exit:?}\n"),
                    _ => {}
                }
            }
            told
        };
        let done = runtime.block_on(async { tokio::time::timeout(LIMIT, run).await });
        runtime.shutdown_background();
        let mut log = done.unwrap_or_else(|_| "  the Pod did not end in time\n".to_owned());
        for name in ["init", "wait", "main"] {
            let printed = fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
            printed.lines().for_each(|line| log += &format!("  {name}> {line}\n"));
        }
        log
    }

    fn container(&self, recorded: &Value) -> ContainerSpec {
        let name = recorded["name"].as_str().unwrap();
        let words = ["command", "args"].map(|list| recorded[list].as_array().cloned().unwrap_or_default());
        let words = words.concat().into_iter().map(|word| word.as_str().unwrap().to_owned());
        let mut container = ContainerSpec::new(name, Rootfs::Host, words);
        container.env = self.environment(recorded);
        container.mounts = self.mounts(recorded);
        container.termination_log = Some(self.folder.path().join(format!("{name}.message")));
        let log = self.folder.path().join(format!("{name}.log"));
        (container.stdout, container.stderr) = (Some(log.clone()), Some(log));
        container
    }

    /// The recorded variables, and what Kubernetes and the image would add.
    fn environment(&self, recorded: &Value) -> Vec<(String, String)> {
        let mut all = BTreeMap::new();
        let (host, port) = self.server.address().split_once(':').unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        all.insert("PATH".to_owned(), format!("/argo-image/bin:/argo-image/stand-ins:{path}"));
        all.insert("KUBERNETES_SERVICE_HOST".to_owned(), host.to_owned());
        all.insert("KUBERNETES_SERVICE_PORT".to_owned(), port.to_owned());
        // The recorded store is reached here.
        all.insert("TIPHYS_S3_REDIRECTS".to_owned(), json!({"10.200.0.1:9000": self.store.address()}).to_string());
        for variable in recorded["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap().to_owned();
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => "wf-pod".to_owned(),
                Some(_) => "pod-uid".to_owned(),
                None => variable["value"].as_str().unwrap_or_default().to_owned(),
            };
            all.insert(name, value);
        }
        all.into_iter().collect()
    }

    /// The recorded mounts, the service account's, and the executor's image.
    fn mounts(&self, recorded: &Value) -> Vec<Mount> {
        let mut mounts = vec![
            Mount { source: self.image(), target: "/argo-image".into(), read_only: true },
            Mount {
                source: self.service_account(),
                target: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
                read_only: true,
            },
        ];
        for mount in recorded["volumeMounts"].as_array().into_iter().flatten() {
            let volume = mount["name"].as_str().unwrap();
            let mut source = self.folder.path().join("volumes").join(volume);
            if volume == "my-minio-cred" {
                self.store.write_keys(&source, "accesskey", "secretkey");
            }
            source = source.join(mount["subPath"].as_str().unwrap_or_default());
            fs::create_dir_all(&source).unwrap();
            fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).unwrap();
            let target = mount["mountPath"].as_str().unwrap().into();
            mounts.push(Mount { source, target, read_only: mount["readOnly"] == true });
        }
        mounts
    }

    /// What the executor's image has, and what the users' images have that this machine may lack.
    fn image(&self) -> PathBuf {
        let image = self.folder.path().join("image");
        let (programs, stand_ins) = (image.join("bin"), image.join("stand-ins"));
        if !image.exists() {
            fs::create_dir_all(&programs).unwrap();
            fs::create_dir_all(&stand_ins).unwrap();
            fs::copy(env!("CARGO_BIN_EXE_tiphys-executor"), programs.join("argoexec")).unwrap();
            fs::copy(env!("CARGO_BIN_EXE_tiphys-emissary"), programs.join("tiphys-emissary")).unwrap();
            for (name, script) in STAND_INS {
                let file = stand_ins.join(name);
                fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        image
    }

    fn service_account(&self) -> PathBuf {
        let folder = self.folder.path().join("service-account");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("token"), "token").unwrap();
        fs::write(folder.join("namespace"), "argo").unwrap();
        fs::write(folder.join("ca.crt"), tls::AUTHORITY).unwrap();
        folder
    }
}

/// A recording with names in place of its placeholders. Node ids keep no more than that they differ.
fn filled(recorded: &Value) -> Value {
    let mut text = recorded.to_string();
    while let Some(start) = text.find("{id:") {
        let mut depth = 0;
        let end = text[start..].char_indices().find_map(|(at, letter)| {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            (depth == 0).then_some(start + at)
        });
        let end = end.unwrap();
        let id: String = text[start + 4..end].chars().filter(char::is_ascii_alphanumeric).collect();
        text.replace_range(start..=end, &format!("node-{}", id.to_lowercase()));
    }
    for (placeholder, name) in [
        ("{wf}", "wf"),
        ("{pod}", "wf-pod"),
        ("{uid}", "wf-uid"),
        ("{time}", "0001-01-01T00:00:00Z"),
        ("{ip}", "127.0.0.1"),
    ] {
        text = text.replace(placeholder, name);
    }
    serde_json::from_str(&text).unwrap()
}
