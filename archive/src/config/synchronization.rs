//! The configuration's key `synchronization`: the database in which controllers share locks. Every field works, or is refused
//! by its name. argo: config/config.go, SyncConfig.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::server::{
    DatabaseSettings, WrittenMySql, WrittenPool, WrittenPostgreSql, WrittenReconnection, WrittenServers,
};
use super::{ConfigError, written, wrong, wrong_key};
use crate::TableNames;

/// The key.
const KEY: &str = "synchronization";
/// What the column for a controller's name holds, in characters.
const NAME: usize = 64;
/// argo: util/sync/db/config.go.
const POLL_SECONDS: u64 = 10;
const HEARTBEAT_SECONDS: u64 = 60;
const INACTIVE_SECONDS: u64 = 600;

/// What `synchronization` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Synchronization {
    /// The database.
    pub database: DatabaseSettings,
    /// Its tables.
    pub tables: TableNames,
    /// What this controller is called there: all its replicas, and nobody else.
    pub controller: String,
    /// Whether the tables are left as they are.
    pub skip_migration: bool,
    /// How often it is looked for what other controllers have done.
    pub poll: Duration,
    /// How often this controller says that it is alive.
    pub heartbeat: Duration,
    /// For so long without a word a controller is taken to be alive.
    pub inactive: Duration,
    /// For so long a semaphore's limit is not read again.
    pub limit_cache: Duration,
}

impl Synchronization {
    /// What the key's value asks for.
    ///
    /// # Errors
    /// A field is unknown or wrong, or nobody here can fulfil it.
    pub fn read(value: Value) -> Result<Synchronization, ConfigError> {
        written::<WrittenSynchronization>(KEY, value)?.read()
    }
}

/// The fields as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenSynchronization {
    postgresql: Option<WrittenPostgreSql>,
    mysql: Option<WrittenMySql>,
    connection_pool: Option<WrittenPool>,
    connection_timeout_seconds: u64,
    #[serde(rename = "reconnectionConfig")]
    reconnection: Option<WrittenReconnection>,
    #[serde(rename = "enableAPI")]
    enable_api: bool,
    controller_name: String,
    skip_migration: bool,
    limit_table_name: String,
    state_table_name: String,
    controller_table_name: String,
    lock_table_name: String,
    poll_seconds: Option<u64>,
    heartbeat_seconds: Option<u64>,
    inactive_controller_seconds: Option<u64>,
    semaphore_limit_cache_seconds: u64,
}

impl WrittenSynchronization {
    fn read(self) -> Result<Synchronization, ConfigError> {
        // It is Argo's server that has such an API.
        let _ = self.enable_api;
        let servers = WrittenServers { postgresql: self.postgresql, mysql: self.mysql }.read(KEY)?;
        // The tables have names of their own.
        let Ok([(place, _)]) = <[_; 1]>::try_from(servers) else {
            return Err(wrong_key(KEY, "name one of postgresql and mysql"));
        };
        let timeout = self.connection_timeout_seconds;
        let database = DatabaseSettings::new(KEY, place, self.connection_pool, timeout, self.reconnection)?;
        match self.controller_name.chars().count() {
            0 => return Err(wrong(KEY, "controllerName", "is required, and must be no other controller's")),
            count if count > NAME => {
                return Err(wrong(KEY, "controllerName", format!("has more than {NAME} characters")));
            }
            _ => {}
        }
        let default = TableNames::default();
        let or = |given: String, default: String| if given.is_empty() { default } else { given };
        let tables = TableNames {
            limit: or(self.limit_table_name, default.limit),
            state: or(self.state_table_name, default.state),
            controller: or(self.controller_table_name, default.controller),
            lock: or(self.lock_table_name, default.lock),
        };
        tables.check().map_err(|error| wrong_key(KEY, error))?;
        let seconds = |field: &str, given: Option<u64>, default| match given {
            Some(0) => Err(wrong(KEY, field, "must be more than 0")),
            given => Ok(Duration::from_secs(given.unwrap_or(default))),
        };
        let heartbeat = seconds("heartbeatSeconds", self.heartbeat_seconds, HEARTBEAT_SECONDS)?;
        let inactive = seconds("inactiveControllerSeconds", self.inactive_controller_seconds, INACTIVE_SECONDS)?;
        if inactive <= heartbeat {
            let words =
                "must be more than heartbeatSeconds, or this controller is taken for dead between its heartbeats";
            return Err(wrong(KEY, "inactiveControllerSeconds", words));
        }
        Ok(Synchronization {
            database,
            tables,
            controller: self.controller_name,
            skip_migration: self.skip_migration,
            poll: seconds("pollSeconds", self.poll_seconds, POLL_SECONDS)?,
            heartbeat,
            inactive,
            limit_cache: Duration::from_secs(self.semaphore_limit_cache_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> Result<Synchronization, String> {
        let mut written = json!({
            "controllerName": "here",
            "postgresql": {
                "host": "h", "database": "d",
                "userNameSecret": {"name": "s", "key": "u"}, "passwordSecret": {"name": "s", "key": "p"},
            },
        });
        for (name, value) in more.as_object().unwrap() {
            written[name] = value.clone();
        }
        Synchronization::read(written).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_is_read() {
        let read = read(json!({
            "skipMigration": true, "enableAPI": true, "limitTableName": "l", "stateTableName": "s",
            "controllerTableName": "c", "lockTableName": "k", "pollSeconds": 1, "heartbeatSeconds": 2,
            "inactiveControllerSeconds": 3, "semaphoreLimitCacheSeconds": 4, "connectionTimeoutSeconds": 5,
            "connectionPool": {"maxOpenConns": 3}, "reconnectionConfig": {"maxRetries": 1},
        }))
        .unwrap();
        let TableNames { limit, state, controller, lock } = &read.tables;
        assert_eq!([limit, state, controller, lock], ["l", "s", "c", "k"]);
        let seconds = [read.poll, read.heartbeat, read.inactive, read.limit_cache].map(|time| time.as_secs());
        assert_eq!(seconds, [1, 2, 3, 4]);
        assert!(read.skip_migration && read.controller == "here");
    }

    #[test]
    fn what_is_left_out_has_argos_defaults() {
        let read = read(json!({})).unwrap();
        assert_eq!(read.tables, TableNames::default());
        let seconds = [read.poll, read.heartbeat, read.inactive, read.limit_cache].map(|time| time.as_secs());
        assert_eq!(seconds, [10, 60, 600, 0]);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (more, words) in [
            (json!({"postgresql": null}), "synchronization: name one of postgresql and mysql"),
            (json!({"postgresql": null, "sqlite": {"path": "/a"}}), "synchronization: unknown field `sqlite`"),
            (json!({"controllerName": ""}), "synchronization.controllerName: is required"),
            (json!({"controllerName": "x".repeat(65)}), "synchronization.controllerName: has more than 64"),
            (json!({"pollSeconds": 0}), "synchronization.pollSeconds: must be more than 0"),
            (json!({"heartbeatSeconds": 600}), "synchronization.inactiveControllerSeconds: must be more than heart"),
            (json!({"lockTableName": "a b"}), "synchronization: lockTableName 'a b' must be letters"),
            (json!({"postgresql": {"host": "h"}}), "synchronization.postgresql.database: is required"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
