//! Reading tar, in gzip (of any number of members), in zstd or plain.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use super::landing::{Landing, broken};
use super::metered::Metered;
use crate::error::{Error, Result};

/// Headers of one entry, long names and attributes included.
const HEADERS: u64 = 1 << 20;
const UNLIMITED: u64 = u64::MAX;
/// How zstd begins.
pub(super) const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The most that zstd may look back, as a power of two: 32 MiB. A frame can ask for gigabytes.
pub(super) const WINDOW: u32 = 25;

/// Gives all entries of `archive` to the landing.
pub(super) fn read(archive: impl Read, landing: &mut Landing) -> Result<()> {
    let mut archive = BufReader::with_capacity(64 << 10, archive);
    let beginning = archive.fill_buf().map_err(|source| broken(Path::new(""), source))?;
    match beginning.first() {
        Some(0x1f) => entries(MultiGzDecoder::new(archive), landing),
        // No tar begins so: the first byte of zstd's mark could be a name's, the second cannot.
        Some(_) if beginning.starts_with(&ZSTD) => {
            let mut zstd = zstd::Decoder::with_buffer(archive).map_err(|source| broken(Path::new(""), source))?;
            zstd.window_log_max(WINDOW).map_err(|source| broken(Path::new(""), source))?;
            entries(zstd, landing)
        }
        Some(_) => entries(archive, landing),
        None => Err(Error::Archive("it is empty".into())),
    }
}

fn entries(reader: impl Read, landing: &mut Landing) -> Result<()> {
    let whole = |source| broken(Path::new(""), source);
    let (reader, meter) = Metered::new(reader);
    let mut archive = tar::Archive::new(reader);
    let mut entries = archive.entries().map_err(whole)?;
    loop {
        meter.allow(HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(whole)?;
        meter.allow(UNLIMITED);
        take(&mut entry, landing)?;
        // What is left of it, so that the next headers are measured from their beginning.
        io::copy(&mut entry, &mut io::sink()).map_err(whole)?;
    }
    // The end of the archive is not the end of the transfer: checksums come last.
    meter.allow(UNLIMITED);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(whole)?;
    Ok(())
}

fn take(entry: &mut tar::Entry<'_, impl Read>, landing: &mut Landing) -> Result<()> {
    let name = entry.path_bytes().into_owned();
    let shown = String::from_utf8_lossy(&name).into_owned();
    let kind = entry.header().entry_type();
    match kind {
        EntryType::Directory => landing.folder(&name),
        EntryType::Symlink | EntryType::Link => {
            let target = entry.link_name_bytes().map(|target| target.into_owned());
            let target = target.ok_or_else(|| Error::Archive(format!("link {shown:?} has no target")))?;
            match kind {
                EntryType::Link => landing.hard_link(&name, &target),
                _ => landing.link(&name, &target),
            }
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if name.ends_with(b"/") => {
            // The oldest tar marks folders by their name alone.
            landing.folder(&name)
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            refuse_pax_sparse(entry, &shown)?;
            let header = entry.header();
            let wrong = |source| broken(Path::new(&shown), source);
            let (mode, mtime) = (header.mode().map_err(wrong)?, header.mtime().ok());
            let size = entry.size();
            let copied = landing.file(&name, mode, mtime, &mut *entry)?;
            match copied == size {
                true => Ok(()),
                false => Err(Error::Archive(format!("entry {shown:?} ends after {copied} of {size} bytes"))),
            }
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => landing.skip(&name),
        EntryType::XGlobalHeader => Ok(()),
        other => Err(Error::Archive(format!("entry {shown:?} is of the unknown kind {:?}", other.as_byte() as char))),
    }
}

/// The sparse formats of GNU tar that hide behind pax attributes are not understood; their bytes would come out wrong.
fn refuse_pax_sparse(entry: &mut tar::Entry<'_, impl Read>, shown: &str) -> Result<()> {
    let attributes = entry.pax_extensions().map_err(|source| broken(Path::new(shown), source))?;
    for attribute in attributes.into_iter().flatten() {
        let attribute = attribute.map_err(|source| broken(Path::new(shown), source))?;
        if attribute.key_bytes().starts_with(b"GNU.sparse.") {
            return Err(Error::Archive(format!(
                "entry {shown:?} is a sparse file in pax format, which is not supported: pack it without --sparse"
            )));
        }
    }
    Ok(())
}
