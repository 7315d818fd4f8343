//! Secrets: read, never shown.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::kube::ObjectMeta;
use crate::object::Field;

/// Text that cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text itself. Whoever asks for it must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Secret values, by key. It can be read but not written, and `Debug` hides the values.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// `kind`
    pub kind: String,
    /// `metadata`
    pub metadata: ObjectMeta,
    /// `type`
    pub secret_type: String,
    /// `data`: values in base64
    pub data: BTreeMap<String, SecretText>,
    /// `stringData`: values as text; they win over `data`
    pub string_data: BTreeMap<String, SecretText>,
}

impl Secret {
    /// The bytes of a key, as the API server would keep them; None where the key is absent.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        match self.string_data.get(key) {
            Some(text) => Some(text.0.clone().into_bytes()),
            None => STANDARD.decode(&self.data.get(key)?.0).ok(),
        }
    }

    /// The keys, each once.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let only_data = self.data.keys().filter(|key| !self.string_data.contains_key(*key));
        self.string_data.keys().chain(only_data).map(String::as_str)
    }

    /// Reads the object; the error is a path and a message that tells nothing of the values.
    pub(super) fn from_value(mut value: Value) -> Result<Secret, (String, String)> {
        let metadata = value["metadata"].take();
        let metadata = match metadata {
            Value::Null => ObjectMeta::default(),
            metadata => serde_json::from_value(metadata).map_err(|_| {
                ("metadata".to_string(), "the metadata of a Secret must be an object of text".to_string())
            })?,
        };
        let mut text = |field: &str| value[field].take().as_str().unwrap_or_default().to_string();
        let (kind, secret_type) = (text("kind"), text("type"));
        let secret = Secret {
            kind,
            metadata,
            secret_type,
            data: texts(value["data"].take(), "data")?,
            string_data: texts(value["stringData"].take(), "stringData")?,
        };
        for (key, text) in &secret.data {
            if STANDARD.decode(&text.0).is_err() {
                return Err((format!("data.{key}"), "expected base64; plain text belongs in `stringData`".to_string()));
            }
        }
        Ok(secret)
    }
}

fn texts(value: Value, field: &str) -> Result<BTreeMap<String, SecretText>, (String, String)> {
    let entries = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(entries) => entries,
        _ => return Err((field.to_string(), "expected an object".to_string())),
    };
    let text = |(key, value)| match value {
        Value::String(text) => Ok((key, SecretText(text))),
        Value::Null => Ok((key, SecretText(String::new()))),
        _ => Err((format!("{field}.{key}"), "expected a string: put the value in quotes".to_string())),
    };
    entries.into_iter().map(text).collect()
}

impl Field for Secret {
    fn is_empty(&self) -> bool {
        false
    }
}
