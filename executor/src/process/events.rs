//! One place to wait: signals, mail, changed files, a point in time.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::mailbox::Mailbox;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This process got a signal.
    Signal(i32),
    /// A signal number came to this container's mailbox.
    Mail(i32),
    /// Something happened in a watched folder; look at the files that matter.
    Files,
    /// The time is up.
    Elapsed,
}

/// How often files are looked at when the machine has no inotify instance left (a limit per user that full nodes reach).
/// The end of the user's process never depends on it.
const WITHOUT_INOTIFY: Duration = Duration::from_secs(1);

/// Signals of this process and changes in folders, as one stream.
///
/// Guarantees: from creation on no signal is lost or acted upon by default, so what arrives before the child exists is
/// passed on afterwards. Children inherit the blocked signals unless
/// [`unblock_signals`](super::unblock_signals) prepares them.
#[derive(Debug)]
pub struct Events {
    signals: OwnedFd,
    mailbox: Option<Mailbox>,
    files: Files,
}

/// How changes in folders are noticed.
#[derive(Debug)]
enum Files {
    /// Nobody has asked yet.
    Unwatched,
    /// The kernel tells.
    Told(Inotify),
    /// The kernel cannot tell: they are looked at.
    LookedAt,
}

impl Events {
    /// Blocks all signals and takes them as events instead. Call before the first thread is started.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a zeroed sigset_t is a valid place for sigfillset to fill; it lives for all three calls. signalfd
        // returns a new descriptor that nobody else owns, or -1.
        let signals = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            // What the processor raises must not be blocked: a fault would then end the process without a word.
            for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP] {
                libc::sigdelset(&raw mut all, fault);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
            match libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        Ok(Self { signals, mailbox: None, files: Files::Unwatched })
    }

    /// Takes what comes to a mailbox as events.
    pub fn receive(&mut self, mailbox: Mailbox) {
        self.mailbox = Some(mailbox);
    }

    /// Reports every file that appears in a folder or is written there from now on.
    ///
    /// # Errors
    /// When the folder does not exist or may not be read.
    pub fn watch(&mut self, folder: &Path) -> io::Result<()> {
        if matches!(self.files, Files::Unwatched) {
            self.files = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
                Ok(inotify) => Files::Told(inotify),
                Err(Errno::EMFILE | Errno::ENOSPC | Errno::ENOSYS) => Files::LookedAt,
                Err(error) => return Err(error.into()),
            };
        }
        let Files::Told(inotify) = &self.files else {
            return Ok(());
        };
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        match inotify.add_watch(folder, flags) {
            Ok(_) => Ok(()),
            Err(Errno::ENOSPC) => {
                self.files = Files::LookedAt;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stops to watch folders.
    pub fn forget_files(&mut self) {
        self.files = Files::Unwatched;
    }

    /// Waits for the next event, at most until `deadline`.
    ///
    /// # Errors
    /// Only when the system refuses to wait at all.
    pub fn next(&mut self, deadline: Option<Instant>) -> io::Result<Event> {
        loop {
            if let Some(signal) = self.take_signal()? {
                return Ok(Event::Signal(signal));
            }
            if let Some(signal) = self.mailbox.as_mut().and_then(Mailbox::take) {
                return Ok(Event::Mail(signal));
            }
            if let Files::Told(files) = &self.files {
                match files.read_events() {
                    Ok(_) => return Ok(Event::Files),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Event::Elapsed);
            }
            if !self.poll(left)? && matches!(self.files, Files::LookedAt) {
                return Ok(Event::Files);
            }
        }
    }

    /// Whether there may be something to take; false when the time passed without.
    fn poll(&self, left: Option<Duration>) -> io::Result<bool> {
        let left = match self.files {
            Files::LookedAt => Some(left.map_or(WITHOUT_INOTIFY, |left| left.min(WITHOUT_INOTIFY))),
            Files::Unwatched | Files::Told(_) => left,
        };
        // Rounded up, so that a wait never ends just before its time and spins.
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut descriptors = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(mailbox) = &self.mailbox {
            descriptors.push(PollFd::new(mailbox.pipe().as_fd(), PollFlags::POLLIN));
        }
        if let Files::Told(files) = &self.files {
            descriptors.push(PollFd::new(files.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut descriptors, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn take_signal(&self) -> io::Result<Option<i32>> {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as the size given; the kernel writes whole records or nothing.
        let read = unsafe { libc::read(self.signals.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read == size as isize {
            // SAFETY: the kernel has just written one whole record, and every bit pattern is valid for it.
            return Ok(Some(unsafe { info.assume_init() }.ssi_signo as i32));
        }
        match Errno::last() {
            Errno::EAGAIN | Errno::EINTR => Ok(None),
            error => Err(error.into()),
        }
    }
}
