//! A container's mailbox for signals: a named pipe in its folder, which its emissary reads and passes on.
//!
//! A pipe and not a watched file, because the kernel takes some 10 ms to give up an inotify watch, and takes them when the
//! process ends. Before the emissary has started there is no pipe; then a plain file waits for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::shared_files::{Context, FileError, read_number};

/// The reading end.
#[derive(Debug)]
pub struct Mailbox {
    pipe: File,
    /// What waited in a file before the pipe was there.
    waiting: Vec<i32>,
}

impl Mailbox {
    /// Opens the mailbox at `path`, with what was sent before.
    ///
    /// # Errors
    /// When the file system has no named pipes, or the folder is not writable.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut waiting = Vec::new();
        // Made and opened under another name: a pipe that is seen before it is read looks as if its reader were gone.
        let new = path.with_extension("new");
        if let Err(error) = mkfifo(&new, Mode::from_bits_truncate(0o666))
            && error != Errno::EEXIST
        {
            return Err(error.into());
        }
        // Open for writing too: the pipe then never ends, whoever comes and goes.
        let pipe = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&new)?;
        while let Err(error) = fs::hard_link(&new, path) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            waiting.extend(read_waiting(path)?);
            fs::remove_file(path)?;
        }
        fs::remove_file(&new)?;
        Ok(Self { pipe, waiting })
    }

    /// The next signal, when there is one.
    pub fn take(&mut self) -> Option<i32> {
        let mut bytes = [0; 256];
        if let Ok(read) = self.pipe.read(&mut bytes) {
            let numbers = String::from_utf8_lossy(&bytes[..read]).into_owned();
            self.waiting.extend(numbers.split_whitespace().filter_map(|number| number.parse::<i32>().ok()));
        }
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0))
    }

    /// What becomes readable when there is something to take.
    pub fn pipe(&self) -> &File {
        &self.pipe
    }
}

/// What a plain file holds; of an older pipe nothing, its reader took it.
fn read_waiting(path: &Path) -> io::Result<Option<i32>> {
    match fs::symlink_metadata(path)?.file_type().is_fifo() {
        true => Ok(None),
        false => Ok(read_number(path)),
    }
}

/// Sends a signal to the mailbox at `path`. To one whose reader is gone nothing is sent.
///
/// # Errors
/// When the folder is not there or not writable.
pub fn send(path: &Path, signal: i32) -> Result<(), FileError> {
    let text = format!("{signal}\n");
    loop {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path) {
            Ok(mut open) => return open.write_all(text.as_bytes()).on("write", path),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).on("open", path),
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let draft = folder.join(format!("signal.{}", std::process::id()));
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&draft);
        written.and_then(|mut file| file.write_all(text.as_bytes())).on("write", &draft)?;
        // Linked, not renamed: a pipe that is there by now must stay.
        let linked = fs::hard_link(&draft, path);
        // Its name was for this moment only.
        let _ = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.on("write", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signal");
        send(&path, 15).unwrap();
        let mut mailbox = Mailbox::open(&path).unwrap();
        send(&path, 10).unwrap();
        send(&path, 9).unwrap();
        fs::write(&path, "12").unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| mailbox.take()).collect();
        assert_eq!(taken, [15, 10, 9, 12]);
        drop(mailbox);
        send(&path, 9).unwrap();
        assert!(Mailbox::open(&path).unwrap().take().is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        assert!(send(Path::new("/no/such/signal"), 9).unwrap_err().to_string().starts_with("cannot write /no/such/"));
    }
}
