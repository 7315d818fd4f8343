//! Memoized results: in ConfigMaps, as Argo keeps them, or as objects in the artifact repository, where the entries of one cache
//! need not fit into 1 MiB together. argo: workflow/controller/cache.

use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tiphys_api::{Artifact, Outputs, Time};
use tiphys_artifact::{Artifacts, Body};
use tiphys_contract::location;
use tiphys_engine::MemoEntry;
use tiphys_kubernetes::{ApiError, Backoff, Kind};
use tiphys_podspec::repository_location;

use super::needs::ConfigMapObject;
use super::pods::Workplace;
use super::results::{LONGEST, ResultsError, bounded};

/// Label of ConfigMaps that say what they are for. argo: workflow/common/common.go.
pub(super) const MAP_TYPE: &str = "workflows.argoproj.io/configmap-type";
/// Its value for caches.
pub(super) const CACHE: &str = "Cache";
/// What every cache of an artifact repository is below.
const FOLDER: &str = "caches";

/// Where caches are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Memoization {
    /// In ConfigMaps, of at most 1 MiB each
    #[default]
    ConfigMap,
    /// In the artifact repository of the workflow's namespace, an object for each entry
    ArtifactRepository,
}

/// An entry of a cache. argo: workflow/controller/cache/cache.go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(rename = "nodeID")]
    node: String,
    outputs: Option<Outputs>,
    pub creation_timestamp: Time,
    pub last_hit_timestamp: Option<Time>,
}

impl Workplace {
    /// The entry under a key, if there is one.
    ///
    /// # Errors
    /// The cache cannot be read, or is none, in words for a node's message.
    pub(super) async fn memo(&self, cache: &str, key: &str) -> Result<Option<MemoEntry>, String> {
        let config = self.cluster.config();
        let found = match config.memoization {
            Memoization::ConfigMap => self.entry_of_map(cache, key).await?,
            Memoization::ArtifactRepository => {
                let found = self.entry_of_repository(cache, key).await;
                found.map_err(|reason| format!("failed to load memoization cache {cache}: {reason}"))?
            }
        };
        // Whoever looks on uses nothing.
        if let Some(entry) = found.clone().filter(|_| !config.shadow) {
            match config.memoization {
                Memoization::ConfigMap if is_fresh(&entry, config.cache_gc.hit_every()) => {}
                Memoization::ConfigMap => drop(tokio::spawn(self.clone().hit_in_map(cache.to_owned(), key.to_owned()))),
                Memoization::ArtifactRepository => {
                    drop(tokio::spawn(self.clone().hit(cache.to_owned(), key.to_owned(), entry)));
                }
            }
        }
        let entry =
            |Entry { node, outputs, creation_timestamp: Time(created), .. }| MemoEntry { node, outputs, created };
        Ok(found.map(entry))
    }

    /// Stores a memoized result, unless one is there that is as young. One that cannot be stored costs doing the work again,
    /// and nothing else.
    pub(super) async fn save_memo(
        self,
        cache: String,
        key: String,
        node: String,
        outputs: Option<Outputs>,
        created: Time,
    ) {
        let in_map = self.cluster.config().memoization == Memoization::ConfigMap;
        let known = match in_map {
            true => self.entry_of_map(&cache, &key).await,
            false => self.entry_of_repository(&cache, &key).await,
        };
        if known.is_ok_and(|known| known.is_some_and(|known| known.creation_timestamp.0 >= created.0)) {
            return;
        }
        let entry = Entry { node, outputs, creation_timestamp: created, last_hit_timestamp: Some(created) };
        let stored = match in_map {
            true => self.put_into_map(&cache, &key, &entry).await.map_err(|error| error.to_string()),
            false => self.put_into_repository(&cache, &key, &entry).await,
        };
        if let Err(error) = stored {
            tracing::warn!(namespace = %self.namespace, cache, key, error, "a result is not memoized");
        }
    }

    async fn entry_of_map(&self, cache: &str, key: &str) -> Result<Option<Entry>, String> {
        Ok(self.versioned_entry_of_map(cache, key).await?.map(|(entry, _)| entry))
    }

    /// The entry, and the version of the ConfigMap that it is in.
    async fn versioned_entry_of_map(&self, cache: &str, key: &str) -> Result<Option<(Entry, String)>, String> {
        let path = Kind::ConfigMap.within(&self.namespace).named(cache);
        let map = match self.cluster.read::<ConfigMapObject>(&path).await {
            Ok(map) => map,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(format!("failed to load memoization cache {cache}: {error}")),
        };
        if map.metadata.labels.get(MAP_TYPE).map(String::as_str) != Some(CACHE) {
            return Err(format!(
                "failed to load memoization cache {cache}: the ConfigMap needs the label {MAP_TYPE}: {CACHE}"
            ));
        }
        let Some(text) = map.data.get(key) else { return Ok(None) };
        Ok(Some((parse(text.as_bytes())?, map.metadata.resource_version)))
    }

    async fn put_into_map(&self, cache: &str, key: &str, entry: &Entry) -> Result<(), ApiError> {
        let text = serde_json::to_string(entry)?;
        let maps = Kind::ConfigMap.within(&self.namespace);
        let patch = json!({"data": {key: text}});
        match self.cluster.change(&maps.named(cache), &patch).await {
            Err(error) if error.is_not_found() => {}
            changed => return changed,
        }
        let map: Value = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": cache, "labels": {MAP_TYPE: CACHE}},
            "data": {key: text},
        });
        // Another step may have made it in the meantime.
        if !self.cluster.make(maps.path(), &map).await? {
            self.cluster.change(&maps.named(cache), &patch).await?;
        }
        Ok(())
    }

    async fn entry_of_repository(&self, cache: &str, key: &str) -> Result<Option<Entry>, String> {
        self.at_repository(cache, key, None).await
    }

    async fn put_into_repository(&self, cache: &str, key: &str, entry: &Entry) -> Result<(), String> {
        self.at_repository(cache, key, Some(entry)).await.map(|_| ())
    }

    /// The same of an entry in a ConfigMap, where many steps may be at it: one that has changed meanwhile is read again.
    async fn hit_in_map(self, cache: String, key: String) {
        let every = self.cluster.config().cache_gc.hit_every();
        let maps = Kind::ConfigMap.within(&self.namespace);
        let outcome = loop {
            let (entry, version) = match self.versioned_entry_of_map(&cache, &key).await {
                Ok(Some((entry, version))) if !is_fresh(&entry, every) => (entry, version),
                Ok(_) => return,
                Err(reason) => break Err(reason),
            };
            let entry = Entry { last_hit_timestamp: Some(now()), ..entry };
            let text = serde_json::to_string(&entry).map_err(|error| error.to_string());
            let patch = text.map(|text| json!({"metadata": {"resourceVersion": version}, "data": {&key: text}}));
            match patch {
                Err(reason) => break Err(reason),
                Ok(patch) => match self.cluster.change(&maps.named(&cache), &patch).await {
                    Err(error) if error.is_conflict() => {}
                    outcome => break outcome.map_err(|error| error.to_string()),
                },
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(namespace = %self.namespace, cache, key, error, "when a memoized result was used last is not kept");
        }
    }

    /// An entry was looked up. argo: configmap_cache.go, load.
    async fn hit(self, cache: String, key: String, entry: Entry) {
        let entry = Entry { last_hit_timestamp: Some(now()), ..entry };
        if let Err(error) = self.put_into_repository(&cache, &key, &entry).await {
            tracing::warn!(namespace = %self.namespace, cache, key, error, "when a memoized result was used last is not kept");
        }
    }

    /// Stores an entry where one is given, else loads it; again for as long as that can help.
    async fn at_repository(&self, cache: &str, key: &str, new: Option<&Entry>) -> Result<Option<Entry>, String> {
        // The workflow's own repository is not asked for: a cache is there for all workflows of its namespace.
        let found = self.repository(None).await?;
        let mut location = found.artifact_repository.as_deref().map(repository_location).unwrap_or_default();
        if location.store().is_none() {
            return Err("memoization in the artifact repository needs one: configure `artifactRepository`".into());
        }
        location::set_key(&mut location, &format!("{FOLDER}/{}/{cache}/{key}", self.namespace));
        let mut artifact = Artifact { name: key.to_owned(), ..Artifact::default() };
        artifact.set_location(location);
        let mut backoff = Backoff::default();
        loop {
            let turn = self.cluster.results.acquire().await;
            let outcome = match (self.artifacts(&artifact).await, new) {
                (Ok(artifacts), Some(entry)) => store(&artifacts, &artifact, entry).await.map(|()| None),
                (Ok(artifacts), None) => load(&artifacts, &artifact).await,
                (Err(error), _) => Err(error),
            };
            drop(turn);
            match outcome {
                Err(error) if self.to.is_closed() => return Err(error.to_string()),
                Err(error) if error.is_transient() => {
                    tracing::warn!(namespace = %self.namespace, cache, key, %error, "a cache is away; it is asked again");
                    tokio::time::sleep(backoff.pause()).await;
                }
                outcome => return outcome.map_err(|error| error.to_string()),
            }
        }
    }
}

fn now() -> Time {
    Time::from_second(Timestamp::now().as_second())
}

/// Whether the last use of an entry is not worth another write.
fn is_fresh(entry: &Entry, every: Duration) -> bool {
    let age = entry.last_hit_timestamp.map(|Time(used)| Timestamp::now().duration_since(used));
    age.is_some_and(|age| age <= jiff::SignedDuration::try_from(every).unwrap_or(jiff::SignedDuration::MAX))
}

fn parse(text: &[u8]) -> Result<Entry, String> {
    serde_json::from_slice(text).map_err(|error| format!("malformed cache entry: could not unmarshal JSON: {error}"))
}

async fn load(artifacts: &Artifacts, artifact: &Artifact) -> Result<Option<Entry>, ResultsError> {
    let text = match bounded(artifacts, artifact, LONGEST).await {
        Err(error) if error.is_not_found() => return Ok(None),
        text => text?,
    };
    let text = text.ok_or_else(|| ResultsError::Damaged(format!("the entry has more than {LONGEST} bytes")))?;
    parse(&text).map(Some).map_err(ResultsError::Damaged)
}

async fn store(artifacts: &Artifacts, artifact: &Artifact, entry: &Entry) -> Result<(), ResultsError> {
    let text = serde_json::to_vec(entry).map_err(|error| ResultsError::Damaged(error.to_string()))?;
    artifacts.save_body(Body::Bytes(Bytes::from(text)), artifact).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tiphys_artifact::{Options, Secret};
    use tiphys_s3server::S3Server;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_use_is_written_once_a_minute() {
        let entry = |hit: Time| {
            let entry = json!({"nodeID": "n", "outputs": null, "creationTimestamp": "2026-01-01T00:00:00Z", "lastHitTimestamp": hit});
            entry.to_string()
        };
        let data = json!({"old": entry(Time::from_second(1_700_000_000)), "used": entry(now())});
        let map = json!({"metadata": {"labels": {MAP_TYPE: CACHE}, "resourceVersion": "7"}, "data": data});
        let server = ApiServer::default().with("/api/v1/namespaces/team/configmaps/cache", map);
        let (place, _inbox) = place(server.cluster(Config::default()));
        assert!(place.memo("cache", "gone").await.unwrap().is_none());
        assert!(place.memo("cache", "used").await.unwrap().is_some());
        assert!(place.memo("cache", "old").await.unwrap().is_some());
        while server.changes().is_empty() {
            tokio::task::yield_now().await;
        }
        let [(_, path, patch)] = &server.changes()[..] else { panic!("{:?}", server.changes()) };
        assert_eq!(
            (path.as_str(), &patch["metadata"]),
            ("/api/v1/namespaces/team/configmaps/cache", &json!({"resourceVersion": "7"}))
        );
        let written: Entry = serde_json::from_str(patch["data"]["old"].as_str().unwrap()).unwrap();
        assert!(is_fresh(&written, Duration::from_secs(60)) && patch["data"].as_object().unwrap().len() == 1);

        // Whoever looks on changes nothing.
        place.cluster.configure(Config { shadow: true, ..Config::default() });
        assert!(place.memo("cache", "old").await.unwrap().is_some());
        tokio::task::yield_now().await;
        assert_eq!(server.changes().len(), 1);
    }

    #[tokio::test]
    async fn an_entry_of_a_repository_is_argos_and_may_be_large() {
        let folder = tempfile::tempdir().unwrap();
        let server = S3Server::start(folder.path(), &["artifacts"]).await.unwrap();
        let artifact: Artifact = serde_json::from_value(json!({"name": "k", "s3": {
            "endpoint": server.endpoint(), "bucket": "artifacts", "insecure": true, "key": "caches/team/cache/k",
            "accessKeySecret": {"name": "keys", "key": "access"}, "secretKeySecret": {"name": "keys", "key": "secret"},
        }}))
        .unwrap();
        let (access, key) = (server.access_key().to_owned(), server.secret_key().expose().to_owned());
        let secrets =
            move |_: &str, wanted: &str| Ok(Secret::new(if wanted == "access" { access.clone() } else { key.clone() }));
        let artifacts = Artifacts::new(secrets, Options::default());
        assert_eq!(load(&artifacts, &artifact).await.unwrap(), None);

        let outputs: Outputs = serde_json::from_value(json!({"result": "x".repeat(2 << 20)})).unwrap();
        let (created, hit) = (Time::from_second(1_700_000_000), Time::from_second(1_700_000_060));
        let entry = Entry {
            node: "wf-1".into(),
            outputs: Some(outputs),
            creation_timestamp: created,
            last_hit_timestamp: Some(hit),
        };
        store(&artifacts, &artifact, &entry).await.unwrap();
        assert_eq!(load(&artifacts, &artifact).await.unwrap().as_ref(), Some(&entry));

        let small = Entry { outputs: None, ..entry };
        let text = serde_json::to_string(&small).unwrap();
        let argos = r#"{"nodeID":"wf-1","outputs":null,"creationTimestamp":"2023-11-14T22:13:20Z","lastHitTimestamp":"2023-11-14T22:14:20Z"}"#;
        assert_eq!(text, argos);

        artifacts.save_body(Body::Bytes(Bytes::from_static(b"{")), &artifact).await.unwrap();
        let damaged = load(&artifacts, &artifact).await.unwrap_err();
        assert!(!damaged.is_transient());
        assert!(damaged.to_string().starts_with("malformed cache entry: could not unmarshal JSON"), "{damaged}");
    }
}
