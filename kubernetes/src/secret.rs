//! Secrets, whose values are base64 on their way.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::{Api, ApiError, Kind};

/// A Secret. What it holds cannot be printed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct SecretObject {
    data: BTreeMap<String, String>,
}

impl SecretObject {
    /// What it holds under a key.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(self.data.get(key)?).ok()
    }

    /// What it holds under a key, where that is text.
    pub fn text(&self, key: &str) -> Option<String> {
        String::from_utf8(self.bytes(key)?).ok()
    }
}

/// A value of a Secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The Secret cannot be read.
    #[error("the Secret {namespace}/{name} cannot be read: {error}")]
    Unreadable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why not.
        error: ApiError,
    },
    /// It lacks the key, or the value is no text.
    #[error("the Secret {namespace}/{name} has no text under the key {key}")]
    NoText {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
}

impl SecretError {
    /// Whether the same can succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        match self {
            SecretError::Unreadable { error, .. } => error.is_transient(),
            SecretError::NoText { .. } => false,
        }
    }
}

impl Api {
    /// A Secret.
    ///
    /// # Errors
    /// [`SecretError::Unreadable`]
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        let read = self.get(&Kind::Secret.within(namespace).named(name)).await;
        read.map_err(|error| SecretError::Unreadable { namespace: namespace.to_owned(), name: name.to_owned(), error })
    }

    /// The text that a Secret holds under a key.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn secret_text(&self, namespace: &str, name: &str, key: &str) -> Result<String, SecretError> {
        let text = self.secret(namespace, name).await?.text(key);
        let (namespace, name, key) = (namespace.to_owned(), name.to_owned(), key.to_owned());
        text.ok_or(SecretError::NoText { namespace, name, key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_decoded() {
        let data = json!({"text": "cGFzcw==", "bytes": "/w==", "empty": "", "wrong": "p"});
        let secret: SecretObject = serde_json::from_value(json!({"data": data, "type": "Opaque"})).unwrap();
        assert_eq!((secret.text("text").as_deref(), secret.text("empty").as_deref()), (Some("pass"), Some("")));
        assert_eq!((secret.bytes("bytes"), secret.text("bytes")), (Some(vec![0xff]), None));
        assert_eq!((secret.bytes("wrong"), secret.bytes("absent")), (None, None));
    }
}
