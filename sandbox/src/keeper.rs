//! The keeper: the process the caller starts. It forks the Pod's init into the new namespaces, ends it when the caller is
//! gone, and leaves when the init has.

use crate::event::{Event, Failure, FailureKind};
use crate::init::{self, FromKeeper};
use crate::memory_group::remove_group;
use crate::sys::{self, Forked};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// The argument that makes a program the sandbox process.
pub(crate) const ARGUMENT: &str = "__sandbox";

/// Whether this process was started by [`Sandbox::start`](crate::Sandbox::start): then `main` calls [`sandbox_main`]
/// before anything else, above all before it starts a thread.
pub fn is_sandbox_process() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Runs the Pod whose specification comes on standard input. Must be called while the process has one thread.
pub fn sandbox_main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        report(&Event::Failed(Failure::setup("the sandbox process failed", panic)));
    }));
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&Event::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

/// Writes an event for the caller. A caller that is gone cannot be told; the keeper sees to the rest.
pub(crate) fn report(event: &Event) {
    if let Ok(mut line) = serde_json::to_vec(event) {
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

/// The ids that the outside knows this process by.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    pub uid: u32,
    pub gid: u32,
}

fn keep() -> Result<(), Failure> {
    let ids = Ids { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
    let keeper = sys::pidfd_open(std::process::id() as i32)
        .map_err(|error| Failure::setup("cannot open a pidfd (Linux 5.12 or later is needed)", error))?;
    let keeper_pid = std::process::id();
    let (group_told, group) = pipe2(OFlag::O_CLOEXEC).map_err(|error| Failure::setup("cannot make a pipe", error))?;
    let (forked, user_namespace) = fork_init(ids)?;
    match forked {
        Forked::Child => {
            let from = FromKeeper { ids: user_namespace.then_some(ids), keeper_pid, group };
            let code = if sys::die_with(keeper.as_fd()).is_ok() { init::run(from) } else { 1 };
            sys::exit_now(code)
        }
        Forked::Parent { pid, pidfd } => {
            // The caller takes the end of the events' pipe for the end of the Pod.
            drop(group);
            watch(&pidfd);
            let _ = waitpid(Pid::from_raw(pid), None);
            let mut group = Vec::new();
            if File::from(group_told).read_to_end(&mut group).is_ok() && !group.is_empty() {
                remove_group(Path::new(OsStr::from_bytes(&group)));
            }
            Ok(())
        }
    }
}

/// Waits until the init has ended, ending it if the caller's end of the commands' pipe is closed.
fn watch(init: &OwnedFd) {
    let caller = io::stdin();
    loop {
        // Asking for nothing still reports the hang-up, however much is left to read.
        let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN), PollFd::new(caller.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        if fds[0].any() == Some(true) {
            return;
        }
        if fds[1].any() == Some(true) {
            break;
        }
    }
    let _ = sys::pidfd_signal(init.as_fd(), libc::SIGKILL);
}

/// Forks the init into the Pod's namespaces; a user namespace is among them unless the caller may do without. The
/// second value says so.
fn fork_init(ids: Ids) -> Result<(Forked, bool), Failure> {
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if ids.uid == 0 && has_other_ids() {
        match sys::fork_into(namespaces) {
            Ok(forked) => return Ok((forked, false)),
            // Root without CAP_SYS_ADMIN, as in a container: a user namespace may still be had.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => return Err(namespaces_refused(&error)),
        }
    }
    match sys::fork_into(namespaces | libc::CLONE_NEWUSER) {
        Ok(forked) => Ok((forked, true)),
        Err(error) => Err(namespaces_refused(&error)),
    }
}

/// Whether root can take on other ids: not where it is root only of a user namespace with one id, as `unshare -r` makes.
fn has_other_ids() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow")
}

/// Says which setting of this machine stands in the way.
pub(crate) fn namespaces_refused(error: &io::Error) -> Failure {
    let is = |name: &str, value: &str| {
        std::fs::read_to_string(format!("/proc/sys/{name}")).is_ok_and(|text| text.trim() == value)
    };
    let kinds = ["user", "mnt", "pid", "ipc", "uts"];
    let none_left = kinds.iter().find(|kind| is(&format!("user/max_{kind}_namespaces"), "0"));
    let advice = if is("kernel/unprivileged_userns_clone", "0") {
        "allow them with `sysctl kernel.unprivileged_userns_clone=1` (it is 0 on this machine)".to_owned()
    } else if let Some(kind) = none_left {
        format!("allow them with `sysctl user.max_{kind}_namespaces=15000` (it is 0 on this machine)")
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor forbids them: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or a profile that allows \
         `userns` to this program"
            .to_owned()
    } else {
        "a seccomp filter (a container engine's, say), a security module or a limit user.max_*_namespaces stands in the \
         way; Docker allows them with `--security-opt seccomp=unconfined`"
            .to_owned()
    };
    Failure::new(
        FailureKind::NamespacesRefused,
        format!("the kernel refuses namespaces, which steps are isolated by, to this user ({error}): {advice}"),
    )
}
