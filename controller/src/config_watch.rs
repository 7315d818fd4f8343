//! The configuration's ConfigMap: read at the start, and again whenever it changes.

use std::sync::Arc;

use serde::Deserialize;
use std::collections::BTreeMap;
use tiphys_engine::ConfigMapData;

use crate::cluster::Cluster;
use crate::config::{Config, ConfigError};
use tiphys_kubernetes::{Api, ApiError, Event, Kind, watch};

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigMap {
    metadata: tiphys_kubernetes::Metadata,
    data: BTreeMap<String, String>,
}

/// A configuration that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The ConfigMap cannot be read.
    #[error("the ConfigMap {namespace}/{name} cannot be read: {error}")]
    Read {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why not.
        error: ApiError,
    },
    /// It is wrong.
    #[error("the ConfigMap {namespace}/{name}: {error}")]
    Wrong {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        error: ConfigError,
    },
}

/// Reads the configuration over what the command line gave. Where there is no such ConfigMap, that alone holds.
///
/// # Errors
/// See [`LoadError`].
pub async fn load(api: &Api, namespace: &str, name: &str, given: &Config) -> Result<Config, LoadError> {
    let at = || (namespace.to_owned(), name.to_owned());
    let map = match api.get::<ConfigMap>(&Kind::ConfigMap.within(namespace).named(name)).await {
        Ok(map) => map,
        Err(error) if error.is_not_found() => ConfigMap::default(),
        Err(error) => {
            let (namespace, name) = at();
            return Err(LoadError::Read { namespace, name, error });
        }
    };
    read(map, given).map_err(|error| {
        let (namespace, name) = at();
        LoadError::Wrong { namespace, name, error }
    })
}

fn read(map: ConfigMap, given: &Config) -> Result<Config, ConfigError> {
    Config::read(&ConfigMapData { data: map.data, ..ConfigMapData::default() }, given)
}

/// Follows the ConfigMap: a change is in force for what is made from then on; one that is wrong is told, and refused.
pub async fn follow(cluster: Arc<Cluster>, name: String, given: Config) {
    let maps = Kind::ConfigMap.within(&cluster.namespace);
    let api = cluster.api.clone();
    watch::<ConfigMap>(&api, &maps, "", None, |event| {
        let maps = match event {
            Event::Page(maps) => maps,
            Event::Applied(map) => vec![map],
            Event::Deleted(map) => vec![ConfigMap { metadata: map.metadata, ..ConfigMap::default() }],
            Event::Listed => Vec::new(),
        };
        for map in maps.into_iter().filter(|map| map.metadata.name == name) {
            match read(map, &given) {
                Ok(config) => cluster.configure(config),
                Err(error) => tracing::error!(config_map = name, %error, "refused; the configuration before it stays"),
            }
        }
        true
    })
    .await;
}
