//! A simulated API server for tests: objects with versions, which are listed and watched by selectors, and lines to it that
//! can be cut.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use clap::Parser as _;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Map, Value, json};
use tiphys_kubernetes::Api;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::cluster::{Cluster, Limits};
use crate::config::Config;
use crate::images::Images;
use crate::metrics::Metrics;

#[derive(clap::Parser)]
struct Given {
    #[command(flatten)]
    limits: Limits,
}

/// A cluster behind a line to an API server; the controller is in the namespace `argo`.
pub fn cluster(api: Api, config: Config) -> Arc<Cluster> {
    let metrics = Arc::new(Metrics::new(config.metrics.clone()));
    let limits = Given::parse_from(["test"]).limits;
    Arc::new(Cluster::new(api, Images::default(), "argo".into(), String::new(), config, limits, metrics))
}

/// The server.
#[derive(Clone, Default)]
pub struct SimulatedApi(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    objects: BTreeMap<String, Value>,
    history: Vec<Change>,
    watches: Vec<Watch>,
    version: watch::Sender<u64>,
}

/// What became of an object.
#[derive(Clone, Debug)]
pub struct Change {
    version: u64,
    /// The object's path.
    pub path: String,
    before: Option<Value>,
    /// What it was then; None: it was deleted.
    pub after: Option<Value>,
}

struct Watch {
    line: Line,
    selected: Selected,
    to: UnboundedSender<Bytes>,
}

/// What a list or a watch is of.
struct Selected {
    collection: String,
    labels: String,
    fields: String,
}

impl Selected {
    fn has(&self, path: &str, object: &Value) -> bool {
        let name = path.strip_prefix(&self.collection).and_then(|rest| rest.strip_prefix('/'));
        let Some(name) = name.filter(|name| !name.contains('/')) else { return false };
        let is_named = self.fields.strip_prefix("metadata.name=").is_none_or(|only| only == name);
        let labels = &object["metadata"]["labels"];
        is_named && self.labels.split(',').filter(|one| !one.is_empty()).all(|one| is_met(one, labels))
    }

    /// What a watch tells of a change.
    fn told(&self, change: &Change) -> Option<Bytes> {
        let had = change.before.as_ref().filter(|before| self.has(&change.path, before));
        let has = change.after.as_ref().filter(|after| self.has(&change.path, after));
        let (kind, object) = match (had, has) {
            (None, None) => return None,
            (None, Some(object)) => ("ADDED", object),
            (Some(_), Some(object)) => ("MODIFIED", object),
            (Some(object), None) => ("DELETED", object),
        };
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = change.version.to_string().into();
        Some(format!("{}\n", json!({"type": kind, "object": object})).into())
    }
}

/// One requirement of a label selector: `a`, `!a`, `a=b`, `a!=b`.
fn is_met(requirement: &str, labels: &Value) -> bool {
    match (requirement.split_once("!="), requirement.split_once('='), requirement.strip_prefix('!')) {
        (Some((key, value)), ..) => labels[key] != value,
        (_, Some((key, value)), _) => labels[key] == value,
        (.., Some(key)) => labels[key].is_null(),
        _ => !labels[requirement].is_null(),
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(key)),
            value => merge(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    (code, json!({"kind": "Status", "code": code.as_u16(), "reason": reason, "message": reason}))
}

impl Content {
    /// Puts an object in the place of what was there.
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        let version = *self.version.borrow() + 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let before = self.objects.insert(path.to_owned(), object.clone());
        self.changed(Change { version, path: path.to_owned(), before, after: Some(object.clone()) });
        object
    }

    fn delete(&mut self, path: &str) {
        let version = *self.version.borrow() + 1;
        if let Some(before) = self.objects.remove(path) {
            self.changed(Change { version, path: path.to_owned(), before: Some(before), after: None });
        }
    }

    fn changed(&mut self, change: Change) {
        for watch in &self.watches {
            if let Some(line) = watch.selected.told(&change) {
                let _ = watch.to.send(line);
            }
        }
        self.version.send_replace(change.version);
        self.history.push(change);
    }

    fn create(&mut self, collection: &str, mut object: Value) -> (StatusCode, Value) {
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&path) {
            return refusal(StatusCode::CONFLICT, "AlreadyExists");
        }
        let metadata = &mut object["metadata"];
        let number = *self.version.borrow() + 1;
        metadata["uid"] = format!("{number:08x}-9dad-4d11-80b4-00c04fd430c8").into();
        metadata["creationTimestamp"] = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        if let Some((_, rest)) = collection.split_once("/namespaces/") {
            metadata["namespace"] = rest.split('/').next().unwrap_or_default().into();
        }
        (StatusCode::CREATED, self.put(&path, object))
    }

    fn answer(&mut self, method: &Method, path: &str, selected: &Selected, body: Value) -> (StatusCode, Value) {
        // A namespace, a collection and a name may follow the version.
        let before = if path.starts_with("/api/") { 3 } else { 4 };
        let is_collection = path.split('/').skip(before).count() % 2 == 1;
        let known = self.objects.get(path).cloned();
        let wanted = [&body["metadata"]["resourceVersion"], &body["preconditions"]["resourceVersion"]];
        let is_other = |object: &Value| {
            wanted.iter().any(|version| !version.is_null() && **version != object["metadata"]["resourceVersion"])
        };
        match (method.as_str(), known) {
            ("POST", _) => self.create(path, body),
            ("GET", None) if is_collection => {
                let items = self.objects.iter().filter(|(path, object)| selected.has(path, object));
                let items: Vec<&Value> = items.map(|(_, object)| object).collect();
                let version = self.version.borrow().to_string();
                (StatusCode::OK, json!({"metadata": {"resourceVersion": version}, "items": items}))
            }
            ("DELETE", None) if is_collection => (StatusCode::OK, json!({})),
            (_, None) => refusal(StatusCode::NOT_FOUND, "NotFound"),
            ("GET", Some(object)) => (StatusCode::OK, object),
            (_, Some(object)) if is_other(&object) => refusal(StatusCode::CONFLICT, "Conflict"),
            ("DELETE", Some(object)) => {
                self.delete(path);
                (StatusCode::OK, object)
            }
            (_, Some(mut object)) => {
                merge(&mut object, &body);
                (StatusCode::OK, self.put(path, object))
            }
        }
    }
}

impl SimulatedApi {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line to it, and what is asked over that.
    pub fn line(&self) -> (Line, Api) {
        let line = Line(Arc::default());
        let api = Api::new(kube::Client::new(Asked { server: self.clone(), line: line.clone() }, "argo"));
        (line, api)
    }

    /// Makes an object.
    pub fn create(&self, collection: &str, object: Value) {
        let (status, answer) = self.content().create(collection, object);
        assert!(status.is_success(), "{answer}");
    }

    /// Changes an object by a JSON merge patch.
    pub fn patch(&self, path: &str, patch: Value) {
        let selected = Selected { collection: String::new(), labels: String::new(), fields: String::new() };
        let (status, answer) = self.content().answer(&Method::PATCH, path, &selected, patch);
        assert!(status.is_success(), "{answer}");
    }

    /// An object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.content().objects.get(path).cloned()
    }

    /// All that has ever happened, in order.
    pub fn history(&self) -> Vec<Change> {
        self.content().history.clone()
    }

    /// Waits until what is there is as wanted.
    pub async fn until(&self, wanted: impl Fn(&BTreeMap<String, Value>) -> bool) {
        let mut version = self.content().version.subscribe();
        while !wanted(&self.content().objects) {
            let _ = version.changed().await;
        }
    }
}

/// A line to the server; what is asked over it is refused while it is cut.
#[derive(Clone, Default)]
pub struct Line(Arc<Mutex<bool>>);

impl Line {
    /// Cuts it: watches over it end as well.
    pub fn cut(&self, server: &SimulatedApi) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        server.content().watches.retain(|watch| !Arc::ptr_eq(&watch.line.0, &self.0));
    }

    /// Mends it.
    pub fn mend(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn is_cut(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Asked {
    server: SimulatedApi,
    line: Line,
}

/// What is answered, piece by piece.
struct Pieces(UnboundedReceiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Asked {
    fn answer(&self, method: &Method, path: &str, query: &str, body: Value) -> Response<Pieces> {
        let parameter = |name: &str| {
            let mut parts = query.split('&').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| *key == name).map(|(_, value)| decoded(value)).unwrap_or_default()
        };
        let labels = parameter("labelSelector");
        let selected = Selected { collection: path.to_owned(), labels, fields: parameter("fieldSelector") };
        let (to, pieces) = unbounded_channel();
        let mut response = Response::new(Pieces(pieces));
        let mut content = self.server.content();
        if parameter("watch") == "1" {
            let from: u64 = parameter("resourceVersion").parse().unwrap_or_default();
            for change in content.history.iter().filter(|change| change.version > from) {
                selected.told(change).into_iter().for_each(|line| drop(to.send(line)));
            }
            content.watches.push(Watch { line: self.line.clone(), selected, to });
        } else {
            let (status, answer) = content.answer(method, path, &selected, body);
            *response.status_mut() = status;
            let _ = to.send(answer.to_string().into());
        }
        response
    }
}

/// What percent signs stand for (RFC 3986, section 2.1).
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.extend(u8::from_str_radix(&part[..2], 16));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl tower_service::Service<Request<Body>> for Asked {
    type Response = Response<Pieces>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Pieces>, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = self.clone();
        Box::pin(async move {
            if asked.line.is_cut() {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
            Ok(asked.answer(&parts.method, path, query, body))
        })
    }
}
