//! A Pod's folders and processes for tests: real executor processes below a folder of their own.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub mod gate;
pub mod store;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tiphys_executor::paths::Paths;

/// No step of a test takes this long on a machine that works.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Pod {
    root: tempfile::TempDir,
    pub paths: Paths,
}

impl Pod {
    /// A Pod whose template is this JSON.
    pub fn new(template: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        for folder in [&paths.shared, &paths.scratch, paths.termination_log.parent().unwrap()] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(paths.template(), template).unwrap();
        Self { root, paths }
    }

    pub fn container() -> Self {
        Self::new(r#"{"name":"t","container":{"image":"x"}}"#)
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path in `main`'s own file system, usable in templates.
    pub fn at(&self, name: &str) -> String {
        self.root.path().join("own").join(name).to_str().unwrap().to_owned()
    }

    /// The executor with a sub-command, its output kept.
    pub fn executor(&self, words: &[&str]) -> Command {
        let mut command = Command::new(rooted());
        command.arg(self.root()).args(["--loglevel", "warn"]).args(words).env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A container that runs a shell script under the emissary.
    pub fn emissary(&self, container: &str, script: &str) -> Command {
        self.command(container, &["/bin/sh", "-c", script])
    }

    pub fn command(&self, container: &str, command: &[&str]) -> Command {
        let mut words = vec!["emissary", "--loglevel", "info", "--log-format", "text", "--gloglevel", "0", "--"];
        words.extend(command);
        let mut executor = self.executor(&words);
        executor.env("ARGO_CONTAINER_NAME", container);
        executor
    }

    pub fn file(&self, container: &str, name: &str) -> PathBuf {
        self.paths.ctr(container).join(name)
    }

    pub fn read(&self, container: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.file(container, name)).ok()
    }

    pub fn exit_code(&self, container: &str) -> Option<String> {
        self.read(container, "exitcode")
    }

    pub fn message(&self) -> String {
        fs::read_to_string(&self.paths.termination_log).unwrap_or_default()
    }
}

/// Runs to the end.
pub fn run(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    finish(child)
}

/// Waits for the end, with all that was printed. A process that hangs fails the test instead of hanging it.
pub fn finish(child: Child) -> Output {
    finish_within(PATIENCE, child)
}

/// As [`finish`], for what takes longer.
pub fn finish_within(patience: Duration, mut child: Child) -> Output {
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            bytes
        })
    };
    let stdout = reader(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = reader(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let mut status = None;
    until_within(patience, "the process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    Output { status: status.unwrap(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Waits for something that must come true.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds);
}

fn until_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The example `rooted`, which Cargo builds next to the tests.
fn rooted() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join("rooted")
}

pub fn signal(child: &Child, signal: i32) {
    tiphys_executor::process::kill(child.id() as i32, signal).unwrap();
}
