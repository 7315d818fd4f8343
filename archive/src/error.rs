//! What can go wrong with a database, and whether asking again can help.

/// What a database did not do. No message holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings lead to no database.
    #[error("{0}")]
    Settings(String),
    /// The server does not know the user, or the password is another. What it says names the user, and is not shown.
    #[error("the database refuses the user name and password: see the Secrets that the configuration names")]
    Credentials,
    /// It cannot be reached, is starting or ending, or is overloaded.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// It could not carry out transactions of several at a time as if they came one after the other, and gave this one up.
    #[error("the database gave up a transaction for the sake of another: {0}")]
    Contended(String),
    /// It refused a statement.
    #[error("the database refuses {what}: {reason}")]
    Refused {
        /// What was wanted of it.
        what: &'static str,
        /// Its words.
        reason: String,
    },
    /// The tables are older than this program can bring up to date.
    #[error(
        "the database's tables are of an older Argo (schema_history says {version}): start Argo 3.5 or later on it once, \
         which brings them up to date"
    )]
    TooOld {
        /// What schema_history says.
        version: i64,
    },
    /// The tables are not those that the work needs.
    #[error(
        "the database's tables are of an older Argo (schema_history says {version}), and skipMigration keeps them so"
    )]
    NotMigrated {
        /// What schema_history says; -1 where there is none.
        version: i64,
    },
    /// What is stored is no workflow.
    #[error("{what} in the database cannot be read: {reason}")]
    Damaged {
        /// What was read.
        what: String,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// Whether the same can succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Unreachable(_) | Error::Contended(_))
    }

    /// What came of a statement.
    pub(crate) fn of(what: &'static str, error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                match Class::of(&code, error.message()) {
                    Class::Credentials => Error::Credentials,
                    Class::Passing => Error::Unreachable(error.message().to_owned()),
                    Class::Contended => Error::Contended(error.message().to_owned()),
                    Class::Lasting => Error::Refused { what, reason: error.message().to_owned() },
                }
            }
            sqlx::Error::Io(error) => Error::Unreachable(error.to_string()),
            sqlx::Error::Tls(error) => Error::Unreachable(format!("TLS: {error}")),
            sqlx::Error::PoolTimedOut => Error::Unreachable("no connection within connectionTimeoutSeconds".into()),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Error::Unreachable("the connection is closed".into())
            }
            sqlx::Error::Protocol(reason) => Error::Unreachable(reason),
            sqlx::Error::Configuration(error) => Error::Settings(error.to_string()),
            error => Error::Refused { what, reason: error.to_string() },
        }
    }
}

/// What a server's error code says.
enum Class {
    Credentials,
    Passing,
    Contended,
    Lasting,
}

impl Class {
    /// SQLSTATE of PostgreSQL and MySQL, result codes of SQLite (https://www.sqlite.org/rescode.html). MySQL has a general
    /// SQLSTATE for much that passes; there the message begins with the words of its own error.
    fn of(code: &str, message: &str) -> Class {
        match code {
            // invalid authorization; access denied to a database
            code if code.starts_with("28") => Class::Credentials,
            "42000" if message.starts_with("Access denied") => Class::Credentials,
            // connections, resources, an operator's doing
            code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) && code.len() == 5 => Class::Passing,
            // serialisation, deadlocks
            code if code.starts_with("40") && code.len() == 5 => Class::Contended,
            // read-only while it fails over
            "25006" | "55P03" => Class::Passing,
            // busy, locked
            "5" | "6" | "261" | "262" | "517" => Class::Passing,
            "HY000" if message.contains("Lock wait timeout") || message.contains("read-only") => Class::Passing,
            _ => Class::Lasting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (code, message, transient, credentials) in [
            ("28P01", "password authentication failed for user \"u\"", false, true),
            ("28000", "Access denied for user 'u'@'h'", false, true),
            ("42000", "Access denied for user 'u'@'h' to database 'd'", false, true),
            ("42601", "syntax error", false, false),
            ("57P03", "the database system is starting up", true, false),
            ("08004", "Too many connections", true, false),
            ("40001", "Deadlock found when trying to get lock", true, false),
            ("5", "database is locked", true, false),
            ("1", "no such table", false, false),
        ] {
            let class = Class::of(code, message);
            let found = (matches!(class, Class::Passing | Class::Contended), matches!(class, Class::Credentials));
            assert_eq!(found, (transient, credentials), "{code} {message}");
        }
    }
}
