//! Starting `tiphys` with a data folder of its own.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A data folder, and the program.
pub struct Tiphys {
    data: tempfile::TempDir,
}

/// What a process left.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Tiphys {
    pub fn new() -> Tiphys {
        Tiphys { data: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.data.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiphys"));
        command.args(args).env("TIPHYS_DATA", self.path()).env_remove("NO_COLOR");
        // No cluster is known, whatever the machine's user has.
        command.env("HOME", self.path()).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str], stdin: &str) -> Output {
        finish(self.start(args, stdin))
    }

    /// Starts it.
    pub fn start(&self, args: &[&str], stdin: &str) -> Child {
        feed(self.command(args), stdin)
    }

    /// What is left of a run's Pods.
    pub fn leftovers(&self, run: &str) -> Vec<PathBuf> {
        let pods = self.path().join("runs").join(run).join("pods");
        std::fs::read_dir(pods).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

/// Starts a process and gives it its standard input.
pub fn feed(mut command: Command, stdin: &str) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A program that does not read what it is given may have closed the pipe.
    let _ = pipe.write_all(stdin.as_bytes());
    child
}

/// Waits for a process.
pub fn finish(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A Workflow of that name.
pub fn manifest(name: &str, spec: &str) -> String {
    format!("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{generateName: {name}-}}\n{spec}\n")
}

/// The path of one of the project's examples.
pub fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).display().to_string()
}
