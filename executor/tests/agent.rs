//! `init` and `wait` as real processes, around a real emissary, with a real S3 server.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use pod::store::Store;
use pod::{Pod, code, finish, run, signal, text, until};
use serde_json::{Value, json};

/// A Pod that `init` has not prepared yet.
fn bare(template: &Value) -> (Pod, String) {
    let pod = Pod::container();
    fs::remove_file(pod.paths.template()).unwrap();
    (pod, template.to_string())
}

fn init(pod: &Pod, template: &str) -> Command {
    let mut command = pod.executor(&["init", "--loglevel", "info", "--log-format=text", "--gloglevel", "0"]);
    command.env("ARGO_TEMPLATE", template).env("TIPHYS_EMISSARY", "/bin/true");
    command
}

fn wait(pod: &Pod) -> Command {
    let mut command = pod.executor(&["wait"]);
    command.env("TIPHYS_RESULT_SINK", format!("file:{}", sink(pod).display()));
    command
}

fn sink(pod: &Pod) -> std::path::PathBuf {
    pod.root().join("result.json")
}

fn result(pod: &Pod) -> Value {
    serde_json::from_slice(&fs::read(sink(pod)).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}

fn unpack(tgz: &[u8], at: &Path) {
    tiphys_artifact::archive::unpack_tar(tgz, at, &Default::default()).unwrap();
}

#[test]
fn init_delivers_what_the_containers_need() {
    let template = json!({"name": "t", "script": {"image": "x", "command": ["sh"], "source": "echo hi\n"}, "newer": 1,
        "inputs": {"artifacts": [{"name": "a", "path": "/in/a", "raw": {"data": "text"}, "mode": 0o640},
            {"name": "b", "path": "/b", "optional": true}]}});
    let (pod, json) = bare(&template);
    let output = run(init(&pod, &json));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert_eq!(fs::read_to_string(pod.paths.template()).unwrap(), json, "nothing of the template is lost");
    assert_eq!(fs::read_to_string(&pod.paths.script).unwrap(), "echo hi\n");
    assert_eq!(
        (mode(&pod.paths.script), mode(&pod.paths.emissary()), mode(&pod.paths.template())),
        (0o755, 0o555, 0o444)
    );
    let input = pod.paths.input_artifacts.join("a");
    assert_eq!((fs::read_to_string(&input).unwrap().as_str(), mode(&input)), ("text", 0o640));
    assert!(!pod.paths.input_artifacts.join("b").exists());
    fs::write(pod.root().join("marker"), "").unwrap();
    fs::remove_file(pod.paths.emissary()).unwrap();
    fs::hard_link(pod.root().join("marker"), pod.paths.emissary()).unwrap();
    assert_eq!(code(&run(init(&pod, &json))), 0);
    assert_eq!(fs::metadata(pod.paths.emissary()).unwrap().len(), 0, "an emissary that is there stays");
}

#[test]
fn a_template_may_be_offloaded() {
    let (pod, json) = bare(&json!({"container": {"image": "x"}}));
    fs::create_dir_all(pod.paths.config_template.parent().unwrap()).unwrap();
    fs::write(&pod.paths.config_template, &json).unwrap();
    assert_eq!(code(&run(init(&pod, "offloaded"))), 0);
    assert_eq!(fs::read_to_string(pod.paths.template()).unwrap(), json);
}

#[test]
fn init_tells_what_is_missing() {
    for (template, message) in [
        (
            json!({"container": {}, "inputs": {"artifacts": [{"name": "a", "path": "/a"}]}}),
            "required artifact 'a' not supplied",
        ),
        (
            json!({"container": {}, "inputs": {"artifacts": [{"name": "a", "path": "/a", "s3": {"key": "k"}}]}}),
            "artifact \"a\" has no location of its own and the template has none: configure an artifact repository",
        ),
        (
            json!({"container": {}, "inputs": {"artifacts": [{"name": "a", "path": "/x/../y", "raw": {"data": ""}}]}}),
            "Artifact 'a' attempted to use a path containing '..'. Directory traversal is not permitted",
        ),
    ] {
        let (pod, json) = bare(&template);
        assert_eq!(code(&run(init(&pod, &json))), 64);
        assert_eq!(pod.message(), message);
    }
}

#[test]
fn a_result_comes_back() {
    let pod = Pod::new(
        r#"{"container":{"image":"x"},"outputs":{"parameters":[{"name":"p","valueFrom":{"path":"/no","default":"d"}}]}}"#,
    );
    let child = wait(&pod).env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true").spawn().unwrap();
    let mut main = pod.emissary("main", "echo hello; exit 3");
    main.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    assert_eq!(code(&run(main)), 3);
    let output = finish(child);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let parameters = json!([{"name": "p", "value": "d", "valueFrom": {"path": "/no", "default": "d"}}]);
    let ended = json!([{"name": "main", "exitCode": 3, "cause": "Exit"}]);
    let outputs = json!({"result": "hello", "parameters": parameters});
    assert_eq!(result(&pod), json!({"outputs": outputs, "containers": ended}));
}

#[test]
fn artifacts_and_logs_go_to_their_store_and_come_back() {
    let (pod, store) = (Pod::container(), Store::start());
    let location = store.location(&pod, true);
    let own = fs::canonicalize(pod.root()).unwrap().join("own");
    let at = |name: &str| own.join(name).to_str().unwrap().to_owned();
    let template = json!({"container": {"image": "x", "volumeMounts": [{"name": "v", "mountPath": "/mnt"}]},
        "archiveLocation": location, "outputs": {"parameters": [{"name": "v", "valueFrom": {"path": "/mnt/p"}}],
        "artifacts": [
            {"name": "dir", "path": at("dir")},
            {"name": "plain", "path": at("plain.txt"), "archive": {"none": {}}},
            {"name": "many", "path": at("dir"), "archive": {"none": {}}, "s3": {"key": "mine"}},
            {"name": "zipped", "path": at("dir"), "archive": {"zip": {}}},
            {"name": "gone", "path": at("gone"), "optional": true},
            {"name": "volume", "path": "/mnt/out"}]}});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    let volume = pod.paths.mirrored("/mnt");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("p"), "from volume\n").unwrap();
    fs::write(volume.join("out"), "on volume").unwrap();
    let script = format!(
        "mkdir -p {0}/sub; echo one > {0}/one; echo two > {0}/sub/two; ln -s one {0}/link; chmod 700 {0}/one; \
                          echo plain > {1}; echo logged; echo too >&2",
        at("dir"),
        at("plain.txt")
    );
    assert_eq!(code(&run(pod.emissary("main", &script))), 0);
    let output = run(wait(&pod));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let key = |name: &str| json!({"key": format!("wf/pod/{name}")});
    assert_eq!(
        result(&pod)["outputs"],
        json!({"parameters": [{"name": "v", "value": "from volume", "valueFrom": {"path": "/mnt/p"}}], "artifacts": [
            {"name": "dir", "path": at("dir"), "s3": key("dir.tgz")},
            {"name": "plain", "path": at("plain.txt"), "archive": {"none": {}}, "s3": key("plain.txt")},
            {"name": "many", "path": at("dir"), "archive": {"none": {}}, "s3": {"key": "mine"}},
            {"name": "zipped", "path": at("dir"), "archive": {"zip": {}}, "s3": key("zipped.zip")},
            {"name": "volume", "path": "/mnt/out", "s3": key("volume.tgz")},
            {"name": "main-logs", "s3": key("main.log")}]})
    );
    assert_eq!(store.object("wf/pod/plain.txt").unwrap(), b"plain\n");
    assert_eq!(store.object("mine/sub/two").unwrap(), b"two\n");
    let log = text(&store.object("wf/pod/main.log").unwrap());
    assert!(log.contains("logged\n") && log.contains("too\n"), "{log}");
    let back = pod.root().join("back");
    unpack(&store.object("wf/pod/dir.tgz").unwrap(), &back);
    assert_eq!(fs::read_to_string(back.join("sub/two")).unwrap(), "two\n");
    assert_eq!(fs::read_link(back.join("link")).unwrap(), Path::new("one"));
    unpack(&store.object("wf/pod/volume.tgz").unwrap(), &pod.root().join("file"));
    assert_eq!(fs::read_to_string(pod.root().join("file")).unwrap(), "on volume");

    // The next step finds them.
    let template = json!({"container": {"image": "x", "volumeMounts": [{"name": "v", "mountPath": "/mnt"}]},
        "archiveLocation": location, "inputs": {"artifacts": [
            {"name": "dir", "path": "/in/dir", "s3": {"key": "wf/pod/dir.tgz"}},
            {"name": "zip", "path": "/in/zip", "archive": {"zip": {}}, "s3": {"key": "wf/pod/zipped.zip"}},
            {"name": "many", "path": "/mnt/many", "s3": {"key": "mine"}},
            {"name": "plain", "path": "/in/plain", "s3": {"key": "wf/pod/plain.txt"}},
            {"name": "gone", "path": "/in/gone", "s3": {"key": "no/such"}, "optional": true}]}});
    let output = run(init(&pod, &template.to_string()));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let inputs = &pod.paths.input_artifacts;
    for (path, content) in [
        (inputs.join("dir/one"), "one\n"),
        (inputs.join("zip/sub/two"), "two\n"),
        (pod.paths.mirrored("/mnt/many/one"), "one\n"),
        (inputs.join("plain"), "plain\n"),
    ] {
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), content, "{}", path.display());
    }
    assert!(!inputs.join("gone").exists());
}

#[test]
fn what_is_missing_fails_and_the_rest_is_saved() {
    let (pod, store) = (Pod::container(), Store::start());
    let template = json!({"container": {"image": "x"}, "archiveLocation": store.location(&pod, true), "outputs": {
        "parameters": [{"name": "p", "valueFrom": {"path": "/no/p"}}],
        "artifacts": [{"name": "a", "path": "/no/a"}, {"name": "b", "path": "/no/b"}, {"name": "c", "path": pod.at("c")}]}});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    assert_eq!(code(&run(pod.emissary("main", &format!("mkdir -p {}; echo > {}", pod.at(""), pod.at("c"))))), 0);
    assert_eq!(code(&run(wait(&pod))), 64);
    assert_eq!(pod.message(), "output parameter \"p\": cannot read /no/p of container main: no such file or directory");
    let artifacts = result(&pod)["outputs"]["artifacts"].clone();
    let names: Vec<_> = artifacts.as_array().unwrap().iter().map(|artifact| artifact["name"].clone()).collect();
    assert_eq!(names, ["c", "main-logs"]);

    let mut template = template;
    template["outputs"]["parameters"] = json!([]);
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    assert_eq!(code(&run(wait(&pod))), 64);
    assert_eq!(
        pod.message(),
        "output artifact \"a\": /no/a does not exist in container main; output artifact \"b\": /no/b does not exist in \
         container main"
    );
}

#[test]
fn an_input_that_is_not_there_fails() {
    let (pod, store) = (Pod::container(), Store::start());
    let input = json!([{"name": "a", "path": "/a", "s3": {"key": "no/such"}}]);
    let template =
        json!({"container": {}, "archiveLocation": store.location(&pod, false), "inputs": {"artifacts": input}});
    assert_eq!(code(&run(init(&pod, &template.to_string()))), 64);
    assert_eq!(pod.message(), "artifact a failed to load: s3://bucket/no/such does not exist");
    store.put("broken.tgz", b"\x1f\x8b\x08\0garbage");
    let mut template = template;
    template["inputs"]["artifacts"] =
        json!([{"name": "a", "path": "/a", "s3": {"key": "broken.tgz"}, "archive": {"tar": {}}}]);
    assert_eq!(code(&run(init(&pod, &template.to_string()))), 64);
    assert!(pod.message().starts_with("artifact a failed to load: "), "{}", pod.message());
    assert!(!pod.paths.input_artifacts.join("a").exists());
}

#[test]
fn init_ends_when_told_however_slow_the_store_is() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", silent.local_addr().unwrap());
    let (pod, json) =
        bare(&json!({"container": {}, "inputs": {"artifacts": [{"name": "a", "path": "/a", "http": {"url": url}}]}}));
    let child = init(&pod, &json).spawn().unwrap();
    let connection = silent.accept().unwrap();
    signal(&child, 15);
    assert_eq!(code(&finish(child)), 143);
    drop(connection);
}

#[test]
fn a_killed_container_has_ended_too() {
    let pod = Pod::container();
    let waiting = wait(&pod).spawn().unwrap();
    let mut main = pod.emissary("main", "echo $$; exec sleep 1000").spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(main.stdout.take().unwrap()), &mut line).unwrap();
    signal(&main, 9);
    let output = finish(waiting);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert_eq!(pod.exit_code("main").as_deref(), Some("137"));
    // Nothing ended the command here, where its emissary was not PID 1.
    tiphys_executor::process::kill(line.trim().parse().unwrap(), 9).unwrap();
    main.wait().unwrap();
}

#[test]
fn a_step_past_its_deadline_is_ended() {
    let pod = Pod::container();
    let past = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() - Duration::from_secs(5);
    let deadline = tiphys_api::Time::from_second(past.as_secs() as i64).to_string();
    let main = pod.emissary("main", "exec sleep 1000").spawn().unwrap();
    let output = run({
        let mut command = wait(&pod);
        command.env("ARGO_DEADLINE", deadline);
        command
    });
    assert_eq!(code(&output), 0);
    assert_eq!(pod.message(), "Step exceeded its deadline");
    assert_eq!(code(&finish(main)), 143);
}

#[test]
fn a_step_that_does_not_end_at_its_deadline_is_killed() {
    let pod = Pod::container();
    let mut main = pod.emissary("main", "trap '' TERM; echo; while :; do sleep 0.01; done").spawn().unwrap();
    std::io::Read::read_exact(main.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let mut waiting = wait(&pod);
    waiting.env("ARGO_DEADLINE", "2001-01-01T00:00:00Z").env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "1");
    assert_eq!(code(&run(waiting)), 0);
    assert_eq!(code(&finish(main)), 137);
}

#[test]
fn a_signal_to_wait_leaves_main_its_time() {
    let pod = Pod::container();
    let mut command = pod.emissary("main", "echo early; read line; echo late");
    command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true").stdin(std::process::Stdio::piped());
    let mut main = command.spawn().unwrap();
    std::io::Read::read_exact(main.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let mut waiting = wait(&pod);
    let child =
        waiting.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true").env("ARGO_PROGRESS_FILE", pod.at("x")).spawn().unwrap();
    signal_when_ready(&child);
    drop(main.stdin.take());
    assert_eq!(code(&finish(main)), 0);
    assert_eq!(code(&finish(child)), 0);
    assert_eq!(result(&pod), json!({"outputs": {"result": "early\nlate"}}));
}

/// Sends SIGTERM to a process as soon as it takes signals instead of dying of them.
fn signal_when_ready(child: &std::process::Child) {
    until("signals are blocked", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or("0").trim().to_owned();
        u64::from_str_radix(&blocked, 16).is_ok_and(|blocked| blocked & (1 << 14) != 0)
    });
    signal(child, 15);
}

#[test]
fn a_signal_to_wait_collects_what_is_there() {
    let pod = Pod::container();
    let mut waiting = wait(&pod);
    let child = waiting.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true").spawn().unwrap();
    until("wait watches", || pod.file("main", "").exists());
    fs::write(pod.file("main", "stdout"), "so far\n").unwrap();
    signal_when_ready(&child);
    let output = finish(child);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert_eq!(result(&pod), json!({"outputs": {"result": "so far"}}));
}

#[test]
fn progress_is_told_while_the_step_runs() {
    let pod = Pod::container();
    let file = pod.paths.shared.join("progress");
    let mut waiting = wait(&pod);
    waiting.env("ARGO_PROGRESS_FILE", &file);
    let child = waiting.spawn().unwrap();
    until("wait watches", || pod.file("main", "").exists());
    fs::write(&file, "1/2\n").unwrap();
    until("progress is told", || sink(&pod).exists());
    assert_eq!(result(&pod), json!({"progress": "1/2"}));
    fs::write(&file, "1/2\n2/2\n").unwrap();
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 0);
    assert_eq!(code(&finish(child)), 0);
    assert_eq!(result(&pod), json!({"outputs": {}, "progress": "2/2"}));
}

#[test]
fn progress_is_told_again_when_a_tick_is_over_or_not_at_all() {
    let pod = Pod::container();
    let file = pod.paths.shared.join("progress");
    let following = |tick: &str| {
        let mut waiting = wait(&pod);
        waiting.env("ARGO_PROGRESS_FILE", &file).env("ARGO_PROGRESS_PATCH_TICK_DURATION", tick);
        waiting.spawn().unwrap()
    };
    let child = following("10ms");
    until("wait watches", || pod.file("main", "").exists());
    for progress in ["1/3", "2/3"] {
        fs::write(&file, progress).unwrap();
        until("progress is told while main runs", || sink(&pod).exists() && result(&pod)["progress"] == progress);
    }
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 0);
    assert_eq!(code(&finish(child)), 0);
    fs::remove_file(sink(&pod)).unwrap();
    assert_eq!(code(&finish(following("0s"))), 0);
    assert_eq!(result(&pod), json!({"outputs": {}}));
}

#[test]
fn a_set_of_containers_has_a_log_each() {
    let (pod, store) = (Pod::container(), Store::start());
    let template = json!({"containerSet": {"containers": [{"name": "a"}, {"name": "main", "dependencies": ["a"]}, {"name": "late",
        "dependencies": ["main"]}]}, "archiveLocation": store.location(&pod, true)});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    let child = wait(&pod).spawn().unwrap();
    assert_eq!(code(&run(pod.emissary("a", "echo from a"))), 0);
    assert_eq!(code(&run(pod.emissary("main", "echo from main; exit 1"))), 1);
    assert_eq!(code(&run(pod.emissary("late", "echo never"))), 64);
    assert_eq!(code(&finish(child)), 0);
    let artifacts = json!([{"name": "a-logs", "s3": {"key": "wf/pod/a.log"}}, {"name": "main-logs", "s3": {"key": "wf/pod/main.log"}}]);
    let ended = |name| json!({"name": name, "exitCode": 1, "cause": "Exit"});
    let containers = json!([ended("main"), ended("late")]);
    assert_eq!(result(&pod), json!({"outputs": {"artifacts": artifacts}, "containers": containers}));
    assert_eq!(store.object("wf/pod/a.log").unwrap(), b"from a\n");
}

#[test]
fn what_cannot_be_done_is_refused_before_any_work() {
    let pod = Pod::container();
    for (words, message) in [
        (
            &["wait"][..],
            "no destination for results: the Pod has no access to the Kubernetes API, so set TIPHYS_RESULT_SINK to \
             termination-message or file:<absolute path>",
        ),
        (&["resource"][..], "usage: resource (get|create|apply|delete|replace|patch)"),
        (
            &["dance"][..],
            "unknown sub-command \"dance\": there are init, wait, supervisor, emissary -- COMMAND [ARG...], resource \
             ACTION, data, agent init|main, artifact delete, artifact-plugin-init --plugin-name NAME -- COMMAND \
             [ARG...], artifact-plugin-sidecar -- COMMAND [ARG...], kill SIGNAL PID, version",
        ),
    ] {
        let output = run(pod.executor(words));
        assert_eq!((code(&output), text(&output.stderr)), (64, format!("Error: {message}\n")));
        assert_eq!(pod.message(), message);
    }
    let version = Command::new(env!("CARGO_BIN_EXE_tiphys-executor")).arg("version").output().unwrap();
    assert_eq!(text(&version.stdout), format!("tiphys-executor {}\n", env!("CARGO_PKG_VERSION")));
}
