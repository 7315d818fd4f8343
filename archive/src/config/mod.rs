//! What the controller's ConfigMap says of databases, in the keys `persistence` and `synchronization`: every field works, or is
//! refused by its name. User names and passwords are in Secrets; whoever opens a database reads those.

mod persistence;
mod server;
mod synchronization;

pub use persistence::Persistence;
pub use server::{DatabaseSettings, SecretKey};
pub use synchronization::Synchronization;

use std::fmt::Display;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is said of a database and cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A field is missing, unknown or wrong.
    #[error("{field}: {reason}")]
    Wrong {
        /// The field, from the configuration's key on.
        field: String,
        /// Why.
        reason: String,
    },
    /// A field is known, and this version cannot do what it asks for.
    #[error("{field} is not supported by this version of Tiphys: remove it from the configuration")]
    Unsupported {
        /// The field, from the configuration's key on.
        field: String,
    },
}

/// A key is wrong as a whole.
fn wrong_key(key: &str, reason: impl Display) -> ConfigError {
    ConfigError::Wrong { field: key.to_owned(), reason: reason.to_string() }
}

/// A field below a key is wrong.
fn wrong(key: &str, field: &str, reason: impl Display) -> ConfigError {
    wrong_key(&format!("{key}.{field}"), reason)
}

/// The fields of a key, as they are written.
fn written<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, ConfigError> {
    serde_json::from_value(value).map_err(|error| wrong_key(key, error))
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
