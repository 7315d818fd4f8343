//! Between a store and the local disk: single files, and directories with many objects at once.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use futures_util::StreamExt;
use futures_util::stream::{self, TryStreamExt};
use tokio::sync::mpsc;

use crate::disk::{beside, publish};
use crate::error::{Error, Result};
use crate::opened::{Item, Kind, Opened};
use crate::store::{Body, Entry, Store, prefix};
use crate::stream::{ByteStream, read_blocking};

/// Objects of a directory that are in flight together. Small files cost a round trip each, so this is well above the
/// number of cores; large ones each hold one bridge of chunks, and uploads share the store's budget of parts.
const TOGETHER: usize = 16;
/// Files found ahead of the uploads.
const AHEAD: usize = 256;

/// What a transfer of a directory moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Objects.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Moved {
    fn and(self, bytes: u64) -> Result<Moved> {
        Ok(Moved { objects: self.objects + 1, bytes: self.bytes + bytes })
    }
}

/// Runs file operations on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(Error::permanent("a file operation", panic)))
}

/// Writes the stream to a file that is complete when this succeeds, and gone when it fails.
pub(crate) async fn write_file(stream: ByteStream, path: &Path) -> Result<u64> {
    let path = path.to_owned();
    read_blocking(stream, move |mut reader| {
        let outcome = create(&path).and_then(|mut file| {
            let copied = std::io::copy(&mut reader, &mut file).and_then(|count| file.flush().map(|()| count));
            copied.map_err(|source| Error::io(|| format!("writing {}", path.display()), source))
        });
        if outcome.is_err() {
            // The cause is the error above; the half file may not even exist.
            let _ = std::fs::remove_file(&path);
        }
        outcome
    })
    .await
}

fn create(path: &Path) -> Result<File> {
    let at = || format!("creating {}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| Error::io(at, source))?;
    }
    // What an earlier attempt left may be a link; it is replaced, not followed.
    let _ = std::fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    file.map_err(|source| Error::io(at, source))
}

/// Writes the stream to `dest` by way of `dest.tmp`.
pub(crate) async fn to_file(stream: ByteStream, dest: &Path) -> Result<u64> {
    let partial = beside(dest, ".tmp");
    let size = write_file(stream, &partial).await?;
    let dest = dest.to_owned();
    blocking(move || publish(&partial, &dest)).await?;
    Ok(size)
}

/// Writes an object to the file `dest` (mode 0644), which appears only when it is complete; gives its size.
///
/// # Errors
/// As [`Store::open`], and those of the local disk.
pub async fn load_file(store: &dyn Store, key: &str, dest: &Path) -> Result<u64> {
    to_file(store.open(key).await?.stream, dest).await
}

/// Writes all objects below `key` as files below `dest`, many at once. An empty directory cannot be told from none:
/// that is `NotFound`.
///
/// # Errors
/// As [`Store::open`]; keys that would leave `dest` are refused.
pub async fn load_directory(store: &dyn Store, key: &str, dest: &Path) -> Result<Moved> {
    let prefix = prefix(key);
    let objects = store.list(key).map_ok(|page| stream::iter(page).map(Ok::<Entry, Error>)).try_flatten();
    let moved = objects
        .map(|entry| async {
            let entry = entry?;
            let path = dest.join(below(&entry.key, &prefix)?);
            let object = store.open(&entry.key).await?;
            write_file(object.stream, &path).await
        })
        .buffer_unordered(TOGETHER)
        .try_fold(Moved::default(), |moved, bytes| async move { moved.and(bytes) })
        .await?;
    if moved.objects == 0 {
        return Err(Error::NotFound { what: store.describe(key) });
    }
    Ok(moved)
}

/// The path of `key` relative to the directory `prefix`.
fn below(key: &str, prefix: &str) -> Result<PathBuf> {
    let relative = PathBuf::from(key.strip_prefix(prefix).unwrap_or(key));
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || key.contains('\0') || relative.as_os_str().is_empty() {
        return Err(Error::Refused(format!("key {key:?} would be a file outside of the artifact's directory")));
    }
    Ok(relative)
}

/// Stores all files below the folder `source` as objects below `key`, many at once. Symbolic links and special files
/// are left out (argo: s3.go, generatePutTasks).
///
/// # Errors
/// The first failure; objects stored before it stay.
pub async fn save_directory(store: &dyn Store, key: &str, source: &Opened) -> Result<Moved> {
    let prefix = prefix(key);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let root = source.clone();
    let walking = blocking(move || {
        for item in root.walk()? {
            let item = item?;
            if item.meta.kind == Kind::File {
                // The receiver goes away when an upload fails; its error is the one reported.
                let _ = sender.blocking_send((key_below(&item)?, item));
            }
        }
        Ok(())
    });
    let files = stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|item| (item, receiver)) });
    let saving = files
        .map(|(name, item)| {
            let key = format!("{prefix}{name}");
            async move { store.put(&key, small_or_file(item).await?).await }
        })
        .buffer_unordered(TOGETHER)
        .try_fold(Moved::default(), |moved, bytes| async move { moved.and(bytes) });
    let (walked, saved) = tokio::join!(walking, saving);
    let moved = saved?;
    walked?;
    Ok(moved)
}

fn key_below(item: &Item) -> Result<String> {
    let refused = || Error::Refused(format!("{}: a name that is not UTF-8 cannot be a key", item.path().display()));
    item.below.to_str().map(str::to_owned).ok_or_else(refused)
}

/// A small file is read at once: one trip to a blocking thread instead of a bridge.
async fn small_or_file(item: Item) -> Result<Body> {
    blocking(move || {
        let file = item.open()?;
        if !file.is_file() || file.size() > crate::stream::CHUNK as u64 {
            return Ok(Body::File(file));
        }
        let bytes = file.bytes();
        bytes
            .map(|bytes| Body::Bytes(bytes.into()))
            .map_err(|source| Error::io(|| format!("reading {}", file.path().display()), source))
    })
    .await
}

/// A folder's items in order of their names' bytes, links not followed.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<(PathBuf, std::fs::Metadata)>> {
    let at = |source| Error::io(|| format!("reading the folder {}", folder.display()), source);
    let mut items = Vec::new();
    for item in std::fs::read_dir(folder).map_err(at)? {
        let item = item.map_err(at)?;
        items.push((item.path(), item.metadata().map_err(at)?));
    }
    items.sort_by(|(a, _), (b, _)| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use bytes::Bytes;

    #[tokio::test]
    async fn keys_cannot_leave_the_directory() {
        let store = MemoryStore::new();
        store.put("dir/../../escape", Body::Bytes(Bytes::from_static(b"x"))).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = load_directory(&store, "dir", &folder.path().join("in")).await.unwrap_err();
        assert!(error.to_string().contains("outside of the artifact's directory"), "{error}");
        assert!(!folder.path().join("escape").exists());
    }

    #[tokio::test]
    async fn a_failed_download_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("file");
        let stream = stream::iter([Ok(Bytes::from_static(b"half")), Err(Error::transient("get", "reset"))]).boxed();
        assert!(to_file(stream, &dest).await.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
