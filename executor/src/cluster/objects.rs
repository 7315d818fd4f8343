//! What can be done with objects of one kind.

use reqwest::Method;
use serde_json::Value;

use super::{Call, Cluster, ClusterError, Resource};

/// Objects asked for at a time; a longer list comes in several answers.
const PAGE: &str = "500";

/// Objects of one kind in one namespace.
#[derive(Clone)]
pub struct Objects<'a> {
    pub(super) cluster: &'a Cluster,
    resource: Resource,
    namespace: String,
    subresource: &'static str,
}

/// Which objects a list or watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Label selector; empty for all.
    pub labels: String,
    /// Field selector, for example `metadata.name=x`; empty for all.
    pub fields: String,
}

/// A change of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// JSON merge patch (RFC 7396).
    Merge(Value),
    /// Strategic merge patch: lists merge by their keys. Only for kinds that the API server has built in.
    Strategic(Value),
    /// JSON patch (RFC 6902): a list of operations.
    Json(Value),
    /// Server-side apply of a whole or partial object.
    Apply {
        /// The object.
        object: Value,
        /// Who owns the fields afterwards.
        manager: String,
        /// Take fields from other owners.
        force: bool,
    },
}

impl ListOptions {
    /// The one object of that name.
    pub fn named(name: &str) -> Self {
        Self { fields: format!("metadata.name={name}"), ..Self::default() }
    }

    /// All that carry the labels.
    pub fn labelled(labels: impl Into<String>) -> Self {
        Self { labels: labels.into(), ..Self::default() }
    }

    pub(super) fn query(&self) -> Vec<(String, String)> {
        let pairs = [("labelSelector", &self.labels), ("fieldSelector", &self.fields)];
        pairs
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.into(), value.clone()))
            .collect()
    }
}

impl<'a> Objects<'a> {
    pub(super) fn new(cluster: &'a Cluster, resource: Resource) -> Self {
        Self { cluster, resource, namespace: cluster.namespace.clone(), subresource: "" }
    }

    /// The same kind in another namespace.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// The objects' status, where it is written separately.
    pub fn status(mut self) -> Self {
        self.subresource = "/status";
        self
    }

    /// Reads one object.
    ///
    /// # Errors
    /// As [`ClusterError`] tells; [`ClusterError::is_not_found`] when there is none.
    pub async fn get(&self, name: &str) -> Result<Value, ClusterError> {
        self.cluster.send(&self.call(Method::GET, "get", name)).await
    }

    /// Reads all objects that `options` ask for: a list object with all `items`, however many answers that took.
    ///
    /// # Errors
    /// As [`ClusterError`] tells.
    pub async fn list(&self, options: &ListOptions) -> Result<Value, ClusterError> {
        loop {
            match self.pages(options).await {
                // The first page was asked for too long ago.
                Err(error) if error.is_expired() => {}
                list => return list,
            }
        }
    }

    async fn pages(&self, options: &ListOptions) -> Result<Value, ClusterError> {
        let mut call = self.call(Method::GET, "list", "");
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            call.query = options.query();
            call.query.push(("limit".into(), PAGE.into()));
            if !next.is_empty() {
                call.query.push(("continue".into(), next));
            }
            let mut page = self.cluster.send(&call).await?;
            if let Some(found) = page["items"].as_array_mut() {
                items.append(found);
            }
            next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if next.is_empty() {
                page["items"] = Value::Array(items);
                return Ok(page);
            }
        }
    }

    /// Makes an object. One with a `metadata.name` may be found to exist already when an answer got lost; one without is
    /// sent again only when the server cannot have made it.
    ///
    /// # Errors
    /// As [`ClusterError`] tells.
    pub async fn create(&self, object: &Value, query: &[(&str, &str)]) -> Result<Value, ClusterError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut call = self.call(Method::POST, "create", "");
        if !name.is_empty() {
            call.doing = format!("{}/{name}", call.doing);
        }
        call.once = name.is_empty();
        self.cluster.send(&with_body(call, "application/json", object, query)).await
    }

    /// Replaces an object by a whole new one; with a `metadata.resourceVersion` only when that is still the present one.
    ///
    /// # Errors
    /// As [`ClusterError`] tells; [`ClusterError::is_conflict`] when the version has passed.
    pub async fn replace(&self, name: &str, object: &Value, query: &[(&str, &str)]) -> Result<Value, ClusterError> {
        let call = self.call(Method::PUT, "replace", name);
        self.cluster.send(&with_body(call, "application/json", object, query)).await
    }

    /// Changes an object. A JSON patch is sent again only when the server cannot have carried it out.
    ///
    /// # Errors
    /// As [`ClusterError`] tells.
    pub async fn patch(&self, name: &str, patch: &Patch, query: &[(&str, &str)]) -> Result<Value, ClusterError> {
        let mut call = self.call(Method::PATCH, "patch", name);
        call.once = matches!(patch, Patch::Json(_));
        let call = match patch {
            Patch::Merge(body) => with_body(call, "application/merge-patch+json", body, query),
            Patch::Strategic(body) => with_body(call, "application/strategic-merge-patch+json", body, query),
            Patch::Json(body) => with_body(call, "application/json-patch+json", body, query),
            Patch::Apply { object, manager, force } => {
                let mut query = query.to_vec();
                query.push(("fieldManager", manager));
                query.push(("force", if *force { "true" } else { "false" }));
                // JSON is YAML.
                with_body(call, "application/apply-patch+yaml", object, &query)
            }
        };
        self.cluster.send(&call).await
    }

    /// Deletes an object; `options` is a DeleteOptions object, or null. What is answered is the object as it was or as it
    /// waits for its end, or a Status.
    ///
    /// # Errors
    /// As [`ClusterError`] tells; [`ClusterError::is_not_found`] when there is none.
    pub async fn delete(&self, name: &str, options: &Value, query: &[(&str, &str)]) -> Result<Value, ClusterError> {
        let mut call = self.call(Method::DELETE, "delete", name);
        call.query.extend(query.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        if !options.is_null() {
            call = with_body(call, "application/json", options, &[]);
        }
        self.cluster.send(&call).await
    }

    /// The request for one object, or for all when there is no name.
    pub(super) fn call(&self, method: Method, verb: &str, name: &str) -> Call {
        let mut call = Call::get(self.resource.path(&self.namespace), format!("{verb} {}", self.resource.shown()));
        if !name.is_empty() {
            call.path = format!("{}/{name}{}", call.path, self.subresource);
            call.doing = format!("{}/{name}", call.doing);
        }
        call.method = method;
        call
    }
}

fn with_body(mut call: Call, kind: &'static str, body: &Value, query: &[(&str, &str)]) -> Call {
    call.body = Some((kind, body.to_string().into_bytes()));
    call.query.extend(query.iter().map(|(key, value)| ((*key).into(), (*value).into())));
    call
}
