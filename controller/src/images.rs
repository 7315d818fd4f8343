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
