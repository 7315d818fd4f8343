//! Writing zip as a stream: sizes follow each file's bytes, so nothing has to be written twice.

use std::io::{Read, Write};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::write::StreamWriter;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, Result};
use crate::opened::{Kind, Meta, Opened};

/// From this size on an entry needs the format's 64-bit fields, which must be known beforehand.
const LARGE: u64 = (u32::MAX - (1 << 20)) as u64;

/// Writes `source` as zip to `out`.
pub(super) fn write(source: &Opened, out: impl Write) -> Result<()> {
    source.check_kind()?;
    let name = source.name();
    let name = utf8(source.path(), name.to_str())?;
    let mut zip = ZipWriter::new_stream(out);
    if source.is_file() {
        append_file(&mut zip, name, source)?;
    } else {
        zip.add_directory(name, options(source.meta())).map_err(|error| packing(source.path(), error))?;
        for item in source.walk()? {
            let item = item?;
            let path = item.path();
            let at = |error| packing(&path, error);
            let name = format!("{name}/{}", utf8(&path, item.below.to_str())?);
            match item.meta.kind {
                Kind::File => append_file(&mut zip, &name, &item.open()?)?,
                Kind::Folder => zip.add_directory(&*name, options(item.meta)).map_err(at)?,
                Kind::Link => {
                    let target = item.target()?;
                    zip.add_symlink(&*name, utf8(&path, target.to_str())?, options(item.meta)).map_err(at)?;
                }
                Kind::Other => item.leave_out(),
            }
        }
    }
    zip.finish().map(drop).map_err(|error| packing(source.path(), error))
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

fn options(meta: Meta) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(meta.size >= LARGE)
        .unix_permissions(meta.mode & 0o777)
}

fn append_file<W: Write>(zip: &mut ZipWriter<StreamWriter<W>>, name: &str, file: &Opened) -> Result<()> {
    let at = |error| packing(file.path(), error);
    zip.start_file(name, options(file.meta())).map_err(at)?;
    let mut content = file.reader().take(file.size());
    std::io::copy(&mut content, zip).map_err(|error| at(error.into()))?;
    file.check_read(content.limit())
}
