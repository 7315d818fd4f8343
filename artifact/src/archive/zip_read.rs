//! Reading zip. Its directory is at the end, so the file must be on disk.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::landing::{Landing, broken};
use crate::error::{Error, Result};

/// A link's target is a path.
const LONGEST_TARGET: u64 = 4096;

/// Gives all entries of `archive` to the landing.
pub(super) fn read(archive: File, landing: &mut Landing) -> Result<()> {
    let mut archive = ZipArchive::new(BufReader::new(archive)).map_err(|error| fault("", error))?;
    for index in 0..archive.len() {
        let shown = archive.name_for_index(index).and_then(|name| name.ok()).unwrap_or_default().into_owned();
        let mut entry = archive.by_index(index).map_err(|error| fault(&shown, error))?;
        let name = entry.name_raw().to_vec();
        let mode = entry.unix_mode().filter(|mode| mode & 0o777 != 0);
        if entry.is_dir() {
            landing.folder(&name)?;
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            let read = entry.by_ref().take(LONGEST_TARGET + 1).read_to_end(&mut target);
            read.map_err(|source| broken(Path::new(&shown), source))?;
            landing.link(&name, &target)?;
        } else {
            let size = entry.size();
            let copied = landing.file(&name, mode.unwrap_or(0o644), None, &mut entry)?;
            if copied != size {
                return Err(Error::Archive(format!("entry {shown:?} has {copied} bytes instead of {size}")));
            }
        }
    }
    Ok(())
}

fn fault(name: &str, error: ZipError) -> Error {
    match error {
        ZipError::Io(source) => broken(Path::new(name), source),
        other if name.is_empty() => Error::Archive(format!("it is not a zip file: {other}")),
        other => Error::Archive(format!("entry {name:?}: {other}")),
    }
}
