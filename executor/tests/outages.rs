//! What lasts: servers that are away or silent for a minute, and a transfer of many times the memory. Side by side these
//! tests take as long as the longest outage.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Fate as ApiFate};
use pod::gate::{Fate, Gate};
use pod::store::Store;
use pod::{Pod, code, finish_within, run, text};
use serde_json::{Value, json};

/// No test takes this long on a machine that works.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// `wait`, with its result in a file.
fn wait(pod: &Pod) -> Command {
    let mut wait = pod.executor(&["wait"]);
    wait.env("TIPHYS_RESULT_SINK", format!("file:{}", pod.root().join("result.json").display()));
    wait
}

fn write_template(pod: &Pod, template: &Value) {
    fs::write(pod.paths.template(), template.to_string()).unwrap();
}

#[test]
fn an_api_server_may_be_away_for_a_minute() {
    let (pod, server) = (Pod::container(), ApiServer::start());
    fs::write(pod.root().join("kubeconfig"), server.kubeconfig("argo")).unwrap();
    let back = Instant::now() + OUTAGE;
    server.plan(move |number, _| match number % 2 {
        _ if Instant::now() >= back => ApiFate::Pass,
        0 => ApiFate::Drop,
        _ => ApiFate::Refuse(503, "ServiceUnavailable", "away"),
    });
    let mut main = pod.emissary("main", "echo kept");
    main.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    assert_eq!(code(&run(main)), 0);
    let mut wait = pod.executor(&["wait", "--kubeconfig"]);
    wait.arg(pod.root().join("kubeconfig")).env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    wait.env("ARGO_NODE_ID", "wf-1").env("ARGO_WORKFLOW_NAME", "wf").env("ARGO_WORKFLOW_UID", "uid");
    let output = finish_within(PATIENCE, wait.spawn().unwrap());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let result = server.object("/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtaskresults/wf-1").unwrap();
    assert_eq!(result["outputs"]["result"], "kept");
    assert_eq!(result["metadata"]["labels"]["workflows.argoproj.io/report-outputs-completed"], "true");
    assert!((3..30).contains(&server.calls().len()), "with pauses between: {}", server.calls().len());
}

#[test]
fn a_store_that_never_answers_is_asked_again() {
    let (pod, store) = (Pod::container(), Store::start());
    let mut stalled = false;
    let gate = Gate::before(store.address(), move |line| match line.contains("PUT") && !stalled {
        true => {
            stalled = true;
            Fate::Stall
        }
        false => Fate::Pass,
    });
    let mut location = store.location(&pod, true);
    location["s3"]["endpoint"] = json!(gate.address());
    write_template(&pod, &json!({"container": {"image": "x"}, "archiveLocation": location}));
    assert_eq!(code(&run(pod.emissary("main", "echo log"))), 0);
    let output = finish_within(PATIENCE, wait(&pod).spawn().unwrap());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!((store.object("wf/pod/main.log").unwrap(), gate.count("PUT")), (b"log\n".to_vec(), 2));
}

#[test]
fn a_download_that_stands_still_goes_on() {
    let (pod, store) = (Pod::container(), Store::start());
    let mut stalled = false;
    let gate = Gate::before(store.address(), move |line| match line.starts_with("GET") && !stalled {
        true => {
            stalled = true;
            Fate::StallAnswer(400_000)
        }
        false => Fate::Pass,
    });
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|number| (number % 251).to_le_bytes()).collect();
    store.put("large", &bytes);
    let mut location = store.location(&pod, false);
    location["s3"]["endpoint"] = json!(gate.address());
    let input = json!([{"name": "a", "path": "/a", "archive": {"none": {}}, "s3": {"key": "large"}}]);
    let template = json!({"container": {"image": "x"}, "archiveLocation": location, "inputs": {"artifacts": input}});
    let mut init = pod.executor(&["init"]);
    init.env("ARGO_TEMPLATE", template.to_string()).env("TIPHYS_EMISSARY", "/bin/true");
    let output = finish_within(PATIENCE, init.spawn().unwrap());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(fs::read(pod.paths.input_artifacts.join("a")).unwrap() == bytes);
    assert!(gate.count("GET") > 1);
}

/// A control group with 64 MiB; it can be made by root, and where version 1 of cgroups has the memory controller.
struct Group(PathBuf);

impl Group {
    fn make() -> Option<Self> {
        let folder = Path::new("/sys/fs/cgroup/memory").join(format!("tiphys-outages-test-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        fs::write(folder.join("memory.limit_in_bytes"), (64 << 20).to_string()).unwrap();
        Some(Self(folder))
    }

    /// The command within it.
    fn around(&self, inner: &Command) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("echo $$ > \"$0\" && exec \"$@\"").arg(self.0.join("cgroup.procs"));
        command.arg(inner.get_program()).args(inner.get_args()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group is empty a moment after its last process has been waited for.
        pod::until("the group is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// `TIPHYS_TEST_TRANSFER_MIB` makes it larger.
#[test]
fn a_transfer_of_many_times_the_memory_fits() {
    let Some(group) = Group::make() else { return };
    let mib = std::env::var("TIPHYS_TEST_TRANSFER_MIB").map_or(512, |text| text.parse::<u64>().unwrap());
    let (pod, store) = (Pod::container(), Store::start());
    let volume = pod.paths.mirrored("/mnt");
    fs::create_dir_all(&volume).unwrap();
    // With holes, so that making it costs nothing; what is not empty tells whether all is in its place.
    let marks = || (0..mib / 32).map(|number| (number * (32 << 20) + number * 4099, number.to_le_bytes()));
    let file = File::create(volume.join("large")).unwrap();
    file.set_len(mib << 20).unwrap();
    marks().for_each(|(at, mark)| file.write_all_at(&mark, at).unwrap());
    let check = |path: &Path| {
        let file = File::open(path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), mib << 20);
        for (at, mark) in marks() {
            let mut found = [0; 8];
            file.read_exact_at(&mut found, at).unwrap();
            assert_eq!(found, mark, "at {at}");
        }
    };
    let large = json!({"name": "large", "path": "/mnt/large", "archive": {"none": {}}, "s3": {"key": "large"}});
    let mut template = json!({"container": {"image": "x", "volumeMounts": [{"name": "v", "mountPath": "/mnt"}]},
        "archiveLocation": store.location(&pod, false), "outputs": {"artifacts": [large]}});
    write_template(&pod, &template);
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 0);
    let output = finish_within(PATIENCE, group.around(&wait(&pod)).spawn().unwrap());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    check(&store.path("large"));

    fs::remove_file(volume.join("large")).unwrap();
    template["inputs"] = template["outputs"].take();
    let mut init = pod.executor(&["init"]);
    init.env("ARGO_TEMPLATE", template.to_string()).env("TIPHYS_EMISSARY", "/bin/true");
    let output = finish_within(PATIENCE, group.around(&init).spawn().unwrap());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    check(&volume.join("large"));
}
