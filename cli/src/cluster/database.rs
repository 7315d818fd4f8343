//! The controller's database, in which finished workflows are archived and nodes of large ones are kept: the one that the
//! user names, else the one that the controller's ConfigMap names, opened with the user's own rights.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tiphys_archive::config::{Persistence, SecretKey};
use tiphys_archive::{Archive, Engine, Settings};
use tiphys_kubernetes::{Api, ApiError, Kind, SecretError};

use super::address::Address;
use crate::args::Global;
use crate::failure::Failure;
use crate::settings;

/// Where Argo's manifests put the controller.
const NAMESPACE: &str = "argo";
/// What Argo calls the controller's configuration.
const CONFIG_MAP: &str = "workflow-controller-configmap";
/// The key of the ConfigMap that may hold everything.
const WHOLE: &str = "config";

/// A database that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no configuration of a controller where one was looked for.
    #[error(
        "there is no ConfigMap {0}, so that the controller's database is not known: name the ConfigMap with --controller \
         NAMESPACE/NAME, or the database with --archive"
    )]
    NoConfiguration(String),
    /// The configuration names no database.
    #[error("the controller has no database: the ConfigMap {0} has no `persistence`")]
    Unnamed(String),
    /// The configuration cannot be read.
    #[error("the ConfigMap {place}, which names the controller's database, cannot be read: {error}")]
    Unreadable {
        /// Its namespace and name.
        place: String,
        /// Why not.
        error: ApiError,
    },
    /// What the configuration says of the database is wrong.
    #[error("the ConfigMap {place}: {reason}")]
    Wrong {
        /// Its namespace and name.
        place: String,
        /// Why.
        reason: String,
    },
    /// A file that is not on this machine.
    #[error(
        "the database is the file {0}, which is not on this machine: copy it from the controller's volume, and name the copy \
         with --archive sqlite:FILE"
    )]
    Elsewhere(String),
    /// A Secret cannot be read.
    #[error("the name and password for the controller's database: {0}")]
    Secret(#[from] SecretError),
    /// The tables are not those that this program knows.
    #[error(
        "the database's tables are of an older Argo: start the controller on it once, which brings them up to date"
    )]
    Old,
    /// The database.
    #[error(transparent)]
    Database(#[from] tiphys_archive::Error),
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Failure {
        Failure::failed(Some(error.to_string()))
    }
}

/// Where the database is to be looked for.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// It is this one.
    Named(Box<Address>),
    /// A controller's ConfigMap names it: its namespace, where that is said, and its name.
    Configured(Option<String>, String),
}

impl Source {
    /// What the command line and the environment say.
    pub fn of(global: &Global) -> Result<Source, Failure> {
        if let Some((text, from)) = settings::archive(global) {
            return Address::parse(&text, from, settings::archive_password())
                .map(|address| Source::Named(Box::new(address)));
        }
        Ok(match settings::controller(global) {
            None => Source::Configured(None, CONFIG_MAP.to_owned()),
            Some(text) => match text.split_once('/') {
                Some((namespace, name)) => Source::Configured(Some(namespace.to_owned()), name.to_owned()),
                None => Source::Configured(Some(text), CONFIG_MAP.to_owned()),
            },
        })
    }
}

/// The database, and which rows of it are the controller's.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub database: tiphys_archive::Database,
    /// `clusterName`
    pub cluster: String,
    /// The controller's instance ID.
    instance: String,
    /// The table of nodes.
    pub table: String,
}

impl Database {
    /// Opens the database that the user names.
    pub async fn named(address: &Address, instance: &str) -> Result<Database, DatabaseError> {
        let Address { settings, cluster, table } = address.clone();
        Ok(Database { database: open(&settings, &table).await?, cluster, instance: instance.to_owned(), table })
    }

    /// Opens the database that a controller's ConfigMap names: that of the namespace `own`, where a controller may look after
    /// that namespace alone, else of the usual one. `instance` is the user's word, which goes before the ConfigMap's.
    pub async fn configured(
        api: &Api,
        place: (Option<&str>, &str),
        own: &str,
        instance: &str,
    ) -> Result<Database, DatabaseError> {
        let (namespace, name) = place;
        let namespaces = match namespace {
            Some(namespace) => vec![namespace],
            None if own == NAMESPACE => vec![own],
            None => vec![own, NAMESPACE],
        };
        let mut unreadable = None;
        for namespace in &namespaces {
            let (persistence, its) = match configuration(api, namespace, name).await {
                Ok(Some(found)) => found,
                Ok(None) => return Err(DatabaseError::Unnamed(format!("{namespace}/{name}"))),
                Err(DatabaseError::NoConfiguration(_)) => continue,
                // The user may be allowed to read the next.
                Err(error @ DatabaseError::Unreadable { .. }) => {
                    unreadable.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let secret = |key: SecretKey| async move { api.secret_text(namespace, &key.name, &key.key).await };
            let settings = persistence.database.with(secret).await?;
            let instance = if instance.is_empty() { its } else { instance.to_owned() };
            let Persistence { cluster_name: cluster, table, .. } = persistence;
            return Ok(Database { database: open(&settings, &table).await?, cluster, instance, table });
        }
        let places: Vec<String> = namespaces.iter().map(|namespace| format!("{namespace}/{name}")).collect();
        Err(unreadable.unwrap_or_else(|| DatabaseError::NoConfiguration(places.join(" or "))))
    }

    /// The archive; of one namespace, or of all where that is empty.
    pub fn archive(&self, namespace: &str) -> Archive {
        Archive::new(self.database.clone(), &self.cluster, &self.instance, namespace)
    }
}

async fn open(settings: &Settings, table: &str) -> Result<tiphys_archive::Database, DatabaseError> {
    // It would be made.
    if let Engine::Sqlite(path) = &settings.engine
        && !path.is_file()
    {
        return Err(DatabaseError::Elsewhere(path.display().to_string()));
    }
    let database = tiphys_archive::Database::new(settings)?;
    match database.is_migrated(table).await {
        Err(tiphys_archive::Error::NotMigrated { .. }) => Err(DatabaseError::Old),
        outcome => Ok(outcome.map(|()| database)?),
    }
}

/// What a controller's ConfigMap says of its database, and its instance ID. None: it says nothing.
async fn configuration(api: &Api, namespace: &str, name: &str) -> Result<Option<(Persistence, String)>, DatabaseError> {
    #[derive(Deserialize)]
    struct ConfigMap {
        #[serde(default)]
        data: BTreeMap<String, String>,
    }
    let place = format!("{namespace}/{name}");
    let map: ConfigMap = match api.get(&Kind::ConfigMap.within(namespace).named(name)).await {
        Err(error) if error.is_not_found() => return Err(DatabaseError::NoConfiguration(place)),
        Err(error) => return Err(DatabaseError::Unreadable { place, error }),
        Ok(map) => map,
    };
    read(&map.data).map_err(|reason| DatabaseError::Wrong { place, reason })
}

/// The two keys that concern us: what else there is, the controller judges.
fn read(data: &BTreeMap<String, String>) -> Result<Option<(Persistence, String)>, String> {
    let value = |key: &str| {
        let text = data.get(key).map(String::as_str).unwrap_or_default();
        tiphys_api::yaml::to_json(text).map_err(|error| format!("{key}: {error}"))
    };
    let mut fields = match value(WHOLE)? {
        Value::Object(whole) => whole,
        _ => Map::new(),
    };
    for key in ["persistence", "instanceID"] {
        match value(key)? {
            Value::Null => {}
            value => drop(fields.insert(key.to_owned(), value)),
        }
    }
    let instance = fields.get("instanceID").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(written) = fields.remove("persistence").filter(|value| !value.is_null()) else { return Ok(None) };
    let persistence = Persistence::read(written).map_err(|error| error.to_string())?;
    Ok(Some((persistence, instance)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        fields.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_configuration_names_the_database() {
        let persistence = "archive: true\nclusterName: c\nsqlite: {path: /a.db, tableName: t}\n";
        let (found, instance) =
            read(&data(&[("persistence", persistence), ("instanceID", "i"), ("sso", "x: y")])).unwrap().unwrap();
        assert_eq!((found.cluster_name.as_str(), found.table.as_str(), instance.as_str()), ("c", "t", "i"));
        let whole = "instanceID: j\npersistence:\n  sqlite: {path: /b.db}\n";
        let (found, instance) = read(&data(&[("config", whole)])).unwrap().unwrap();
        assert_eq!((found.cluster_name.as_str(), instance.as_str()), ("default", "j"));
        assert_eq!(read(&data(&[("parallelism", "3")])).unwrap(), None);
        let error = read(&data(&[("persistence", "sqlite: {}")])).unwrap_err();
        assert_eq!(error, "persistence.sqlite.path: is required");
    }
}
