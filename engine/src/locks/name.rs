//! What is locked and by whom, and how both are written. argo: workflow/sync/lock_name.go, syncitems.go, sync_manager.go.

use std::fmt;
use std::sync::Arc;

use tiphys_api::{Mutex, SemaphoreRef, Synchronization};

use crate::id::NodeId;

/// The two kinds of locks: the status of a workflow tells of them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// As many hold it as its limit says.
    Semaphore,
    /// One holds it.
    Mutex,
}

/// A lock. It is shown as Argo's lock key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockName {
    /// `<namespace>/Mutex/<name>`.
    Mutex {
        /// The namespace in which it excludes others.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// `<namespace>/ConfigMap/<map>/<key>`: a semaphore whose limit is the number under a key of a ConfigMap.
    ConfigMap {
        /// The ConfigMap's namespace.
        namespace: String,
        /// The ConfigMap's name.
        name: String,
        /// The key.
        key: String,
    },
    /// `<namespace>/Database/<key>`: a lock that controllers share in a database.
    Database {
        /// The namespace.
        namespace: String,
        /// Its key there.
        key: String,
        /// Which kind it is.
        kind: LockKind,
    },
}

impl LockName {
    /// Which kind of lock it is.
    pub fn kind(&self) -> LockKind {
        match self {
            LockName::Mutex { .. } => LockKind::Mutex,
            LockName::ConfigMap { .. } => LockKind::Semaphore,
            LockName::Database { kind, .. } => *kind,
        }
    }

    /// Whether controllers share it, by way of a database.
    pub fn is_shared(&self) -> bool {
        matches!(self, LockName::Database { .. })
    }

    /// What it is called in the database: `sem/<namespace>/<key>` or `mtx/<namespace>/<key>`; its own name where it is in
    /// none. argo: database_semaphore.go, longDBKey.
    pub fn database_key(&self) -> String {
        match self {
            LockName::Database { namespace, key, kind: LockKind::Semaphore } => format!("sem/{namespace}/{key}"),
            LockName::Database { namespace, key, kind: LockKind::Mutex } => format!("mtx/{namespace}/{key}"),
            other => other.to_string(),
        }
    }

    /// Reads what the database calls a lock; None where it is none.
    pub fn parse_database_key(text: &str) -> Option<LockName> {
        let mut parts = text.splitn(3, '/');
        let kind = match parts.next()? {
            "sem" => LockKind::Semaphore,
            "mtx" => LockKind::Mutex,
            _ => return None,
        };
        let (namespace, key) = (parts.next()?.to_string(), parts.next()?.to_string());
        let name = LockName::Database { namespace, key, kind };
        name.check().is_ok().then_some(name)
    }

    /// Reads a lock key of a workflow's status; None where it is none.
    pub fn parse(text: &str, kind: LockKind) -> Option<LockName> {
        let mut parts = text.splitn(3, '/');
        let (namespace, word, rest) = (parts.next()?.to_string(), parts.next()?, parts.next()?);
        let name = match word {
            "Mutex" => LockName::Mutex { namespace, name: rest.to_string() },
            "Database" => LockName::Database { namespace, key: rest.to_string(), kind },
            "ConfigMap" => {
                let (name, key) = rest.split_once('/')?;
                LockName::ConfigMap { namespace, name: name.to_string(), key: key.to_string() }
            }
            _ => return None,
        };
        name.check().is_ok().then_some(name)
    }

    /// Argo's rules for lock keys; it ends the whole controller where one is broken.
    fn check(&self) -> Result<(), String> {
        let (namespace, name, key) = match self {
            LockName::Mutex { namespace, name } => (namespace, name, None),
            LockName::Database { namespace, key, .. } => (namespace, key, None),
            LockName::ConfigMap { namespace, name, key } => (namespace, name, Some(key)),
        };
        let wrong = match key {
            _ if namespace.is_empty() => "Namespace is missing",
            _ if name.is_empty() => "ResourceName is missing",
            Some(key) if key.is_empty() => "Key is missing for ConfigMap lock",
            Some(key) if name.contains('/') || key.contains('/') => {
                "the names of ConfigMaps and their keys hold no '/'"
            }
            _ => return Ok(()),
        };
        Err(format!("Invalid lock key: {wrong}"))
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockName::Mutex { namespace, name } => write!(f, "{namespace}/Mutex/{name}"),
            LockName::ConfigMap { namespace, name, key } => write!(f, "{namespace}/ConfigMap/{name}/{key}"),
            LockName::Database { namespace, key, .. } => write!(f, "{namespace}/Database/{key}"),
        }
    }
}

/// Who holds a lock or waits for it: a workflow, or a node of one. It is shown as Argo's holder key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockHolder {
    /// `<namespace>/<name>` of the workflow.
    pub workflow: Arc<str>,
    /// The node; None where the workflow itself holds it.
    pub node: Option<NodeId>,
}

impl LockHolder {
    /// Reads a holder key; None where it is none.
    pub fn parse(text: &str) -> Option<LockHolder> {
        let mut parts = text.splitn(3, '/');
        let (namespace, name) = (parts.next()?, parts.next()?);
        let workflow = text.get(..namespace.len() + 1 + name.len())?.into();
        Some(LockHolder { workflow, node: parts.next().map(NodeId::from) })
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            None => f.write_str(&self.workflow),
            Some(node) => write!(f, "{}/{node}", self.workflow),
        }
    }
}

/// The locks of a `synchronization` block, each once, in the order in which Argo looks at them.
///
/// # Errors
/// Argo's words for a block that cannot be.
pub(crate) fn locks_of(block: &Synchronization, namespace: &str) -> Result<Vec<LockName>, String> {
    let invalid = |reason: String| format!("requested configuration is invalid: {reason}");
    if has_twice(&block.semaphores) || has_twice(&block.mutexes) {
        return Err(invalid("duplicate synchronization item found".into()));
    }
    let semaphores = block.semaphores.iter().map(|semaphore| of_semaphore(semaphore, namespace));
    let mutexes = block.mutexes.iter().map(|mutex| Ok(of_mutex(mutex, namespace)));
    let mut locks: Vec<LockName> = Vec::new();
    for name in semaphores.chain(mutexes) {
        let name = name.map_err(invalid)?;
        name.check().map_err(invalid)?;
        if !locks.contains(&name) {
            locks.push(name);
        }
    }
    Ok(locks)
}

fn has_twice<T: PartialEq>(items: &[T]) -> bool {
    items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
}

fn of_semaphore(semaphore: &SemaphoreRef, own: &str) -> Result<LockName, String> {
    let namespace = namespace(&semaphore.namespace, own);
    match (&semaphore.config_map_key_ref, &semaphore.database) {
        (Some(_), Some(_)) => Err("invalid semaphore with both ConfigMapKeyRef and Database".into()),
        (Some(selector), None) => {
            Ok(LockName::ConfigMap { namespace, name: selector.name.clone(), key: selector.key.clone() })
        }
        (None, Some(database)) => {
            Ok(LockName::Database { namespace, key: database.key.clone(), kind: LockKind::Semaphore })
        }
        (None, None) => Err("cannot get LockName for a Semaphore without a ConfigMapRef or Database".into()),
    }
}

fn of_mutex(mutex: &Mutex, own: &str) -> LockName {
    let (namespace, name) = (namespace(&mutex.namespace, own), mutex.name.clone());
    if mutex.database {
        LockName::Database { namespace, key: name, kind: LockKind::Mutex }
    } else {
        LockName::Mutex { namespace, name }
    }
}

fn namespace(given: &str, own: &str) -> String {
    if given.is_empty() { own.to_string() } else { given.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn locks(block: serde_json::Value) -> Result<Vec<String>, String> {
        let block: Synchronization = serde_json::from_value(block).unwrap();
        Ok(locks_of(&block, "own")?.iter().map(LockName::to_string).collect())
    }

    #[test]
    fn keys_are_argos() {
        let block = json!({
            "mutexes": [{"name": "m"}, {"name": "m", "namespace": "own"}, {"name": "a/b", "namespace": "other"},
                {"name": "d", "database": true}],
            "semaphores": [{"configMapKeyRef": {"name": "c", "key": "k"}}, {"database": {"key": "s"}, "namespace": "n"}]});
        let expected = ["own/ConfigMap/c/k", "n/Database/s", "own/Mutex/m", "other/Mutex/a/b", "own/Database/d"];
        assert_eq!(locks(block).unwrap(), expected);
        for text in expected {
            for kind in [LockKind::Mutex, LockKind::Semaphore] {
                assert_eq!(LockName::parse(text, kind).unwrap().to_string(), text);
            }
        }
        for text in ["sem/n/s", "mtx/own/a/b"] {
            assert_eq!(LockName::parse_database_key(text).unwrap().database_key(), text);
        }
        for text in ["", "sem/n", "n/s/x", "mtx//x", "sem/n/"] {
            assert_eq!(LockName::parse_database_key(text), None, "{text}");
        }
        for text in ["", "a/Mutex", "a/Other/b", "a/ConfigMap/b", "/Mutex/b", "a/ConfigMap/b/c/d", "a/Mutex/"] {
            assert_eq!(LockName::parse(text, LockKind::Mutex), None, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_in_argos_words() {
        for (block, reason) in [
            (json!({"mutexes": [{"name": "m"}, {"name": "m"}]}), "duplicate synchronization item found"),
            (json!({"semaphores": [{}]}), "cannot get LockName for a Semaphore without a ConfigMapRef or Database"),
            (
                json!({"semaphores": [{"configMapKeyRef": {"name": "c", "key": "k"}, "database": {"key": "d"}}]}),
                "invalid semaphore with both ConfigMapKeyRef and Database",
            ),
            (json!({"mutexes": [{}]}), "Invalid lock key: ResourceName is missing"),
            (
                json!({"semaphores": [{"configMapKeyRef": {"name": "c", "key": ""}}]}),
                "Invalid lock key: Key is missing for ConfigMap lock",
            ),
        ] {
            assert_eq!(locks(block).unwrap_err(), format!("requested configuration is invalid: {reason}"));
        }
    }

    #[test]
    fn holders_are_workflows_and_nodes() {
        let holder = LockHolder::parse("ns/wf/wf-1").unwrap();
        assert_eq!((&*holder.workflow, holder.node.as_ref().map(NodeId::as_str)), ("ns/wf", Some("wf-1")));
        assert_eq!(holder.to_string(), "ns/wf/wf-1");
        assert_eq!(LockHolder::parse("ns/wf").unwrap().to_string(), "ns/wf");
        assert_eq!(LockHolder::parse("wf"), None);
    }
}
