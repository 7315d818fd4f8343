//! Facts that the engine lacks, looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tiphys_api::WorkflowSpec;
use tiphys_engine::{ConfigMapData, ConfigMapFound, Fact, Need};

use super::message::Message;
use super::pods::Workplace;
use crate::cluster::{Cluster, TemplateFound};
use tiphys_kubernetes::Kind;

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
    pub namespace: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl Workplace {
    /// Looks a fact up and tells it.
    pub(super) async fn answer(self, need: Need, spec: Arc<WorkflowSpec>) {
        let fact = match need {
            Need::Template { cluster_scope, name } => {
                let path = match cluster_scope {
                    true => Kind::ClusterWorkflowTemplate.within("").named(&name),
                    false => Kind::WorkflowTemplate.within(&self.namespace).named(&name),
                };
                let (cluster, object) = (self.cluster.clone(), path.clone());
                let found = self.cluster.templates.ask(&path, move || template(cluster.clone(), object.clone())).await;
                Fact::Template { cluster_scope, name, found }
            }
            Need::ConfigMap { namespace, name } => {
                let found = self.config_map(&namespace, &name).await;
                Fact::ConfigMap { namespace, name, found }
            }
            Need::VolumeClaims => Fact::volume_claims(self.claims(&spec).await),
            Need::Memo { cache, key } => {
                let found = self.memo(&cache, &key).await;
                Fact::Memo { cache, key, found }
            }
        };
        self.tell(Message::Fact(fact));
    }

    /// Looks for a ConfigMap.
    pub(super) async fn config_map(&self, namespace: &str, name: &str) -> ConfigMapFound {
        let path = Kind::ConfigMap.within(namespace).named(name);
        let (cluster, object) = (self.cluster.clone(), path.clone());
        self.cluster.config_maps.ask(&path, move || config_map(cluster.clone(), object.clone())).await
    }
}

async fn template(cluster: Arc<Cluster>, path: String) -> TemplateFound {
    let found = cluster.read::<TemplateObject>(&path).await;
    found.map(|object| Box::new(object.spec)).map_err(|error| error.to_string())
}

async fn config_map(cluster: Arc<Cluster>, path: String) -> ConfigMapFound {
    match cluster.read::<ConfigMapObject>(&path).await {
        Ok(map) => {
            let ConfigMapMetadata { labels, annotations, .. } = map.metadata;
            Ok(Some(ConfigMapData { labels, annotations, data: map.data }))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
