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
    /// There is none.
    #[error("there is no ConfigMap {namespace}/{name}: create it, be it empty, or name another with --configmap")]
    Missing {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
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

/// Reads the configuration over what the command line gave. Without the ConfigMap nothing is begun, as with Argo: what it would
/// have forbidden would be allowed.
///
/// # Errors
/// See [`LoadError`].
pub async fn load(api: &Api, namespace: &str, name: &str, given: &Config) -> Result<Config, LoadError> {
    let (place, named) = (namespace.to_owned(), name.to_owned());
    match api.get::<ConfigMap>(&Kind::ConfigMap.within(namespace).named(name)).await {
        Ok(map) => read(map, given).map_err(|error| LoadError::Wrong { namespace: place, name: named, error }),
        Err(error) if error.is_not_found() => Err(LoadError::Missing { namespace: place, name: named }),
        Err(error) => Err(LoadError::Read { namespace: place, name: named, error }),
    }
}

fn read(map: ConfigMap, given: &Config) -> Result<Config, ConfigError> {
    Config::read(&ConfigMapData { data: map.data, ..ConfigMapData::default() }, given)
}

/// Follows the ConfigMap: a change is in force for what is made from then on; one that is wrong is told, and refused. So is its
/// deletion, which would lift every restriction; Argo's controller ends then.
pub async fn follow(cluster: Arc<Cluster>, name: String, given: Config) {
    let maps = Kind::ConfigMap.within(&cluster.namespace);
    let api = cluster.api.clone();
    watch::<ConfigMap>(&api, &maps, "", None, |event| {
        if let Some(config) = taken(event, &name, &given) {
            cluster.configure(config);
        }
        true
    })
    .await;
}

/// The configuration that is in force from now on, if another is.
fn taken(event: Event<ConfigMap>, name: &str, given: &Config) -> Option<Config> {
    let maps = match event {
        Event::Page(maps) => maps,
        Event::Applied(map) => vec![map],
        Event::Deleted(map) => {
            if map.metadata.name == name {
                tracing::error!(
                    config_map = name,
                    "deleted; the configuration stays until this controller ends, and no other starts without the ConfigMap"
                );
            }
            return None;
        }
        Event::Listed => return None,
    };
    let map = maps.into_iter().find(|map| map.metadata.name == name)?;
    read(map, given)
        .inspect_err(|error| tracing::error!(config_map = name, %error, "refused; the configuration before it stays"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_or_gone_leaves_the_configuration_as_it_is() {
        let map = |name: &str, grace: &str| {
            let mut map = ConfigMap::default();
            map.metadata.name = name.into();
            map.data.insert("podGCGracePeriodSeconds".into(), grace.into());
            map
        };
        let grace = |event| taken(event, "c", &Config::default()).map(|config| config.pod_gc_grace);
        assert_eq!(grace(Event::Page(vec![map("other", "1"), map("c", "2")])), Some(Some(2)));
        assert_eq!(grace(Event::Applied(map("c", "3"))), Some(Some(3)));
        assert_eq!(grace(Event::Applied(map("c", "soon"))), None);
        assert_eq!(grace(Event::Applied(map("other", "3"))), None);
        assert_eq!(grace(Event::Deleted(map("c", "3"))), None);
        assert_eq!(grace(Event::Listed), None);
    }
}
