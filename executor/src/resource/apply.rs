//! `apply` as kubectl's client does it: what the manifest says, less what an earlier manifest said and this one does not,
//! as a patch of the object that is there.
//!
//! argo: kubectl pkg/cmd/apply. The earlier manifest is kept in an annotation. Kinds that the API server has built in are
//! patched strategically, so that lists merge by their keys; all others by a JSON merge patch. Unlike kubectl's the patch
//! does not prescribe the order of merged lists.

use serde_json::{Map, Value, json};
use tiphys_expr::go;

use super::jsonpath::held;

/// The annotation with the manifest that was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// API groups whose kinds the server has built in, so that it can merge their lists.
const BUILT_IN: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Lists of built-in kinds that merge, by field, with the keys that tell their elements apart; the first that an element
/// has counts (k8s.io/api, patchMergeKey).
const KEYED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("secrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("ports", &["containerPort", "port"]),
    ("topologySpreadConstraints", &["topologyKey"]),
    ("schedulingGates", &["name"]),
    ("resourceClaims", &["name"]),
    ("ownerReferences", &["uid"]),
    ("webhooks", &["name"]),
];

/// Lists of plain values that merge.
const SETS: &[&str] = &["finalizers"];

/// Whether the server knows how lists of this group's kinds merge.
pub fn is_built_in(group: &str) -> bool {
    BUILT_IN.contains(&group)
}

/// The manifest with itself in the annotation, as it is sent.
pub fn annotated(manifest: &Value) -> Value {
    let mut bare = manifest.clone();
    let annotations = &mut bare["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let text = go::marshal(&held(&bare)).unwrap_or_default() + "\n";
    bare["metadata"]["annotations"][LAST_APPLIED] = Value::String(text);
    bare
}

/// The manifest that was applied last, as the object tells it.
pub fn last_applied(object: &Value) -> Value {
    let text = object["metadata"]["annotations"][LAST_APPLIED].as_str();
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}))
}

/// The patch that brings the object from what it is to what the manifest says. None when it is that already.
pub fn patch(last: &Value, manifest: &Value, current: &Value, merges_lists: bool) -> Option<Value> {
    let none = Map::new();
    let object = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| none.clone());
    let patch = Diff { merges_lists }.objects(&object(last), &object(manifest), &object(current));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

type Object = Map<String, Value>;

struct Diff {
    merges_lists: bool,
}

impl Diff {
    fn objects(&self, last: &Object, wanted: &Object, current: &Object) -> Object {
        let mut patch = Object::new();
        for name in last.keys().filter(|name| !wanted.contains_key(*name) && current.contains_key(*name)) {
            patch.insert(name.clone(), Value::Null);
        }
        for (name, value) in wanted {
            self.field(name, last.get(name), value, current.get(name), &mut patch);
        }
        patch
    }

    fn field(&self, name: &str, last: Option<&Value>, wanted: &Value, current: Option<&Value>, patch: &mut Object) {
        let Some(current) = current else {
            // Null in a manifest means that the field is not to be there.
            if !wanted.is_null() {
                patch.insert(name.to_owned(), wanted.clone());
            }
            return;
        };
        if let (Value::Object(wanted), Value::Object(current)) = (wanted, current) {
            let none = Object::new();
            let last = last.and_then(Value::as_object).unwrap_or(&none);
            let inner = self.objects(last, wanted, current);
            if !inner.is_empty() {
                patch.insert(name.to_owned(), Value::Object(inner));
            }
            return;
        }
        if let (Value::Array(wanted), Value::Array(current), true) = (wanted, current, self.merges_lists) {
            let none = Vec::new();
            let last = last.and_then(Value::as_array).unwrap_or(&none);
            if SETS.contains(&name) {
                return sets(name, last, wanted, current, patch);
            }
            if let Some(key) = merge_key(name, wanted.iter().chain(last)) {
                let elements = self.elements(key, last, wanted, current);
                if !elements.is_empty() {
                    patch.insert(name.to_owned(), Value::Array(elements));
                }
                return;
            }
        }
        if wanted != current {
            patch.insert(name.to_owned(), wanted.clone());
        }
    }

    fn elements(&self, key: &str, last: &[Value], wanted: &[Value], current: &[Value]) -> Vec<Value> {
        let find = |list: &'_ [Value], id: &Value| list.iter().find(|element| element[key] == *id).cloned();
        let mut elements = Vec::new();
        for element in wanted {
            let id = &element[key];
            match find(current, id) {
                None => elements.push(element.clone()),
                Some(there) => {
                    let objects = |value: Option<Value>| value.and_then(|value| value.as_object().cloned());
                    let (last, there) = (objects(find(last, id)), objects(Some(there)));
                    let wanted = element.as_object().cloned().unwrap_or_default();
                    let mut inner = self.objects(&last.unwrap_or_default(), &wanted, &there.unwrap_or_default());
                    if !inner.is_empty() {
                        inner.insert(key.to_owned(), id.clone());
                        elements.push(Value::Object(inner));
                    }
                }
            }
        }
        for id in last.iter().map(|element| &element[key]) {
            if find(wanted, id).is_none() && find(current, id).is_some() {
                elements.push(json!({"$patch": "delete", key: id}));
            }
        }
        elements
    }
}

/// The field that tells the elements of a list apart; none when the list is replaced as a whole.
fn merge_key<'l>(name: &str, elements: impl Iterator<Item = &'l Value> + Clone) -> Option<&'static str> {
    let (_, keys) = KEYED.iter().find(|(field, _)| *field == name)?;
    keys.iter().copied().find(|key| elements.clone().all(|element| element.get(*key).is_some()))
}

fn sets(name: &str, last: &[Value], wanted: &[Value], current: &[Value], patch: &mut Object) {
    let gone: Vec<Value> =
        last.iter().filter(|value| !wanted.contains(value) && current.contains(value)).cloned().collect();
    let new: Vec<Value> = wanted.iter().filter(|value| !current.contains(value)).cloned().collect();
    if !gone.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(gone));
    }
    if !new.is_empty() {
        patch.insert(name.to_owned(), Value::Array(new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_is_kubectls() {
        let manifest = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "<"},
            "metadata": {"name": "x", "namespace": "argo"}});
        let annotated = annotated(&manifest);
        assert_eq!(
            annotated["metadata"]["annotations"][LAST_APPLIED],
            "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"\\u003c\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\
             \"name\":\"x\",\"namespace\":\"argo\"}}\n"
        );
        assert_eq!(last_applied(&annotated)["metadata"]["annotations"], json!({}));
        assert_eq!(last_applied(&json!({})), json!({}));
    }

    #[test]
    fn three_versions_make_a_patch() {
        let last = json!({"data": {"a": "1", "b": "2"}, "spec": {"containers": [
            {"name": "main", "image": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "old", "image": "b"}]}});
        let manifest = json!({"data": {"a": "3", "c": "4", "d": null}, "spec": {"containers": [
            {"name": "main", "image": "c"}, {"name": "new", "image": "d"}]}});
        let current = json!({"data": {"a": "1", "b": "2", "own": "5"}, "status": {}, "spec": {"restartPolicy": "Always",
            "containers": [{"name": "main", "image": "a", "imagePullPolicy": "Always",
                "env": [{"name": "X", "value": "1"}]}, {"name": "old", "image": "b"}, {"name": "injected"}]}});
        let data = json!({"a": "3", "b": null, "c": "4"});
        assert_eq!(
            patch(&last, &manifest, &current, true),
            Some(json!({"data": data, "spec": {"containers": [
                {"name": "main", "image": "c", "env": null}, {"name": "new", "image": "d"},
                {"name": "old", "$patch": "delete"}]}}))
        );
        assert_eq!(
            patch(&last, &manifest, &current, false),
            Some(json!({"data": data, "spec": manifest["spec"]})),
            "lists are replaced where the server cannot merge them"
        );
        assert_eq!(patch(&current, &current, &current, true), None);
    }

    #[test]
    fn sets_lose_and_gain_values() {
        let of = |values: &[&str]| json!({"metadata": {"finalizers": values}});
        let patch = patch(&of(&["a", "b"]), &of(&["b", "c"]), &of(&["a", "b", "x"]), true).unwrap();
        let expected = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}});
        assert_eq!(patch, expected);
    }
}
