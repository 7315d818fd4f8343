//! Stores that this machine has no credentials for: the run's own store stands in for them.
//!
//! A manifest written for a cluster may name an S3 endpoint whose Secret lives there. Where that Secret is not given, the
//! artifacts of the endpoint are kept in the run's embedded server, in a bucket of the same name, so that the same
//! workflow runs here; the status shows the location as it was written. With the Secret given, the real store is used.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tiphys_api::Workflow;

use crate::documents::{Documents, Keys};

/// Credentials and address of the store that stands in.
pub(crate) struct StandIn<'a> {
    pub endpoint: &'a str,
    pub access_key: &'a str,
    pub secret_key: &'a str,
}

/// The endpoints that are redirected, as the executor's environment wants them. The Secrets that they name are put into
/// the documents, with the credentials of the store that stands in.
pub(crate) fn provide(store: &StandIn<'_>, workflow: &Workflow, documents: &mut Documents) -> BTreeMap<String, String> {
    let mut places = Vec::new();
    let as_value = |object: Result<Value, serde_json::Error>| object.unwrap_or_default();
    find(&as_value(serde_json::to_value(&workflow.spec)), &mut places);
    for template in documents.templates() {
        find(&as_value(serde_json::to_value(&template.spec)), &mut places);
    }
    for template in documents.cluster_templates() {
        find(&as_value(serde_json::to_value(&template.spec)), &mut places);
    }
    let mut redirects = BTreeMap::new();
    let mut secrets: BTreeMap<String, Keys> = BTreeMap::new();
    for place in places {
        let missing = |key: &(String, String)| documents.secret(&key.0).is_none();
        if !missing(&place.access_key) || !missing(&place.secret_key) {
            continue;
        }
        redirects.insert(place.endpoint, store.endpoint.to_owned());
        for ((name, key), value) in [(place.access_key, store.access_key), (place.secret_key, store.secret_key)] {
            secrets.entry(name).or_default().insert(key, value.as_bytes().to_vec());
        }
    }
    for (name, keys) in secrets {
        documents.set_secret(&name, keys);
    }
    redirects
}

/// The variable that tells the executor of redirected endpoints.
pub(crate) fn variable(redirects: &BTreeMap<String, String>) -> Value {
    json!({"name": tiphys_contract::env::S3_REDIRECTS, "value": json!(redirects).to_string()})
}

/// An S3 location with an endpoint and keys of its own.
struct Place {
    endpoint: String,
    access_key: (String, String),
    secret_key: (String, String),
}

/// Every `s3` object below a value that names an endpoint and two keys.
fn find(value: &Value, found: &mut Vec<Place>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| find(value, found)),
        Value::Object(map) => {
            if let Some(place) = map.get("s3").and_then(place) {
                found.push(place);
            }
            map.values().for_each(|value| find(value, found));
        }
        _ => {}
    }
}

fn place(s3: &Value) -> Option<Place> {
    let key = |field: &str| {
        let text = |name: &str| s3[field][name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some((text("name")?, text("key")?))
    };
    let endpoint = s3["endpoint"].as_str().filter(|endpoint| !endpoint.is_empty())?.to_owned();
    Some(Place { endpoint, access_key: key("accessKeySecret")?, secret_key: key("secretKeySecret")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow() -> Workflow {
        let s3 = json!({"endpoint": "minio:9000", "bucket": "b", "key": "k",
            "accessKeySecret": {"name": "cred", "key": "a"}, "secretKeySecret": {"name": "cred", "key": "s"}});
        let template = json!({"name": "t", "outputs": {"artifacts": [{"name": "x", "path": "/x", "s3": s3}]}});
        serde_json::from_value(json!({"spec": {"templates": [template]}})).unwrap()
    }

    #[test]
    fn a_store_without_credentials_is_stood_in_for() {
        let store = StandIn { endpoint: "127.0.0.1:9", access_key: "AK", secret_key: "SK" };
        let mut documents = Documents::default();
        let redirects = provide(&store, &workflow(), &mut documents);
        assert_eq!(redirects, BTreeMap::from([("minio:9000".to_owned(), "127.0.0.1:9".to_owned())]));
        let secret = documents.secret("cred").unwrap();
        assert_eq!((secret.keys.get("a"), secret.keys.get("s")), (Some(&b"AK"[..]), Some(&b"SK"[..])));
    }

    #[test]
    fn a_store_with_credentials_is_left_alone() {
        let store = StandIn { endpoint: "127.0.0.1:9", access_key: "AK", secret_key: "SK" };
        let mut documents = Documents::default();
        documents.set_secret("cred", Keys::default());
        assert!(provide(&store, &workflow(), &mut documents).is_empty());
    }
}
