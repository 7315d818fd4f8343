//! Keeps what the command prints while it goes on to the container's own output: standard output for the step's result,
//! both interleaved for the archived log, and the end of standard error for the message of a failure. Only what somebody
//! wants is kept.
//!
//! A thread a stream: a reader of the container's log that stalls must not keep signals from the command.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
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

/// So many bytes of the end of standard error are kept, whole lines of them.
const LAST_BYTES: usize = 1024;

/// What is kept of the output.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Standard output, as the step's result.
    pub result: bool,
    /// All, as the archived log.
    pub log: bool,
    /// The last lines of standard error.
    pub last_lines: bool,
}

impl Keep {
    /// Whether the output must pass through this process at all.
    pub fn anything(self) -> bool {
        self.result || self.log || self.last_lines
    }
}

/// Streams under way.
pub struct Capture {
    streams: Vec<Stream>,
    last: Last,
}

/// The end of a stream.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Vec<u8>>>);

impl Last {
    fn push(&self, bytes: &[u8]) {
        // The bytes are whole after any panic.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.extend_from_slice(bytes);
        // One byte more tells whether the first line is whole.
        let surplus = last.len().saturating_sub(LAST_BYTES + 1);
        last.drain(..surplus);
    }

    /// As text, from the beginning of a line on where there is one.
    fn lines(&self) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = match last.len() > LAST_BYTES {
            true => last.iter().position(|byte| *byte == b'\n').map_or(1, |at| at + 1),
            false => 0,
        };
        let start = if start == last.len() { 1 } else { start };
        String::from_utf8_lossy(last.get(start..).unwrap_or_default()).into_owned()
    }
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
        keep: Keep,
        child: &mut Child,
        terminal: Option<&Terminal>,
    ) -> Result<Self, EmissaryError> {
        let mut result = keep.result.then(|| open(&folder.join(ctr::STDOUT))).transpose()?;
        let mut log = keep.log.then(|| open(&folder.join(ctr::COMBINED))).transpose()?;
        let system = |error| EmissaryError::System("pass on the output of the command", error);
        let log_too = log.as_ref().map(File::try_clone).transpose().map_err(system)?;
        let mut streams = Vec::new();
        let last = Last::default();
        if let Some(terminal) = terminal {
            let output = terminal.side().map_err(system)?;
            let files = [result.take(), log.take()];
            streams.push(Stream::start(output.into(), Own::Stdout, files, None).map_err(system)?);
            let mut input = terminal.side().map_err(system)?;
            let copy = move || drop(io::copy(&mut io::stdin().lock(), &mut input));
            thread::Builder::new().stack_size(STACK).spawn(copy).map_err(system)?;
        }
        if let Some(stdout) = child.stdout.take() {
            streams.push(Stream::start(stdout.into(), Own::Stdout, [result, log], None).map_err(system)?);
        }
        if let Some(stderr) = child.stderr.take() {
            let last = Some(last.clone());
            streams.push(Stream::start(stderr.into(), Own::Stderr, [None, log_too], last).map_err(system)?);
        }
        Ok(Self { streams, last })
    }

    /// Waits until all that the command printed is where it belongs. Returns the last lines of standard error.
    ///
    /// # Errors
    /// When a kept file could not be written whole.
    pub fn finish(self) -> io::Result<String> {
        for Stream { done, stop } in self.streams {
            let result = done.recv_timeout(DRAIN).or_else(|_| {
                drop(stop);
                done.recv()
            });
            result.unwrap_or_else(|_| Err(io::Error::other("the copying thread ended early")))?;
        }
        Ok(self.last.lines())
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
    fn start(source: OwnedFd, own: Own, keep: [Option<File>; 2], last: Option<Last>) -> io::Result<Self> {
        let (stopped, stop) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (tell, done) = mpsc::channel();
        let run = move || {
            // The receiver only goes away when the whole process does.
            let _ = tell.send(copy(source, stopped, own, keep, last));
        };
        thread::Builder::new().stack_size(STACK).spawn(run)?;
        Ok(Self { done, stop })
    }
}

/// Copies until the end, or after `stopped` hangs up until nothing is left to read. Keeps reading when a kept file cannot
/// be written, so that the command does not notice; the first such failure is the result.
fn copy(
    source: OwnedFd,
    stopped: OwnedFd,
    own: Own,
    mut keep: [Option<File>; 2],
    last: Option<Last>,
) -> io::Result<()> {
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
        if let Some(last) = &last {
            last.push(&buffer[..read]);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        let check = |text: &str, expected: &str| {
            let last = Last::default();
            text.as_bytes().chunks(7).for_each(|chunk| last.push(chunk));
            assert_eq!(last.lines(), expected);
        };
        check("", "");
        check("one\ntwo\n", "one\ntwo\n");
        let line = "x".repeat(99) + "\n";
        check(&line.repeat(20), &line.repeat(10));
        check(&"y".repeat(3000), &"y".repeat(LAST_BYTES));
        check(&("y".repeat(3000) + "\n"), &("y".repeat(LAST_BYTES - 1) + "\n"));
    }
}
