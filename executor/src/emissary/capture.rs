//! Keeps what the command prints while it goes on to the container's own output: standard output for the step's result,
//! both interleaved for the archived log. Only the file that somebody wants is written.
//!
//! A thread a stream: a reader of the container's log that stalls must not keep signals from the command.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tiphys_contract::path::ctr;

use super::EmissaryError;
use crate::process::Terminal;
use crate::shared_files::{Context, FileError};

/// How long a background process that holds the output open after the command's end is waited for (as argoexec).
const DRAIN: Duration = Duration::from_millis(100);

/// Streams under way.
pub struct Capture {
    streams: Vec<Stream>,
}

struct Stream {
    done: mpsc::Receiver<io::Result<()>>,
    /// Dropped to ask the thread to end with what is there.
    stop: OwnedFd,
}

impl Capture {
    /// Takes over the child's output.
    pub fn begin(
        folder: &Path,
        keeps_result: bool,
        keeps_log: bool,
        child: &mut Child,
        terminal: Option<&Terminal>,
    ) -> Result<Self, EmissaryError> {
        let mut result = keeps_result.then(|| open(&folder.join(ctr::STDOUT))).transpose()?;
        let mut log = keeps_log.then(|| open(&folder.join(ctr::COMBINED))).transpose()?;
        let system = |error| EmissaryError::System("pass on the output of the command", error);
        let log_too = log.as_ref().map(File::try_clone).transpose().map_err(system)?;
        let mut streams = Vec::new();
        if let Some(terminal) = terminal {
            let output = terminal.side().map_err(system)?;
            let keep = [result.take(), log.take()];
            streams.push(Stream::start(output.into(), Own::Stdout, keep).map_err(system)?);
            let mut input = terminal.side().map_err(system)?;
            let copy = move || drop(io::copy(&mut io::stdin().lock(), &mut input));
            thread::Builder::new().stack_size(STACK).spawn(copy).map_err(system)?;
        }
        if let Some(stdout) = child.stdout.take() {
            streams.push(Stream::start(stdout.into(), Own::Stdout, [result, log]).map_err(system)?);
        }
        if let Some(stderr) = child.stderr.take() {
            streams.push(Stream::start(stderr.into(), Own::Stderr, [None, log_too]).map_err(system)?);
        }
        Ok(Self { streams })
    }

    /// Waits until all that the command printed is where it belongs.
    ///
    /// # Errors
    /// When a kept file could not be written whole.
    pub fn finish(self) -> io::Result<()> {
        for Stream { done, stop } in self.streams {
            let result = done.recv_timeout(DRAIN).or_else(|_| {
                drop(stop);
                done.recv()
            });
            result.unwrap_or_else(|_| Err(io::Error::other("the copying thread ended early")))?;
        }
        Ok(())
    }
}

const STACK: usize = 128 * 1024;

/// The container's own streams.
#[derive(Clone, Copy)]
enum Own {
    Stdout,
    Stderr,
}

impl Own {
    fn write(self, bytes: &[u8]) {
        // Nobody reading the log is no reason to end the command or its result.
        let fd = match self {
            Self::Stdout => io::stdout().as_fd().try_clone_to_owned(),
            Self::Stderr => io::stderr().as_fd().try_clone_to_owned(),
        };
        let _ = fd.map(File::from).and_then(|mut own| own.write_all(bytes));
    }
}

impl Stream {
    fn start(source: OwnedFd, own: Own, keep: [Option<File>; 2]) -> io::Result<Self> {
        let (stopped, stop) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (tell, done) = mpsc::channel();
        let run = move || {
            // The receiver only goes away when the whole process does.
            let _ = tell.send(copy(source, stopped, own, keep));
        };
        thread::Builder::new().stack_size(STACK).spawn(run)?;
        Ok(Self { done, stop })
    }
}

/// Copies until the end, or after `stopped` hangs up until nothing is left to read. Keeps reading when a kept file cannot
/// be written, so that the command does not notice; the first such failure is the result.
fn copy(source: OwnedFd, stopped: OwnedFd, own: Own, mut keep: [Option<File>; 2]) -> io::Result<()> {
    let mut source = File::from(source);
    let mut buffer = vec![0; 64 * 1024];
    let mut result = Ok(());
    // Once stopped no more than a pipe's content is taken: a background process may print for ever.
    let mut left = usize::MAX;
    while left > 0 {
        let mut ready =
            [PollFd::new(source.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        let stopping = left != usize::MAX;
        match poll(&mut ready, if stopping { PollTimeout::ZERO } else { PollTimeout::NONE }) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let readable = ready[0].any() == Some(true);
        if ready[1].any() == Some(true) && !stopping {
            left = 1024 * 1024;
        }
        if !readable {
            match stopping {
                true => break,
                false => continue,
            }
        }
        let read = match source.read(&mut buffer) {
            // A terminal reports its last user's end as an error.
            Ok(0) => break,
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok(read) => read,
        };
        left = left.saturating_sub(if stopping { read } else { 0 });
        own.write(&buffer[..read]);
        for kept in &mut keep {
            if let Some(Err(error)) = kept.as_mut().map(|file| file.write_all(&buffer[..read])) {
                result = Err(error);
                *kept = None;
            }
        }
    }
    result
}

fn open(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().create(true).append(true).mode(0o666).open(path).on("open", path)
}
