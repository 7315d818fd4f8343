//! The configuration's key `persistence`: every field works, or is refused by its name. argo: config/config.go, PersistConfig.
//! How a database's server is reached is said as elsewhere ([`super::server`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::server::{
    DatabaseSettings, Place, WrittenMySql, WrittenPool, WrittenPostgreSql, WrittenReconnection, WrittenServers,
};
use super::{ConfigError, ttl, written, wrong, wrong_key};
use crate::Requirement;

/// The key.
const KEY: &str = "persistence";

/// Under this name Argo keeps nodes, unless `tableName` names another.
const TABLE: &str = "argo_workflows";

/// What `persistence` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Persistence {
    /// The database.
    pub database: DatabaseSettings,
    /// Whether finished workflows are archived.
    pub archive: bool,
    /// Whether nodes of large workflows are kept in it.
    pub offload: bool,
    /// Which workflows are archived.
    pub selector: Vec<Requirement>,
    /// How long they stay; None: for good.
    pub archive_ttl: Option<Duration>,
    /// Tells clusters in one database apart.
    pub cluster_name: String,
    /// Whether the tables are left as they are.
    pub skip_migration: bool,
    /// The table of nodes.
    pub table: String,
}

impl Persistence {
    /// What the key's value asks for.
    ///
    /// # Errors
    /// A field is unknown or wrong, or nobody here can fulfil it.
    pub fn read(value: Value) -> Result<Persistence, ConfigError> {
        written::<WrittenPersistence>(KEY, value)?.read()
    }

    /// Whether a workflow with these labels is archived when it is over.
    pub fn archives(&self, labels: &BTreeMap<String, String>) -> bool {
        self.archive && self.selector.iter().all(|one| one.holds(labels.get(&one.key).map(String::as_str)))
    }
}

/// The fields as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenPersistence {
    archive: bool,
    archive_label_selector: Option<Value>,
    #[serde(rename = "archiveTTL")]
    archive_ttl: String,
    cluster_name: String,
    connection_pool: Option<WrittenPool>,
    connection_timeout_seconds: u64,
    mysql: Option<WrittenMySql>,
    #[serde(rename = "nodeStatusOffLoad")]
    node_status_offload: bool,
    postgresql: Option<WrittenPostgreSql>,
    #[serde(rename = "reconnectionConfig")]
    reconnection: Option<WrittenReconnection>,
    skip_migration: bool,
    sqlite: Option<WrittenSqlite>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenSqlite {
    path: PathBuf,
    table_name: String,
}

impl WrittenPersistence {
    fn read(self) -> Result<Persistence, ConfigError> {
        let selector = self.archive_label_selector.as_ref().map(Requirement::of_object).transpose();
        let selector = selector.map_err(|error| wrong(KEY, "archiveLabelSelector", error))?.unwrap_or_default();
        let archive_ttl = ttl(&self.archive_ttl).map_err(|error| wrong(KEY, "archiveTTL", error))?;
        let sqlite = self.sqlite.map(|written| (Place::Sqlite(written.path), written.table_name));
        let servers = WrittenServers { postgresql: self.postgresql, mysql: self.mysql };
        let databases: Vec<_> = servers.read(KEY)?.into_iter().chain(sqlite).collect();
        let Ok([(place, table)]) = <[_; 1]>::try_from(databases) else {
            return Err(wrong_key(KEY, "name one of postgresql, mysql and sqlite"));
        };
        if matches!(&place, Place::Sqlite(path) if path.as_os_str().is_empty()) {
            return Err(wrong(KEY, "sqlite.path", "is required"));
        }
        let database = DatabaseSettings::new(
            KEY,
            place,
            self.connection_pool,
            self.connection_timeout_seconds,
            self.reconnection,
        )?;
        Ok(Persistence {
            database,
            archive: self.archive,
            offload: self.node_status_offload,
            selector,
            archive_ttl,
            cluster_name: if self.cluster_name.is_empty() { "default".into() } else { self.cluster_name },
            skip_migration: self.skip_migration,
            table: if table.is_empty() { TABLE.into() } else { table },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Encryption, Engine, PoolSize, Reconnection, Server};

    fn read(written: Value) -> Result<Persistence, String> {
        Persistence::read(written).map_err(|error| error.to_string())
    }

    fn server(more: Value) -> Value {
        let mut server = json!({
            "host": "h", "port": 1, "database": "d",
            "userNameSecret": {"name": "s", "key": "u"}, "passwordSecret": {"name": "s", "key": "p"},
        });
        for (name, value) in more.as_object().unwrap() {
            server[name] = value.clone();
        }
        server
    }

    #[test]
    fn every_field_is_read() {
        let persistence = read(json!({
            "archive": true, "archiveTTL": "180d", "archiveLabelSelector": {"matchLabels": {"a": "1"}},
            "clusterName": "c", "skipMigration": true, "connectionTimeoutSeconds": 7,
            "connectionPool": {"maxIdleConns": 2, "maxOpenConns": 3, "connMaxLifetime": "90s"},
            "reconnectionConfig": {"maxRetries": 1, "baseDelaySeconds": 2, "maxDelaySeconds": 3, "retryMultiple": 1.5},
            "postgresql": server(json!({"ssl": true, "sslMode": "verify-full", "tableName": "t"})),
        }));
        let persistence = persistence.unwrap();
        assert_eq!(persistence.archive_ttl, Some(Duration::from_secs(180 * 24 * 3600)));
        assert_eq!((persistence.cluster_name.as_str(), persistence.table.as_str()), ("c", "t"));
        assert!(persistence.skip_migration);
        let lifetime = Some(Duration::from_secs(90));
        assert_eq!(persistence.database.pool, PoolSize { most: 3, idle: Some(2), lifetime });
        assert_eq!(persistence.database.timeout, Duration::from_secs(7));
        let Reconnection { retries, first, longest, multiple } = persistence.database.reconnection;
        assert_eq!((retries, first.as_secs(), longest.as_secs(), multiple), (1, 2, 3, 1.5));
        let Place::PostgreSql(server) = &persistence.database.place else { panic!() };
        assert_eq!((server.port, server.encryption), (Some(1), Encryption::VerifyHost));
        let labels = |value: &str| BTreeMap::from([("a".to_owned(), value.to_owned())]);
        assert!(persistence.archives(&labels("1")) && !persistence.archives(&labels("2")));
    }

    #[tokio::test]
    async fn name_and_password_are_read_from_their_secrets() {
        let server = server(json!({"passwordSecret": {"name": "t", "key": "p"}}));
        let database = read(json!({"mysql": server})).unwrap().database;
        let there = database.with(|secret| async move { Ok::<_, ()>(format!("{}#{}", secret.name, secret.key)) }).await;
        let Engine::MySql(Server { credentials, .. }) = there.unwrap().engine else { panic!() };
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("s#u", "t#p"));
        let away = database.with(|secret| async move { Err(secret.name) }).await;
        assert_eq!(away, Err("s".to_owned()));
    }

    #[test]
    fn what_is_left_out_has_argos_defaults() {
        let persistence = read(json!({"sqlite": {"path": "/a.db"}})).unwrap();
        assert_eq!((persistence.cluster_name.as_str(), persistence.table.as_str()), ("default", "argo_workflows"));
        assert_eq!((persistence.archive_ttl, persistence.database.timeout), (None, Duration::from_secs(5)));
        assert!(!persistence.archives(&BTreeMap::new()));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let sqlite = || json!({"path": "/a"});
        for (written, words) in [
            (json!({}), "name one of postgresql, mysql and sqlite"),
            (json!({"sqlite": sqlite(), "mysql": server(json!({}))}), "name one of"),
            (json!({"sqlite": {}}), "persistence.sqlite.path: is required"),
            (json!({"archive": true, "archived": true}), "persistence: unknown field `archived`"),
            (json!({"sqlite": sqlite(), "archiveTTL": "soon"}), "persistence.archiveTTL: "),
            (
                json!({"sqlite": sqlite(), "archiveLabelSelector": {"matchExpressions": [{"operator": "Is"}]}}),
                "persistence.archiveLabelSelector: ",
            ),
            (json!({"postgresql": server(json!({"host": ""}))}), "persistence.postgresql.host: is required"),
            (
                json!({"mysql": server(json!({"passwordSecret": {"name": "s"}}))}),
                "persistence.mysql.passwordSecret.key: is required",
            ),
            (json!({"postgresql": server(json!({"ssl": true, "sslMode": "x"}))}), "persistence.postgresql.sslMode: "),
            (
                json!({"postgresql": server(json!({"azureToken": {"enabled": true}}))}),
                "persistence.postgresql.azureToken is not supported",
            ),
            (
                json!({"postgresql": server(json!({"awsRDSToken": {"enabled": true}}))}),
                "persistence.postgresql.awsRDSToken is not supported",
            ),
            (json!({"mysql": server(json!({"options": {"readTimeout": "3s"}}))}), "readTimeout is not supported"),
            (json!({"mysql": server(json!({"options": {"tls": "x"}}))}), "persistence.mysql.options: tls: "),
            (json!({"mysql": server(json!({"ssl": true}))}), "unknown field `ssl`"),
            (json!({"postgresql": server(json!({"hostname": "h"}))}), "unknown field `hostname`"),
        ] {
            let error = read(written).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
