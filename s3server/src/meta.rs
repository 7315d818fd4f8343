//! What is stored with an object besides its bytes: content type, further headers, user metadata.
//!
//! Most objects have none of it and then have no second file. For the others a small JSON file lies in the server's own
//! folder. The two files cannot be replaced in one step, so the JSON holds a record for each version that may lie in
//! the object's place and readers take the one that fits the file they have open: whatever moment a crash picks, an
//! object is never seen with another's headers.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Headers kept for an object. Empty ones are not stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Headers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// The type of an object stored without one, as S3 has it.
pub(crate) const DEFAULT_TYPE: &str = "application/octet-stream";

impl Headers {
    /// Whether nothing has to be stored.
    pub fn is_plain(&self) -> bool {
        let Headers { content_type, user, .. } = self;
        let default_type = content_type.as_deref().is_none_or(|text| text == DEFAULT_TYPE);
        default_type
            && user.is_empty()
            && Headers { content_type: None, user: BTreeMap::new(), ..self.clone() } == Headers::default()
    }
}

/// Which version of an object's file a record belongs to. The inode may differ after the folder was copied elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub inode: u64,
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified: i64,
}

impl Version {
    pub fn of(meta: &Metadata) -> Self {
        let modified = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { inode: meta.ino(), size: meta.size(), modified }
    }

    /// The entity tag: a name of this version, not a digest of its bytes, so that a small upload costs no hashing.
    /// S3 allows this: clients may take a tag for an MD5 sum only when it has no `-`.
    pub fn etag(&self) -> String {
        format!("{:016x}{:016x}-1", self.modified, self.inode.rotate_left(32) ^ self.size)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    version: Version,
    headers: Headers,
}

/// The headers of `version` in the file at `path`.
pub(crate) fn read(path: &Path, version: Version) -> io::Result<Headers> {
    Ok(pick(records(path)?, version).map(|record| record.headers).unwrap_or_default())
}

/// Makes `path` hold the headers of the version to come and of the one there now.
pub(crate) fn write(path: &Path, new: Version, headers: &Headers, old: Option<Version>, tmp: &Path) -> io::Result<()> {
    let mut keep: Vec<Record> = match old {
        Some(old) => pick(records(path)?, old).into_iter().collect(),
        None => Vec::new(),
    };
    keep.push(Record { version: new, headers: headers.clone() });
    let text = serde_json::to_vec(&keep)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(tmp, text)?;
    fs::rename(tmp, path)
}

/// A missing file means plain objects; so does one that is not ours to read.
fn records(path: &Path) -> io::Result<Vec<Record>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn pick(records: Vec<Record>, version: Version) -> Option<Record> {
    let same = |r: &Record| r.version.size == version.size && r.version.modified == version.modified;
    let exact = records.iter().position(|r| r.version == version);
    let index = exact.or_else(|| records.iter().rposition(same))?;
    records.into_iter().nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(inode: u64) -> Version {
        Version { inode, size: 3, modified: 1_000 }
    }

    fn typed(text: &str) -> Headers {
        Headers { content_type: Some(text.into()), ..Headers::default() }
    }

    #[test]
    fn a_crash_between_the_two_renames_leaves_the_old_headers_readable() {
        let dir = tempfile::tempdir().unwrap();
        let (path, tmp) = (dir.path().join("a/b"), dir.path().join("tmp"));
        write(&path, version(1), &typed("text/one"), None, &tmp).unwrap();
        write(&path, version(2), &typed("text/two"), Some(version(1)), &tmp).unwrap();
        assert_eq!(read(&path, version(1)).unwrap(), typed("text/one"));
        assert_eq!(read(&path, version(2)).unwrap(), typed("text/two"));
        assert_eq!(read(&path, Version { modified: 2_000, ..version(2) }).unwrap(), Headers::default());
        // A copied folder has other inodes: the latest record with the same size and time is taken.
        assert_eq!(read(&path, version(9)).unwrap(), typed("text/two"));
    }

    #[test]
    fn only_objects_with_something_to_say_are_not_plain() {
        assert!(Headers::default().is_plain());
        assert!(typed(DEFAULT_TYPE).is_plain());
        assert!(!typed("text/plain").is_plain());
        assert!(!Headers { user: [("a".into(), "b".into())].into(), ..Headers::default() }.is_plain());
        assert!(!Headers { cache_control: Some("no-store".into()), ..Headers::default() }.is_plain());
    }
}
