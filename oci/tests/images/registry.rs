//! A registry on loopback, as much of one as pulling needs, that can be told to misbehave.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tiphys_oci::Digest;
use tokio::net::TcpListener;

/// What the registry demands of its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// A token, which anybody gets.
    Token,
    /// A token, which is given for this name and password only.
    TokenFor(&'static str),
    /// A name and a password with each request.
    Basic(&'static str),
}

pub struct Registry {
    pub host: String,
    content: Arc<Content>,
    task: tokio::task::JoinHandle<()>,
}

struct Content {
    door: Door,
    host: String,
    /// Media types and bytes by path below the repository.
    paths: Mutex<HashMap<String, (String, Vec<u8>)>>,
    requests: Mutex<Vec<String>>,
}

impl Registry {
    pub async fn start(door: Door) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let content =
            Arc::new(Content { door, host: host.clone(), paths: Mutex::default(), requests: Mutex::default() });
        let serving = Arc::clone(&content);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let content = Arc::clone(&serving);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = content.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { host, content, task }
    }

    pub fn blob(&self, bytes: &[u8]) {
        self.serve(&format!("blobs/{}", Digest::of(bytes)), "application/octet-stream", bytes);
    }

    /// A manifest, under its digest and this tag.
    pub fn manifest(&self, tag: &str, media_type: &str, bytes: &[u8]) {
        self.serve(&format!("manifests/{tag}"), media_type, bytes);
        self.serve(&format!("manifests/{}", Digest::of(bytes)), media_type, bytes);
    }

    pub fn serve(&self, path: &str, media_type: &str, bytes: &[u8]) {
        self.content.paths.lock().unwrap().insert(path.to_owned(), (media_type.to_owned(), bytes.to_vec()));
    }

    /// Paths asked for so far.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.content.requests.lock().unwrap())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Content {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        self.requests.lock().unwrap().push(path.to_owned());
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let text = |status: StatusCode, text: &str| {
            Response::builder().status(status).body(Full::new(Bytes::from(text.to_owned()))).unwrap()
        };
        if path == "/token" {
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains("scope=repository%3Ateam%2Fimage%3Apull"), "{query}");
            return match self.door {
                Door::TokenFor(login) if authorization != Some(login) => text(StatusCode::UNAUTHORIZED, ""),
                _ => text(StatusCode::OK, "{\"access_token\": \"ticket\"}"),
            };
        }
        let (wanted, challenge) = match self.door {
            Door::Open => (None, String::new()),
            Door::Basic(login) => (Some(login), "Basic realm=\"here\"".to_owned()),
            Door::Token | Door::TokenFor(_) => {
                let realm = format!("http://{}/token", self.host);
                let scope = "repository:team/image:pull";
                (Some("Bearer ticket"), format!("Bearer realm=\"{realm}\",service=\"here\",scope=\"{scope}\""))
            }
        };
        if wanted.is_some() && authorization != wanted {
            let answer = Response::builder().status(StatusCode::UNAUTHORIZED).header("www-authenticate", challenge);
            return answer.body(Full::default()).unwrap();
        }
        match path.strip_prefix("/v2/team/image/").and_then(|path| self.paths.lock().unwrap().get(path).cloned()) {
            Some((media_type, bytes)) => {
                Response::builder().header("content-type", media_type).body(Full::new(bytes.into())).unwrap()
            }
            None => text(StatusCode::NOT_FOUND, "{\"errors\": []}"),
        }
    }
}
