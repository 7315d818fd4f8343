//! Multipart uploads: a folder for each, a file for each part, and one object in the end.
//!
//! ```text
//! uploads/<id>/info.json     bucket, key, headers
//! uploads/<id>/00001         part 1, whole or not there
//! ```
//! To complete an upload its folder is renamed first, so that nobody else completes it, aborts it or adds a part.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::layout::Tmp;
use crate::meta::{Headers, Version};
use crate::store::{Condition, Store};

/// The smallest part but for the last one, as S3 has it.
const MIN_PART: u64 = 5 * 1024 * 1024;
/// Part numbers end here.
const MAX_PART: i32 = 10_000;

/// An upload under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub bucket: String,
    pub key: String,
    pub headers: Headers,
    #[serde(skip)]
    pub id: String,
}

/// A part that has arrived.
#[derive(Debug)]
pub(crate) struct Part {
    pub number: i32,
    pub version: Version,
    pub modified: SystemTime,
}

impl Store {
    /// Begins an upload and returns its id.
    pub fn create_upload(&self, bucket: &str, key: &str, headers: Headers) -> Result<String, Fault> {
        self.bucket(bucket)?;
        let id = format!("{:032x}", rand::random::<u128>());
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), headers, id: String::new() };
        let folder = self.layout.uploads().join(&id);
        fs::create_dir(&folder)?;
        fs::write(folder.join("info.json"), serde_json::to_vec(&upload).map_err(io::Error::from)?)?;
        Ok(id)
    }

    /// Makes the finished file `tmp` a part of the upload.
    pub fn commit_part(&self, bucket: &str, key: &str, id: &str, number: i32, tmp: &mut Tmp) -> Result<Version, Fault> {
        if !(1..=MAX_PART).contains(&number) {
            return Err(Fault::InvalidRequest(format!("part number {number} is not in 1..={MAX_PART}")));
        }
        let folder = self.upload(bucket, key, id)?.0;
        let version = Version::of(&tmp.file.metadata()?);
        match tmp.persist(&part_path(&folder, number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Fault::NoSuchUpload(id.to_owned())),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(version),
        }
    }

    /// The parts of an upload in order.
    pub fn parts(&self, bucket: &str, key: &str, id: &str) -> Result<Vec<Part>, Fault> {
        let folder = self.upload(bucket, key, id)?.0;
        let mut parts = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let meta = entry.metadata()?;
            parts.push(Part { number, version: Version::of(&meta), modified: meta.modified()? });
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Joins the parts, given by number and entity tag, to the object.
    pub fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        parts: &[(i32, String)],
        condition: &Condition,
    ) -> Result<Version, Fault> {
        let (open, upload) = self.upload(bucket, key, id)?;
        let closed = open.with_extension("closed");
        match fs::rename(&open, &closed) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Fault::NoSuchUpload(id.to_owned())),
            done => done?,
        }
        let joined = join(&closed, parts).and_then(|mut first| {
            let version = self.commit(bucket, key, &mut first.tmp, &upload.headers, condition);
            if version.is_err() {
                first.give_back()?;
            }
            version
        });
        match joined {
            Ok(version) => {
                fs::remove_dir_all(&closed)?;
                Ok(version)
            }
            Err(fault) => {
                fs::rename(&closed, &open)?;
                Err(fault)
            }
        }
    }

    /// Ends an upload and forgets its parts.
    pub fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> Result<(), Fault> {
        let open = self.upload(bucket, key, id)?.0;
        let closed = open.with_extension("closed");
        match fs::rename(&open, &closed) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Fault::NoSuchUpload(id.to_owned())),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(fs::remove_dir_all(closed)?),
        }
    }

    /// The uploads of a bucket, ordered by key, then by id, with the time each began.
    pub fn uploads(&self, bucket: &str) -> Result<Vec<(Upload, SystemTime)>, Fault> {
        self.bucket(bucket)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(self.layout.uploads())? {
            let entry = entry?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            if !is_id(&id) {
                continue;
            }
            // One that ends right now is not listed.
            let Some(upload) = read_info(&entry.path(), id) else { continue };
            let Ok(meta) = fs::metadata(entry.path().join("info.json")) else { continue };
            if upload.bucket == bucket {
                found.push((upload, meta.modified()?));
            }
        }
        found.sort_by(|(a, _), (b, _)| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        Ok(found)
    }

    fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<(PathBuf, Upload), Fault> {
        self.bucket(bucket)?;
        let folder = self.layout.uploads().join(id);
        let upload = if is_id(id) { read_info(&folder, id.to_owned()) } else { None };
        match upload {
            Some(upload) if upload.bucket == bucket && upload.key == key => Ok((folder, upload)),
            _ => Err(Fault::NoSuchUpload(id.to_owned())),
        }
    }
}

/// An id is one name of our own making: nothing a client sends leads elsewhere.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn read_info(folder: &Path, id: String) -> Option<Upload> {
    let text = fs::read(folder.join("info.json")).ok()?;
    Some(Upload { id, ..serde_json::from_slice(&text).ok()? })
}

fn part_path(folder: &Path, number: i32) -> PathBuf {
    folder.join(format!("{number:05}"))
}

/// The first part, grown to the whole object.
struct Joined {
    tmp: Tmp,
    /// Of the first part alone.
    size: u64,
    modified: SystemTime,
}

/// Appends all parts to the first, which saves copying that one; the kernel copies the others.
fn join(folder: &Path, parts: &[(i32, String)]) -> Result<Joined, Fault> {
    let Some((first, rest)) = parts.split_first() else {
        return Err(Fault::InvalidRequest("a multipart upload needs at least one part".to_owned()));
    };
    if parts.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(Fault::InvalidPartOrder);
    }
    for (index, (number, etag)) in parts.iter().enumerate() {
        let meta = fs::metadata(part_path(folder, *number)).map_err(|_| Fault::InvalidPart(*number))?;
        if Version::of(&meta).etag() != *etag {
            return Err(Fault::InvalidPart(*number));
        }
        if meta.len() < MIN_PART && index + 1 < parts.len() {
            return Err(Fault::PartTooSmall(*number));
        }
    }
    let path = part_path(folder, first.0);
    let mut file = File::options().read(true).write(true).open(&path)?;
    let meta = file.metadata()?;
    file.seek(SeekFrom::End(0))?;
    let mut joined = Joined { tmp: Tmp::at(file, path), size: meta.len(), modified: meta.modified()? };
    for (number, _) in rest {
        let copied =
            File::open(part_path(folder, *number)).and_then(|mut part| io::copy(&mut part, &mut joined.tmp.file));
        if let Err(error) = copied {
            joined.give_back()?;
            return Err(error.into());
        }
    }
    Ok(joined)
}

impl Joined {
    /// Makes the first part what it was, so that the client may try again.
    fn give_back(self) -> io::Result<()> {
        self.tmp.file.set_len(self.size)?;
        self.tmp.file.set_modified(self.modified)?;
        self.tmp.keep();
        Ok(())
    }
}
