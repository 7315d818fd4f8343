//! A process that the Pod's init has started and what becomes of it.

use crate::event::{Event, Exit, Failure};
use crate::keeper::report;
use crate::log::Log;
use crate::memory_group::MemoryGroup;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

/// What a process is to the caller.
pub(crate) enum Role {
    /// The first process of a container.
    Container { name: String, user: Option<(u32, u32)> },
    /// A further process in a container.
    Exec { id: u64 },
}

/// A child of the Pod's init.
pub(crate) struct Running {
    pub role: Role,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub begun: SystemTime,
    /// Closed by a successful `execve`; what comes before is a failure.
    pub start: Option<OwnedFd>,
    pub failure: Vec<u8>,
    /// What is still to be written of its output.
    pub logs: Vec<Log>,
    pub memory: Option<MemoryGroup>,
}

impl Running {
    /// What a poll for this process waits for.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let fds = self.start.iter().map(AsFd::as_fd).chain(self.logs.iter().map(Log::fd));
        fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Takes in what it wrote.
    pub fn read_on(&mut self) {
        self.read_start();
        self.logs.retain_mut(|log| !readable(log.fd()) || log.drain());
    }

    /// Reads the start pipe as far as it has come.
    fn read_start(&mut self) {
        let mut chunk = [0; 4096];
        while let Some(start) = &self.start {
            if !readable(start.as_fd()) {
                return;
            }
            match read(start, &mut chunk) {
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => {
                    self.start = None;
                    if let (Role::Container { name, .. }, true) = (&self.role, self.failure.is_empty()) {
                        self.begun = SystemTime::now();
                        report(&Event::Started { container: name.clone(), at: self.begun });
                    }
                }
                Ok(count) => self.failure.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Reports on the process, which has ended.
    pub fn finish(mut self, exit_code: i32, signal: Option<i32>) {
        // What it wrote before its end is there now.
        self.read_start();
        self.logs.retain_mut(Log::drain);
        let error: Option<Failure> = serde_json::from_slice(&self.failure).ok();
        let oom = self.memory.as_ref().is_some_and(MemoryGroup::had_oom_kill) && exit_code == 128 + libc::SIGKILL;
        if let Some(memory) = self.memory {
            memory.remove();
        }
        report(&match self.role {
            Role::Container { name: container, .. } => Event::Exited {
                container,
                exit: Exit { exit_code, signal, oom, started_at: self.begun, finished_at: SystemTime::now(), error },
            },
            Role::Exec { id } => Event::ExecExited { id, exit_code, error: error.map(|failure| failure.message) },
        });
    }
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
