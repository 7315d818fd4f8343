//! The objects, their versions, and what calls do to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::http::Call;

/// An answer to a call.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// A Status object that tells a failure.
    pub fn status(status: u16, reason: &str, message: &str) -> Self {
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
            "reason": reason, "message": message});
        Self { status, body }
    }
}

/// Everything stored, by path, and every change with the version it made.
#[derive(Default)]
pub struct Objects {
    stored: BTreeMap<String, Value>,
    changes: Vec<(u64, &'static str, String, Value)>,
    version: u64,
    /// Changes up to this version are forgotten.
    forgotten: u64,
    kinds: Vec<(String, Value)>,
}

impl Objects {
    pub fn know(&mut self, api_version: &str, plural: &str, kind: &str, namespaced: bool) {
        let entry = json!({"name": plural, "singularName": kind.to_lowercase(), "kind": kind,
            "namespaced": namespaced, "verbs": []});
        self.kinds.push((api_version.to_owned(), entry));
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.stored.get(path).cloned()
    }

    pub fn put(&mut self, collection: &str, object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{collection}/{name}");
        let event = if self.stored.contains_key(&path) { "MODIFIED" } else { "ADDED" };
        self.store(event, path, object)
    }

    pub fn remove(&mut self, path: &str) {
        if let Some(object) = self.stored.remove(path) {
            self.record("DELETED", path.to_owned(), object);
        }
    }

    pub fn forget(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
        self.changes.clear();
    }

    fn store(&mut self, event: &'static str, path: String, object: Value) -> Value {
        let object = self.record(event, path.clone(), object);
        self.stored.insert(path, object.clone());
        object
    }

    fn record(&mut self, event: &'static str, path: String, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.changes.push((self.version, event, path, object.clone()));
        object
    }

    /// The present version, and the changes of a watch since another; none when they are forgotten.
    pub fn since(&self, version: u64, call: &Call) -> Option<(u64, Vec<Value>)> {
        if version < self.forgotten {
            return None;
        }
        let wanted = |path: &str, object: &Value| collection(path).0 == call.path && selects(call, object);
        let changes = self.changes.iter().filter(|(at, _, path, object)| *at > version && wanted(path, object));
        let changes = changes.map(|(_, event, _, object)| json!({"type": event, "object": object})).collect();
        Some((self.version, changes))
    }

    pub fn carry_out(&mut self, call: &Call) -> Answer {
        if let Some(kinds) = self.discovery(&call.path) {
            return Answer { status: 200, body: kinds };
        }
        let plurals: Vec<&str> = self.kinds.iter().filter_map(|(_, kind)| kind["name"].as_str()).collect();
        let is_collection = call.path.rsplit('/').next().is_some_and(|last| plurals.contains(&last));
        let path = call.path.strip_suffix("/status").unwrap_or(&call.path).to_owned();
        let found = self.stored.get(&path).cloned();
        let missing = || Answer::status(404, "NotFound", &format!("{} not found", collection(&path).1));
        match (call.method.as_str(), found) {
            ("GET", _) if is_collection => self.list(call),
            ("POST", _) if is_collection => self.create(call),
            ("GET", Some(object)) => Answer { status: 200, body: object },
            ("PUT", Some(before)) => {
                let asked = &call.body["metadata"]["resourceVersion"];
                if asked.is_string() && *asked != before["metadata"]["resourceVersion"] {
                    return Answer::status(409, "Conflict", "the object has been modified");
                }
                Answer { status: 200, body: self.store("MODIFIED", path, call.body.clone()) }
            }
            ("PATCH", found) => self.patch(call, path, found),
            ("DELETE", Some(object)) => {
                self.remove(&path);
                Answer { status: 200, body: object }
            }
            _ => missing(),
        }
    }

    fn discovery(&self, path: &str) -> Option<Value> {
        if path == "/apis" {
            let versions = self.kinds.iter().filter_map(|(version, _)| version.split_once('/'));
            let mut groups: Vec<Value> = versions
                .map(|(group, version)| json!({"name": group, "preferredVersion": {"version": version}}))
                .collect();
            groups.dedup();
            return Some(json!({"kind": "APIGroupList", "groups": groups}));
        }
        let api_version = path.strip_prefix("/apis/").or_else(|| path.strip_prefix("/api/"))?;
        let kinds: Vec<&Value> =
            self.kinds.iter().filter(|(version, _)| version == api_version).map(|(_, kind)| kind).collect();
        (!kinds.is_empty()).then(|| json!({"kind": "APIResourceList", "groupVersion": api_version, "resources": kinds}))
    }

    fn list(&self, call: &Call) -> Answer {
        let of_kind = |(path, object): &(&String, &Value)| collection(path).0 == call.path && selects(call, object);
        let items: Vec<&Value> = self.stored.iter().filter(of_kind).map(|(_, object)| object).collect();
        let limit: usize = call.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let start: usize = call.query.get("continue").and_then(|start| start.parse().ok()).unwrap_or(0);
        let end = items.len().min(start.saturating_add(limit));
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if end < items.len() {
            metadata["continue"] = json!(end.to_string());
        }
        Answer { status: 200, body: json!({"kind": "List", "metadata": metadata, "items": items[start..end]}) }
    }

    fn create(&mut self, call: &Call) -> Answer {
        let mut object = call.body.clone();
        let prefix = object["metadata"]["generateName"].as_str().map(str::to_owned);
        if !object["metadata"]["name"].is_string() {
            let Some(prefix) = prefix else {
                return Answer::status(422, "Invalid", "name or generateName is required");
            };
            object["metadata"]["name"] = json!(format!("{prefix}{}", self.version));
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{}/{name}", call.path);
        if self.stored.contains_key(&path) {
            let plural = call.path.rsplit('/').next().unwrap();
            return Answer::status(409, "AlreadyExists", &format!("{plural} \"{name}\" already exists"));
        }
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version + 1));
        if let Some((_, namespace)) = call.path.split_once("/namespaces/") {
            object["metadata"]["namespace"] = json!(namespace.split('/').next());
        }
        Answer { status: 201, body: self.store("ADDED", path, object) }
    }

    fn patch(&mut self, call: &Call, path: String, found: Option<Value>) -> Answer {
        let applies = call.content_type() == "application/apply-patch+yaml";
        let Some(before) = found else {
            return match applies {
                true => {
                    let call = Call { path: collection(&path).0.to_owned(), ..call.clone() };
                    self.create(&call)
                }
                false => Answer::status(404, "NotFound", &format!("{} not found", collection(&path).1)),
            };
        };
        let asked = &call.body["metadata"]["resourceVersion"];
        if asked.is_string() && *asked != before["metadata"]["resourceVersion"] {
            return Answer::status(409, "Conflict", "the object has been modified");
        }
        let mut after = before.clone();
        match call.content_type() {
            "application/json-patch+json" => {
                if let Err(message) = json_patch(&mut after, &call.body) {
                    return Answer::status(422, "Invalid", &message);
                }
            }
            "application/merge-patch+json"
            | "application/strategic-merge-patch+json"
            | "application/apply-patch+yaml" => {
                merge(&mut after, &call.body);
            }
            other => return Answer::status(415, "UnsupportedMediaType", other),
        }
        if call.path.ends_with("/status") {
            let status = after["status"].take();
            after = before;
            after["status"] = status;
        }
        Answer { status: 200, body: self.store("MODIFIED", path, after) }
    }
}

/// The collection and the name of an object's path.
fn collection(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn selects(call: &Call, object: &Value) -> bool {
    let selector = |name: &str| call.query.get(name).cloned().unwrap_or_default();
    let labels = selector("labelSelector");
    let fields = selector("fieldSelector");
    let field = |path: &str| path.split('.').fold(object, |value, part| &value[part]).as_str().map(str::to_owned);
    requirements(&labels, |label| object["metadata"]["labels"][label].as_str().map(str::to_owned))
        && requirements(&fields, field)
}

fn requirements(selector: &str, value: impl Fn(&str) -> Option<String>) -> bool {
    selector.split(',').filter(|requirement| !requirement.is_empty()).all(|requirement| {
        match (requirement.split_once("!="), requirement.split_once('=')) {
            (Some((key, other)), _) => value(key).as_deref() != Some(other),
            (None, Some((key, wanted))) => value(key).as_deref() == Some(wanted.trim_start_matches('=')),
            (None, None) => match requirement.strip_prefix('!') {
                Some(key) => value(key).is_none(),
                None => value(requirement).is_some(),
            },
        }
    })
}

/// RFC 7396.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// RFC 6902 without `move` and `copy`.
fn json_patch(target: &mut Value, operations: &Value) -> Result<(), String> {
    for operation in operations.as_array().ok_or("no list of operations")? {
        let path = operation["path"].as_str().unwrap_or_default();
        let (parent, last) = path.rsplit_once('/').ok_or("no path")?;
        let parent = target.pointer_mut(parent).ok_or(format!("nothing at {path}"))?;
        let last = last.replace("~1", "/").replace("~0", "~");
        let value = operation["value"].clone();
        match (operation["op"].as_str().unwrap_or_default(), parent) {
            ("add" | "replace", Value::Object(map)) => drop(map.insert(last, value)),
            ("add", Value::Array(items)) if last == "-" => items.push(value),
            ("remove", Value::Object(map)) => {
                map.remove(&last).ok_or(format!("nothing at {path}"))?;
            }
            ("test", Value::Object(map)) if map.get(&last) == Some(&value) => {}
            (other, _) => return Err(format!("cannot {other} at {path}")),
        }
    }
    Ok(())
}
