//! What a run may refer to by name: templates, ConfigMaps and Secrets that were given as documents or files.
//!
//! On one machine there is one namespace: the documents' own is not looked at. The set is kept in the run's folder, for
//! the user alone, so that a resumed run sees what the run began with.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tiphys_api::document::{ConfigMap, Object};
use tiphys_api::{ClusterWorkflowTemplate, WorkflowTemplate};
use tiphys_engine::ConfigMapData;

use crate::file::FileError;

/// A document that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Two documents of one kind have the same name.
    #[error("{kind} {name:?} is given twice; remove one of them")]
    Twice {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The document has no name to be found by.
    #[error("this {kind} has no metadata.name, so nothing can refer to it")]
    Nameless {
        /// The kind.
        kind: &'static str,
    },
    /// A value that is to be base64 is not.
    #[error("ConfigMap {name:?}: binaryData.{key}: expected base64")]
    NotBase64 {
        /// The name.
        name: String,
        /// The key.
        key: String,
    },
}

/// The keys of a ConfigMap or Secret. It does not print its values.
#[derive(Clone, Default)]
pub struct Keys(BTreeMap<String, Vec<u8>>);

impl Keys {
    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// Sets the value under a key.
    pub(crate) fn insert(&mut self, key: String, value: Vec<u8>) {
        self.0.insert(key, value);
    }

    /// All keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }
}

impl FromIterator<(String, Vec<u8>)> for Keys {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(entries: I) -> Keys {
        Keys(entries.into_iter().collect())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, BASE64_STANDARD.encode(value))))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer)?
            .into_iter()
            .map(|(key, value)| Ok((key, BASE64_STANDARD.decode(value).map_err(serde::de::Error::custom)?)))
            .collect::<Result<_, _>>()
            .map(Keys)
    }
}

/// A ConfigMap, or a Secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Data {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its keys with their values.
    pub keys: Keys,
}

/// Whether a document is of use to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It can be referred to now.
    Yes,
    /// It is of a kind that nothing refers to.
    No,
}

/// The documents of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Documents {
    templates: BTreeMap<String, WorkflowTemplate>,
    cluster_templates: BTreeMap<String, ClusterWorkflowTemplate>,
    config_maps: BTreeMap<String, Data>,
    secrets: BTreeMap<String, Data>,
}

impl Documents {
    /// Takes one object of a manifest.
    ///
    /// # Errors
    /// It has no name, the name is there already, or a value is no base64.
    pub fn add(&mut self, object: &Object) -> Result<Taken, DocumentError> {
        match object {
            Object::WorkflowTemplate(template) => {
                let name = template.metadata.name.clone();
                insert("WorkflowTemplate", &mut self.templates, name, (**template).clone())?;
            }
            Object::ClusterWorkflowTemplate(template) => {
                let name = template.metadata.name.clone();
                insert("ClusterWorkflowTemplate", &mut self.cluster_templates, name, (**template).clone())?;
            }
            Object::ConfigMap(map) => {
                let data = config_map_data(map)?;
                insert("ConfigMap", &mut self.config_maps, map.metadata.name.clone(), data)?;
            }
            Object::Secret(secret) => {
                let keys = secret.keys().filter_map(|key| Some((key.to_owned(), secret.bytes(key)?))).collect();
                let data = Data { labels: secret.metadata.labels.clone(), annotations: BTreeMap::new(), keys };
                insert("Secret", &mut self.secrets, secret.metadata.name.clone(), data)?;
            }
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    /// Takes a file as a one-key ConfigMap and Secret of that name, the key being the file's name; or a folder with a key
    /// for each file in it. `configmap/` or `secret/` before the name limits it to that kind.
    ///
    /// # Errors
    /// The files cannot be read, or the name is there already.
    pub fn add_files(&mut self, name: &str, path: &Path) -> Result<(), DocumentError> {
        let data = Data { keys: file_keys(path)?, ..Data::default() };
        let (config_map, secret, name) = match name.split_once('/') {
            Some(("configmap", name)) => (true, false, name),
            Some(("secret", name)) => (false, true, name),
            _ => (true, true, name),
        };
        if config_map {
            insert("ConfigMap", &mut self.config_maps, name.to_owned(), data.clone())?;
        }
        if secret {
            insert("Secret", &mut self.secrets, name.to_owned(), data)?;
        }
        Ok(())
    }

    /// A WorkflowTemplate.
    pub fn template(&self, name: &str) -> Option<&WorkflowTemplate> {
        self.templates.get(name)
    }

    /// A ClusterWorkflowTemplate.
    pub fn cluster_template(&self, name: &str) -> Option<&ClusterWorkflowTemplate> {
        self.cluster_templates.get(name)
    }

    /// All WorkflowTemplates, by name.
    pub fn templates(&self) -> impl Iterator<Item = &WorkflowTemplate> {
        self.templates.values()
    }

    /// All ClusterWorkflowTemplates, by name.
    pub fn cluster_templates(&self) -> impl Iterator<Item = &ClusterWorkflowTemplate> {
        self.cluster_templates.values()
    }

    /// A ConfigMap.
    pub fn config_map(&self, name: &str) -> Option<&Data> {
        self.config_maps.get(name)
    }

    /// A Secret.
    pub fn secret(&self, name: &str) -> Option<&Data> {
        self.secrets.get(name)
    }

    /// All ConfigMaps, as the engine wants them.
    pub fn config_maps(&self) -> impl Iterator<Item = (&str, ConfigMapData)> {
        self.config_maps.iter().map(|(name, data)| (name.as_str(), engine_data(data)))
    }

    /// Puts a ConfigMap in place, also over one of the same name.
    pub(crate) fn set_config_map(&mut self, name: &str, keys: Keys) {
        self.config_maps.insert(name.to_owned(), Data { keys, ..Data::default() });
    }

    /// Puts a Secret in place, also over one of the same name.
    pub(crate) fn set_secret(&mut self, name: &str, keys: Keys) {
        self.secrets.insert(name.to_owned(), Data { keys, ..Data::default() });
    }
}

/// A ConfigMap as the engine wants it: what is text.
pub(crate) fn engine_data(data: &Data) -> ConfigMapData {
    let text = |(key, value): (&str, &[u8])| Some((key.to_owned(), std::str::from_utf8(value).ok()?.to_owned()));
    ConfigMapData {
        labels: data.labels.clone(),
        annotations: data.annotations.clone(),
        data: data.keys.iter().filter_map(text).collect(),
    }
}

fn insert<T>(kind: &'static str, into: &mut BTreeMap<String, T>, name: String, object: T) -> Result<(), DocumentError> {
    if name.is_empty() {
        return Err(DocumentError::Nameless { kind });
    }
    match into.entry(name) {
        std::collections::btree_map::Entry::Vacant(slot) => {
            slot.insert(object);
            Ok(())
        }
        std::collections::btree_map::Entry::Occupied(slot) => {
            Err(DocumentError::Twice { kind, name: slot.key().clone() })
        }
    }
}

fn config_map_data(map: &ConfigMap) -> Result<Data, DocumentError> {
    let mut keys = BTreeMap::new();
    for (key, value) in &map.binary_data {
        let packed: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = BASE64_STANDARD
            .decode(packed)
            .map_err(|_| DocumentError::NotBase64 { name: map.metadata.name.clone(), key: key.clone() })?;
        keys.insert(key.clone(), bytes);
    }
    keys.extend(map.data.iter().map(|(key, value)| (key.clone(), value.as_bytes().to_vec())));
    let tiphys_api::ObjectMeta { labels, annotations, .. } = map.metadata.clone();
    Ok(Data { labels, annotations, keys: Keys(keys) })
}

fn file_keys(path: &Path) -> Result<Keys, FileError> {
    let read = |path: &Path| -> Result<(String, Vec<u8>), FileError> {
        let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((key, fs::read(path).map_err(FileError::of("read", path))?))
    };
    if !path.is_dir() {
        return Ok([read(path)?].into_iter().collect());
    }
    fs::read_dir(path)
        .map_err(FileError::of("read the folder", path))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .map(|path| read(&path))
        .collect::<Result<Keys, FileError>>()
}

/// Reads documents of a test.
#[cfg(test)]
pub(crate) fn of_yaml(yaml: &str) -> Documents {
    let mut documents = Documents::default();
    for document in tiphys_api::document::parse("test", yaml).unwrap() {
        documents.add(&document.object).unwrap();
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_base64_are_read() {
        let documents = of_yaml(
            "{kind: Secret, metadata: {name: s, labels: {a: b}}, data: {x: aGk=, z: aGk=}, stringData: {z: you}}\n---\n\
             {kind: ConfigMap, metadata: {name: c}, data: {t: text}, binaryData: {b: /w==}}\n",
        );
        let secret = documents.secret("s").unwrap();
        assert_eq!(secret.keys.get("x"), Some(b"hi".as_slice()));
        assert_eq!(secret.keys.get("z"), Some(b"you".as_slice()));
        assert_eq!(secret.labels["a"], "b");
        assert_eq!(format!("{:?}", secret.keys), r#"{"x", "z"}"#);
        let kept: Documents = serde_json::from_value(serde_json::to_value(&documents).unwrap()).unwrap();
        assert_eq!(kept.secret("s").unwrap().keys.get("x"), Some(b"hi".as_slice()));
        let (name, data) = documents.config_maps().next().unwrap();
        assert_eq!((name, data.data), ("c", BTreeMap::from([("t".to_owned(), "text".to_owned())])));
        assert_eq!(documents.config_map("c").unwrap().keys.get("b"), Some([0xff].as_slice()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (yaml, expected) in [
            ("{kind: ConfigMap, metadata: {name: c}}", "ConfigMap \"c\" is given twice; remove one of them"),
            ("{kind: Secret}", "this Secret has no metadata.name, so nothing can refer to it"),
            (
                "{kind: ConfigMap, metadata: {name: d}, binaryData: {k: '?'}}",
                "ConfigMap \"d\": binaryData.k: expected base64",
            ),
        ] {
            let mut documents = of_yaml("{kind: ConfigMap, metadata: {name: c}}");
            let parsed = tiphys_api::document::parse("test", yaml).unwrap();
            assert_eq!(documents.add(&parsed[0].object).unwrap_err().to_string(), expected);
        }
        let role = tiphys_api::document::parse("test", "{kind: Role, metadata: {name: r}}").unwrap();
        assert_eq!(Documents::default().add(&role[0].object).unwrap(), Taken::No);
    }

    #[test]
    fn files_become_keys() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "A").unwrap();
        fs::write(folder.path().join("b.txt"), "B").unwrap();
        let mut documents = Documents::default();
        documents.add_files("both", &folder.path().join("a.txt")).unwrap();
        documents.add_files("secret/only", folder.path()).unwrap();
        assert_eq!(documents.config_map("both").unwrap().keys.get("a.txt"), Some(b"A".as_slice()));
        assert_eq!(documents.secret("both").unwrap().keys.get("a.txt"), Some(b"A".as_slice()));
        assert!(documents.config_map("only").is_none());
        assert_eq!(documents.secret("only").unwrap().keys.iter().count(), 2);
        assert!(documents.add_files("x", &folder.path().join("none")).is_err());
    }
}
