//! Making Pods, running them to their end, and looking at what came of it.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tiphys_sandbox::{ContainerSpec, Event, Exit, Mount, Rootfs, Sandbox, SandboxSpec};
use tokio::sync::mpsc::UnboundedReceiver;

/// Names the program under test when it is not where cargo put it.
pub const PROGRAM_VARIABLE: &str = "TIPHYS_SANDBOX_TEST_PROGRAM";

/// A Pod that does not end is a failure, not a hanging test.
const LIMIT: Duration = Duration::from_secs(60);

pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM_VARIABLE).map_or_else(|| env!("CARGO_BIN_EXE_tiphys-sandbox").into(), PathBuf::from)
}

/// A folder for one test: the Pod's scratch, logs, volumes.
pub struct Place {
    folder: TempDir,
}

/// What a Pod did.
pub struct Outcome {
    pub events: Vec<Event>,
    pub exits: HashMap<String, Exit>,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn pod(&self, name: &str) -> SandboxSpec {
        SandboxSpec::new(name, self.path(&format!("scratch-{name}")))
    }

    /// A container on the machine's root that runs a shell script and logs both outputs to `NAME.log`.
    pub fn shell(&self, name: &str, script: &str) -> ContainerSpec {
        let mut container = ContainerSpec::new(name, Rootfs::Host, ["sh", "-c", script]);
        let log = self.path(&format!("{name}.log"));
        container.env = vec![("PATH".into(), std::env::var("PATH").unwrap())];
        container.stdout = Some(log.clone());
        container.stderr = Some(log);
        container
    }

    /// A folder that anyone may write to, to be mounted at `target`.
    pub fn volume(&self, name: &str, target: &str) -> Mount {
        let source = self.path(name);
        fs::create_dir_all(&source).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).unwrap();
        Mount { source, target: target.into(), read_only: false }
    }

    /// A file with `text`, to be mounted at `target`.
    pub fn file(&self, name: &str, text: &str, target: &str) -> Mount {
        let source = self.path(name);
        fs::write(&source, text).unwrap();
        Mount { source, target: target.into(), read_only: false }
    }

    pub fn log(&self, container: &str) -> String {
        fs::read_to_string(self.path(&format!("{container}.log"))).unwrap_or_default()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs a script alone in a Pod, wants it to succeed, and gives what it printed.
    pub fn output_of(&self, container: ContainerSpec) -> String {
        let name = container.name.clone();
        let mut pod = self.pod(&name);
        pod.containers.push(container);
        let outcome = run(&pod);
        assert_eq!(outcome.exit(&name).exit_code, 0, "{:?}\n{}", outcome.events, self.log(&name));
        self.log(&name)
    }
}

impl Outcome {
    #[track_caller]
    pub fn exit(&self, container: &str) -> &Exit {
        self.exits.get(container).unwrap_or_else(|| panic!("{container} did not end: {:?}", self.events))
    }

    #[track_caller]
    pub fn error(&self, container: &str) -> &tiphys_sandbox::Failure {
        self.exit(container).error.as_ref().unwrap_or_else(|| panic!("{container} started: {:?}", self.events))
    }
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = runtime.block_on(async { tokio::time::timeout(LIMIT, future).await });
    // Without waiting for a reader of a pipe that nobody writes to.
    runtime.shutdown_background();
    output.expect("the Pod did not end in time")
}

pub async fn start(pod: &SandboxSpec) -> (Sandbox, UnboundedReceiver<Event>) {
    Sandbox::start(pod, &program()).await.unwrap()
}

pub async fn to_end(mut events: UnboundedReceiver<Event>) -> Outcome {
    let mut outcome = Outcome { events: Vec::new(), exits: HashMap::new() };
    while let Some(event) = events.recv().await {
        if let Event::Exited { container, exit } = &event {
            outcome.exits.insert(container.clone(), exit.clone());
        }
        outcome.events.push(event);
    }
    assert_eq!(outcome.events.last(), Some(&Event::Finished));
    outcome
}

/// Runs a Pod to its end.
pub fn run(pod: &SandboxSpec) -> Outcome {
    block_on(async {
        let (_sandbox, events) = start(pod).await;
        to_end(events).await
    })
}

/// A named pipe at `path`. Reading it to its end waits for the last process that has it open.
pub fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
}

/// Reads `count` lines from a named pipe, waiting for writers.
pub async fn lines_from(path: PathBuf, count: usize) -> String {
    let read = move || {
        let mut reader = BufReader::new(fs::File::open(path).unwrap());
        let mut lines = String::new();
        (0..count).for_each(|_| assert!(reader.read_line(&mut lines).unwrap() > 0));
        lines
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}
