//! An API server for tests: objects by their paths, and what was asked for.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tiphys_kubernetes::Api;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::message::Message;
use super::pods::Workplace;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::simulated_api::cluster;

/// What it has, and what it was asked.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    objects: BTreeMap<String, Value>,
    refusals: VecDeque<(StatusCode, String)>,
    unknown: Vec<&'static str>,
    asked: Vec<(Method, String, Value)>,
}

impl ApiServer {
    /// Has this object.
    pub fn with(self, path: &str, object: Value) -> ApiServer {
        self.content().objects.insert(path.to_owned(), object);
        self
    }

    /// Refuses one more of the next requests that change anything.
    pub fn refusing(self, status: StatusCode, message: &str) -> ApiServer {
        self.content().refusals.push_back((status, message.to_owned()));
        self
    }

    /// Does not know this field of specs.
    pub fn dropping(self, field: &'static str) -> ApiServer {
        self.content().unknown.push(field);
        self
    }

    /// What it was asked to change, in order.
    pub fn changes(&self) -> Vec<(Method, String, Value)> {
        self.content().asked.iter().filter(|(method, ..)| method != Method::GET).cloned().collect()
    }

    /// A cluster behind it.
    pub fn cluster(&self, config: Config) -> Arc<Cluster> {
        cluster(Api::new(kube::Client::new(self.clone(), "argo")), config)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A workflow's place in the namespace `team`, and what it is told there.
pub fn place(cluster: Arc<Cluster>) -> (Workplace, UnboundedReceiver<Message>) {
    let (to, inbox) = unbounded_channel();
    (Workplace { cluster, to, namespace: "team".into(), workflow: "wf".into(), uid: "u".into() }, inbox)
}

impl Content {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.asked.push((method.clone(), path.to_owned(), body.clone()));
        if *method != Method::GET
            && let Some((status, message)) = self.refusals.pop_front()
        {
            return (status, json!({"kind": "Status", "code": status.as_u16(), "message": message}));
        }
        let known = self.objects.get(path).cloned();
        let (status, object) = match (method.as_str(), known) {
            ("POST", _) => {
                let mut made = body;
                if let Some(spec) = made.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.retain(|field, _| !self.unknown.contains(&field.as_str()));
                }
                let name = made["metadata"]["name"].as_str().unwrap_or_default();
                self.objects.insert(format!("{path}/{name}"), made.clone());
                (StatusCode::CREATED, Some(made))
            }
            (_, None) => (StatusCode::NOT_FOUND, None),
            ("DELETE", Some(_)) => (StatusCode::OK, self.objects.remove(path)),
            (_, known) => (StatusCode::OK, known),
        };
        (status, object.unwrap_or_else(|| json!({"kind": "Status", "code": 404, "reason": "NotFound"})))
    }
}

impl tower_service::Service<Request<Body>> for ApiServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (status, object) = server.content().answer(&parts.method, parts.uri.path(), body);
            let mut response = Response::new(Body::from(object.to_string().into_bytes()));
            *response.status_mut() = status;
            Ok(response)
        })
    }
}
