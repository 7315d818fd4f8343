//! A step that has put links where its outputs are read: it gets what its own volumes hold, and never a file of `wait`'s.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pod::store::Store;
use pod::{Pod, code, run, text};
use serde_json::{Value, json};

/// What must not get out: a token, as every Pod has one.
const SECRET: &str = "the token of wait's service account";

/// A step with a volume, and `wait`'s token.
struct Step {
    pod: Pod,
    store: Store,
    volume: PathBuf,
    token: PathBuf,
}

impl Step {
    fn new() -> Self {
        let (pod, store) = (Pod::container(), Store::start());
        let volume = pod.paths.mirrored("/work");
        let token = pod.paths.service_account.join("token");
        for folder in [&volume, token.parent().unwrap()] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(&token, SECRET).unwrap();
        fs::create_dir_all(volume.join("real/deep")).unwrap();
        fs::write(volume.join("real/file"), "main's own").unwrap();
        Step { pod, store, volume, token }
    }

    /// The way up from a folder of the volume to the token, longer than needed.
    fn climb(&self) -> PathBuf {
        let up = "../".repeat(self.volume.components().count() + 3);
        Path::new(&up).join(self.token.strip_prefix("/").unwrap())
    }

    fn template(&self, logs: bool, outputs: &Value) {
        let template = json!({"container": {"image": "x", "volumeMounts": [{"name": "v", "mountPath": "/work"}]},
            "archiveLocation": self.store.location(&self.pod, logs), "outputs": outputs});
        fs::write(self.pod.paths.template(), template.to_string()).unwrap();
    }

    fn wait(&self) -> Command {
        let mut command = self.pod.executor(&["wait"]);
        command.env("TIPHYS_RESULT_SINK", format!("file:{}", self.pod.root().join("result.json").display()));
        command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
        command
    }

    fn result(&self) -> Value {
        serde_json::from_slice(&fs::read(self.pod.root().join("result.json")).unwrap()).unwrap()
    }

    fn artifact(&self, name: &str, path: &str, archive: Value) -> Value {
        json!({"name": name, "path": path, "archive": archive, "s3": {"key": name}})
    }

    /// Neither an object nor a report nor a message has the secret.
    fn assert_kept(&self, stderr: &[u8]) {
        let objects = walk(&self.store.path("")).into_iter().map(|path| (path.clone(), fs::read(path).unwrap()));
        let told = [("result", self.result().to_string()), ("message", self.pod.message()), ("stderr", text(stderr))];
        for (path, bytes) in objects.chain(told.map(|(name, text)| (name.into(), text.into_bytes()))) {
            assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", path.display());
        }
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    items.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn links_lead_where_main_would_see_them() {
    let step = Step::new();
    for (link, target) in [
        ("absolute", "/work/real/file"),
        ("relative", "./real/deep/../file"),
        ("folder", "/work/real"),
        ("chain", "folder/file"),
    ] {
        symlink(target, step.volume.join(link)).unwrap();
    }
    let none = || json!({"none": {}});
    step.template(
        false,
        &json!({"parameters": [{"name": "p", "valueFrom": {"path": "/work/absolute"}}], "artifacts": [
            step.artifact("absolute", "/work/absolute", none()), step.artifact("relative", "/work/relative", none()),
            step.artifact("chain", "/work/chain", none()), step.artifact("parent", "/work/folder/file", none()),
            step.artifact("tree", "/work/folder", none()), step.artifact("packed", "/work/absolute", json!({}))]}),
    );
    assert_eq!(code(&run(step.pod.emissary("main", "exit 0"))), 0);
    let output = run(step.wait());
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert_eq!(step.result()["outputs"]["parameters"][0]["value"], "main's own");
    for key in ["absolute", "relative", "chain", "parent", "tree/file"] {
        assert_eq!(text(&step.store.object(key).unwrap()), "main's own", "{key}");
    }
    let back = step.pod.root().join("back");
    tiphys_artifact::archive::unpack_tar(&*step.store.object("packed").unwrap(), &back, &Default::default()).unwrap();
    assert_eq!(fs::read_to_string(back).unwrap(), "main's own");
}

#[test]
fn no_link_on_a_volume_leads_to_a_file_of_waits() {
    let step = Step::new();
    let folder = step.token.parent().unwrap();
    let links = [
        ("absolute", step.token.clone(), ""),
        ("climbing", step.climb(), ""),
        ("chain", "absolute".into(), ""),
        ("parent", folder.to_owned(), "/token"),
        ("real/deep/climbing", step.climb(), ""),
        ("process", "/proc/self/environ".into(), ""),
    ];
    let mut artifacts = Vec::new();
    for (name, target, below) in &links {
        symlink(target, step.volume.join(name)).unwrap();
        for archive in [json!({"none": {}}), json!({"tar": {"compressionLevel": 0}}), json!({"zip": {}})] {
            let key = format!("{name}-{}", artifacts.len());
            artifacts.push(step.artifact(&key, &format!("/work/{name}{below}"), archive));
        }
    }
    // Inside of a folder links stay links, or are left out.
    artifacts.push(step.artifact("whole", "/work", json!({"none": {}})));
    artifacts.push(step.artifact("whole-tar", "/work", json!({"tar": {"compressionLevel": 0}})));
    let mut optional = step.artifact("optional", "/work/absolute", json!({}));
    optional["optional"] = json!(true);
    artifacts.push(optional);
    let parameter = |name: &str, more: Value| json!({"name": name, "valueFrom": more});
    step.template(
        false,
        &json!({"artifacts": artifacts, "parameters": [
            parameter("default", json!({"path": "/work/absolute", "default": "d"})),
            parameter("required", json!({"path": "/work/climbing"}))]}),
    );
    assert_eq!(code(&run(step.pod.emissary("main", "exit 0"))), 0);
    let output = run(step.wait());
    assert_eq!(code(&output), 64);
    let told = text(&output.stderr);
    let gone = |link: &str, target: &Path| {
        format!(
            "the symbolic link /work/{link} leads to {}, which is on none of the container's volumes",
            target.display()
        )
    };
    for (name, target, below) in &links {
        let (link, target) = if *name == "chain" { ("absolute", &links[0].1) } else { (*name, target) };
        let expected = format!("\": /work/{name}{below} of container main: {}", gone(link, target));
        assert_eq!(told.matches(&*expected).count(), 3, "{expected}\n{told}");
    }
    let failed = format!(
        "output parameter \"required\": cannot read /work/climbing of container main: {}",
        gone("climbing", &step.climb())
    );
    assert!(told.contains(&failed), "{told}");
    let result = step.result();
    assert_eq!(result["outputs"]["parameters"][0]["value"], "d");
    let saved: Vec<_> = result["outputs"]["artifacts"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(saved, ["whole", "whole-tar"]);
    assert_eq!(text(&step.store.object("whole/real/file").unwrap()), "main's own");
    step.assert_kept(&output.stderr);
}

#[test]
fn what_was_handed_over_is_not_exchanged_for_a_link() {
    for parent in [false, true] {
        let step = Step::new();
        let own = |name: &str| step.pod.at(name);
        step.template(
            true,
            &json!({"parameters": [{"name": "p", "valueFrom": {"path": own("file")}}], "artifacts": [
                step.artifact("file", &own("file"), json!({"none": {}})), step.artifact("tar", &own("file"), json!({}))]}),
        );
        let mut main = step.pod.emissary("main", &format!("mkdir -p {}; echo x > {}; echo out", own(""), own("file")));
        main.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
        assert_eq!(code(&run(main)), 0);
        // Every container of the Pod can write to the shared volume.
        let paths = &step.pod.paths;
        let exchanged = [
            paths.staged_parameter(&own("file")),
            paths.staged_artifact("file"),
            paths.staged_tar("tar"),
            step.pod.file("main", "combined"),
            step.pod.file("main", "stdout"),
        ];
        for path in &exchanged {
            fs::remove_file(path).unwrap();
            if !parent {
                symlink(&step.token, path).unwrap();
                continue;
            }
            // A folder in its place whose file of that name is the secret.
            let folder = path.parent().unwrap();
            let away = step.pod.root().join("elsewhere").join(folder.strip_prefix("/").unwrap());
            fs::create_dir_all(&away).unwrap();
            fs::write(away.join(path.file_name().unwrap()), SECRET).unwrap();
            if !folder.is_symlink() {
                for item in fs::read_dir(folder).unwrap().map(|item| item.unwrap()) {
                    fs::rename(item.path(), away.join(item.file_name())).unwrap();
                }
                fs::remove_dir(folder).unwrap();
                symlink(&away, folder).unwrap();
            }
        }
        let output = run(step.wait());
        assert_eq!(code(&output), 64);
        let told = text(&output.stderr);
        for what in
            ["output of container main", "output parameter \"p\"", "artifact \"file\"", "artifact \"tar\"", "the log "]
        {
            let line = told.lines().find(|line| line.contains(what) && line.contains("is a symbolic link"));
            assert!(line.is_some(), "{what}: {told}");
        }
        assert_eq!(step.result()["outputs"].get("artifacts"), None);
        step.assert_kept(&output.stderr);
    }
}
