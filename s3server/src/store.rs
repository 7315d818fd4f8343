//! Buckets and objects as files: the blocking half of the server.
//!
//! Bodies are written without any lock; only the last step, which moves a finished file to its place and makes or
//! removes folders on the way, holds one. Readers take none: they open a file and keep that version to its end.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::fault::Fault;
use crate::key;
use crate::layout::{Layout, Tmp};
use crate::list;
use crate::meta::{self, Headers, Version};

/// The buckets and objects of one server.
#[derive(Debug)]
pub(crate) struct Store {
    pub layout: Layout,
    /// Held while names in the buckets' folders change.
    names: Mutex<()>,
}

/// An object, open for reading: this version of it, whatever happens to the key.
#[derive(Debug)]
pub(crate) struct Object {
    pub file: File,
    pub version: Version,
    pub modified: SystemTime,
    pub headers: Headers,
}

/// What must hold of the object in place for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// No object may be there.
    Absent,
    /// Some object must be there.
    Present,
    /// The object there must have this entity tag.
    Etag(String),
}

impl Condition {
    fn check(&self, present: Option<Version>) -> Result<(), Fault> {
        let holds = match self {
            Condition::Always => true,
            Condition::Absent => present.is_none(),
            Condition::Present => present.is_some(),
            Condition::Etag(etag) => present.is_some_and(|version| version.etag() == *etag),
        };
        if holds { Ok(()) } else { Err(Fault::PreconditionFailed) }
    }
}

impl Store {
    pub fn new(layout: Layout) -> Self {
        Self { layout, names: Mutex::new(()) }
    }

    /// A panic while the lock was held leaves whole files only, so a poisoned lock is as good as another.
    fn lock_names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of a bucket that exists.
    pub fn bucket(&self, bucket: &str) -> Result<PathBuf, Fault> {
        let path = self.layout.bucket(bucket);
        if path.is_dir() { Ok(path) } else { Err(Fault::NoSuchBucket(bucket.to_owned())) }
    }

    pub fn create_bucket(&self, bucket: &str) -> Result<(), Fault> {
        match fs::create_dir(self.layout.bucket(bucket)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Fault::BucketExists(bucket.to_owned())),
            done => Ok(done?),
        }
    }

    /// Removes an empty bucket. Files in its folder that are not ours keep it from being empty, too.
    pub fn delete_bucket(&self, bucket: &str) -> Result<(), Fault> {
        let path = self.bucket(bucket)?;
        let _names = self.lock_names();
        match remove_empty_folders(&path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(Fault::BucketNotEmpty(bucket.to_owned())),
            Err(error) => Err(error.into()),
            Ok(()) => ignore_missing(fs::remove_dir_all(self.layout.meta(bucket))).map_err(Fault::from),
        }
    }

    /// Names of the buckets with the time each was made, in order.
    pub fn buckets(&self) -> Result<Vec<(String, SystemTime)>, Fault> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.layout.root())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if s3s::path::check_bucket_name(&name) && entry.file_type()?.is_dir() {
                found.push((name, entry.metadata()?.modified()?));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Opens an object.
    pub fn open(&self, bucket: &str, key: &str) -> Result<Object, Fault> {
        let path = self.layout.bucket(bucket).join(key::file(key));
        for path in [&path, &key::with_file_suffix(&path)] {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let meta = file.metadata()?;
            if meta.is_file() {
                let version = Version::of(&meta);
                let headers = meta::read(&self.meta_path(bucket, key), version)?;
                return Ok(Object { file, version, modified: meta.modified()?, headers });
            }
        }
        self.bucket(bucket)?;
        Err(Fault::NoSuchKey { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Makes the finished file `tmp` the object `key`.
    pub fn commit(
        &self,
        bucket: &str,
        key: &str,
        tmp: &mut Tmp,
        headers: &Headers,
        condition: &Condition,
    ) -> Result<Version, Fault> {
        let version = Version::of(&tmp.file.metadata()?);
        let folder = self.bucket(bucket)?;
        let path = folder.join(key::file(key));
        let beside = key::with_file_suffix(&path);
        let meta_path = self.meta_path(bucket, key);

        let _names = self.lock_names();
        let (at_path, at_beside) = (stat(&path)?, stat(&beside)?);
        let target =
            if at_beside.is_some() || at_path.as_ref().is_some_and(Metadata::is_dir) { &beside } else { &path };
        let old = at_beside.or(at_path).filter(Metadata::is_file).map(|meta| Version::of(&meta));
        condition.check(old)?;
        if !headers.is_plain() {
            meta::write(&meta_path, version, headers, old, &self.layout.meta_tmp())?;
        }
        make_way(&folder, target)?;
        tmp.persist(target)?;
        // The object is in place; a record of the old one that stays fits no file and is never used.
        if headers.is_plain()
            && old.is_some()
            && let Err(error) = ignore_missing(fs::remove_file(&meta_path))
        {
            tracing::warn!(path = %meta_path.display(), %error, "stored headers of a replaced object stay behind");
        }
        Ok(version)
    }

    /// Removes an object; that it is not there is no error.
    pub fn delete(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), Fault> {
        let folder = self.bucket(bucket)?;
        let path = folder.join(key::file(key));
        let _names = self.lock_names();
        for path in [&path, &key::with_file_suffix(&path)] {
            let Some(meta) = stat(path)?.filter(Metadata::is_file) else { continue };
            condition.check(Some(Version::of(&meta)))?;
            fs::remove_file(path)?;
            remove_empty_parents(path, &folder);
            let meta_path = self.meta_path(bucket, key);
            ignore_missing(fs::remove_file(&meta_path))?;
            remove_empty_parents(&meta_path, &self.layout.meta(bucket));
            return Ok(());
        }
        condition.check(None)
    }

    /// One page of a bucket's keys.
    pub fn list(&self, bucket: &str, query: &list::Query) -> Result<list::Page, Fault> {
        Ok(list::list(&self.bucket(bucket)?, query)?)
    }

    /// Headers have one name whether or not the object lies beside a folder.
    fn meta_path(&self, bucket: &str, key: &str) -> PathBuf {
        self.layout.meta(bucket).join(key::file_beside_folder(key))
    }
}

/// Makes the folders above `target`; a file that stands where a folder must be goes beside it.
fn make_way(bucket: &Path, target: &Path) -> io::Result<()> {
    let Some(parent) = target.parent() else { return Ok(()) };
    match fs::create_dir_all(parent) {
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {}
        done => return done,
    }
    let mut folder = bucket.to_owned();
    for name in parent.strip_prefix(bucket).unwrap_or(Path::new("")) {
        folder.push(name);
        if stat(&folder)?.is_some_and(|meta| !meta.is_dir()) {
            fs::rename(&folder, key::with_file_suffix(&folder))?;
        }
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => done?,
        }
    }
    Ok(())
}

fn stat(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if is_missing(&error) => Ok(()),
        done => done,
    }
}

/// Removes the folders above `path` that have become empty, up to but without `top`.
fn remove_empty_parents(path: &Path, top: &Path) {
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != top) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// Removes a tree of folders that holds no file; with one, fails as `DirectoryNotEmpty`, empty branches being gone.
fn remove_empty_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty_folders(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
