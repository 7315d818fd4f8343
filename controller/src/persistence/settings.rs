//! The configuration's key `persistence`: every field works, or is refused by its name. argo: config/config.go, PersistConfig.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tiphys_archive::{Encryption, Engine, PoolSize, Reconnection, Requirement, Server, Settings};

use super::{PersistenceError, Secrets};
use crate::config::ConfigError;

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
    /// Whether a workflow with these labels is archived when it is over.
    pub fn archives(&self, labels: &BTreeMap<String, String>) -> bool {
        self.archive && self.selector.iter().all(|one| one.holds(labels.get(&one.key).map(String::as_str)))
    }
}

/// How the database is connected to; whom it knows us as is in Secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseSettings {
    place: Place,
    pool: PoolSize,
    timeout: Duration,
    reconnection: Reconnection,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    PostgreSql(ServerSettings),
    MySql(ServerSettings),
    Sqlite(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
struct ServerSettings {
    host: String,
    port: Option<u16>,
    database: String,
    user: SecretKey,
    password: SecretKey,
    encryption: Encryption,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Without the Secret nothing goes, whatever this says.
    optional: Option<bool>,
}

impl DatabaseSettings {
    /// With the name and password that the Secrets hold now.
    ///
    /// # Errors
    /// [`PersistenceError::Secret`], [`PersistenceError::Key`]
    pub async fn with(&self, secrets: &Secrets<'_>) -> Result<Settings, PersistenceError> {
        let engine = match &self.place {
            Place::PostgreSql(server) => Engine::PostgreSql(server.with(secrets).await?),
            Place::MySql(server) => Engine::MySql(server.with(secrets).await?),
            Place::Sqlite(path) => Engine::Sqlite(path.clone()),
        };
        Ok(Settings { engine, pool: self.pool, timeout: self.timeout, reconnection: self.reconnection })
    }
}

impl ServerSettings {
    async fn with(&self, secrets: &Secrets<'_>) -> Result<Server, PersistenceError> {
        Ok(Server {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            credentials: secrets.credentials(&self.user, &self.password).await?,
            encryption: self.encryption,
        })
    }
}

/// The fields as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WrittenPersistence {
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
struct WrittenPool {
    max_idle_conns: u32,
    max_open_conns: u32,
    conn_max_lifetime: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenReconnection {
    max_retries: u32,
    base_delay_seconds: u64,
    max_delay_seconds: u64,
    retry_multiple: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenPostgreSql {
    host: String,
    port: u16,
    database: String,
    table_name: String,
    user_name_secret: SecretKey,
    password_secret: SecretKey,
    ssl: bool,
    ssl_mode: String,
    azure_token: WrittenToken,
    #[serde(rename = "awsRDSToken")]
    aws_rds_token: WrittenToken,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenToken {
    enabled: bool,
    scope: String,
    region: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenMySql {
    host: String,
    port: u16,
    database: String,
    table_name: String,
    user_name_secret: SecretKey,
    password_secret: SecretKey,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct WrittenSqlite {
    path: PathBuf,
    table_name: String,
}

impl WrittenPersistence {
    /// What it asks for.
    ///
    /// # Errors
    /// A field that is wrong, or that nobody here can fulfil.
    pub fn read(self) -> Result<Persistence, ConfigError> {
        let selector = self.archive_label_selector.as_ref().map(Requirement::of_object).transpose();
        let selector = selector.map_err(|error| wrong("archiveLabelSelector", error))?.unwrap_or_default();
        let archive_ttl = ttl(&self.archive_ttl).map_err(|error| wrong("archiveTTL", error))?;
        let mut databases = Vec::new();
        if let Some(written) = self.postgresql {
            databases.push(written.read()?);
        }
        if let Some(written) = self.mysql {
            databases.push(written.read()?);
        }
        if let Some(written) = self.sqlite {
            databases.push((Place::Sqlite(written.path), written.table_name));
        }
        let Ok([(place, table)]) = <[_; 1]>::try_from(databases) else {
            return Err(ConfigError::Shape("persistence: name one of postgresql, mysql and sqlite".into()));
        };
        if matches!(&place, Place::Sqlite(path) if path.as_os_str().is_empty()) {
            return Err(wrong("sqlite.path", "is required"));
        }
        let timeout = match self.connection_timeout_seconds {
            0 => Duration::from_secs(5),
            seconds => Duration::from_secs(seconds),
        };
        let pool = self.connection_pool.map(WrittenPool::read).transpose()?.unwrap_or_default();
        let reconnection = self.reconnection.map(WrittenReconnection::read).unwrap_or_default();
        Ok(Persistence {
            database: DatabaseSettings { place, pool, timeout, reconnection },
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

impl WrittenPool {
    fn read(self) -> Result<PoolSize, ConfigError> {
        let lifetime = ttl(&self.conn_max_lifetime).map_err(|error| wrong("connectionPool.connMaxLifetime", error))?;
        let some = |count: u32| (count > 0).then_some(count);
        let default = PoolSize::default();
        Ok(PoolSize {
            most: some(self.max_open_conns).unwrap_or(default.most),
            idle: some(self.max_idle_conns),
            lifetime,
        })
    }
}

impl WrittenReconnection {
    fn read(self) -> Reconnection {
        let default = Reconnection::default();
        let seconds = |count: u64, or: Duration| if count > 0 { Duration::from_secs(count) } else { or };
        Reconnection {
            retries: if self.max_retries > 0 { self.max_retries } else { default.retries },
            first: seconds(self.base_delay_seconds, default.first),
            longest: seconds(self.max_delay_seconds, default.longest),
            multiple: if self.retry_multiple > 0.0 { self.retry_multiple } else { default.multiple },
        }
    }
}

impl WrittenPostgreSql {
    fn read(self) -> Result<(Place, String), ConfigError> {
        for (token, key) in [
            (&self.azure_token, "persistence.postgresql.azureToken"),
            (&self.aws_rds_token, "persistence.postgresql.awsRDSToken"),
        ] {
            if token.enabled {
                return Err(ConfigError::Unsupported { key });
            }
            // What goes with a token that is not asked for.
            let _ = (&token.scope, &token.region);
        }
        let encryption = match (self.ssl, self.ssl_mode.as_str()) {
            (false, _) | (true, "disable") => Encryption::Off,
            (true, "" | "prefer" | "allow") => Encryption::Preferred,
            (true, "require") => Encryption::Required,
            (true, "verify-ca") => Encryption::VerifyAuthority,
            (true, "verify-full") => Encryption::VerifyHost,
            (true, other) => {
                let words = format!("'{other}' is none of disable, prefer, require, verify-ca, verify-full");
                return Err(wrong("postgresql.sslMode", words));
            }
        };
        let server = ServerSettings {
            host: self.host,
            port: (self.port > 0).then_some(self.port),
            database: self.database,
            user: self.user_name_secret,
            password: self.password_secret,
            encryption,
        };
        Ok((Place::PostgreSql(server.checked("postgresql")?), self.table_name))
    }
}

impl WrittenMySql {
    /// argo: `options` are those of github.com/go-sql-driver/mysql.
    fn read(self) -> Result<(Place, String), ConfigError> {
        let mut encryption = Encryption::Off;
        for (name, value) in &self.options {
            match (name.as_str(), value.as_str()) {
                ("tls", "true") => encryption = Encryption::VerifyHost,
                ("tls", "skip-verify") => encryption = Encryption::Required,
                ("tls", "preferred") => encryption = Encryption::Preferred,
                ("tls", "false") => {}
                ("tls", other) => {
                    let words = format!("tls: '{other}' is none of true, false, skip-verify, preferred");
                    return Err(wrong("mysql.options", words));
                }
                // How Go reads moments and signs in by default; it is so here too.
                ("parseTime" | "allowNativePasswords", "true") => {}
                ("charset", "utf8mb4") => {}
                (other, _) => {
                    return Err(wrong("mysql.options", format!("{other} is not supported by this version of Tiphys")));
                }
            }
        }
        let server = ServerSettings {
            host: self.host,
            port: (self.port > 0).then_some(self.port),
            database: self.database,
            user: self.user_name_secret,
            password: self.password_secret,
            encryption,
        };
        Ok((Place::MySql(server.checked("mysql")?), self.table_name))
    }
}

impl ServerSettings {
    /// With all that a connection needs.
    fn checked(self, block: &str) -> Result<ServerSettings, ConfigError> {
        let needed = [
            ("host", &self.host),
            ("database", &self.database),
            ("userNameSecret.name", &self.user.name),
            ("userNameSecret.key", &self.user.key),
            ("passwordSecret.name", &self.password.name),
            ("passwordSecret.key", &self.password.key),
        ];
        if let Some((field, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return Err(wrong(&format!("{block}.{field}"), "is required"));
        }
        Ok(self)
    }
}

fn wrong(field: &str, reason: impl std::fmt::Display) -> ConfigError {
    ConfigError::Shape(format!("persistence.{field}: {reason}"))
}

/// A time to live: a number with `d`, or a time as Go writes it. None where it is empty or nothing. argo: config/ttl.go.
fn ttl(text: &str) -> Result<Option<Duration>, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let ttl = match (text, days) {
        ("", _) => Duration::ZERO,
        (_, Some(days)) => Duration::from_secs(days.saturating_mul(24 * 60 * 60)),
        _ => {
            let nanos = tiphys_expr::go::parse_duration(text).map_err(|error| error.to_string())?;
            Duration::from_nanos(u64::try_from(nanos).map_err(|_| format!("'{text}' is less than nothing"))?)
        }
    };
    Ok((!ttl.is_zero()).then_some(ttl))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(written: Value) -> Result<Persistence, String> {
        let written: WrittenPersistence = serde_json::from_value(written).map_err(|error| error.to_string())?;
        written.read().map_err(|error| error.to_string())
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
            (json!({"archive": true, "archived": true}), "unknown field `archived`"),
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
        ] {
            let error = read(written).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
