//! Nothing is lost: processes killed in the middle of their work, servers that are away, a Pod that must end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Fate as ApiFate};
use pod::gate::{Fate, Gate};
use pod::store::Store;
use pod::{Pod, code, finish, run, signal, text};
use serde_json::{Value, json};

const RESULT: &str = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtaskresults/wf-1";
const COMPLETED: &str = "workflows.argoproj.io/report-outputs-completed";
const KILL: i32 = 9;
const TERM: i32 = 15;

/// A step with two outputs and a log, whose store lies behind a gate.
struct Step {
    pod: Pod,
    server: ApiServer,
    store: Store,
    gate: Gate,
}

impl Step {
    fn new(plan: impl FnMut(&str) -> Fate + Send + 'static) -> Self {
        let (pod, server, store) = (Pod::container(), ApiServer::start(), Store::start());
        let gate = Gate::before(store.address(), plan);
        let mut location = store.location(&pod, true);
        location["s3"]["endpoint"] = json!(gate.address());
        let output = |name: &str| json!({"name": name, "path": pod.at(name), "archive": {"none": {}}});
        let template = json!({"container": {"image": "x"}, "archiveLocation": location,
            "outputs": {"artifacts": [output("first"), output("second")]}});
        fs::write(pod.paths.template(), template.to_string()).unwrap();
        fs::write(pod.root().join("kubeconfig"), server.kubeconfig("argo")).unwrap();
        Self { pod, server, store, gate }
    }

    fn main(&self) -> Command {
        let own = self.pod.root().join("own");
        self.pod.emissary(
            "main",
            &format!("mkdir {0}; echo one > {0}/first; echo two > {0}/second; echo log", own.display()),
        )
    }

    fn wait(&self) -> Command {
        let mut wait = self.pod.executor(&["wait", "--kubeconfig"]);
        wait.arg(self.pod.root().join("kubeconfig"));
        wait.env("ARGO_NODE_ID", "wf-1").env("ARGO_WORKFLOW_NAME", "wf").env("ARGO_WORKFLOW_UID", "uid");
        wait
    }

    fn result(&self) -> Value {
        self.server.object(RESULT).unwrap()
    }

    /// All that the step left has arrived, once.
    fn assert_whole(&self) {
        let result = self.result();
        let names: Vec<_> = result["outputs"]["artifacts"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["first", "second", "main-logs"]);
        assert_eq!(result["metadata"]["labels"][COMPLETED], "true");
        for (key, content) in [("first", "one\n"), ("second", "two\n"), ("main.log", "log\n")] {
            assert_eq!(text(&self.store.object(&format!("wf/pod/{key}")).unwrap()), content);
        }
    }

    /// Calls with outputs in them.
    fn deliveries(&self) -> usize {
        self.server.calls().iter().filter(|call| call.body.get("outputs").is_some()).count()
    }
}

fn spawn(mut command: Command) -> Child {
    command.spawn().unwrap()
}

#[test]
fn a_wait_that_is_killed_goes_on_where_it_stopped() {
    let step = Step::new(|line| if line.contains("second") { Fate::Stall } else { Fate::Pass });
    assert_eq!(code(&run(step.main())), 0);
    let wait = spawn(step.wait());
    step.gate.until("PUT /bucket/wf/pod/second");
    pod::until("the others are noted", || {
        let journal = fs::read_to_string(step.pod.paths.journal()).unwrap_or_default();
        journal.contains("output first") && journal.contains("log main")
    });
    signal(&wait, KILL);
    assert_eq!(finish(wait).status.code(), None);
    assert_eq!(step.deliveries(), 0);
    // What is saved could even be gone.
    fs::remove_file(step.pod.paths.staged_artifact("first")).unwrap();
    step.gate.open();
    let output = run(step.wait());
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    step.assert_whole();
    assert_eq!((step.gate.count("PUT /bucket/wf/pod/first"), step.gate.count("PUT /bucket/wf/pod/main.log")), (1, 1));
    assert_eq!(step.deliveries(), 1);

    // Started once more it has nothing left to do.
    let calls = step.server.calls().len();
    assert_eq!(code(&run(step.wait())), 0);
    assert_eq!(step.server.calls().len(), calls);
}

#[test]
fn a_wait_that_is_killed_in_a_large_upload_sends_no_part_again() {
    for archive in [json!({"none": {}}), json!({"tar": {"compressionLevel": 0}})] {
        let step = Step::new(|line| if line.contains("partNumber=3") { Fate::Stall } else { Fate::Pass });
        let mut template: Value = serde_json::from_slice(&fs::read(step.pod.paths.template()).unwrap()).unwrap();
        template["outputs"]["artifacts"] = json!([{"name": "large", "path": step.pod.at("large"), "archive": archive,
            "s3": {"key": "large"}}]);
        fs::write(step.pod.paths.template(), template.to_string()).unwrap();
        let script = format!("mkdir -p {0}; head -c 13000000 /dev/urandom > {0}/large", step.pod.at(""));
        assert_eq!(code(&run(step.pod.emissary("main", &script))), 0);
        let wait = || {
            let mut wait = step.wait();
            // One part at a time, so that those before the third have arrived.
            wait.env("ARTIFACT_S3_UPLOAD_PART_SIZE_MIB", "5").env("ARTIFACT_S3_UPLOAD_THREADS", "1");
            wait
        };
        let killed = spawn(wait());
        step.gate.until("partNumber=3");
        signal(&killed, KILL);
        finish(killed);
        step.gate.open();
        let output = run(wait());
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        let sent = ["partNumber=1", "partNumber=2", "partNumber=3", "?uploads"].map(|part| step.gate.count(part));
        assert_eq!(sent, [1, 1, 2, 1], "{archive}");
        let stored = step.store.object("large").unwrap();
        match archive.get("none") {
            Some(_) => assert!(stored == fs::read(step.pod.at("large")).unwrap()),
            None => tiphys_artifact::archive::unpack_tar(&*stored, &step.pod.root().join("back"), &Default::default())
                .map(|_| {
                    assert!(fs::read(step.pod.root().join("back")).unwrap() == fs::read(step.pod.at("large")).unwrap())
                })
                .unwrap(),
        }
        let left = fs::read_dir(step.pod.paths.uploads()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "nothing is remembered of what is over");
    }
}

/// Requests of a whole step: three objects to the store, three calls to the API.
#[test]
fn killed_at_any_request_it_ends_the_same() {
    for key in ["first", "second", "main.log"] {
        let step = Step::new(move |line| if line.contains(key) { Fate::Stall } else { Fate::Pass });
        assert_eq!(code(&run(step.main())), 0);
        let wait = spawn(step.wait());
        step.gate.until(key);
        signal(&wait, KILL);
        finish(wait);
        step.gate.open();
        assert_eq!(code(&run(step.wait())), 0, "{key}");
        step.assert_whole();
    }
    for fate in [ApiFate::Stall, ApiFate::StallAnswer] {
        for at in 0..3 {
            let (step, fate) = (Step::new(|_| Fate::Pass), fate.clone());
            step.server.plan(move |number, _| if number == at { fate.clone() } else { ApiFate::Pass });
            assert_eq!(code(&run(step.main())), 0);
            let wait = spawn(step.wait());
            step.server.until("the call that stalls", |calls| calls.len() == at + 1);
            signal(&wait, KILL);
            finish(wait);
            assert_eq!(code(&run(step.wait())), 0, "call {at}");
            step.assert_whole();
            let puts = ["first", "second", "main.log"].map(|key| step.gate.count(&format!("PUT /bucket/wf/pod/{key}")));
            // Announcing goes on beside the uploads; any other call comes after all of them.
            assert!(at == 0 || puts == [1; 3], "call {at}: {puts:?}");
        }
    }
}

#[test]
fn a_wait_that_is_killed_while_main_runs_loses_nothing() {
    let step = Step::new(|_| Fate::Pass);
    let wait = spawn(step.wait());
    step.server.until("the announcement", |calls| calls.len() == 1);
    signal(&wait, KILL);
    finish(wait);
    assert_eq!(code(&run(step.main())), 0);
    assert_eq!(code(&run(step.wait())), 0);
    step.assert_whole();
}

#[test]
fn what_failed_is_told_again_after_a_restart() {
    let step = Step::new(|line| if line.contains("second") { Fate::Answer(403) } else { Fate::Pass });
    assert_eq!(code(&run(step.main())), 0);
    let first = run(step.wait());
    let message = step.pod.message();
    assert_eq!(code(&first), 64);
    assert!(message.starts_with("artifact second failed to save: "), "{message}");
    fs::write(&step.pod.paths.termination_log, "").unwrap();
    assert_eq!(code(&run(step.wait())), 64);
    assert_eq!((step.pod.message(), step.deliveries()), (message, 1));
}

#[test]
fn an_api_server_that_is_away_keeps_nobody_from_the_containers() {
    let step = Step::new(|_| Fate::Pass);
    let (sent, back) = std::sync::mpsc::channel::<()>();
    let mut away = true;
    step.server.plan(move |_, _| {
        away &= back.try_recv().is_err();
        if away { ApiFate::Refuse(503, "ServiceUnavailable", "away") } else { ApiFate::Pass }
    });
    let mut wait = step.wait();
    let deadline = in_seconds(1);
    wait.env("ARGO_DEADLINE", deadline).env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "1");
    let wait = spawn(wait);
    let main = spawn(step.pod.emissary("main", "while :; do read x < /dev/zero; done"));
    // The deadline is kept though nobody answers.
    assert_eq!(finish(main).status.code(), Some(143));
    step.gate.until("main.log");
    let tries = step.server.calls().len();
    step.server.until("it is tried again and again", |calls| calls.len() > tries);
    sent.send(()).unwrap();
    let output = finish(wait);
    assert_eq!(code(&output), 64, "the outputs were never made");
    assert_eq!(step.result()["metadata"]["labels"][COMPLETED], "true");
    assert_eq!(step.result()["outputs"]["artifacts"][0]["name"], "main-logs");
    assert!(text(&output.stderr).contains("Step exceeded its deadline"));
}

/// A moment so many seconds from now, as RFC 3339.
fn in_seconds(seconds: u64) -> String {
    let at = std::time::SystemTime::now() + Duration::from_secs(seconds);
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d"])
        .arg(format!("@{}", at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()))
        .output();
    text(&output.unwrap().stdout).trim().to_owned()
}

#[test]
fn what_is_there_arrives_though_the_disk_is_full() {
    let step = Step::new(|_| Fate::Pass);
    assert_eq!(code(&run(step.main())), 0);
    let inner = step.wait();
    // No file can get a single byte, as on a full disk.
    let mut wait = Command::new("/bin/sh");
    wait.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    wait.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wait.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run(wait);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot write the journal"), "{}", text(&output.stderr));
    step.assert_whole();
}

#[test]
fn a_store_that_is_away_is_asked_again() {
    let mut refusals = 6;
    let step = Step::new(move |_| {
        refusals -= 1;
        if refusals >= 0 { Fate::Answer(503) } else { Fate::Pass }
    });
    assert_eq!(code(&run(step.main())), 0);
    assert_eq!(code(&run(step.wait())), 0);
    step.assert_whole();
}

#[test]
fn who_limits_the_tries_gets_no_more() {
    let step = Step::new(|line| if line.contains("second") { Fate::Answer(503) } else { Fate::Pass });
    assert_eq!(code(&run(step.main())), 0);
    let mut wait = step.wait();
    wait.env("EXECUTOR_RETRY_BACKOFF_STEPS", "3").env("EXECUTOR_RETRY_BACKOFF_DURATION", "1ms");
    assert_eq!(code(&run(wait)), 64);
    assert!(step.pod.message().starts_with("artifact second failed to save: "), "{}", step.pod.message());
    assert_eq!(["second", "first"].map(|key| step.gate.count(&format!("PUT /bucket/wf/pod/{key}"))), [3, 1]);
}

/// A step whose outputs have parts, of which the third never arrives.
fn in_parts(plan: impl FnMut(&str) -> Fate + Send + 'static) -> (Step, Command) {
    let step = Step::new(plan);
    let mut template: Value = serde_json::from_slice(&fs::read(step.pod.paths.template()).unwrap()).unwrap();
    let output = |name: &str, archive: Value| {
        json!({"name": name, "path": step.pod.at("large"), "archive": archive,
        "s3": {"key": name}})
    };
    template["outputs"]["artifacts"] = json!([output("file", json!({"none": {}})),
        output("packed", json!({"tar": {"compressionLevel": 0}})), {"name": "folder", "path": step.pod.at(""),
        "archive": {"none": {}}, "s3": {"key": "folder"}}]);
    fs::write(step.pod.paths.template(), template.to_string()).unwrap();
    let script = format!("mkdir -p {0}; head -c 13000000 /dev/urandom > {0}/large", step.pod.at(""));
    assert_eq!(code(&run(step.pod.emissary("main", &script))), 0);
    let mut wait = step.wait();
    wait.env("ARTIFACT_S3_UPLOAD_PART_SIZE_MIB", "5").env("EXECUTOR_RETRY_BACKOFF_DURATION", "1ms");
    (step, wait)
}

#[test]
fn of_uploads_that_fail_for_good_nothing_stays() {
    let (step, mut wait) = in_parts(|line| if line.contains("partNumber=3") { Fate::Answer(503) } else { Fate::Pass });
    wait.env("EXECUTOR_RETRY_BACKOFF_STEPS", "2");
    assert_eq!(code(&run(wait)), 64);
    assert_eq!((step.gate.count("?uploads"), step.gate.count("partNumber=3")), (3, 6));
    assert_eq!(step.store.uploads(), 0);
    assert_eq!(fs::read_dir(step.pod.paths.uploads()).map_or(0, Iterator::count), 0, "nor in the journal");
}

#[test]
fn of_uploads_that_a_pods_end_stops_nothing_stays() {
    let (step, mut wait) = in_parts(|line| if line.contains("partNumber=3") { Fate::Stall } else { Fate::Pass });
    wait.env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "4");
    let wait = spawn(wait);
    step.gate.until("partNumber=3");
    let told = Instant::now();
    signal(&wait, TERM);
    assert_eq!(code(&finish(wait)), 64);
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    assert_eq!(step.store.uploads(), 0);
    assert_eq!(step.result()["metadata"]["labels"][COMPLETED], "true");
}

#[test]
fn a_pod_that_must_end_saves_what_it_can_in_its_time() {
    let step = Step::new(|line| if line.contains("second") { Fate::Stall } else { Fate::Pass });
    assert_eq!(code(&run(step.main())), 0);
    let mut wait = step.wait();
    wait.env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "4");
    let wait = spawn(wait);
    step.gate.until("PUT /bucket/wf/pod/second");
    let told = Instant::now();
    signal(&wait, TERM);
    let output = finish(wait);
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    let expected = "artifact second failed to save: gave up, since the Pod must end now";
    assert_eq!((code(&output), step.pod.message().as_str()), (64, expected));
    let result = step.result();
    let names: Vec<_> = result["outputs"]["artifacts"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["first", "main-logs"]);
    assert_eq!(result["metadata"]["labels"][COMPLETED], "true");
}

#[test]
fn the_controllers_word_that_main_has_ended_limits_nothing() {
    // Argo's controller runs `argoexec kill 15 1` in every container as soon as `main` has ended.
    let (told, grace) = (Instant::now(), Duration::from_secs(1));
    let away = move |line: &str| line.contains("second") && told.elapsed() < 2 * grace;
    let step = Step::new(move |line| if away(line) { Fate::Answer(503) } else { Fate::Pass });
    assert_eq!(code(&run(step.main())), 0);
    let mut wait = step.wait();
    wait.env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", grace.as_secs().to_string());
    let wait = spawn(wait);
    step.gate.until("PUT /bucket/wf/pod/second");
    let mut kill = step.pod.executor(&["kill", "15", &wait.id().to_string()]);
    kill.env("ARGO_CONTAINER_NAME", "wait");
    assert_eq!(code(&run(kill)), 0);
    assert_eq!(code(&finish(wait)), 0, "{}", step.pod.message());
    step.assert_whole();
}

#[test]
fn a_pod_that_must_end_does_not_wait_for_an_api_server() {
    let step = Step::new(|_| Fate::Pass);
    step.server.plan(|_, _| ApiFate::Refuse(503, "ServiceUnavailable", "away"));
    assert_eq!(code(&run(step.main())), 0);
    let mut wait = step.wait();
    wait.env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "4");
    let wait = spawn(wait);
    step.gate.until("main.log");
    let told = Instant::now();
    signal(&wait, TERM);
    let output = finish(wait);
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    assert_eq!(code(&output), 64);
    assert!(
        step.pod.message().starts_with("gave up, since the Pod must end now: cannot create "),
        "{}",
        step.pod.message()
    );
}
