//! From a container's outputs to its log files.
//!
//! A container writes to a pipe or a terminal, never to the file itself: a program that opens `/dev/stdout` anew would
//! empty the file.

use crate::spec::ContainerSpec;
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, read};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, fchown};
use std::path::Path;

/// What a container's descriptors 0, 1 and 2 are to be.
pub(crate) struct Streams {
    pub descriptors: [OwnedFd; 3],
    pub is_terminal: bool,
}

/// The reading side of a container's output, and the file it goes to.
pub(crate) struct Log {
    source: OwnedFd,
    file: Option<File>,
}

impl Streams {
    /// Opens what `spec` names. The logs have to be drained while the container runs. `dev` is the Pod's `/dev`.
    pub fn open(spec: &ContainerSpec, dev: &Path, in_user_namespace: bool) -> io::Result<(Self, Vec<Log>)> {
        let (streams, logs) = if spec.tty { terminal(spec, dev)? } else { separate(spec)? };
        if let (Some((uid, gid)), false) = (spec.user, in_user_namespace) {
            // So that the user can open /dev/stdout anew. The devices of the machine stay as they are.
            let own = |fd: &OwnedFd| -> io::Result<bool> {
                Ok(streams.is_terminal || File::from(fd.try_clone()?).metadata()?.file_type().is_fifo())
            };
            for fd in &streams.descriptors {
                if own(fd)? {
                    fchown(fd, Some(uid), Some(gid))?;
                }
            }
        }
        Ok((streams, logs))
    }
}

/// A terminal for all three, whose output goes to the file for standard output.
fn terminal(spec: &ContainerSpec, dev: &Path) -> io::Result<(Streams, Vec<Log>)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let source = open(&dev.join("pts/ptmx"), flags, Mode::empty())?;
    let peer = sys::terminal_peer(source.as_fd())?;
    let file = spec.stdout.as_deref().map(append_to).transpose()?;
    let descriptors = [peer.try_clone()?, peer.try_clone()?, peer];
    Ok((Streams { descriptors, is_terminal: true }, vec![Log { source, file }]))
}

/// Files or pipes, one for each. Outputs that share a file share a pipe, which keeps their order.
fn separate(spec: &ContainerSpec) -> io::Result<(Streams, Vec<Log>)> {
    let mut logs = Vec::new();
    let input = File::open(spec.stdin.as_deref().unwrap_or(Path::new("/dev/null")))?.into();
    let output = sink(spec.stdout.as_deref(), &mut logs)?;
    let error = match (&spec.stdout, &spec.stderr) {
        (Some(output_path), Some(error_path)) if output_path == error_path => output.try_clone()?,
        (_, path) => sink(path.as_deref(), &mut logs)?,
    };
    Ok((Streams { descriptors: [input, output, error], is_terminal: false }, logs))
}

/// What a container writes to: a pipe into a file, or what else is at `path`.
fn sink(path: Option<&Path>, logs: &mut Vec<Log>) -> io::Result<OwnedFd> {
    let file = append_to(path.unwrap_or(Path::new("/dev/null")))?;
    if !file.metadata()?.is_file() {
        return Ok(file.into());
    }
    let (source, sink) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&source, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    logs.push(Log { source, file: Some(file) });
    Ok(sink)
}

/// Opens a file to append to, made if absent.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    let open = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
    open.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl Log {
    /// Readable when there is something for the log.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    /// Writes to the file what the container has written. False when there will be nothing more.
    pub fn drain(&mut self) -> bool {
        let mut chunk = [0; 65536];
        loop {
            match read(&self.source, &mut chunk) {
                Ok(count) if count > 0 => {
                    if let Some(file) = &mut self.file {
                        // A full disk must not stop the container.
                        let _ = file.write_all(&chunk[..count]);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return true,
                Ok(_) | Err(_) => return false,
            }
        }
    }
}
