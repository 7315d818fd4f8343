//! Where an archive's entries land: a fresh folder beside the destination, with the limits counted, which becomes the
//! destination when all went well and is gone otherwise.

use std::io::{self, Read, Write};
use std::path::Path;

use super::beneath::{Root, clean};
use super::{Limits, Unpacked};
use crate::disk::{beside, publish};
use crate::error::{Error, Result};

/// Names of skipped entries that are remembered.
const REMEMBERED: usize = 100;

/// Takes entries.
pub(super) struct Landing {
    root: Root,
    limits: Limits,
    done: Unpacked,
}

/// Runs `read` on a fresh landing for `dest`, then publishes it.
pub(super) fn unpack(dest: &Path, limits: &Limits, read: impl FnOnce(&mut Landing) -> Result<()>) -> Result<Unpacked> {
    unpack_in(Root::open, dest, limits, read)
}

/// [`unpack`] with a choice of how the landing is opened.
pub(super) fn unpack_in(
    open: impl FnOnce(&Path) -> Result<Root>,
    dest: &Path,
    limits: &Limits,
    read: impl FnOnce(&mut Landing) -> Result<()>,
) -> Result<Unpacked> {
    let folder = beside(dest, ".tmpdir");
    let at = |source| Error::io(|| format!("making the folder {}", folder.display()), source);
    match std::fs::remove_dir_all(&folder) {
        Err(other) if other.kind() != io::ErrorKind::NotFound => return Err(at(other)),
        _ => std::fs::create_dir_all(&folder).map_err(at)?,
    }
    let outcome = open(&folder).and_then(|root| land(root, &folder, dest, limits, read));
    if outcome.is_err() {
        // The cause is in the outcome; a folder that stays is removed by the next attempt.
        let _ = std::fs::remove_dir_all(&folder);
    }
    outcome
}

fn land(
    root: Root,
    folder: &Path,
    dest: &Path,
    limits: &Limits,
    read: impl FnOnce(&mut Landing) -> Result<()>,
) -> Result<Unpacked> {
    let mut landing = Landing { root, limits: *limits, done: Unpacked::default() };
    read(&mut landing)?;
    let at = |source| Error::io(|| format!("reading {}", folder.display()), source);
    let mut top = std::fs::read_dir(folder).map_err(at)?;
    match (top.next(), top.next()) {
        (Some(only), None) => {
            publish(&only.map_err(at)?.path(), dest)?;
            std::fs::remove_dir(folder).map_err(at)?;
        }
        _ => publish(folder, dest)?,
    }
    Ok(landing.done)
}

impl Landing {
    fn count(&mut self) -> Result<()> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(Error::Archive(format!("it has more than {} entries", self.limits.entries)));
        }
        Ok(())
    }

    /// A folder.
    pub(super) fn folder(&mut self, name: &[u8]) -> Result<()> {
        self.count()?;
        self.root.make_folder(&clean(name)?)
    }

    /// A file with the bytes of `content`; gives their number.
    pub(super) fn file(&mut self, name: &[u8], mode: u32, mtime: Option<u64>, content: impl Read) -> Result<u64> {
        self.count()?;
        let path = clean(name)?;
        let mut file = self.root.make_file(&path, mode)?;
        let at = |source| Error::io(|| format!("unpacking {}", path.display()), source);
        let left = self.limits.bytes - self.done.bytes;
        let copied = copy(&mut content.take(left.saturating_add(1)), &mut file).map_err(|error| match error {
            Side::Content(source) => broken(&path, source),
            Side::File(source) => at(source),
        })?;
        if copied > left {
            return Err(Error::Archive(format!("it unpacks to more than {} bytes", self.limits.bytes)));
        }
        self.done.bytes += copied;
        if let Some(time) =
            mtime.and_then(|time| std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(time)))
        {
            // A time that the file system cannot hold is not worth failing for.
            let _ = file.set_modified(time);
        }
        Ok(copied)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, name: &[u8], target: &[u8]) -> Result<()> {
        self.count()?;
        self.root.make_link(&clean(name)?, target)
    }

    /// A second name of a file that came before.
    pub(super) fn hard_link(&mut self, name: &[u8], existing: &[u8]) -> Result<()> {
        self.count()?;
        self.root.make_hard_link(&clean(name)?, &clean(existing)?)
    }

    /// A device, pipe or socket: its name is checked, but nothing is made.
    pub(super) fn skip(&mut self, name: &[u8]) -> Result<()> {
        self.count()?;
        let path = clean(name)?;
        if self.done.skipped.len() < REMEMBERED {
            self.done.skipped.push(path.display().to_string());
        }
        Ok(())
    }
}

/// Which side of a copy failed.
enum Side {
    Content(io::Error),
    File(io::Error),
}

fn copy(content: &mut impl Read, file: &mut std::fs::File) -> std::result::Result<u64, Side> {
    let mut buffer = [0; 64 << 10];
    let mut copied = 0;
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                file.write_all(&buffer[..count]).map_err(Side::File)?;
                copied += count as u64;
            }
            Err(again) if again.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Side::Content(error)),
        }
    }
}

/// A content that cannot be read: the transfer's own error if it is one, else the archive is at fault.
pub(super) fn broken(path: &Path, source: io::Error) -> Error {
    if source.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::io(String::new, source);
    }
    let place =
        if path.as_os_str().is_empty() { String::new() } else { format!("at entry {:?} ", path.display().to_string()) };
    Error::Archive(format!("{place}it is broken: {source}"))
}
