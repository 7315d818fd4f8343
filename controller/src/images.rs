//! What images run by themselves, where a container names no command: the registry is asked once for each image, and of one
//! that needs a login once for everybody who has it. argo: workflow/controller/entrypoint/.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tiphys_oci::{PullSecrets, Reference, Registries};
use tiphys_podspec::ImageCommand;
use tokio::sync::OnceCell;

/// Images that are remembered; with one more all are forgotten, which costs asking again.
const REMEMBERED: usize = 1024;

type Answer = Arc<OnceCell<ImageCommand>>;

/// Who wants to know: whoever has the same of all these has the same logins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// Namespace of the workflow.
    pub namespace: String,
    /// Its service account.
    pub account: String,
    /// Secrets that it names itself.
    pub secrets: Vec<String>,
}

/// Commands of images.
#[derive(Default)]
pub struct Images {
    registries: Registries,
    known: Mutex<FxHashMap<(String, Option<Asker>), Answer>>,
}

impl Images {
    /// Asks these registries.
    pub fn new(registries: Registries) -> Images {
        Images { registries, known: Mutex::default() }
    }

    /// The command of an image. Whoever asks for the same image meanwhile waits for the same answer. `logins` are those of
    /// whoever asks, with what cannot be had of them; they are looked up when nobody knows the answer.
    ///
    /// # Errors
    /// No registry tells it; in words for a node's message.
    pub async fn command(
        &self,
        image: &str,
        asker: Asker,
        logins: impl Future<Output = (PullSecrets, Vec<String>)>,
    ) -> Result<ImageCommand, String> {
        let own = self.answer(image, Some(asker));
        let ask = async {
            let reference = Reference::from_str(image).map_err(|error| error.to_string())?;
            let (secrets, missing) = logins.await;
            // What needs no login is the same for all.
            let answer = if secrets.know(&reference) { Answer::default() } else { self.answer(image, None) };
            let found = answer.get_or_try_init(|| self.look_up(&reference, secrets)).await.cloned();
            found.map_err(|reason| [reason].into_iter().chain(missing).collect::<Vec<_>>().join("; "))
        };
        own.get_or_try_init(|| ask).await.cloned()
    }

    async fn look_up(&self, reference: &Reference, secrets: PullSecrets) -> Result<ImageCommand, String> {
        let registries = self.registries.clone().with_pull_secrets(secrets);
        let config = registries.image_config(reference).await.map_err(|error| error.to_string())?;
        Ok(ImageCommand { entrypoint: config.entrypoint, cmd: config.cmd })
    }

    fn answer(&self, image: &str, asker: Option<Asker>) -> Answer {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (image.to_owned(), asker);
        if known.len() >= REMEMBERED && !known.contains_key(&key) {
            known.clear();
        }
        known.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response, StatusCode, header};
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::json;
    use tiphys_oci::Digest;
    use tokio::net::TcpListener;

    use super::*;

    const LOGIN: &str = "Basic bWU6c2VjcmV0";

    /// Answers like a registry: below `open/` to everybody, else to whoever has logged in. Gives its host.
    async fn registry(asked: Arc<AtomicUsize>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {"Cmd": ["run"]}, "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = config.to_string();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(),
                "digest": Digest::of(config.as_bytes()).to_string(),
            },
        });
        let answer = move |request: &Request<Incoming>| {
            let path = request.uri().path();
            let is_manifest = path.contains("/manifests/");
            let response = Response::builder();
            let login = request.headers().get(header::AUTHORIZATION);
            if !path.starts_with("/v2/open/") && login.is_none_or(|login| login != LOGIN) {
                let response = response.status(StatusCode::UNAUTHORIZED);
                return response.header(header::WWW_AUTHENTICATE, "Basic realm=\"here\"").body(String::new());
            }
            asked.fetch_add(usize::from(is_manifest), Ordering::Relaxed);
            match is_manifest {
                true => response
                    .header(header::CONTENT_TYPE, "application/vnd.oci.image.manifest.v1+json")
                    .body(manifest.to_string()),
                false => response.body(config.clone()),
            }
        };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let response = answer(&request);
                    async move { Ok::<_, Infallible>(response.unwrap()) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        host
    }

    #[tokio::test]
    async fn what_needs_a_login_is_told_to_whoever_has_one() {
        let asked = Arc::new(AtomicUsize::new(0));
        let host = registry(asked.clone()).await;
        let auths = json!({"auths": {format!("{host}/closed"): {"username": "me", "password": "secret"}}}).to_string();
        let secrets = PullSecrets::default().with("mine", ".dockerconfigjson", auths.as_bytes()).unwrap();
        let images = Images::default();
        let ask = async |image: &str, namespace: &str, secrets: &PullSecrets| {
            let asker = Asker { namespace: namespace.into(), account: "default".into(), secrets: Vec::new() };
            let missing = vec!["the Secret gone cannot be read".to_owned()];
            let logins = async { (secrets.clone(), missing) };
            let found = images.command(&format!("{host}/{image}:1"), asker, logins).await;
            (found.map(|command| command.cmd.join(" ")), asked.swap(0, Ordering::Relaxed))
        };
        let none = PullSecrets::default();
        // It is asked for once by whoever may, and by nobody else.
        assert_eq!(ask("closed/app", "a", &secrets).await, (Ok("run".into()), 1));
        assert_eq!(ask("closed/app", "a", &secrets).await, (Ok("run".into()), 0));
        let (refused, _) = ask("closed/app", "b", &none).await;
        let refused = refused.unwrap_err();
        for words in ["name a Secret with a login at", "the Secret gone cannot be read"] {
            assert!(refused.contains(words), "{refused}");
        }
        // What is open is asked for once for all.
        assert_eq!(ask("open/app", "a", &secrets).await, (Ok("run".into()), 1));
        assert_eq!(ask("open/app", "b", &none).await, (Ok("run".into()), 0));
    }
}
