//! What a template says of its artifacts, from real `init` and `wait` processes to the disk and to the requests that stores get.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use apiserver::{ApiServer, tls};
use pod::gate::{Fate, Gate};
use pod::store::Store;
use pod::{Pod, code, run, text};
use serde_json::{Value, json};

fn init(pod: &Pod, template: &Value) -> Command {
    let mut command = pod.executor(&["init"]);
    command.env("ARGO_TEMPLATE", template.to_string()).env("TIPHYS_EMISSARY", "/bin/true");
    command
}

fn wait(pod: &Pod) -> Command {
    let mut command = pod.executor(&["wait"]);
    command.env("TIPHYS_RESULT_SINK", format!("file:{}", pod.root().join("result.json").display()));
    command
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn unpack(tar: &[u8], at: &Path) {
    tiphys_artifact::archive::unpack_tar(tar, at, &Default::default()).unwrap();
}

#[test]
fn names_that_end_so_are_tar_in_zstd() {
    let (pod, store) = (Pod::container(), Store::start());
    let location = store.location(&pod, false);
    let artifact =
        |name: &str, path: &str| json!({"name": name, "path": path, "s3": {"key": format!("{name}.tar.zst")}});
    let template = json!({"container": {"image": "x", "volumeMounts": [{"name": "v", "mountPath": "/mnt"}]},
        "archiveLocation": location, "outputs": {"artifacts": [artifact("main", &pod.at("f")), artifact("volume", "/mnt/f")]}});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    fs::create_dir_all(pod.paths.mirrored("/mnt")).unwrap();
    fs::write(pod.paths.mirrored("/mnt/f"), "on volume").unwrap();
    assert_eq!(
        code(&run(pod.emissary("main", &format!("mkdir -p {}; printf in-main > {}", pod.at(""), pod.at("f"))))),
        0
    );
    let output = run(wait(&pod));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    for (name, content) in [("main", "in-main"), ("volume", "on volume")] {
        let stored = store.object(&format!("{name}.tar.zst")).unwrap();
        assert!(stored.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "{name}");
        let back = pod.root().join(name);
        unpack(&stored, &back);
        assert_eq!(fs::read_to_string(back).unwrap(), content);
    }
}

#[test]
fn what_is_saved_can_make_room() {
    let (pod, store) = (Pod::container(), Store::start());
    let artifact = |name: &str, archive: Value| json!({"name": name, "path": pod.at(name), "archive": archive});
    let artifacts = json!([artifact("tar", json!({})), artifact("file", json!({"none": {}})),
        artifact("folder", json!({"zip": {}})), {"name": "volume", "path": "/mnt/f"}]);
    let template = json!({"container": {"image": "x", "volumeMounts": [{"name": "v", "mountPath": "/mnt"}]},
        "archiveLocation": store.location(&pod, false), "outputs": {"artifacts": artifacts}});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    fs::create_dir_all(pod.paths.mirrored("/mnt")).unwrap();
    fs::write(pod.paths.mirrored("/mnt/f"), "the user's").unwrap();
    let script = format!("mkdir -p {0}/folder; touch {0}/tar {0}/file {0}/folder/x", pod.at(""));
    assert_eq!(code(&run(pod.emissary("main", &script))), 0);
    let staged = || {
        let at = [pod.paths.staged_tar("tar"), pod.paths.staged_artifact("file"), pod.paths.staged_artifact("folder")];
        at.map(|path| path.exists())
    };
    assert_eq!(staged(), [true; 3]);
    let mut waiting = wait(&pod);
    waiting.env("REMOVE_LOCAL_ART_PATH", "true");
    assert_eq!(code(&run(waiting)), 0);
    assert_eq!(staged(), [false; 3]);
    assert!(pod.paths.mirrored("/mnt/f").exists(), "what is the user's stays");
    assert!(store.object("wf/pod/folder.zip").is_some() && store.object("wf/pod/file").is_some());
}

#[test]
fn modes_go_as_deep_as_is_wanted() {
    let (pod, store) = (Pod::container(), Store::start());
    store.put("dir/deep/file", b"x");
    for (recurse, expected) in [(true, [0o711, 0o711]), (false, [0o711, 0o644])] {
        let input = json!([{"name": "a", "path": "/a", "mode": 0o711, "recurseMode": recurse, "s3": {"key": "dir"}}]);
        let location = store.location(&pod, false);
        let template = json!({"container": {}, "archiveLocation": location, "inputs": {"artifacts": input}});
        let output = run(init(&pod, &template));
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
        let root = pod.paths.input_artifacts.join("a");
        let modes = [root.clone(), root.join("deep/file")].map(|path| mode(&path));
        assert_eq!(modes, expected, "recurseMode: {recurse}");
    }
}

/// A store of its own kind: it takes whatever comes.
#[test]
fn what_a_location_says_is_asked_of_the_store() {
    let kms = json!({"enableEncryption": true, "kmsKeyId": "key-1", "kmsEncryptionContext": "{\"team\":\"a\"}"});
    for (encryption, headers) in [
        (json!({"enableEncryption": true}), &["x-amz-server-side-encryption: aes256"][..]),
        (
            kms,
            &[
                "x-amz-server-side-encryption: aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id: key-1",
                // {"team":"a"}
                "x-amz-server-side-encryption-context: eyj0zwftijoiysj9",
            ],
        ),
    ] {
        let (pod, store) = (Pod::container(), Store::start());
        let gate = Gate::before(store.address(), |_| Fate::Answer(200));
        let mut location = store.location(&pod, true);
        fs::write(pod.paths.secrets.join("cred/token"), "of a session").unwrap();
        location["s3"]["endpoint"] = json!(gate.address());
        location["s3"]["region"] = json!("eu-north-1");
        location["s3"]["sessionTokenSecret"] = json!({"name": "cred", "key": "token"});
        location["s3"]["encryptionOptions"] = encryption;
        location["s3"]["createBucketIfNotPresent"] = json!({"objectLocking": true});
        let template = json!({"container": {"image": "x"}, "archiveLocation": location});
        fs::write(pod.paths.template(), template.to_string()).unwrap();
        assert_eq!(code(&run(pod.emissary("main", "echo log"))), 0);
        let output = run(wait(&pod));
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        let heads = gate.heads();
        let object = heads.iter().find(|head| head.starts_with("put /bucket/wf/pod/main.log")).unwrap();
        let common = ["x-amz-security-token: of a session", "/eu-north-1/s3/aws4_request"];
        for header in headers.iter().chain(&common) {
            assert!(object.contains(header), "{header}: {object}");
        }
        let made =
            |head: &String| head.starts_with("put /bucket") && head.contains("x-amz-bucket-object-lock-enabled: true");
        assert!(heads.iter().any(made), "{heads:?}");
    }
}

#[test]
fn an_authority_of_ones_own_is_trusted_and_then_a_key_may_be_sent() {
    for trusted in [true, false] {
        // It speaks TLS and records what it is asked; what it answers is no matter.
        let (pod, store, server) = (Pod::container(), Store::start(), ApiServer::serve(tls::server()));
        let mut location = store.location(&pod, true);
        fs::write(pod.paths.secrets.join("cred/ca"), tls::AUTHORITY).unwrap();
        fs::write(pod.paths.secrets.join("cred/own"), "32 bytes of the customer's secret").unwrap();
        location["s3"]["endpoint"] = json!(server.address());
        location["s3"]["insecure"] = json!(false);
        let own = json!({"name": "cred", "key": "own"});
        location["s3"]["encryptionOptions"] = json!({"enableEncryption": true, "serverSideCustomerKeySecret": own});
        if trusted {
            location["s3"]["caSecret"] = json!({"name": "cred", "key": "ca"});
        }
        let template = json!({"container": {"image": "x"}, "archiveLocation": location});
        fs::write(pod.paths.template(), template.to_string()).unwrap();
        assert_eq!(code(&run(pod.emissary("main", "echo log"))), 0);
        let mut waiting = wait(&pod);
        waiting.env("EXECUTOR_RETRY_BACKOFF_STEPS", "1");
        assert_eq!(code(&run(waiting)), 64);
        let calls = server.calls();
        assert_eq!(calls.is_empty(), !trusted, "{}", pod.message());
        if trusted {
            let header =
                |name: &str| calls[0].headers[&format!("x-amz-server-side-encryption-customer-{name}")].clone();
            assert_eq!((header("algorithm").as_str(), header("key").len()), ("AES256", 44));
            assert!(!pod.message().contains(&header("key")), "{}", pod.message());
        }
    }
}

#[test]
fn an_input_that_finds_no_space_is_an_error_and_no_file() {
    let (pod, store) = (Pod::container(), Store::start());
    store.put("large", &vec![7; 3 << 20]);
    let inputs = &pod.paths.input_artifacts;
    fs::create_dir_all(inputs).unwrap();
    for archive in [json!({"none": {}}), Value::Null] {
        let input = json!([{"name": "a", "path": "/a", "archive": archive, "s3": {"key": "large"}}]);
        let location = store.location(&pod, false);
        let inner = init(&pod, &json!({"container": {}, "archiveLocation": location, "inputs": {"artifacts": input}}));
        let mut small = Command::new("unshare");
        let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" && \"$@\"; code=$?; ls -A \"$0\"; exit $code";
        small.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(inputs);
        small.arg(inner.get_program()).args(inner.get_args());
        small.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        small.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = run(small);
        assert_eq!((code(&output), text(&output.stdout)), (64, String::new()), "{}", text(&output.stderr));
        let message = pod.message();
        assert!(message.starts_with("artifact a failed to load: ") && message.contains("No space left"), "{message}");
    }
}
