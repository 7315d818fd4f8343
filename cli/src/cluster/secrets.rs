//! Secrets that stores need, read with the user's own rights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tiphys_api::Artifact;
use tiphys_artifact::{Error, Options, Place, Secret, Secrets, place};
use tiphys_kubernetes::SecretError;

use super::Cluster;
use crate::failure::Failure;

/// How often Secrets are fetched that turn out to be needed.
const ROUNDS: usize = 8;

/// Secrets as a store asks for them: what was asked for and is not known yet is fetched before it is asked again.
#[derive(Default)]
pub(super) struct Fetched {
    known: BTreeMap<(String, String), Secret>,
    asked: Mutex<BTreeSet<(String, String)>>,
}

impl Secrets for Fetched {
    fn secret(&self, name: &str, key: &str) -> Result<Secret, Error> {
        let wanted = (name.to_owned(), key.to_owned());
        if let Some(secret) = self.known.get(&wanted) {
            return Ok(secret.clone());
        }
        if let Ok(mut asked) = self.asked.lock() {
            asked.insert(wanted);
        }
        Err(Error::NotFound { what: format!("key {key} of Secret {name}") })
    }
}

/// How stores are opened, as the environment says.
pub(super) fn options() -> Result<Options, Failure> {
    Options::from_lookup(|name| std::env::var(name).ok()).map_err(Failure::usage)
}

impl Cluster {
    /// Gets Secrets of a namespace, by name and key; tells whether there were any.
    ///
    /// # Errors
    /// The user may not read one. One that is not there is none: the store says which one it misses.
    pub(super) async fn fetch(
        &self,
        namespace: &str,
        wanted: BTreeSet<(String, String)>,
        secrets: &mut Fetched,
    ) -> Result<bool, Failure> {
        let mut any = false;
        for (name, key) in wanted {
            let object = match self.api.secret(namespace, &name).await {
                Ok(object) => object,
                Err(SecretError::Unreadable { error, .. }) if error.is_not_found() => continue,
                Err(error) => return Err(Failure::failed(Some(format!("the credentials of a store: {error}")))),
            };
            if let Some(value) = object.bytes(&key) {
                secrets.known.insert((name, key), Secret::new(String::from_utf8_lossy(&value)));
                any = true;
            }
        }
        Ok(any)
    }

    /// The store and key of an artifact, whose Secrets are those of a namespace.
    ///
    /// # Errors
    /// The location is none, or a Secret cannot be read.
    pub(super) async fn place(
        &self,
        namespace: &str,
        artifact: &Artifact,
        secrets: &mut Fetched,
    ) -> Result<Place, Failure> {
        let options = options()?;
        let mut rounds = 0;
        loop {
            let place = place(artifact, secrets, &options);
            rounds += 1;
            let asked = secrets.asked.get_mut().map(std::mem::take).unwrap_or_default();
            if place.is_ok() || rounds == ROUNDS || !self.fetch(namespace, asked, secrets).await? {
                return place.map_err(|error| Failure::failed(Some(error.to_string())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_asked_for_by_name_and_key() {
        let mut secrets = Fetched::default();
        assert!(secrets.secret("n", "k").is_err());
        let wanted = ("n".to_owned(), "k".to_owned());
        assert_eq!(secrets.asked.lock().unwrap().pop_first().as_ref(), Some(&wanted));
        secrets.known.insert(wanted, Secret::new("s"));
        assert!(secrets.secret("n", "k").is_ok() && secrets.asked.lock().unwrap().is_empty());
    }
}
