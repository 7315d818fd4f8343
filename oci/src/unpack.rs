//! Layers applied one over the other into a folder.
//!
//! A layer is a tar archive of what it adds or replaces; `.wh.NAME` removes NAME of the layers below, `.wh..wh..opq`
//! all that a folder had there (OCI image specification, "Layer"). Nothing may be written outside the root: names with
//! `..` are refused, and links on the way are followed inside the root only.
//!
//! An ordinary user cannot keep everything: owners are kept only by root, device nodes are left out, set-user-id and
//! set-group-id bits are dropped for everybody, and what is unpacked stays readable for us, and folders writable, so
//! that it can be used and removed again. Extended attributes are not kept.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::EntryType;

use crate::digest::{Digest, Hashing};
use crate::error::{At as _, Error};
use crate::scoped::resolve;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Zeros that close any archive: a block begun, and the two empty ones at the end.
const END: u64 = 511 + 1024;

/// Reads what may be compressed with gzip or zstd, by its first bytes.
pub(crate) fn decompressed<'a>(from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = BufReader::with_capacity(128 * 1024, from);
    let start = from.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(from)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(from)?))
    } else {
        Ok(Box::new(from))
    }
}

/// Applies the layer in the file at `blob` to `root`. `diff_id` is the digest its uncompressed archive must have.
pub(crate) fn apply(root: &Path, blob: &Path, diff_id: &Digest, keep_owners: bool) -> Result<(), Error> {
    let file = File::open(blob).at("read", blob)?;
    // Some builders leave out the padding at the archive's end, and other readers do not mind. The digest tells whether
    // more is missing.
    let end = io::repeat(0).take(END);
    let mut archive = tar::Archive::new(Hashing::new(decompressed(file).at("read", blob)?).chain(end));
    let mut layer = Layer { root, name: diff_id.to_string(), keep_owners, made: HashSet::new(), parent: None };
    for entry in archive.entries().at("read", blob)? {
        layer.add(entry.at("read", blob)?)?;
    }
    // The digest covers what follows the archive's end, too.
    let (mut rest, _) = archive.into_inner().into_inner();
    io::copy(&mut rest, &mut io::sink()).at("read", blob)?;
    let (_, found, _) = rest.finish();
    if found != *diff_id {
        let what = format!("the layer {}", blob.display());
        return Err(Error::Digest { what, expected: diff_id.to_string(), found: found.to_string() });
    }
    Ok(())
}

/// One layer on its way in.
struct Layer<'a> {
    root: &'a Path,
    name: String,
    keep_owners: bool,
    /// What this layer has put in place, with the folders above: its own whiteouts do not concern it.
    made: HashSet<PathBuf>,
    /// The folder used last, by its name in the archive and where that is: entries come in folders.
    parent: Option<(PathBuf, PathBuf)>,
}

impl Layer<'_> {
    fn add(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), Error> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&name).into_owned();
        let path = self.inside(&name, &shown)?;
        let done = match path.file_name() {
            None => self.set_mode(&entry, self.root),
            Some(file) if file.as_bytes() == OPAQUE => self.clear(&path),
            // Notes of AUFS to itself.
            Some(file) if file.as_bytes().starts_with(b".wh..wh.") => Ok(()),
            Some(file) => match file.as_bytes().strip_prefix(WHITEOUT) {
                Some(b"" | b"." | b"..") => {
                    return Err(self.refuse(&shown, "removes no name"));
                }
                Some(name) => self.remove(&path.with_file_name(std::ffi::OsStr::from_bytes(name))),
                None => return self.place(&mut entry, &path, &shown),
            },
        };
        done.at("unpack a layer into", &self.root.join(&path))
    }

    /// The entry's path relative to the root, without any `.` or leading `/`.
    fn inside(&self, name: &[u8], shown: &str) -> Result<PathBuf, Error> {
        let mut path = PathBuf::new();
        for part in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
            match part {
                Component::Normal(part) => path.push(part),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(self.refuse(shown, "has a .. in its name and might leave the image"));
                }
            }
        }
        Ok(path)
    }

    fn refuse(&self, entry: &str, reason: impl Into<String>) -> Error {
        Error::Layer { layer: self.name.clone(), entry: entry.to_owned(), reason: reason.into() }
    }

    /// Where an entry belongs: the folder above it found inside the root and made if it is missing.
    fn locate(&mut self, path: &Path) -> io::Result<PathBuf> {
        let (above, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        if let Some((known, place)) = &self.parent
            && known == above
        {
            return Ok(place.join(name));
        }
        let place = resolve(self.root, above)?;
        fs::create_dir_all(&place)?;
        self.parent = Some((above.to_owned(), place.clone()));
        Ok(place.join(name))
    }

    /// Takes away what the layers below have at `path`.
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let place = self.locate(path)?;
        self.parent = None;
        match self.made.contains(&place) {
            true if fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_dir()) => self.clear_folder(&place),
            true => Ok(()),
            false => delete(&place),
        }
    }

    /// Takes away what the layers below have in the folder of the marker at `path`.
    fn clear(&mut self, path: &Path) -> io::Result<()> {
        let marker = self.locate(path)?;
        self.parent = None;
        match marker.parent() {
            Some(folder) => self.clear_folder(folder),
            None => Ok(()),
        }
    }

    fn clear_folder(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if !self.made.contains(&path) {
                delete(&path)?;
            } else if entry.file_type()?.is_dir() {
                self.clear_folder(&path)?;
            }
        }
        Ok(())
    }

    fn place(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &Path, shown: &str) -> Result<(), Error> {
        let kind = entry.header().entry_type();
        let place = self.locate(path).at("unpack a layer into", &self.root.join(path))?;
        let done = match kind {
            EntryType::Directory => self.folder(entry, &place),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, &place),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                self.make_room(&place)
                    .and_then(|()| symlink(std::ffi::OsStr::from_bytes(&target), &place))
                    .and_then(|()| self.own(entry, &place))
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let existing = self.inside(&target, shown)?;
                let linked = self.locate(&existing).and_then(|existing| {
                    if existing == place {
                        return Ok(());
                    }
                    self.make_room(&place)?;
                    fs::hard_link(&existing, &place)
                });
                match linked {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        let target = String::from_utf8_lossy(&target);
                        return Err(self.refuse(shown, format!("is a hard link to {target:?}, which is not there")));
                    }
                    linked => linked,
                }
            }
            // An ordinary user may not make devices, and a container gets its own.
            EntryType::Char | EntryType::Block | EntryType::Fifo => self.make_room(&place),
            other => {
                return Err(self.refuse(shown, format!("is of the unknown kind {:?}", other.as_byte() as char)));
            }
        };
        done.at("unpack a layer into", &place)?;
        let above = place.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in above {
            if !self.made.insert(folder.to_owned()) {
                break;
            }
        }
        self.made.insert(place);
        Ok(())
    }

    fn folder(&mut self, entry: &tar::Entry<'_, impl Read>, place: &Path) -> io::Result<()> {
        match fs::symlink_metadata(place) {
            Ok(meta) if meta.is_dir() => {}
            _ => {
                self.make_room(place)?;
                fs::create_dir(place)?;
            }
        }
        self.own(entry, place)?;
        self.set_mode(entry, place)
    }

    fn file(&mut self, entry: &mut tar::Entry<'_, impl Read>, place: &Path) -> io::Result<()> {
        self.make_room(place)?;
        let mut file = File::options().create_new(true).write(true).open(place)?;
        io::copy(entry, &mut file)?;
        self.own(entry, place)?;
        let mode = entry.header().mode()? & 0o777 | 0o400;
        file.set_permissions(Permissions::from_mode(mode))?;
        // A time that cannot be said is no reason to refuse the file.
        let modified = entry.header().mtime().ok().map(Duration::from_secs);
        match modified.and_then(|age| SystemTime::UNIX_EPOCH.checked_add(age)) {
            Some(modified) => file.set_times(FileTimes::new().set_modified(modified)),
            None => Ok(()),
        }
    }

    /// Folders stay ours to read, enter and change.
    fn set_mode(&self, entry: &tar::Entry<'_, impl Read>, place: &Path) -> io::Result<()> {
        fs::set_permissions(place, Permissions::from_mode(entry.header().mode()? & 0o1777 | 0o700))
    }

    fn own(&self, entry: &tar::Entry<'_, impl Read>, place: &Path) -> io::Result<()> {
        if !self.keep_owners {
            return Ok(());
        }
        let id = |id: u64| {
            u32::try_from(id).map_err(|_| io::Error::new(ErrorKind::InvalidData, "an owner's id is too large"))
        };
        lchown(place, Some(id(entry.header().uid()?)?), Some(id(entry.header().gid()?)?))
    }

    /// Removes what stands where an entry must go.
    fn make_room(&mut self, place: &Path) -> io::Result<()> {
        match fs::symlink_metadata(place) {
            Ok(meta) => {
                if meta.is_dir() || meta.is_symlink() {
                    self.parent = None;
                }
                delete(place)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Removes a file or a tree; links are not followed.
fn delete(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
