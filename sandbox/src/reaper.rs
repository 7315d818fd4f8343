//! Learning of ended children.
//!
//! The Pod's init reaps every child it is given, not only those it started: a process that was put into a container and
//! lost its parent becomes a child of the init, and a container's PID 1 cannot end before such a process is reaped.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Readable when a child has ended.
pub(crate) struct Reaper {
    signals: SignalFd,
}

/// A child that ended and how.
pub(crate) struct Ended {
    pub pid: i32,
    pub exit_code: i32,
    pub signal: Option<i32>,
}

impl Reaper {
    /// Blocks `SIGCHLD` in this process; a program it executes must have it unblocked.
    pub fn new() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { signals: SignalFd::with_flags(&signals, flags)? })
    }

    /// What a poll waits for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Reaps every child that has ended.
    pub fn reap(&mut self) -> Vec<Ended> {
        // First the signal, then the children: one that ends in between raises it anew.
        while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        let mut all = Vec::new();
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, exit_code)) => {
                    all.push(Ended { pid: pid.as_raw(), exit_code, signal: None });
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    let signal = signal as i32;
                    all.push(Ended { pid: pid.as_raw(), exit_code: 128 + signal, signal: Some(signal) });
                }
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::StillAlive) | Err(_) => return all,
                Ok(_) => {}
            }
        }
    }
}
