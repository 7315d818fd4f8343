//! Follows files as they grow: one inotify instance for all logs of a run, and no polling.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::net::unix::pipe::Receiver;

/// A line longer than this is given in pieces, so that memory stays bounded.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How much of one file is read before the others have their turn.
const READ_BYTES: usize = 64 << 10;

/// Room for many events at once; the kernel never gives a part of one.
const EVENT_BYTES: usize = 16 << 10;

/// A file that is read line by line as it grows.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
}

impl Tail {
    /// Reads from the beginning of a file, which may not be there yet.
    pub fn new(path: &Path) -> Tail {
        Tail { path: path.to_owned(), file: None, rest: Vec::new() }
    }

    /// Gives each whole line that was added; with `at_end` also what stands after the last line end.
    pub fn read(&mut self, at_end: bool, mut line: impl FnMut(&str)) {
        let mut take = |bytes: &[u8]| line(String::from_utf8_lossy(bytes).trim_end_matches('\r'));
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let mut chunk = vec![0; READ_BYTES];
        while let Some(file) = &mut self.file {
            let count = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // What cannot be read cannot be shown; the file stays for whoever looks at it.
                Err(_) => break,
            };
            self.rest.extend_from_slice(&chunk[..count]);
            let mut from = 0;
            while let Some(length) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
                take(&self.rest[from..from + length]);
                from += length + 1;
            }
            self.rest.drain(..from);
            if self.rest.len() > MAX_LINE_BYTES {
                take(&std::mem::take(&mut self.rest));
            }
        }
        if at_end && !self.rest.is_empty() {
            take(&std::mem::take(&mut self.rest));
        }
    }
}

/// Tells which of the watched files and folders changed.
#[derive(Debug)]
pub(crate) struct Watcher<K> {
    inotify: Inotify,
    /// The same descriptor, for tokio to wait on.
    events: Receiver,
    watched: HashMap<i32, K>,
}

impl<K: Clone> Watcher<K> {
    /// A watcher of nothing yet. Needs a tokio runtime with IO.
    ///
    /// # Errors
    /// The user has too many inotify instances, or the kernel has none.
    pub fn new() -> io::Result<Watcher<K>> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let events = Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Watcher { inotify, events, watched: HashMap::new() })
    }

    /// Watches a file for being written to, a folder for files that are made, written or moved into it.
    ///
    /// # Errors
    /// It is not there, or too much is watched already.
    pub fn watch(&mut self, path: &Path, key: K) -> io::Result<WatchDescriptor> {
        let flags = if path.is_dir() {
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE
        } else {
            AddWatchFlags::IN_MODIFY
        };
        let descriptor = self.inotify.add_watch(path, flags)?;
        self.watched.insert(descriptor.as_raw(), key);
        Ok(descriptor)
    }

    /// Watches something no more.
    pub fn forget(&mut self, descriptor: WatchDescriptor) {
        self.watched.remove(&descriptor.as_raw());
        // Where the file is gone, so is its watch.
        let _ = self.inotify.rm_watch(descriptor);
    }

    /// The keys of what has changed; waits until there is something. Cancel safe.
    ///
    /// # Errors
    /// Inotify itself failed.
    pub async fn changed(&mut self) -> io::Result<Vec<K>> {
        let mut buffer = [0; EVENT_BYTES];
        loop {
            self.events.readable().await?;
            match self.events.try_read(&mut buffer) {
                Ok(count) => {
                    let mut seen = descriptors(&buffer[..count]);
                    seen.dedup();
                    return Ok(seen.iter().filter_map(|watch| self.watched.get(watch).cloned()).collect());
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The watch descriptors of a row of events: each has the descriptor, mask, cookie and the length of the name behind it.
fn descriptors(mut events: &[u8]) -> Vec<i32> {
    let word = |events: &[u8], at: usize| events.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    let mut found = Vec::new();
    while let (Some(watch), Some(length)) = (word(events, 0), word(events, 12)) {
        found.push(watch);
        events = events.get(16 + usize::try_from(length).unwrap_or(0)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(tail: &mut Tail, at_end: bool) -> Vec<String> {
        let mut lines = Vec::new();
        tail.read(at_end, |line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_come_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail::new(&path);
        assert_eq!(lines(&mut tail, false), Vec::<String>::new());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines(&mut tail, false), ["one"]);
        file.write_all(b"o\r\n\nth\xffree").unwrap();
        assert_eq!(lines(&mut tail, false), ["two", ""]);
        assert_eq!(lines(&mut tail, true), ["th\u{fffd}ree"]);
        file.write_all(b"four\n").unwrap();
        assert_eq!(lines(&mut tail, true), ["four"]);
    }

    #[tokio::test]
    async fn changes_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = File::create(&path).unwrap();
        let mut watcher = Watcher::new().unwrap();
        let descriptor = watcher.watch(&path, "file").unwrap();
        watcher.watch(folder.path(), "folder").unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(watcher.changed().await.unwrap(), ["file"]);
        watcher.forget(descriptor);
        file.write_all(b"y").unwrap();
        File::create(folder.path().join("new")).unwrap();
        let changed = watcher.changed().await.unwrap();
        assert!(changed.contains(&"folder") && !changed.contains(&"file"));
    }
}
