//! How the configuration names the server of a database: the same for `persistence` and `synchronization`. Every field works,
//! or is refused by its name. argo: config/config.go, DBConfig.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, ttl, wrong};
use crate::{Credentials, Encryption, Engine, PoolSize, Reconnection, Server, Settings};

/// For so long a connection is waited for, unless `connectionTimeoutSeconds` says otherwise.
const TIMEOUT_SECONDS: u64 = 5;

/// How the database is connected to; whom it knows us as is in Secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseSettings {
    pub(super) place: Place,
    pub(super) pool: PoolSize,
    pub(super) timeout: Duration,
    pub(super) reconnection: Reconnection,
}

/// Which database it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// A server of PostgreSQL.
    PostgreSql(ServerSettings),
    /// A server of MySQL or MariaDB.
    MySql(ServerSettings),
    /// A file.
    Sqlite(PathBuf),
}

/// A server, and who we are there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerSettings {
    host: String,
    pub(super) port: Option<u16>,
    database: String,
    user: SecretKey,
    password: SecretKey,
    pub(super) encryption: Encryption,
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
    /// What the configuration's key says of a database.
    pub(super) fn new(
        key: &'static str,
        place: Place,
        pool: Option<WrittenPool>,
        timeout_seconds: u64,
        reconnection: Option<WrittenReconnection>,
    ) -> Result<DatabaseSettings, ConfigError> {
        let timeout = Duration::from_secs(if timeout_seconds == 0 { TIMEOUT_SECONDS } else { timeout_seconds });
        let pool = pool.map(|written| written.read(key)).transpose()?.unwrap_or_default();
        let reconnection = reconnection.map(WrittenReconnection::read).unwrap_or_default();
        Ok(DatabaseSettings { place, pool, timeout, reconnection })
    }

    /// What happens while it is away.
    pub fn reconnection(&self) -> Reconnection {
        self.reconnection
    }

    /// With the name and password that the Secrets hold now: `secret` reads one of them.
    ///
    /// # Errors
    /// Those of `secret`.
    pub async fn with<E, F>(&self, secret: impl Fn(SecretKey) -> F) -> Result<Settings, E>
    where
        F: Future<Output = Result<String, E>>,
    {
        let engine = match &self.place {
            Place::PostgreSql(server) => Engine::PostgreSql(server.with(secret).await?),
            Place::MySql(server) => Engine::MySql(server.with(secret).await?),
            Place::Sqlite(path) => Engine::Sqlite(path.clone()),
        };
        Ok(Settings { engine, pool: self.pool, timeout: self.timeout, reconnection: self.reconnection })
    }
}

impl ServerSettings {
    async fn with<E, F>(&self, secret: impl Fn(SecretKey) -> F) -> Result<Server, E>
    where
        F: Future<Output = Result<String, E>>,
    {
        let credentials =
            Credentials { user: secret(self.user.clone()).await?, password: secret(self.password.clone()).await? };
        Ok(Server {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            credentials,
            encryption: self.encryption,
        })
    }
}

/// Connections, as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct WrittenPool {
    max_idle_conns: u32,
    max_open_conns: u32,
    conn_max_lifetime: String,
}

/// Attempts and pauses, as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct WrittenReconnection {
    max_retries: u32,
    base_delay_seconds: u64,
    max_delay_seconds: u64,
    retry_multiple: f64,
}

/// A server as it is written: what each has, and what one kind of them has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct WrittenServer<More> {
    host: String,
    port: u16,
    database: String,
    table_name: String,
    user_name_secret: SecretKey,
    password_secret: SecretKey,
    #[serde(flatten)]
    more: More,
}

/// A server of PostgreSQL, as it is written.
pub(super) type WrittenPostgreSql = WrittenServer<MorePostgreSql>;
/// A server of MySQL, as it is written.
pub(super) type WrittenMySql = WrittenServer<MoreMySql>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MorePostgreSql {
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
#[serde(rename_all = "camelCase", default)]
pub(super) struct MoreMySql {
    options: BTreeMap<String, String>,
}

/// The servers that a key names.
#[derive(Debug, Default)]
pub(super) struct WrittenServers {
    pub postgresql: Option<WrittenPostgreSql>,
    pub mysql: Option<WrittenMySql>,
}

impl WrittenServers {
    /// Each, with its `tableName`.
    pub fn read(self, key: &'static str) -> Result<Vec<(Place, String)>, ConfigError> {
        let mut places = Vec::new();
        if let Some(written) = self.postgresql {
            let encryption = written.more.encryption(key)?;
            let (server, table) = written.read(key, "postgresql", encryption)?;
            places.push((Place::PostgreSql(server), table));
        }
        if let Some(written) = self.mysql {
            let encryption = written.more.encryption(key)?;
            let (server, table) = written.read(key, "mysql", encryption)?;
            places.push((Place::MySql(server), table));
        }
        Ok(places)
    }
}

impl<More> WrittenServer<More> {
    /// With all that a connection needs.
    fn read(self, key: &str, block: &str, encryption: Encryption) -> Result<(ServerSettings, String), ConfigError> {
        let needed = [
            ("host", &self.host),
            ("database", &self.database),
            ("userNameSecret.name", &self.user_name_secret.name),
            ("userNameSecret.key", &self.user_name_secret.key),
            ("passwordSecret.name", &self.password_secret.name),
            ("passwordSecret.key", &self.password_secret.key),
        ];
        if let Some((field, _)) = needed.iter().find(|(_, value)| value.is_empty()) {
            return Err(wrong(key, &format!("{block}.{field}"), "is required"));
        }
        let server = ServerSettings {
            host: self.host,
            port: (self.port > 0).then_some(self.port),
            database: self.database,
            user: self.user_name_secret,
            password: self.password_secret,
            encryption,
        };
        Ok((server, self.table_name))
    }
}

impl MorePostgreSql {
    fn encryption(&self, key: &str) -> Result<Encryption, ConfigError> {
        for (token, field) in [(&self.azure_token, "azureToken"), (&self.aws_rds_token, "awsRDSToken")] {
            if token.enabled {
                return Err(ConfigError::Unsupported { field: format!("{key}.postgresql.{field}") });
            }
            // What goes with a token that is not asked for.
            let _ = (&token.scope, &token.region);
        }
        match (self.ssl, self.ssl_mode.as_str()) {
            (false, _) | (true, "disable") => Ok(Encryption::Off),
            (true, "" | "prefer" | "allow") => Ok(Encryption::Preferred),
            (true, "require") => Ok(Encryption::Required),
            (true, "verify-ca") => Ok(Encryption::VerifyAuthority),
            (true, "verify-full") => Ok(Encryption::VerifyHost),
            (true, other) => {
                let words = format!("'{other}' is none of disable, prefer, require, verify-ca, verify-full");
                Err(wrong(key, "postgresql.sslMode", words))
            }
        }
    }
}

impl MoreMySql {
    /// argo: `options` are those of github.com/go-sql-driver/mysql.
    fn encryption(&self, key: &str) -> Result<Encryption, ConfigError> {
        let mut encryption = Encryption::Off;
        for (name, value) in &self.options {
            match (name.as_str(), value.as_str()) {
                ("tls", "true") => encryption = Encryption::VerifyHost,
                ("tls", "skip-verify") => encryption = Encryption::Required,
                ("tls", "preferred") => encryption = Encryption::Preferred,
                ("tls", "false") => {}
                ("tls", other) => {
                    let words = format!("tls: '{other}' is none of true, false, skip-verify, preferred");
                    return Err(wrong(key, "mysql.options", words));
                }
                // How Go reads moments and signs in by default; it is so here too.
                ("parseTime" | "allowNativePasswords", "true") => {}
                ("charset", "utf8mb4") => {}
                (other, _) => {
                    let words = format!("{other} is not supported by this version of Tiphys");
                    return Err(wrong(key, "mysql.options", words));
                }
            }
        }
        Ok(encryption)
    }
}

impl WrittenPool {
    fn read(self, key: &str) -> Result<PoolSize, ConfigError> {
        let lifetime =
            ttl(&self.conn_max_lifetime).map_err(|error| wrong(key, "connectionPool.connMaxLifetime", error))?;
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
