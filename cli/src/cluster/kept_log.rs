//! Logs of containers whose Pods are gone: what was archived in the artifact repository.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;
use tiphys_api::{Artifact, NodeStatus, Workflow};
use tiphys_artifact::{Error, Options, Secret, Secrets, place};
use tiphys_contract::{container, key};
use tiphys_kubernetes::Kind;
use tiphys_local::LogLine;

use super::Cluster;
use super::container_log::{Lines, Source, Wanted};
use crate::failure::Failure;

/// How often Secrets are fetched that turn out to be needed.
const ROUNDS: usize = 8;

/// The archived log of a container.
#[derive(Debug, PartialEq)]
pub(super) struct Kept {
    source: Source,
    artifact: Artifact,
}

impl Kept {
    /// The archived logs of a node; `wanted` is a container, the user's by default.
    pub fn of(workflow: &Workflow, node: &NodeStatus, wanted: Option<&str>) -> Vec<Kept> {
        let artifacts = node.outputs.iter().flat_map(|outputs| &outputs.artifacts);
        let named = artifacts.filter_map(|artifact| Some((artifact, artifact.name.strip_suffix("-logs")?)));
        let logs = named.filter(|(artifact, name)| {
            // A user's artifact may have such a name, too.
            let is_log =
                key::log_artifact_name(name) == artifact.name && keys(artifact).ends_with(&key::log_file_name(name));
            is_log && wanted.map_or(container::is_user(name), |wanted| wanted == *name)
        });
        let kept = logs.map(|(artifact, name)| Kept {
            source: Source { pod: node.id.clone(), container: name.to_owned(), node: node.display_name.clone() },
            artifact: whole(workflow, artifact),
        });
        kept.collect()
    }
}

/// The key of an artifact, whatever its store calls it.
fn keys(artifact: &Artifact) -> String {
    let location = serde_json::to_value(artifact.location()).unwrap_or_default();
    let store = artifact.location().store().map(|store| location[store].clone()).unwrap_or_default();
    let key = store["key"].as_str().or(store["blob"].as_str());
    key.unwrap_or_default().to_owned()
}

/// An artifact with the rest of its location, which is its repository's. argo: artifact_repository_types.go, Relocate.
fn whole(workflow: &Workflow, artifact: &Artifact) -> Artifact {
    let repository =
        workflow.status.artifact_repository_ref.as_ref().and_then(|found| found.artifact_repository.as_ref());
    let repository = repository.and_then(|repository| serde_json::to_value(repository).ok()).unwrap_or_default();
    let (Some(store), Ok(mut value)) = (artifact.location().store(), serde_json::to_value(artifact)) else {
        return artifact.clone();
    };
    if let (Value::Object(own), Value::Object(rest)) = (&mut value[store], &repository[store]) {
        let formats = ["keyFormat", "blobNameFormat"];
        for (field, value) in rest.iter().filter(|(field, _)| !formats.contains(&field.as_str())) {
            own.entry(field.as_str()).or_insert_with(|| value.clone());
        }
    }
    serde_json::from_value(value).unwrap_or_else(|_| artifact.clone())
}

/// Secrets as an artifact asks for them: what was asked for and is not known yet is fetched before it is asked again.
#[derive(Default)]
struct Fetched {
    known: BTreeMap<(String, String), Secret>,
    asked: Mutex<BTreeSet<(String, String)>>,
}

impl Secrets for Fetched {
    fn secret(&self, name: &str, key: &str) -> Result<Secret, Error> {
        let wanted = (name.to_owned(), key.to_owned());
        if let Some(secret) = self.known.get(&wanted) {
            return Ok(secret.clone());
        }
        if let Ok(mut asked) = self.asked.lock() {
            asked.insert(wanted);
        }
        Err(Error::NotFound { what: format!("key {key} of Secret {name}") })
    }
}

impl Cluster {
    /// Gives the lines of an archived log, as far as they are wanted, until `print` answers that nobody reads them.
    pub(super) async fn read_kept(
        &self,
        kept: &Kept,
        wanted: &Wanted,
        mut print: impl FnMut(&LogLine) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let failed = |error: Error| {
            let Source { container, node, .. } = &kept.source;
            Failure::failed(Some(format!("the archived log of {container} of {node}: {error}")))
        };
        let mut secrets = Fetched::default();
        let options = Options::from_lookup(|name| std::env::var(name).ok()).map_err(Failure::usage)?;
        let mut rounds = 0;
        let place = loop {
            let place = place(&kept.artifact, &secrets, &options);
            rounds += 1;
            if place.is_ok() || rounds == ROUNDS || !self.fetch(&mut secrets).await? {
                break place.map_err(failed)?;
            }
        };
        let mut stream = place.store.open(&place.key).await.map_err(failed)?.stream;
        let mut lines = Lines::default();
        // With a limit, the last lines that were seen.
        let limit: Option<usize> = wanted.tail.as_ref().and_then(|tail| tail.parse().ok());
        let mut last: VecDeque<LogLine> = VecDeque::new();
        loop {
            let (texts, over) = match stream.next().await {
                Some(piece) => (lines.take(&piece.map_err(failed)?), false),
                None => (lines.rest().into_iter().collect(), true),
            };
            for line in texts.into_iter().filter_map(|text| wanted.line(&kept.source, text)) {
                match limit {
                    None if !print(&line)? => return Ok(false),
                    None => {}
                    Some(limit) => {
                        last.push_back(line);
                        last.drain(..last.len().saturating_sub(limit));
                    }
                }
            }
            if over {
                break;
            }
        }
        for line in &last {
            if !print(line)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gets the Secrets that were asked for; tells whether there were any.
    async fn fetch(&self, secrets: &mut Fetched) -> Result<bool, Failure> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            data: BTreeMap<String, Bytes>,
        }
        let asked = secrets.asked.get_mut().map(std::mem::take).unwrap_or_default();
        let mut any = false;
        for (name, key) in asked {
            let object: Object = match self.api.get(&self.objects(Kind::Secret).named(&name)).await {
                Ok(object) => object,
                // The store says which one it misses.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(Bytes(value)) = object.data.get(&key) {
                secrets.known.insert((name, key), Secret::new(String::from_utf8_lossy(value)));
                any = true;
            }
        }
        Ok(any)
    }
}

/// A value of a Secret, which is base64 on its way.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(deserializer)?;
        base64::prelude::BASE64_STANDARD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_archived_log_is_found_in_its_repository() {
        let workflow: Workflow = serde_json::from_value(json!({"status": {
            "artifactRepositoryRef": {"artifactRepository": {"archiveLogs": true, "s3": {
                "bucket": "b", "endpoint": "e:9000", "keyFormat": "x", "accessKeySecret": {"name": "n", "key": "k"}}}},
            "nodes": {"w": {"id": "w", "displayName": "step", "outputs": {"artifacts": [
                {"name": "main-logs", "s3": {"key": "w/w/main.log"}},
                {"name": "wait-logs", "s3": {"key": "w/w/wait.log"}},
                {"name": "my-logs", "s3": {"key": "mine.tgz"}},
                {"name": "other", "s3": {"key": "other"}}]}}},
        }}))
        .unwrap();
        let node = workflow.status.nodes.get("w").unwrap();
        let kept = Kept::of(&workflow, node, None);
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].source.container.as_str(), kept[0].source.node.as_str()), ("main", "step"));
        let expected = json!({"name": "main-logs", "s3": {"key": "w/w/main.log", "bucket": "b", "endpoint": "e:9000",
            "accessKeySecret": {"name": "n", "key": "k"}}});
        assert_eq!(serde_json::to_value(&kept[0].artifact).unwrap(), expected);
        assert_eq!(Kept::of(&workflow, node, Some("wait"))[0].source.container, "wait");
        assert_eq!(Kept::of(&workflow, node, Some("other")), []);
    }

    #[test]
    fn secrets_are_asked_for_by_name_and_key() {
        let mut secrets = Fetched::default();
        assert!(secrets.secret("n", "k").is_err());
        let wanted = ("n".to_owned(), "k".to_owned());
        assert_eq!(secrets.asked.lock().unwrap().pop_first().as_ref(), Some(&wanted));
        secrets.known.insert(wanted, Secret::new("s"));
        assert!(secrets.secret("n", "k").is_ok() && secrets.asked.lock().unwrap().is_empty());
    }
}
