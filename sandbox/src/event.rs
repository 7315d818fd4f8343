//! What passes over the two pipes between the caller and the sandbox process, one JSON value a line.

use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What the sandbox tells its caller, in order. The last one is always `Finished`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The container's command runs (its `execve` succeeded).
    Started {
        /// The container.
        container: String,
        /// When.
        at: SystemTime,
    },
    /// The container ended, or could not be started (then `exit.error` is set and no `Started` came before).
    Exited {
        /// The container.
        container: String,
        /// How.
        exit: Exit,
    },
    /// A process started with [`Sandbox::exec`](crate::Sandbox::exec) ended.
    ExecExited {
        /// The number given to `exec`.
        id: u64,
        /// Its exit code; 128 + the signal's number if one ended it; 126 or 127 if it could not be started.
        exit_code: i32,
        /// Why it could not be started.
        error: Option<String>,
    },
    /// Something asked for that this machine does not give; the container runs all the same.
    Warning {
        /// The container.
        container: String,
        /// For the user.
        message: String,
    },
    /// The Pod as a whole could not be set up.
    Failed(Failure),
    /// No process of the Pod is left, nor the sandbox process itself. A container that has `Started` and not `Exited` was
    /// ended together with the sandbox process, by somebody else.
    Finished,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal's number if one ended it; 126 to 128 if it could not be started.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container because of its memory limit.
    pub oom: bool,
    /// When its command began; when the attempt was made, if that failed.
    pub started_at: SystemTime,
    /// When it ended.
    pub finished_at: SystemTime,
    /// Why it could not be started.
    pub error: Option<Failure>,
}

/// Why a container, or the whole Pod, could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For the caller's decisions.
    pub kind: FailureKind,
    /// For the user: what happened, where, what to do.
    pub message: String,
}

/// The sorts of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The command is not in the container (exit code 127).
    CommandNotFound,
    /// The command is there and cannot be executed (exit code 126).
    CommandNotExecutable,
    /// What a mount names is not on this machine.
    MountSource,
    /// The spec cannot be: an empty command, a relative mount target, two containers of one name.
    InvalidSpec,
    /// This machine does not let an ordinary user make namespaces; the message says which setting.
    NamespacesRefused,
    /// Any other step of the setting-up failed.
    Setup,
}

impl FailureKind {
    /// The exit code of a container that failed so, as a container engine would give it.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable => 126,
            Self::MountSource | Self::InvalidSpec | Self::NamespacesRefused | Self::Setup => 128,
        }
    }
}

impl Failure {
    /// A failure of `kind` with `message`.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failed step of the setting-up: what was tried, and the kernel's answer.
    pub(crate) fn setup(what: impl std::fmt::Display, source: impl std::fmt::Display) -> Self {
        Self::new(FailureKind::Setup, format!("{what}: {source}"))
    }
}

/// What the caller tells the sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Send a signal to a container's first process.
    Signal { container: String, signal: i32 },
    /// End every process now; start nothing more.
    Kill,
    /// Run a further process in a running container.
    Exec { id: u64, container: String, argv: Vec<String>, env: Vec<(String, String)> },
    /// End such a process.
    KillExec { id: u64 },
}
