//! Objects as files below a local folder: a key is a relative path.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::{Body, Entry, Listing, Object, Store, failed_listing, one_page, prefix};
use crate::error::{Error, Result};
use crate::opened::Opened;
use crate::stream;
use crate::transfer::{blocking, write_file};

/// Where unfinished objects lie, beside the finished ones so that a rename publishes them.
const PARTIAL: &str = ".tiphys-partial";

/// A store in a folder. Keys with empty, `.` or `..` parts have no place in it and are refused.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// A store in `root`, which is made when the first object is stored.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FileStore { root: root.into() }
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let odd = key.split('/').any(|part| matches!(part, "" | "." | "..")) || key.contains('\0');
        if odd || key.split('/').next() == Some(PARTIAL) {
            return Err(Error::Refused(format!("key {key:?} cannot be a path below {}", self.root.display())));
        }
        Ok(self.root.join(key))
    }
}

#[async_trait]
impl Store for FileStore {
    fn describe(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }

    async fn open(&self, key: &str) -> Result<Object> {
        let path = self.path(key)?;
        let what = self.describe(key);
        let file = blocking(move || match Opened::at(&path) {
            Ok(found) if !found.is_file() => Err(Error::NotFound { what }),
            outcome => outcome,
        })
        .await?;
        Ok(Object { size: Some(file.size()), stream: stream::file(&file) })
    }

    async fn put(&self, key: &str, body: Body) -> Result<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(key)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let partial = self.root.join(PARTIAL).join(format!("{}-{number}", std::process::id()));
        let size = write_file(body.into_stream(), &partial).await?;
        blocking(move || {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let outcome = std::fs::create_dir_all(parent).and_then(|()| std::fs::rename(&partial, &path));
            outcome.map_err(|source| {
                // The rename's error is the one to tell; a partial file that stays is only waste.
                let _ = std::fs::remove_file(&partial);
                Error::io(|| format!("storing {}", path.display()), source)
            })
        })
        .await?;
        Ok(size)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        blocking(move || match std::fs::remove_file(&path) {
            Err(gone) if matches!(gone.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
            // A folder is no object: there is nothing of that name to delete.
            Err(_) if path.is_dir() => Ok(()),
            done => done.map_err(|source| Error::io(|| format!("deleting {}", path.display()), source)),
        })
        .await
    }

    fn list<'a>(&'a self, key: &str) -> Listing<'a> {
        let prefix = prefix(key);
        let start = match prefix.strip_suffix('/') {
            None => self.root.clone(),
            Some(key) => match self.path(key) {
                Ok(path) => path,
                Err(error) => return failed_listing(error),
            },
        };
        let mut entries = Vec::new();
        match walk(&start, &prefix, &mut entries) {
            Ok(()) => {
                entries.sort();
                one_page(entries)
            }
            Err(source) => failed_listing(Error::io(|| format!("listing {}", start.display()), source)),
        }
    }
}

fn walk(folder: &Path, prefix: &str, entries: &mut Vec<Entry>) -> io::Result<()> {
    let listing = match std::fs::read_dir(folder) {
        Err(gone) if matches!(gone.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        listing => listing?,
    };
    for item in listing {
        let item = item?;
        let name = item.file_name();
        // Names that are not text were not made by this store.
        let Some(name) = name.to_str() else { continue };
        let kind = item.file_type()?;
        let key = format!("{prefix}{name}");
        if kind.is_dir() && key != PARTIAL {
            walk(&item.path(), &format!("{key}/"), entries)?;
        } else if kind.is_file() {
            entries.push(Entry { key, size: item.metadata()?.len() });
        }
    }
    Ok(())
}
