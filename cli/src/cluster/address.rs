//! The address of a database, as `--archive` and `TIPHYS_ARCHIVE` have it.

use std::path::PathBuf;
use std::time::Duration;

use tiphys_archive::{Credentials, Encryption, Engine, PoolSize, Reconnection, Server, Settings};
use url::Url;

use crate::failure::Failure;

/// Under this name Argo keeps nodes, unless `tableName` names another.
const TABLE: &str = "argo_workflows";
/// Under this name Argo keeps a cluster's rows, unless `clusterName` names another.
const CLUSTER: &str = "default";

/// A database that the user names.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// How it is connected to.
    pub settings: Settings,
    /// Whose rows are meant, where several clusters share it.
    pub cluster: String,
    /// The table of nodes.
    pub table: String,
}

/// How connections to a database are made where no configuration says.
fn settings(engine: Engine) -> Settings {
    let pool = PoolSize { most: 2, ..PoolSize::default() };
    Settings { engine, pool, timeout: Duration::from_secs(5), reconnection: Reconnection::default() }
}

impl Address {
    /// Reads one. `from` is the flag or variable that has it, `password` goes with it where it has none. Those who look at the
    /// list of processes see arguments: there a password is refused.
    ///
    /// # Errors
    /// It is none. The message holds nothing of it that could be a password.
    pub fn parse(text: &str, from: &str, password: Option<String>) -> Result<Address, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!(
                "{from}: {why}; expected postgres://USER@HOST:PORT/DATABASE, mysql://USER@HOST:PORT/DATABASE or sqlite:FILE"
            ))
        };
        let (mut cluster, mut table) = (CLUSTER.to_owned(), TABLE.to_owned());
        let mut mode = None;
        // A path is no URL: it may be relative, and hold what URLs cannot.
        let (path, query) = match text.strip_prefix("sqlite:") {
            Some(rest) => {
                (Some(rest.split('?').next().unwrap_or_default()), rest.split_once('?').map(|(_, query)| query))
            }
            None => (None, text.split_once('?').map(|(_, query)| query)),
        };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "clusterName" => cluster = value.into_owned(),
                "tableName" => table = value.into_owned(),
                "sslmode" | "ssl-mode" if path.is_none() => mode = Some(value.to_ascii_lowercase()),
                other => return Err(wrong(&format!("{other:?} is none of clusterName, tableName and sslmode"))),
            }
        }
        if let Some(path) = path {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(wrong("there is no file's name"));
            }
            return Ok(Address { settings: settings(Engine::Sqlite(PathBuf::from(path))), cluster, table });
        }
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if url.password().is_some() && from.starts_with('-') {
            return Err(Failure::usage(format!(
                "{from}: others on this machine see the password in an argument: leave it out, and set TIPHYS_ARCHIVE_PASSWORD"
            )));
        }
        let text = |text: &str| decoded(text).ok_or_else(|| wrong("it holds an escape that is no text"));
        let server = Server {
            host: url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("there is no host"))?.to_owned(),
            port: url.port(),
            database: text(url.path().trim_start_matches('/'))?,
            credentials: Credentials {
                user: text(url.username())?,
                password: url.password().map(text).transpose()?.or(password).unwrap_or_default(),
            },
            encryption: encryption(mode.as_deref())
                .ok_or_else(|| wrong("sslmode is none of disable, prefer, require, verify-ca and verify-full"))?,
        };
        if server.database.is_empty() || server.credentials.user.is_empty() {
            return Err(wrong("the database or the user is missing"));
        }
        let engine = match url.scheme() {
            "postgres" | "postgresql" => Engine::PostgreSql(server),
            "mysql" | "mariadb" => Engine::MySql(server),
            _ => return Err(wrong("it is no database that Tiphys knows")),
        };
        Ok(Address { settings: settings(engine), cluster, table })
    }
}

/// PostgreSQL's words, and MySQL's; encrypted where the server can, unless it is said.
fn encryption(mode: Option<&str>) -> Option<Encryption> {
    Some(match mode {
        Some("disable" | "disabled") => Encryption::Off,
        None | Some("prefer" | "preferred") => Encryption::Preferred,
        Some("require" | "required") => Encryption::Required,
        Some("verify-ca" | "verify_ca") => Encryption::VerifyAuthority,
        Some("verify-full" | "verify_identity") => Encryption::VerifyHost,
        Some(_) => return None,
    })
}

/// A part of a URL as it was meant. None: it is no text.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, more @ ..] = rest {
        rest = match (first, more) {
            (b'%', [high, low, more @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                more
            }
            _ => {
                bytes.push(*first);
                more
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        Address::parse(text, "TIPHYS_ARCHIVE", Some("secret".into())).unwrap()
    }

    fn server(text: &str) -> Server {
        match parse(text).settings.engine {
            Engine::PostgreSql(server) | Engine::MySql(server) => server,
            Engine::Sqlite(_) => panic!("{text}"),
        }
    }

    #[test]
    fn addresses_are_read() {
        let found = server("postgres://a%40b@db.example.com:5433/argo?sslmode=verify-full&clusterName=prod");
        assert_eq!((found.host.as_str(), found.port, found.database.as_str()), ("db.example.com", Some(5433), "argo"));
        assert_eq!((found.credentials.user.as_str(), found.credentials.password.as_str()), ("a@b", "secret"));
        assert_eq!(found.encryption, Encryption::VerifyHost);
        assert_eq!(parse("postgres://u@h/d?clusterName=prod").cluster, "prod");
        let found = server("mysql://u:p%2Fq@h/d");
        assert_eq!((found.credentials.password.as_str(), found.encryption), ("p/q", Encryption::Preferred));
        let file = parse("sqlite:a b.db?tableName=t");
        assert_eq!((file.settings.engine, file.table.as_str()), (Engine::Sqlite("a b.db".into()), "t"));
        assert_eq!(parse("sqlite:///data/a.db").settings.engine, Engine::Sqlite("/data/a.db".into()));
    }

    #[test]
    fn what_is_wrong_is_said_and_passwords_are_not() {
        for (text, words) in [
            ("postgres://u:hidden@h/d", "TIPHYS_ARCHIVE_PASSWORD"),
            ("postgres://u:hidden@h:port/d", "invalid port"),
            ("postgres://h/d", "the user is missing"),
            ("redis://u@h/d", "no database that Tiphys knows"),
            ("postgres://u@h/d?sslmode=x", "sslmode is none of"),
            ("mysql://u@h/d?timeout=3", "\"timeout\" is none of"),
            ("sqlite:", "no file's name"),
        ] {
            let failure = Address::parse(text, "--archive", None).unwrap_err();
            let message = failure.message().unwrap_or_default();
            assert!(message.starts_with("--archive: ") && message.contains(words), "{message}");
            assert!(!message.contains("hidden"), "{message}");
        }
    }
}
