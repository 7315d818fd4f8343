//! Terminals: a user's process that was given one must be its foreground, and must still see one when its output is
//! captured on the way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Whether standard input is a terminal.
pub fn is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stdin())
}

/// Makes the command the foreground group of the terminal on standard input, so that it may read from it and gets the
/// terminal's own signals. For commands that start in a process group of their own.
pub fn take_foreground(command: &mut Command) {
    let hook = || {
        // SAFETY: between fork and exec only async-signal-safe calls are made; the zeroed set is filled by sigemptyset.
        // SIGTTOU is blocked meanwhile, since a background group that takes the foreground would be stopped by it.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTTOU);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            // Not being the controlling terminal is no reason not to run.
            libc::tcsetpgrp(0, libc::getpid());
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: the hook is async-signal-safe, see above.
    unsafe { command.pre_exec(hook) };
}

/// A terminal of our own between the container's and the user's process, through which the output passes.
///
/// The container's terminal is in raw mode as long as this lives.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    before: Termios,
}

impl Terminal {
    /// Opens a terminal with the settings and size of standard input, and puts the command on it as the leader of a
    /// session of its own.
    ///
    /// # Errors
    /// When there is no free terminal (`/dev/ptmx` missing), or standard input is none.
    pub fn open(command: &mut Command) -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let pair = openpty(None, Some(&before))?;
        copy_size(stdin.as_fd(), pair.master.as_fd());
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &raw)?;
        let slave = File::from(pair.slave);
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(Stdio::from(slave));
        let hook = || {
            // SAFETY: setsid and ioctl are async-signal-safe and take integers only.
            match unsafe { libc::setsid() != -1 && libc::ioctl(0, libc::TIOCSCTTY, 0) != -1 } {
                true => Ok(()),
                false => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the hook is async-signal-safe, see above.
        unsafe { command.pre_exec(hook) };
        Ok(Self { master: pair.master, before })
    }

    /// Another handle on our side of the terminal: what is read is the output, what is written the input.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn side(&self) -> io::Result<File> {
        self.master.try_clone().map(File::from)
    }

    /// Passes on the size of the container's terminal; for SIGWINCH.
    pub fn resize(&self) {
        copy_size(io::stdin().as_fd(), self.master.as_fd());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The container ends with us; a terminal that cannot be reset is nobody's any more.
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.before);
    }
}

fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    // SAFETY: both calls get a valid pointer to a winsize, which is plain data.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 {
            libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
        }
    }
}
