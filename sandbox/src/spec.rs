//! What to run: plain data that the caller fills and the sandbox process reads. It holds paths of this machine only;
//! everything in it was made by the caller before the start.

use crate::event::{Failure, FailureKind};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;

/// One Pod: containers that share host name, IPC namespace, `/dev/shm` and (host) network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Used in messages and in the name of the Pod's memory cgroup.
    pub name: String,
    /// The Pod's host name; also put in `/etc/hosts` for 127.0.0.1. At most 64 bytes.
    pub hostname: String,
    /// A folder for this Pod alone, on disk, empty or absent at the start: writable layers of images and the containers'
    /// `/tmp` and `/var/tmp` go there. Remove it afterwards with [`remove_scratch`](crate::remove_scratch).
    pub scratch: PathBuf,
    /// Run one after the other, each to success, before the rest starts.
    #[serde(default)]
    pub init: Vec<ContainerSpec>,
    /// Run side by side once the init containers succeeded.
    #[serde(default)]
    pub containers: Vec<ContainerSpec>,
    /// Lines added to every container's `/etc/hosts`, without line ends.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What is in `/etc/resolv.conf`; without it, the machine's own.
    #[serde(default)]
    pub resolv_conf: Option<String>,
    /// How writable roots are made.
    #[serde(default)]
    pub overlay: Overlay,
}

/// Whether overlayfs may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlay {
    /// Use it where the kernel lets us, else do as `Never`.
    #[default]
    Auto,
    /// Do as on a kernel without it: the host's folders are read-only, layers are copied.
    Never,
}

/// One container of a [`SandboxSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique in the Pod, init containers included.
    pub name: String,
    /// What the container sees as `/`.
    pub rootfs: Rootfs,
    /// The command and its arguments. A command without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working directory, made if absent; `/` by default.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// User and group to run as; 0:0 by default. Without privileges this is only how the caller's own ids appear
    /// within the container.
    #[serde(default)]
    pub user: Option<(u32, u32)>,
    /// Files and folders of the machine put into the container.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Where standard output is appended: a file (made if absent), which the container writes to through a pipe, or a
    /// named pipe, which has a reader already; discarded by default.
    #[serde(default)]
    pub stdout: Option<PathBuf>,
    /// As `stdout`, and may be the same file.
    #[serde(default)]
    pub stderr: Option<PathBuf>,
    /// What standard input reads: a file or a named pipe; at its end from the beginning by default.
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// Give the process a terminal; what it writes there is appended to the file `stdout`.
    #[serde(default)]
    pub tty: bool,
    /// A file of the machine, made if absent, mounted at `/dev/termination-log`.
    #[serde(default)]
    pub termination_log: Option<PathBuf>,
    /// Memory the container may use, in bytes. Enforced where a memory cgroup can be made, else a
    /// [`Warning`](crate::Event::Warning) is sent.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// Make the root read-only; mounts, `/dev` and `/proc` stay as they are.
    #[serde(default)]
    pub read_only_root: bool,
}

/// What a container sees as `/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rootfs {
    /// The machine's own root under a private writable layer in memory; `/tmp` and `/var/tmp` are empty folders on disk,
    /// `/run` is empty. Top-level folders in which an ordinary user may write nothing, such as `/usr`, are read-only to
    /// that user's containers.
    Host,
    /// Unpacked image layers, lowest first, under a private writable layer on disk. They are never written to.
    Layers(Vec<PathBuf>),
    /// Nothing but mounts, `/dev`, `/proc`, `/sys`, the Pod's files in `/etc` and empty `/tmp` and `/var/tmp` on disk. The
    /// cheapest root, for static programs.
    Empty,
}

/// A file or folder of the machine put into a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Exists on the machine.
    pub source: PathBuf,
    /// Absolute path in the container; made if absent.
    pub target: PathBuf,
    /// Writing fails with "read-only file system".
    #[serde(default)]
    pub read_only: bool,
}

impl ContainerSpec {
    /// A container with nothing but a command; the caller sets the rest.
    pub fn new(name: impl Into<String>, rootfs: Rootfs, argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            name: name.into(),
            rootfs,
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: None,
            user: None,
            mounts: Vec::new(),
            stdout: None,
            stderr: None,
            stdin: None,
            tty: false,
            termination_log: None,
            memory_limit_bytes: None,
            read_only_root: false,
        }
    }
}

impl SandboxSpec {
    /// Names serve as folder names and tell containers apart; the scratch folder is found from anywhere.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let invalid =
            |message: String| Err(Failure::new(FailureKind::InvalidSpec, format!("Pod {}: {message}", self.name)));
        let mut names = HashSet::new();
        for container in self.init.iter().chain(&self.containers) {
            let name = container.name.as_str();
            if name.is_empty() || name.contains('/') || name == "." || name == ".." {
                return invalid(format!("{name:?} cannot name a container"));
            }
            if !names.insert(name) {
                return invalid(format!("two containers are named {name:?}"));
            }
        }
        if !self.scratch.is_absolute() {
            return invalid(format!("its scratch folder {} is not an absolute path", self.scratch.display()));
        }
        Ok(())
    }

    /// A Pod without containers; the caller adds them.
    pub fn new(name: impl Into<String>, scratch: impl Into<PathBuf>) -> Self {
        let name = name.into();
        Self {
            hostname: name.chars().take(63).collect(),
            name,
            scratch: scratch.into(),
            init: Vec::new(),
            containers: Vec::new(),
            hosts: Vec::new(),
            resolv_conf: None,
            overlay: Overlay::Auto,
        }
    }
}
