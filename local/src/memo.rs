//! Memoized results: on a cluster they are kept in ConfigMaps, here each cache is a file that outlives the run.
//!
//! A result with artifacts is of use to its own run only, since artifacts lie in the run's folder; archived logs do not
//! count. Another run finds no entry then, and does the work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tiphys_api::{Outputs, Time};
use tiphys_engine::MemoEntry;

use crate::file::{FileError, make_dir, read_if_present, replace};

/// The fields of Argo's cache entries, and the run that an entry belongs to. argo: controller/cache/cache.go.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "nodeID")]
    node: String,
    outputs: Option<Outputs>,
    #[serde(rename = "creationTimestamp")]
    created: Time,
    run: String,
}

/// The caches of a data folder, as one run sees them.
#[derive(Debug)]
pub(crate) struct Memos {
    folder: PathBuf,
    run: String,
    /// Whether artifacts of other runs can be reached.
    shared_artifacts: bool,
}

impl Memos {
    pub fn new(folder: PathBuf, run: &str, shared_artifacts: bool) -> Memos {
        Memos { folder, run: run.to_owned(), shared_artifacts }
    }

    /// The entry under a key that this run can use.
    pub fn load(&self, cache: &str, key: &str) -> Result<Option<MemoEntry>, FileError> {
        Ok(self.read(cache)?.remove(key).filter(|entry| self.is_usable(entry)).map(|entry| MemoEntry {
            node: entry.node,
            outputs: entry.outputs,
            created: entry.created.0,
        }))
    }

    /// Stores a result, unless one is there that is as young.
    pub fn save(
        &self,
        cache: &str,
        key: &str,
        node: &str,
        outputs: Option<Outputs>,
        created: Time,
    ) -> Result<(), FileError> {
        let mut entries = self.read(cache)?;
        if entries.get(key).is_some_and(|known| known.created >= created && self.is_usable(known)) {
            return Ok(());
        }
        let entry = Entry { node: node.to_owned(), outputs, created, run: self.run.clone() };
        entries.insert(key.to_owned(), entry);
        make_dir(&self.folder)?;
        let path = self.path(cache);
        let json = serde_json::to_vec(&entries).map_err(|error| FileError::of("write", &path)(error.into()))?;
        replace(&path, &json, 0o600, false)
    }

    fn is_usable(&self, entry: &Entry) -> bool {
        let artifacts = entry.outputs.iter().flat_map(|outputs| &outputs.artifacts);
        self.shared_artifacts || entry.run == self.run || artifacts.into_iter().all(|a| a.name.ends_with("-logs"))
    }

    /// A cache that cannot be read as one is as good as empty: it only costs doing the work again.
    fn read(&self, cache: &str) -> Result<BTreeMap<String, Entry>, FileError> {
        let content = read_if_present(&self.path(cache))?;
        Ok(content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default())
    }

    /// The names of ConfigMaps are checked by the engine's validation, and templates may still put anything there.
    fn path(&self, cache: &str) -> PathBuf {
        self.folder.join(format!("{}.json", cache.replace('/', "%2F")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiphys_api::Artifact;

    fn outputs(artifact: &str) -> Option<Outputs> {
        let artifact = Artifact { name: artifact.into(), ..Artifact::default() };
        Some(Outputs { result: Some("r".into()), artifacts: vec![artifact], ..Outputs::default() })
    }

    #[test]
    fn results_outlive_the_run_but_not_their_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let of = |run: &str, shared| Memos::new(folder.path().join("memos"), run, shared);
        let now = Time::from_second(7);
        of("a", false).save("cache", "logs", "n", outputs("main-logs"), now).unwrap();
        of("a", false).save("cache", "file", "n", outputs("file"), now).unwrap();
        assert_eq!(of("b", false).load("cache", "logs").unwrap().unwrap().created, now.0);
        assert!(of("a", false).load("cache", "file").unwrap().is_some());
        assert!(of("b", false).load("cache", "file").unwrap().is_none());
        assert!(of("b", true).load("cache", "file").unwrap().is_some());
        assert!(of("a", false).load("cache", "none").unwrap().is_none());
        assert!(of("a", false).load("../cache", "logs").unwrap().is_none());
        // An older result, told again after a restart, takes no younger one's place.
        let later = Time::from_second(9);
        of("b", false).save("cache", "logs", "m", outputs("main-logs"), later).unwrap();
        of("a", false).save("cache", "logs", "n", outputs("main-logs"), now).unwrap();
        let kept = of("a", false).load("cache", "logs").unwrap().unwrap();
        assert_eq!((kept.node.as_str(), kept.created), ("m", later.0));
    }
}
