//! A Kubernetes API server for tests: real HTTP/1.1 on loopback, objects of any kind in memory, a record of all calls,
//! and failures as a test asks for them.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod http;
mod objects;
pub mod tls;

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use http::Call;
use http::Stream;
use objects::Objects;

/// No step of a test takes this long on a machine that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is carried out and answered.
    Pass,
    /// It is answered with this HTTP status, reason and message, and not carried out.
    Refuse(u16, &'static str, &'static str),
    /// As [`Fate::Refuse`] with 429 and a request to come back after so many seconds.
    Later(u64),
    /// The connection is closed without an answer, and nothing is carried out.
    Drop,
    /// It is carried out, but the answer gets lost.
    LoseAnswer,
    /// Nothing is carried out or answered as long as the server lives.
    Stall,
    /// It is carried out, but nothing is answered as long as the server lives.
    StallAnswer,
    /// An answer that is no JSON.
    Garbage,
}

type Plan = Box<dyn FnMut(usize, &Call) -> Fate + Send>;

/// The server; it ends with the value.
pub struct ApiServer {
    address: String,
    state: Arc<State>,
}

struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    objects: Objects,
    calls: Vec<Call>,
    plan: Plan,
    over: bool,
    /// Watches opened before this many closings are closed.
    closings: u64,
}

impl ApiServer {
    /// A server that knows Pods, Secrets, ConfigMaps and Argo's kinds.
    pub fn start() -> Self {
        Self::serve(|stream| Some(Box::new(stream)))
    }

    /// As [`start`](Self::start), with something between the connection and HTTP, for example TLS.
    pub fn serve(wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Inner {
            objects: Objects::default(),
            calls: Vec::new(),
            plan: Box::new(|_, _| Fate::Pass),
            over: false,
            closings: 0,
        };
        let state = Arc::new(State { inner: Mutex::new(inner), changed: Condvar::new() });
        let (shared, wrap) = (state.clone(), Arc::new(wrap));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.lock().over {
                    return;
                }
                let (state, wrap) = (shared.clone(), wrap.clone());
                std::thread::spawn(move || {
                    // A client that goes away is part of the tests.
                    let _ = wrap(stream).map(|mut stream| http::serve(&state, &mut *stream));
                });
            }
        });
        let server = Self { address, state };
        for (api_version, plural, kind) in [
            ("v1", "pods", "Pod"),
            ("v1", "secrets", "Secret"),
            ("v1", "configmaps", "ConfigMap"),
            ("argoproj.io/v1alpha1", "workflows", "Workflow"),
            ("argoproj.io/v1alpha1", "workflowtaskresults", "WorkflowTaskResult"),
            ("argoproj.io/v1alpha1", "workflowtasksets", "WorkflowTaskSet"),
            ("argoproj.io/v1alpha1", "workflowartifactgctasks", "WorkflowArtifactGCTask"),
        ] {
            server.know(api_version, plural, kind, true);
        }
        server
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its URL, for `--server`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig with one context, whose namespace this is.
    pub fn kubeconfig(&self, namespace: &str) -> String {
        json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "clusters": [{"name": "test", "cluster": {"server": self.url()}}],
            "users": [{"name": "test", "user": {"token": "test"}}]})
        .to_string()
    }

    /// Makes a kind known to discovery.
    pub fn know(&self, api_version: &str, plural: &str, kind: &str, namespaced: bool) {
        self.state.lock().objects.know(api_version, plural, kind, namespaced);
    }

    /// Decides from now on what happens to a call, by the number of calls before it since this was set, and the call.
    pub fn plan(&self, mut plan: impl FnMut(usize, &Call) -> Fate + Send + 'static) {
        let mut inner = self.state.lock();
        let before = inner.calls.len();
        inner.plan = Box::new(move |number, call| plan(number - before, call));
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    /// Method and path of all calls so far.
    pub fn lines(&self) -> Vec<String> {
        self.calls().iter().map(|call| format!("{} {}", call.method, call.path)).collect()
    }

    /// An object by its path, for example `/api/v1/namespaces/ns/pods/x`.
    pub fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path)
    }

    /// Puts an object into a collection, for example `/api/v1/namespaces/ns/pods`, as somebody else would: created or
    /// replaced.
    pub fn put(&self, collection: &str, object: Value) {
        self.state.lock().objects.put(collection, object);
        self.state.changed.notify_all();
    }

    /// Deletes an object as somebody else would.
    pub fn remove(&self, path: &str) {
        self.state.lock().objects.remove(path);
        self.state.changed.notify_all();
    }

    /// Forgets what happened until now: watches that want to go on from there get 410.
    pub fn forget(&self) {
        self.state.lock().objects.forget();
        self.state.changed.notify_all();
    }

    /// Ends all watches that are open.
    pub fn close_watches(&self) {
        self.state.lock().closings += 1;
        self.state.changed.notify_all();
    }

    /// Waits until the calls so far are as they must be.
    pub fn until(&self, what: &str, holds: impl Fn(&[Call]) -> bool) {
        let start = Instant::now();
        let mut inner = self.state.lock();
        while !holds(&inner.calls) {
            let left = PATIENCE.checked_sub(start.elapsed());
            assert!(left.is_some(), "did not happen: {what}; calls: {:?}", inner.calls);
            inner = self.state.changed.wait_timeout(inner, left.unwrap_or_default()).unwrap().0;
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.state.lock().over = true;
        self.state.changed.notify_all();
        // The listener looks up and sees that it is over.
        let _ = TcpStream::connect(&self.address);
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        self.changed.wait(inner).unwrap()
    }
}
