//! What images run by themselves, where a container names no command: the registry is asked once for each image.
//! argo: workflow/controller/entrypoint/.

use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tiphys_oci::{Reference, Registries};
use tiphys_podspec::ImageCommand;
use tokio::sync::OnceCell;

/// Images that are remembered; with one more all are forgotten, which costs asking again.
const REMEMBERED: usize = 1024;

type Answer = Arc<OnceCell<ImageCommand>>;

/// Commands of images.
#[derive(Default)]
pub struct Images {
    registries: Registries,
    known: Mutex<FxHashMap<String, Answer>>,
}

impl Images {
    /// Asks these registries.
    pub fn new(registries: Registries) -> Images {
        Images { registries, known: Mutex::default() }
    }

    /// The command of an image. Whoever asks for the same image meanwhile waits for the same answer.
    ///
    /// # Errors
    /// No registry tells it; in words for a node's message.
    pub async fn command(&self, image: &str) -> Result<ImageCommand, String> {
        let answer = self.answer(image);
        let ask = async {
            let reference = Reference::from_str(image).map_err(|error| error.to_string())?;
            let config = self.registries.image_config(&reference).await.map_err(|error| error.to_string())?;
            Ok(ImageCommand { entrypoint: config.entrypoint, cmd: config.cmd })
        };
        answer.get_or_try_init(|| ask).await.cloned()
    }

    fn answer(&self, image: &str) -> Answer {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(image) {
            known.clear();
        }
        known.entry(image.to_owned()).or_default().clone()
    }
}
