//! The Pod's init: makes the namespaces' contents, starts the containers, passes signals on and reports what ends. It is
//! PID 1 of the Pod's PID namespace: when it ends, the kernel ends every process of the Pod.

use crate::container::become_container;
use crate::event::{Command, Event, Exit, Failure, FailureKind};
use crate::exec::{self, Joined};
use crate::identity::map_ids;
use crate::keeper::{Ids, namespaces_refused, report};
use crate::lines::Lines;
use crate::log::Streams;
use crate::memory_group::{MemoryGroup, PodGroup};
use crate::pod::Pod;
use crate::reaper::{Ended, Reaper};
use crate::running::{Role, Running};
use crate::spec::{ContainerSpec, SandboxSpec};
use crate::sys::{self, Forked};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, write};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

/// What the keeper hands to the init.
pub(crate) struct FromKeeper {
    /// To be mapped into this process's fresh user namespace, if it is in one.
    pub ids: Option<Ids>,
    /// Names what has to be told from other Pods on this machine.
    pub keeper_pid: u32,
    /// Takes the path of the Pod's control group, for the keeper to remove.
    pub group: OwnedFd,
}

/// Runs the Pod whose specification comes on standard input, to its end. Gives the exit code.
pub(crate) fn run(from: FromKeeper) -> i32 {
    match run_pod(from) {
        Ok(()) => 0,
        Err(failure) => {
            report(&Event::Failed(failure));
            1
        }
    }
}

fn run_pod(from: FromKeeper) -> Result<(), Failure> {
    let mut input = Lines::default();
    let Some(line) = input.wait_for_line() else {
        // The caller is gone already.
        return Ok(());
    };
    let spec: SandboxSpec = serde_json::from_slice(&line).map_err(|error| {
        Failure::new(FailureKind::InvalidSpec, format!("cannot read the Pod's specification: {error}"))
    })?;
    spec.check()?;
    if let Some(ids) = from.ids {
        map_ids((0, 0), ids).map_err(|error| namespaces_refused(&error))?;
    }
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).map_err(|error| namespaces_refused(&error.into()))?;
    let pod = Pod::prepare(&spec, from.ids.is_some())?;
    let own =
        sys::pidfd_open(std::process::id() as i32).map_err(|error| Failure::setup("cannot open a pidfd", error))?;
    let reaper = Reaper::new().map_err(|error| Failure::setup("cannot watch for ended processes", error))?;
    let mut init = Init { pod, own, from, group: None, input, reaper, running: Vec::new(), ended: false };
    for container in &spec.init {
        init.start(container);
        if !init.run_to_end() || init.ended {
            return Ok(());
        }
    }
    for container in &spec.containers {
        init.start(container);
    }
    init.run_to_end();
    Ok(())
}

struct Init {
    pod: Pod,
    /// A pidfd of this process, by which its children see it die.
    own: OwnedFd,
    from: FromKeeper,
    /// Made for the first container with a memory limit.
    group: Option<PodGroup>,
    input: Lines,
    reaper: Reaper,
    running: Vec<Running>,
    /// The caller ordered the end.
    ended: bool,
}

/// What a sleep has ended for, besides output.
struct Ready {
    child: bool,
    input: bool,
}

impl Init {
    fn start(&mut self, spec: &ContainerSpec) {
        if let Err(error) = self.try_start(spec) {
            let failure = Failure::setup(
                format!("container {}: cannot open its streams or start a process for it", spec.name),
                error,
            );
            let now = SystemTime::now();
            let exit_code = failure.kind.exit_code();
            let exit =
                Exit { exit_code, signal: None, oom: false, started_at: now, finished_at: now, error: Some(failure) };
            report(&Event::Exited { container: spec.name.clone(), exit });
        }
    }

    fn try_start(&mut self, spec: &ContainerSpec) -> io::Result<()> {
        let (start, told) = pipe2(OFlag::O_CLOEXEC)?;
        let (streams, logs) = Streams::open(spec, &self.pod.dev(), self.pod.in_user_namespace)?;
        let memory = spec.memory_limit_bytes.and_then(|limit| self.limit_memory(spec, limit));
        let begun = SystemTime::now();
        match sys::fork_into(libc::CLONE_NEWNS | libc::CLONE_NEWPID)? {
            Forked::Child => {
                let Err(failure) = become_container(spec, &self.pod, self.own.as_fd(), memory, &streams);
                let _ = write(&told, &serde_json::to_vec(&failure).unwrap_or_default());
                sys::exit_now(failure.kind.exit_code())
            }
            Forked::Parent { pid, pidfd } => {
                let role = Role::Container { name: spec.name.clone(), user: spec.user };
                let (start, failure) = (Some(start), Vec::new());
                self.running.push(Running { role, pid, pidfd, begun, start, failure, logs, memory });
                Ok(())
            }
        }
    }

    /// Makes the container's memory group, or warns that there is none.
    fn limit_memory(&mut self, spec: &ContainerSpec, limit: u64) -> Option<MemoryGroup> {
        let made = self.pod_group().and_then(|pod| MemoryGroup::make(pod, &spec.name, limit));
        made.inspect_err(|error| {
            report(&Event::Warning {
                container: spec.name.clone(),
                message: format!(
                    "the memory limit of {limit} bytes is not enforced: no control group can be made for it ({error}); \
                     run as root or under `systemd-run --user --scope -p Delegate=yes`"
                ),
            });
        })
        .ok()
    }

    fn pod_group(&mut self) -> io::Result<&PodGroup> {
        if self.group.is_none() {
            let group = PodGroup::make(&format!("tiphys-{}", self.from.keeper_pid))?;
            write(&self.from.group, group.folder().as_os_str().as_bytes())?;
            self.group = Some(group);
        }
        self.group.as_ref().ok_or_else(|| io::Error::other("no control group"))
    }

    /// Serves until nothing runs any more. Whether every container ended with 0.
    fn run_to_end(&mut self) -> bool {
        let mut succeeded = true;
        while !self.running.is_empty() {
            let ready = self.wait();
            self.running.iter_mut().for_each(Running::read_on);
            let ended = if ready.child { self.reaper.reap() } else { Vec::new() };
            for Ended { pid, exit_code, signal } in ended {
                if let Some(index) = self.running.iter().position(|running| running.pid == pid) {
                    let running = self.running.remove(index);
                    succeeded &= exit_code == 0 || matches!(running.role, Role::Exec { .. });
                    running.finish(exit_code, signal);
                }
            }
            if ready.input && !self.input.fill() {
                // The caller is gone. The end of this process ends all others.
                sys::exit_now(1);
            }
            while let Some(line) = self.input.next_line() {
                if let Ok(command) = serde_json::from_slice(&line) {
                    self.obey(command);
                }
            }
        }
        succeeded
    }

    /// Sleeps until something happens.
    fn wait(&self) -> Ready {
        let stdin = io::stdin();
        let of_init = [self.reaper.fd(), stdin.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> =
            of_init.into_iter().chain(self.running.iter().flat_map(Running::poll_fds)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => Ready { child: fds[0].any() == Some(true), input: fds[1].any() == Some(true) },
            Err(Errno::EINTR) => Ready { child: false, input: false },
            Err(_) => sys::exit_now(1),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Kill => {
                self.ended = true;
                for running in &self.running {
                    let _ = sys::pidfd_signal(running.pidfd.as_fd(), libc::SIGKILL);
                }
            }
            Command::Signal { container, signal } => {
                if let Some((running, _)) = self.find(&container) {
                    let _ = sys::pidfd_signal(running.pidfd.as_fd(), signal);
                }
            }
            Command::Exec { id, container, argv, env } => {
                if let Err(error) = self.exec(id, &container, &argv, env) {
                    let error = Some(format!("container {container}: cannot start a process in it: {error}"));
                    report(&Event::ExecExited { id, exit_code: 126, error });
                }
            }
            Command::KillExec { id } => {
                let is_it = |running: &&Running| matches!(running.role, Role::Exec { id: other } if other == id);
                if let Some(running) = self.running.iter().find(is_it) {
                    let _ = sys::pidfd_signal(running.pidfd.as_fd(), libc::SIGKILL);
                }
            }
        }
    }

    /// A running container and its user.
    fn find(&self, container: &str) -> Option<(&Running, Option<(u32, u32)>)> {
        self.running.iter().find_map(|running| match &running.role {
            Role::Container { name, user } if name == container => Some((running, *user)),
            _ => None,
        })
    }

    fn exec(&mut self, id: u64, name: &str, argv: &[String], env: Vec<(String, String)>) -> io::Result<()> {
        let (running, user) = self.find(name).ok_or_else(|| io::Error::other("it is not running"))?;
        let (start, told) = pipe2(OFlag::O_CLOEXEC)?;
        let begun = SystemTime::now();
        match sys::fork_into(0)? {
            Forked::Child => {
                let in_user_namespace = self.pod.in_user_namespace;
                if running.memory.as_ref().is_some_and(|memory| memory.enter().is_err()) {
                    sys::exit_now(126);
                }
                let joined = Joined { name, pidfd: running.pidfd.as_fd(), user, in_user_namespace };
                sys::exit_now(exec::run_in(&joined, argv, env, self.own.as_fd(), told));
            }
            Forked::Parent { pid, pidfd } => {
                let (role, start, failure) = (Role::Exec { id }, Some(start), Vec::new());
                let (logs, memory) = (Vec::new(), None);
                self.running.push(Running { role, pid, pidfd, begun, start, failure, logs, memory });
                Ok(())
            }
        }
    }
}
