//! Writing tar in Argo's layout.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::error::{Error, Result};
use crate::transfer::sorted;

/// The source and the name it has in an archive. A link is followed here, and only here.
pub(super) fn base(source: &Path) -> Result<(Metadata, OsString)> {
    let metadata = std::fs::metadata(source).map_err(|error| Error::source(source, error))?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(Error::Refused(format!("{} is not a regular file or directory", source.display())));
    }
    let name = match source.file_name() {
        Some(name) => name.to_owned(),
        // `/`, or a path that ends in `..`.
        None => std::fs::canonicalize(source)
            .ok()
            .and_then(|path| path.file_name().map(OsString::from))
            .unwrap_or("root".into()),
    };
    Ok((metadata, name))
}

/// Writes `source` as tar to `out`.
pub(super) fn write(source: &Path, out: impl Write) -> Result<()> {
    let (metadata, name) = base(source)?;
    let mut tar = Builder::new(out);
    tar.sparse(false);
    append(&mut tar, source, Path::new(&name), &metadata)?;
    tar.finish().map_err(|error| packing(source, error))
}

fn packing(path: &Path, error: std::io::Error) -> Error {
    Error::io(|| format!("packing {}", path.display()), error)
}

fn append(tar: &mut Builder<impl Write>, path: &Path, name: &Path, metadata: &Metadata) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
    header.set_size(0);
    if metadata.is_dir() {
        header.set_entry_type(EntryType::Directory);
        let mut folder = OsString::from(name);
        folder.push("/");
        tar.append_data(&mut header, PathBuf::from(folder), std::io::empty()).map_err(|error| packing(path, error))?;
        for (below, metadata) in sorted(path)? {
            let name = name.join(below.file_name().unwrap_or_default());
            append(tar, &below, &name, &metadata)?;
        }
        return Ok(());
    }
    if metadata.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        let target = std::fs::read_link(path).map_err(|error| packing(path, error))?;
        return tar.append_link(&mut header, name, target).map_err(|error| packing(path, error));
    }
    if !metadata.is_file() {
        tracing::warn!("{} is neither file, folder nor link: it is left out of the artifact", path.display());
        return Ok(());
    }
    let file = File::open(path).map_err(|error| packing(path, error))?;
    header.set_size(metadata.len());
    let mut content = file.take(metadata.len());
    tar.append_data(&mut header, name, &mut content).map_err(|error| packing(path, error))?;
    match content.limit() {
        0 => Ok(()),
        missing => Err(Error::permanent(
            format!("packing {}", path.display()),
            format!("it shrank by {missing} bytes while it was read"),
        )),
    }
}
