//! Facts that the engine lacks, looked up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tiphys_api::{Outputs, Time, WorkflowSpec};
use tiphys_engine::{ConfigMapData, Fact, MemoEntry, Need};

use super::message::Message;
use super::pods::Workplace;
use tiphys_kubernetes::{ApiError, Kind};

/// Label of ConfigMaps that say what they are for. argo: workflow/common/common.go.
pub(super) const MAP_TYPE: &str = "workflows.argoproj.io/configmap-type";
/// Its value for caches.
const CACHE: &str = "Cache";

#[derive(Deserialize)]
struct TemplateObject {
    spec: WorkflowSpec,
}

/// A ConfigMap.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ConfigMapObject {
    pub metadata: ConfigMapMetadata,
    pub data: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConfigMapMetadata {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// An entry of a cache. argo: workflow/controller/cache/cache.go.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "nodeID")]
    node: String,
    outputs: Option<Outputs>,
    creation_timestamp: Time,
    last_hit_timestamp: Option<Time>,
}

impl Workplace {
    /// Looks a fact up and tells it.
    pub(super) async fn answer(self, need: Need) {
        let fact = match need {
            Need::Template { cluster_scope, name } => {
                let path = match cluster_scope {
                    true => Kind::ClusterWorkflowTemplate.within("").named(&name),
                    false => Kind::WorkflowTemplate.within(&self.namespace).named(&name),
                };
                let found = self.read::<TemplateObject>(&path).await;
                let found = found.map(|object| Box::new(object.spec)).map_err(|error| error.to_string());
                Fact::Template { cluster_scope, name, found }
            }
            Need::ConfigMap { namespace, name } => {
                let path = Kind::ConfigMap.within(&namespace).named(&name);
                let found = self.read::<ConfigMapObject>(&path).await.ok().map(|map| ConfigMapData {
                    labels: map.metadata.labels,
                    annotations: map.metadata.annotations,
                    data: map.data,
                });
                Fact::ConfigMap { namespace, name, found }
            }
            Need::Memo { cache, key } => {
                let found = self.memo(&cache, &key).await;
                Fact::Memo { cache, key, found }
            }
        };
        self.tell(Message::Fact(fact));
    }

    async fn memo(&self, cache: &str, key: &str) -> Result<Option<MemoEntry>, String> {
        let path = Kind::ConfigMap.within(&self.namespace).named(cache);
        let map = match self.read::<ConfigMapObject>(&path).await {
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
        let entry: Entry = serde_json::from_str(text)
            .map_err(|error| format!("malformed cache entry: could not unmarshal JSON: {error}"))?;
        Ok(Some(MemoEntry { node: entry.node, outputs: entry.outputs, created: entry.creation_timestamp.0 }))
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
        if self.memo(&cache, &key).await.is_ok_and(|known| known.is_some_and(|known| known.created >= created.0)) {
            return;
        }
        let entry = Entry { node, outputs, creation_timestamp: created, last_hit_timestamp: Some(created) };
        let text = serde_json::to_string(&entry).unwrap_or_default();
        if let Err(error) = self.put_entry(&cache, &key, &text).await {
            tracing::warn!(namespace = %self.namespace, cache, key, %error, "a result is not memoized");
        }
    }

    async fn put_entry(&self, cache: &str, key: &str, text: &str) -> Result<(), ApiError> {
        let maps = Kind::ConfigMap.within(&self.namespace);
        let patch = json!({"data": {key: text}});
        match self.change(&maps.named(cache), &patch).await {
            Err(error) if error.is_not_found() => {}
            changed => return changed,
        }
        let map: Value = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": cache, "labels": {MAP_TYPE: CACHE}},
            "data": {key: text},
        });
        // Another step may have made it in the meantime.
        if !self.make(maps.path(), &map).await? {
            self.change(&maps.named(cache), &patch).await?;
        }
        Ok(())
    }
}
