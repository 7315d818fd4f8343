//! Where a database is, and how it is connected to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::Error;

/// Whom the server knows us as. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    #[default]
    Off,
    /// Where the server can.
    Preferred,
    /// Always, whoever the server is.
    Required,
    /// Always, with a certificate of an authority that is known.
    VerifyAuthority,
    /// Always, and the certificate names the host.
    VerifyHost,
}

/// A server of databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its host.
    pub host: String,
    /// Its port; the usual one where none is named.
    pub port: Option<u16>,
    /// The database.
    pub database: String,
    /// Who we are.
    pub credentials: Credentials,
    /// How it is spoken to.
    pub encryption: Encryption,
}

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL
    PostgreSql(Server),
    /// MySQL, MariaDB
    MySql(Server),
    /// A file, made when it is not there.
    Sqlite(PathBuf),
}

/// How many connections there are. argo: config.ConnectionPool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// At most so many at a time.
    pub most: u32,
    /// So many stay open when nothing is to do; None: all.
    pub idle: Option<u32>,
    /// How old one may get.
    pub lifetime: Option<Duration>,
}

impl Default for PoolSize {
    fn default() -> PoolSize {
        PoolSize { most: 10, idle: None, lifetime: None }
    }
}

/// How often a statement is tried while the server is away, and how long the pauses are: `first` times the number of the
/// attempt times `multiple`, at most `longest`. argo: util/sqldb/session.go, reconnectLocked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnection {
    /// Attempts after the first.
    pub retries: u32,
    /// What pauses grow from.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How fast they grow.
    pub multiple: f64,
}

impl Default for Reconnection {
    fn default() -> Reconnection {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(30));
        Reconnection { retries: 5, first, longest, multiple: 2.0 }
    }
}

impl Reconnection {
    /// The pause after this attempt; 0 is the first.
    pub fn pause(&self, attempt: u32) -> Duration {
        let seconds = self.first.as_secs_f64() * f64::from(attempt.saturating_add(1)) * self.multiple;
        Duration::try_from_secs_f64(seconds).unwrap_or(self.longest).min(self.longest)
    }
}

/// A database, and how it is connected to.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which one.
    pub engine: Engine,
    /// Its connections.
    pub pool: PoolSize,
    /// How long a connection is waited for.
    pub timeout: Duration,
    /// What happens while it is away.
    pub reconnection: Reconnection,
}

impl Engine {
    /// The address as the drivers read it.
    ///
    /// # Errors
    /// The host is none.
    pub(crate) fn url(&self) -> Result<Url, Error> {
        match self {
            Engine::PostgreSql(server) => server.url("postgres", "sslmode", |encryption| match encryption {
                Encryption::Off => "disable",
                Encryption::Preferred => "prefer",
                Encryption::Required => "require",
                Encryption::VerifyAuthority => "verify-ca",
                Encryption::VerifyHost => "verify-full",
            }),
            Engine::MySql(server) => server.url("mysql", "ssl-mode", |encryption| match encryption {
                Encryption::Off => "DISABLED",
                Encryption::Preferred => "PREFERRED",
                Encryption::Required => "REQUIRED",
                Encryption::VerifyAuthority => "VERIFY_CA",
                Encryption::VerifyHost => "VERIFY_IDENTITY",
            }),
            Engine::Sqlite(path) => {
                let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
                let wrong = |error| Error::Settings(format!("the path of the database: {error}"));
                Url::parse(&format!("sqlite://{path}?mode=rwc")).map_err(wrong)
            }
        }
    }
}

impl Server {
    fn url(&self, scheme: &str, mode: &str, word: fn(Encryption) -> &'static str) -> Result<Url, Error> {
        let wrong = || Error::Settings(format!("the database's host '{}' is no host", self.host));
        let mut url = Url::parse(&format!("{scheme}://host")).map_err(|_| wrong())?;
        url.set_host(Some(&self.host)).map_err(|_| wrong())?;
        url.set_port(self.port).map_err(|()| wrong())?;
        url.set_username(&self.credentials.user).map_err(|()| wrong())?;
        url.set_password(Some(&self.credentials.password)).map_err(|()| wrong())?;
        url.path_segments_mut().map_err(|()| wrong())?.push(&self.database);
        url.query_pairs_mut().append_pair(mode, word(self.encryption));
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            host: "db.example.com".into(),
            port: Some(5433),
            database: "argo".into(),
            credentials: Credentials { user: "a@b".into(), password: "p:/?#%".into() },
            encryption: Encryption::VerifyHost,
        }
    }

    #[test]
    fn addresses() {
        let url = Engine::PostgreSql(server()).url().unwrap();
        assert_eq!(url.as_str(), "postgres://a%40b:p%3A%2F%3F%23%@db.example.com:5433/argo?sslmode=verify-full");
        let url = Engine::MySql(server()).url().unwrap();
        assert!(url.as_str().ends_with("/argo?ssl-mode=VERIFY_IDENTITY"));
        let url = Engine::Sqlite("/data/a?b.db".into()).url().unwrap();
        assert_eq!(url.as_str(), "sqlite:///data/a%3Fb.db?mode=rwc");
        let wrong = Engine::MySql(Server { host: "a b".into(), ..server() }).url().unwrap_err();
        assert!(wrong.to_string().contains("'a b'"));
    }

    #[test]
    fn credentials_are_not_printed() {
        let printed = format!("{:?}", server());
        assert!(!printed.contains("a@b") && !printed.contains("p:/"), "{printed}");
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let longest = Duration::from_secs(1);
        let reconnection = Reconnection { longest, ..Reconnection::default() };
        assert_eq!(reconnection.pause(0), Duration::from_millis(200));
        assert_eq!(reconnection.pause(1), Duration::from_millis(400));
        assert_eq!(reconnection.pause(9), longest);
    }
}
