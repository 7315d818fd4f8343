//! Writing tar in Argo's layout.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::error::{Error, Result};
use crate::opened::{Kind, Meta, Opened};

/// Writes `source` as tar to `out`.
pub(super) fn write(source: &Opened, out: impl Write) -> Result<()> {
    source.check_kind()?;
    let mut tar = Builder::new(out);
    tar.sparse(false);
    let name = PathBuf::from(source.name());
    if source.is_file() {
        append_file(&mut tar, &name, source)?;
    } else {
        append_folder(&mut tar, &name, source.meta(), source.path())?;
        for item in source.walk()? {
            let item = item?;
            let name = name.join(&item.below);
            match item.meta.kind {
                Kind::File => append_file(&mut tar, &name, &item.open()?)?,
                Kind::Folder => append_folder(&mut tar, &name, item.meta, &item.path())?,
                Kind::Link => {
                    let mut header = header(item.meta, EntryType::Symlink);
                    let appended = tar.append_link(&mut header, name, item.target()?);
                    appended.map_err(|error| packing(&item.path(), error))?;
                }
                Kind::Other => item.leave_out(),
            }
        }
    }
    tar.finish().map_err(|error| packing(source.path(), error))
}

fn packing(path: &Path, error: std::io::Error) -> Error {
    Error::io(|| format!("packing {}", path.display()), error)
}

fn header(meta: Meta, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    header.set_mtime(meta.mtime);
    header.set_size(0);
    header
}

fn append_folder(tar: &mut Builder<impl Write>, name: &Path, meta: Meta, path: &Path) -> Result<()> {
    let mut folder = OsString::from(name);
    folder.push("/");
    let mut header = header(meta, EntryType::Directory);
    tar.append_data(&mut header, PathBuf::from(folder), std::io::empty()).map_err(|error| packing(path, error))
}

fn append_file(tar: &mut Builder<impl Write>, name: &Path, file: &Opened) -> Result<()> {
    let mut header = header(file.meta(), EntryType::Regular);
    header.set_size(file.size());
    let mut content = file.reader().take(file.size());
    tar.append_data(&mut header, name, &mut content).map_err(|error| packing(file.path(), error))?;
    file.check_read(content.limit())
}
