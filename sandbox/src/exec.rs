//! A further process in a running container, for probes.

use crate::event::Failure;
use crate::identity::become_user;
use crate::launch;
use crate::sys::{self, Forked};
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid, write};
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The container to join.
pub(crate) struct Joined<'a> {
    pub name: &'a str,
    /// A pidfd of its first process.
    pub pidfd: BorrowedFd<'a>,
    pub user: Option<(u32, u32)>,
    pub in_user_namespace: bool,
}

/// Turns this process, forked by the Pod's init, into one that waits for the command, run in the container's namespaces.
/// Gives its exit code; what kept it from starting is written to `told`.
pub(crate) fn run_in(
    container: &Joined<'_>,
    argv: &[String],
    environment: Vec<(String, String)>,
    init: BorrowedFd<'_>,
    told: OwnedFd,
) -> i32 {
    let tell = |failure: Failure| {
        let _ = write(&told, &serde_json::to_vec(&failure).unwrap_or_default());
        failure.kind.exit_code()
    };
    let (waiter, forked) = match join(container, init) {
        Ok(joined) => joined,
        Err(failure) => return tell(failure),
    };
    match forked {
        Forked::Child => {
            let Err(failure) = execute(container, argv, environment, waiter.as_fd());
            tell(failure)
        }
        Forked::Parent { pid, .. } => match waitpid(Pid::from_raw(pid), None) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            _ => 128,
        },
    }
}

fn failed(container: &Joined<'_>, what: &str, error: impl Into<io::Error>) -> Failure {
    Failure::setup(format!("container {}: cannot {what}", container.name), error.into())
}

/// Enters the container's namespaces and forks, since a PID namespace is entered by the next child only. With it comes a
/// pidfd of this process.
fn join(container: &Joined<'_>, init: BorrowedFd<'_>) -> Result<(OwnedFd, Forked), Failure> {
    sys::die_with(init).map_err(|error| failed(container, "tie a process to its Pod", error))?;
    let waiter =
        sys::pidfd_open(std::process::id() as i32).map_err(|error| failed(container, "open a pidfd", error))?;
    setns(container.pidfd, CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .map_err(|error| failed(container, "enter its namespaces", error))?;
    let forked = sys::fork_into(0).map_err(|error| failed(container, "fork", error))?;
    Ok((waiter, forked))
}

fn execute(
    container: &Joined<'_>,
    argv: &[String],
    environment: Vec<(String, String)>,
    waiter: BorrowedFd<'_>,
) -> Result<Infallible, Failure> {
    let discard = || -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        setsid()?;
        (0..3).try_for_each(|number| sys::replace_standard(null.as_fd(), number))
    };
    discard().map_err(|error| failed(container, "discard the output of a process", error))?;
    become_user(container.user, container.in_user_namespace)?;
    sys::die_with(waiter).map_err(|error| failed(container, "tie a process to its Pod", error))?;
    launch::execute(container.name, argv, environment)
}
