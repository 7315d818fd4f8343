//! A connection over which nothing can be changed.
//!
//! It stands below everything that sends: requests, watches, and what `kube` does by itself. So whoever has it need not be
//! trusted to ask for nothing else, and no request that is added one day can get past it.

use std::fmt;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, header};
use kube::client::Body;
use kube::{Client, Error};
use tower_service::Service;

/// A request that is not sent, and what it was.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not sent: this connection only reads", self.0)
    }
}

impl std::error::Error for Refused {}

/// What a client sends, if it only reads.
struct ReadOnly(Client);

impl Service<Request<Body>> for ReadOnly {
    type Response = Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(refused) = refuse(request.method(), request.uri().path(), request.headers()) {
            return std::future::ready(Err(refused.into())).boxed();
        }
        let client = self.0.clone();
        async move { Ok(client.send(request).await?) }.boxed()
    }
}

/// Everything but `get`, `list` and `watch`, which are all GET. One that would become another protocol runs a command in a
/// container, or opens a way into it.
fn refuse(method: &Method, path: &str, headers: &header::HeaderMap) -> Option<Refused> {
    let reads = *method == Method::GET && !headers.contains_key(header::UPGRADE);
    (!reads).then(|| Refused(format!("{method} {path}")))
}

/// The same connection, over which nothing is sent but `get`, `list` and `watch`. Anything else fails with
/// [`ApiError::ReadOnly`](crate::ApiError::ReadOnly).
pub fn read_only(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(ReadOnly(client), namespace)
}

/// The request that was not sent, where that is what went wrong.
pub(crate) fn refused(error: &Error) -> Option<&str> {
    let Error::Service(cause) = error else { return None };
    cause.downcast_ref::<Refused>().map(|refused| refused.0.as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::api::{Api as KubeApi, AttachParams};
    use serde_json::{Value, json};

    use super::*;
    use crate::{Api, ApiError};

    /// A server that agrees to everything, and counts what it is asked.
    struct Agrees(Arc<AtomicUsize>);

    impl Service<Request<Body>> for Agrees {
        type Response = Response<Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(Response::new(Body::from(b"{}".to_vec()))))
        }
    }

    #[tokio::test]
    async fn nothing_but_reading_leaves_the_process() {
        let asked = Arc::new(AtomicUsize::new(0));
        let api = Api::new(read_only(Client::new(Agrees(asked.clone()), "a")));
        api.get::<Value>("/api/v1/namespaces/a/pods").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        let (path, body) = ("/api/v1/namespaces/a/pods/p", json!({}));
        let outcomes = [
            api.create("/api/v1/namespaces/a/pods", &body).await.map(|_| ()),
            api.replace(path, &body).await.map(|_| ()),
            api.patch(path, &body).await.map(|_| ()),
            api.patch_strategically(path, &body).await.map(|_| ()),
            api.delete(path, &body).await,
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(matches!(&error, ApiError::ReadOnly(_)) && !error.is_transient(), "{error}");
        }
        let pods: KubeApi<k8s_openapi::api::core::v1::Pod> = KubeApi::namespaced(api.client().clone(), "a");
        let run = pods.exec("p", ["true"], &AttachParams::default()).await;
        let error = run.err().expect("nothing is run in a container");
        assert!(
            refused(&error).is_some_and(|request| request.starts_with("GET /api/v1/namespaces/a/pods/p/exec")),
            "{error}"
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
