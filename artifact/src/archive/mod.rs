//! Archives: written as a stream while they are uploaded, unpacked while they are downloaded, and never trusted.
//!
//! The functions here are synchronous and know nothing of stores, so that the emissary can use them alone.

use std::io::{BufRead, Read, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::opened::Opened;

mod beneath;
mod gzip;
#[cfg(test)]
mod hostile;
mod landing;
mod metered;
mod sniff;
mod tar_read;
mod tar_write;
mod zip_read;
mod zip_write;
mod zstd_write;

pub use gzip::{GzipWriter, Level};
pub use sniff::{Content, sniff};

/// How an artifact is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Not at all: a file is one object, a directory one object a file.
    None,
    /// Tar in gzip, or in zstd where the object's name says so ([`Codec::of_name`]).
    Tar(Level),
    /// Zip.
    Zip,
}

/// What is refused in an archive that is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of all files together, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { entries: 10_000_000, bytes: 1 << 40 }
    }
}

/// What came out of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries written.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Names of devices, pipes and sockets, which are left out as Argo does; the first hundred.
    pub skipped: Vec<String>,
}

/// Writes the file or directory `source` as tar in gzip, as [`write_tar`].
///
/// # Errors
/// `NotFound` if there is no `source`; anything that is neither file nor directory is refused.
pub fn write_tgz(source: &Path, level: Level, out: impl Write + Send) -> Result<()> {
    write_tar(&Opened::at(source)?, Codec::Gzip, level, out)
}

/// How a tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As Argo does.
    Gzip,
    /// Our own addition.
    Zstd,
}

impl Codec {
    /// What an object of this name is compressed with: zstd if it ends in `.tar.zst` or `.tzst`.
    pub fn of_name(name: &str) -> Self {
        match name.ends_with(".tar.zst") || name.ends_with(".tzst") {
            true => Codec::Zstd,
            false => Codec::Gzip,
        }
    }
}

/// Writes the file or directory as tar in `codec`: `<name>` for a file, `<name>/<path>` in lexical order for a directory,
/// links kept as links (argo: util/archive/archive.go).
///
/// # Errors
/// What cannot be read; anything that is neither file nor directory is refused.
pub fn write_tar(source: &Opened, codec: Codec, level: Level, out: impl Write + Send) -> Result<()> {
    let at = |error| Error::io(|| format!("packing {}", source.path().display()), error);
    match codec {
        Codec::Gzip => {
            let mut gzip = GzipWriter::new(out, level);
            tar_write::write(source, &mut gzip)?;
            gzip.finish().map(drop).map_err(at)
        }
        Codec::Zstd => {
            let mut zstd = zstd_write::ZstdWriter::new(out, level).map_err(at)?;
            tar_write::write(source, &mut zstd)?;
            zstd.finish().map(drop).map_err(at)
        }
    }
}

/// Compresses a tar that is there already; one in gzip is compressed anew.
///
/// # Errors
/// `Archive` if it is in gzip that is broken, and those of both sides.
pub fn compress(mut tar: impl BufRead, codec: Codec, level: Level, mut out: impl Write + Send) -> Result<()> {
    let reading = |error| landing::broken(Path::new(""), error);
    let writing = |error| Error::io(|| "compressing a tar".into(), error);
    let in_gzip = tar.fill_buf().map_err(reading)?.first() == Some(&0x1f);
    let mut tar: Box<dyn Read + '_> = match in_gzip {
        true => Box::new(flate2::bufread::MultiGzDecoder::new(tar)),
        false => Box::new(tar),
    };
    let mut buffer = vec![0; 64 << 10];
    let mut copy = |writer: &mut dyn Write| loop {
        match tar.read(&mut buffer).map_err(reading)? {
            0 => return Ok(()),
            count => writer.write_all(&buffer[..count]).map_err(writing)?,
        }
    };
    match codec {
        Codec::Gzip => {
            let mut gzip = GzipWriter::new(&mut out, level);
            copy(&mut gzip)?;
            gzip.finish().map(drop).map_err(writing)
        }
        Codec::Zstd => {
            let mut zstd = zstd_write::ZstdWriter::new(&mut out, level).map_err(writing)?;
            copy(&mut zstd)?;
            zstd.finish().map(drop).map_err(writing)
        }
    }
}

/// Writes the file or directory as zip with the same names; `out` need not seek.
///
/// # Errors
/// As [`write_tar`].
pub fn write_zip(source: &Opened, out: impl Write) -> Result<()> {
    zip_write::write(source, out)
}

/// Unpacks tar, in gzip, in zstd or plain, so that `dest` becomes the archive's only top-level entry if it has just one, else a
/// directory of all of them (argo: executor.go, unpack). `dest` appears only when everything is unpacked, in place of
/// whatever was there; until then it grows in `<dest>.tmpdir`.
///
/// # Errors
/// `Archive` for a broken archive and for one that tries to leave its folder; nothing of it stays then.
pub fn unpack_tar(archive: impl Read, dest: &Path, limits: &Limits) -> Result<Unpacked> {
    landing::unpack(dest, limits, |landing| tar_read::read(archive, landing))
}

/// Unpacks a zip file in the same way.
///
/// # Errors
/// As [`unpack_tar`].
pub fn unpack_zip(archive: std::fs::File, dest: &Path, limits: &Limits) -> Result<Unpacked> {
    landing::unpack(dest, limits, |landing| zip_read::read(archive, landing))
}
