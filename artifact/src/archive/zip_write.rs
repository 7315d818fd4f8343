//! Writing zip as a stream: sizes follow each file's bytes, so nothing has to be written twice.

use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::write::StreamWriter;
use zip::{CompressionMethod, ZipWriter};

use super::tar_write::base;
use crate::error::{Error, Result};
use crate::transfer::sorted;

/// From this size on an entry needs the format's 64-bit fields, which must be known beforehand.
const LARGE: u64 = (u32::MAX - (1 << 20)) as u64;

/// Writes `source` as zip to `out`.
pub(super) fn write(source: &Path, out: impl Write) -> Result<()> {
    let (metadata, name) = base(source)?;
    let name = utf8(source, name.to_str())?.to_owned();
    let mut zip = ZipWriter::new_stream(out);
    append(&mut zip, source, &name, &metadata)?;
    zip.finish().map(drop).map_err(|error| packing(source, error))
}

fn packing(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(source) => Error::io(|| format!("packing {}", path.display()), source),
        other => Error::permanent(format!("packing {}", path.display()), other),
    }
}

fn utf8<'a>(path: &Path, name: Option<&'a str>) -> Result<&'a str> {
    name.ok_or_else(|| {
        Error::Refused(format!("{}: a name that is not UTF-8 cannot be in a zip file, use tar", path.display()))
    })
}

fn append<W: Write>(zip: &mut ZipWriter<StreamWriter<W>>, path: &Path, name: &str, metadata: &Metadata) -> Result<()> {
    let at = |error| packing(path, error);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(metadata.len() >= LARGE)
        .unix_permissions(metadata.mode() & 0o777);
    if metadata.is_dir() {
        zip.add_directory(name, options).map_err(at)?;
        for (below, metadata) in sorted(path)? {
            let last = utf8(&below, below.file_name().and_then(|name| name.to_str()))?;
            append(zip, &below, &format!("{name}/{last}"), &metadata)?;
        }
        return Ok(());
    }
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| at(error.into()))?;
        return zip.add_symlink(name, utf8(path, target.to_str())?, options).map_err(at);
    }
    if !metadata.is_file() {
        tracing::warn!("{} is neither file, folder nor link: it is left out of the artifact", path.display());
        return Ok(());
    }
    let file = File::open(path).map_err(|error| at(error.into()))?;
    zip.start_file(name, options).map_err(at)?;
    let mut content = file.take(metadata.len());
    std::io::copy(&mut content, zip).map_err(|error| at(error.into()))?;
    match content.limit() {
        0 => Ok(()),
        missing => Err(Error::permanent(
            format!("packing {}", path.display()),
            format!("it shrank by {missing} bytes while it was read"),
        )),
    }
}
