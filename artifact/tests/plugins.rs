//! Stores that the executor offers for plugins: those that speak in objects, and those that use the disk themselves.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use common::{opened, tree};
use serde_json::json;
use tiphys_api::{Artifact, PluginArtifact};
use tiphys_artifact::{
    Artifacts, Body, Error, FileStore, Listing, Loaded, MemoryStore, Moved, NoSecrets, Object, Opened, Options, Result,
    Source, Store, load_directory, load_file, save_directory,
};

/// A plugin that reads and writes files and directories by their path, as Argo's `Load` and `Save` do.
#[derive(Debug)]
struct OnDisk {
    store: FileStore,
}

#[async_trait]
impl Store for OnDisk {
    fn describe(&self, key: &str) -> String {
        self.store.describe(key)
    }

    async fn open(&self, key: &str) -> Result<Object> {
        self.store.open(key).await
    }

    async fn put(&self, key: &str, body: Body) -> Result<u64> {
        self.store.put(key, body).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        std::fs::remove_dir_all(self.store.describe(key)).map_err(|error| Error::Refused(error.to_string()))
    }

    fn list<'a>(&'a self, _key: &str) -> Listing<'a> {
        panic!("a plugin without listings")
    }

    async fn load(&self, key: &str, dest: &Path) -> Result<Option<Moved>> {
        if key.starts_with("broken") {
            std::fs::create_dir_all(dest.join("half")).unwrap();
            return Err(Error::Refused("by plan".into()));
        }
        match self.store.is_directory(key).await? {
            true => load_directory(&self.store, key, dest).await.map(Some),
            false => load_file(&self.store, key, dest).await.map(|bytes| Some(Moved { objects: 1, bytes })),
        }
    }

    async fn save(&self, key: &str, source: &Opened) -> Result<Option<Moved>> {
        if source.is_dir() { save_directory(&self.store, key, source).await.map(Some) } else { Ok(None) }
    }

    fn deletes_directories(&self) -> bool {
        true
    }
}

fn artifact(plugin: &str, key: &str, archive: serde_json::Value) -> Artifact {
    let value = json!({
        "name": "a", "path": "/tmp/a", "archive": archive,
        "plugin": {"name": plugin, "key": key, "configuration": "conf"},
    });
    serde_json::from_value(value).unwrap()
}

fn artifacts(root: PathBuf) -> Artifacts {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let plugins = move |plugin: &PluginArtifact, artifact: &Artifact| -> Result<Arc<dyn Store>> {
        assert_eq!((plugin.configuration.as_str(), artifact.name.as_str()), ("conf", "a"));
        match plugin.name.as_str() {
            "objects" => Ok(memory.clone()),
            "disk" => Ok(Arc::new(OnDisk { store: FileStore::new(&root) })),
            other => Err(Error::Refused(format!("there is no plugin {other:?}"))),
        }
    };
    Artifacts::new(NoSecrets, Options::default()).with_plugins(plugins)
}

#[tokio::test]
async fn plugins_of_both_kinds_load_and_save() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("b")).unwrap();
    std::fs::write(source.join("b/c"), "text").unwrap();
    std::fs::write(source.join("a"), "more").unwrap();
    let artifacts = artifacts(folder.path().join("store"));
    for plugin in ["objects", "disk"] {
        for (key, archive) in [("tgz", json!({})), ("zip", json!({"zip": {}})), ("dir", json!({"none": {}}))] {
            let there = artifact(plugin, key, archive);
            artifacts.save_output(Source::Itself(&opened(&source)), &there).await.unwrap();
            let dest = folder.path().join(format!("{plugin}-{key}"));
            std::fs::create_dir_all(dest.join("rest of an earlier attempt")).unwrap();
            let loaded = artifacts.clone().load_input(&there, &dest).await.unwrap();
            match key {
                "dir" => assert_eq!(loaded, Loaded::Directory(Moved { objects: 2, bytes: 8 }), "{plugin}"),
                _ => assert!(matches!(loaded, Loaded::Unpacked(_)), "{plugin} {key}"),
            }
            assert_eq!(tree(&source).keys().collect::<Vec<_>>(), tree(&dest).keys().collect::<Vec<_>>());
            assert_eq!(std::fs::read_to_string(dest.join("b/c")).unwrap(), "text");
        }
    }
    let packed = artifact("disk", "dir", json!({"tar": {}}));
    let error = artifacts.load_input(&packed, &folder.path().join("x")).await.unwrap_err();
    assert!(error.to_string().contains("set archive.none"), "{error}");
    artifacts.delete(&artifact("disk", "dir/", json!({}))).await.unwrap();
    assert!(!folder.path().join("store/dir").exists());
}

#[tokio::test]
async fn what_a_plugin_left_half_done_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = artifacts(folder.path().join("store"));
    let dest = folder.path().join("in");
    let error = artifacts.load_input(&artifact("disk", "broken", json!({})), &dest).await.unwrap_err();
    assert_eq!(error.to_string(), "by plan");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let error = artifacts.load_input(&artifact("other", "k", json!({})), &dest).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no plugin \"other\"");
}
