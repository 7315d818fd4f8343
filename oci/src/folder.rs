//! The store's folder: content by digest, names in an index, everything written beside and moved into place.
//!
//! ```text
//! <root>/blobs/sha256/<hex>     manifests, configurations, layers
//! <root>/index.json             complete image names and the digests of their manifests
//! <root>/rootfs/<hex>           unpacked images (see `rootfs`)
//! <root>/tmp/                   what is being written; swept when nobody works
//! <root>/index.lock             held while the index is changed
//! <root>/work.lock              shared by those who add content, exclusive for those who remove it
//! ```
//! Content is added before the name that refers to it, under the shared lock, so that nobody removes it in between.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hashing};
use crate::error::{At as _, Error};
use crate::lock::Lock;

/// Largest manifest or configuration that is read into memory, in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// Names and the manifests they stand for.
pub(crate) type Names = BTreeMap<String, Digest>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct IndexFile {
    images: Names,
}

/// The paths of a store.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn open(root: &Path) -> Result<Self, Error> {
        for name in ["blobs/sha256", "rootfs", "tmp"] {
            let path = root.join(name);
            fs::create_dir_all(&path).at("create", &path)?;
        }
        let folder = Self { root: root.to_owned() };
        if let Some(_alone) = Lock::try_exclusive(&folder.work_lock())? {
            folder.sweep()?;
        }
        Ok(folder)
    }

    fn work_lock(&self) -> PathBuf {
        self.root.join("work.lock")
    }

    /// Held by whoever adds content, until a name refers to it.
    pub fn adding(&self) -> Result<Lock, Error> {
        Lock::shared(&self.work_lock())
    }

    /// Held by whoever removes content.
    pub fn removing(&self) -> Result<Lock, Error> {
        Lock::exclusive(&self.work_lock())
    }

    /// Removes what was left half done. Only for the holder of [`Self::removing`].
    pub fn sweep(&self) -> Result<(), Error> {
        let tmp = self.root.join("tmp");
        for entry in fs::read_dir(&tmp).at("read", &tmp)? {
            let path = entry.at("read", &tmp)?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.at("remove", &path)?;
        }
        Ok(())
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    pub fn roots(&self) -> PathBuf {
        self.root.join("rootfs")
    }

    /// A path for something new, which nobody else uses.
    pub fn tmp_path(&self) -> PathBuf {
        self.root.join("tmp").join(format!("{:032x}", rand::random::<u128>()))
    }

    /// A file to become a blob.
    pub fn new_blob(&self) -> Result<NewBlob, Error> {
        let path = self.tmp_path();
        let file = File::options().create_new(true).write(true).open(&path).at("create", &path)?;
        Ok(NewBlob { file: Some(Hashing::new(file)), path })
    }

    /// Keeps a blob, checked against the digest it should have if that is known.
    pub fn keep(&self, mut blob: NewBlob, what: &str, expected: Option<&Digest>) -> Result<(Digest, u64), Error> {
        let Some(file) = blob.file.take() else { return Err(Error::malformed(what, "stored twice")) };
        let (mut file, found, size) = file.finish();
        file.flush().at("write", &blob.path)?;
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(Error::Digest { what: what.to_owned(), expected, found });
        }
        let path = self.blob(&found);
        fs::rename(&blob.path, &path).at("write", &path)?;
        Ok((found, size))
    }

    /// Keeps some bytes as a blob.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let mut blob = self.new_blob()?;
        blob.write_all(bytes).at("write", &blob.path)?;
        Ok(self.keep(blob, "a document", None)?.0)
    }

    /// Keeps what a reader gives as a blob.
    pub fn keep_from(
        &self,
        mut from: impl io::Read,
        what: &str,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), Error> {
        let mut blob = self.new_blob()?;
        io::copy(&mut from, &mut blob).at("write", &blob.path)?;
        self.keep(blob, what, expected)
    }

    /// A stored manifest or configuration, its content checked.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.blob(digest);
        let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
        let file = File::open(&path).at("read", &path)?;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).at("read", &path)?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(damaged("it is larger than 4 MiB".to_owned()));
        }
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(damaged(format!("its digest is {found}"))),
        }
    }

    /// All names.
    pub fn names(&self) -> Result<Names, Error> {
        let path = self.root.join("index.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<IndexFile>(&text)
                .map(|index| index.images)
                .map_err(|error| Error::Damaged { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names::new()),
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// Changes the names; others who do wait.
    pub fn change_names<T>(&self, change: impl FnOnce(&mut Names) -> T) -> Result<T, Error> {
        let _alone = Lock::exclusive(&self.root.join("index.lock"))?;
        let mut images = self.names()?;
        let result = change(&mut images);
        let text =
            serde_json::to_vec_pretty(&IndexFile { images }).map_err(|error| Error::malformed("the index", error))?;
        let (tmp, path) = (self.tmp_path(), self.root.join("index.json"));
        fs::write(&tmp, text).at("write", &tmp)?;
        fs::rename(&tmp, &path).at("write", &path)?;
        Ok(result)
    }
}

/// A blob on its way into the store; gone unless it is kept.
pub(crate) struct NewBlob {
    file: Option<Hashing<File>>,
    pub path: PathBuf,
}

impl io::Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a temporary file of the image store stays behind");
            }
            // Kept, hence moved away, or removed now.
            _ => {}
        }
    }
}
