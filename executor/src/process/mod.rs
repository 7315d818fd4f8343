//! The few calls of the system that need `unsafe`, each behind a safe function: signals, the end of children, terminals.

#![allow(unsafe_code)]

mod events;
mod tty;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub use events::{Event, Events};
pub use tty::{Terminal, is_terminal, take_foreground};

/// Sends a signal to a process, or to a process group when `pid` is negative.
///
/// # Errors
/// As kill(2): no such process, not permitted, no such signal.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its own code, or 128 + signal.
    pub code: i32,
    /// A signal ended it.
    pub by_signal: bool,
}

/// Takes all ended children without waiting, orphans that PID 1 inherited among them. Returns the end of `child` when it
/// was one of them.
pub fn reap(child: i32) -> Option<Exit> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for one int for the length of the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        match pid {
            0 => return ended,
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return ended,
            pid if pid == child && libc::WIFEXITED(status) => {
                ended = Some(Exit { code: libc::WEXITSTATUS(status), by_signal: false });
            }
            pid if pid == child && libc::WIFSIGNALED(status) => {
                ended = Some(Exit { code: 128 + libc::WTERMSIG(status), by_signal: true });
            }
            _ => {}
        }
    }
}

/// Lets the command start with no signal blocked: [`Events`] blocks them all, and a child would inherit that.
pub fn unblock_signals(command: &mut Command) {
    let hook = || {
        // SAFETY: between fork and exec only async-signal-safe calls are made; sigemptyset fills the zeroed set.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: the hook is async-signal-safe, see above.
    unsafe { command.pre_exec(hook) };
}

/// Makes SIGTERM and SIGINT end this process at once, with 128 + signal. PID 1 would not even notice them otherwise.
pub fn end_when_told() {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    let handler = end as extern "C" fn(libc::c_int);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler is async-signal-safe and lives as long as the program.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}
