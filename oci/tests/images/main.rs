//! The image store with images made here: archives, layers, and a small registry.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod archives;
mod build;
mod pulls;
mod registry;
mod roots;
mod sharing;

use tempfile::TempDir;
use tiphys_oci::{Reference, Store};

/// A store in a folder of its own.
struct Stored {
    store: Store,
    dir: TempDir,
}

impl Stored {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).await.unwrap();
        Self { store, dir }
    }

    /// Writes a file beside the store.
    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Names of what is below `images/FOLDER`, but for locks.
    fn entries(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("images").join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
        names.sort();
        names
    }
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}
