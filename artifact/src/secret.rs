//! Credentials: values that cannot be printed, and the places they come from.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// A secret text. `Debug` shows `***` and there is no `Display`: it cannot reach a log or a message by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the values of Kubernetes Secrets are found.
pub trait Secrets: Send + Sync {
    /// The value of `key` in the Secret `name`.
    ///
    /// # Errors
    /// When there is no such Secret or key, with a message that names both.
    fn secret(&self, name: &str, key: &str) -> Result<Secret>;
}

/// Secrets mounted as files `<root>/<name>/<key>`; in a Pod the root is `/argo/secret`.
#[derive(Clone, Debug)]
pub struct MountedSecrets {
    root: PathBuf,
}

impl MountedSecrets {
    /// Secrets below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        MountedSecrets { root: root.into() }
    }
}

impl Default for MountedSecrets {
    fn default() -> Self {
        MountedSecrets::new("/argo/secret")
    }
}

impl Secrets for MountedSecrets {
    fn secret(&self, name: &str, key: &str) -> Result<Secret> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('/');
        if !plain(name) || !plain(key) {
            return Err(Error::Refused(format!("secret {name:?} with key {key:?}: not a valid name")));
        }
        let path = self.root.join(name).join(key);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Secret(text)),
            Err(source) => Err(Error::permanent(
                format!("key {key:?} of secret {name:?} cannot be read at {}", path.display()),
                source,
            )),
        }
    }
}

/// No secrets at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn secret(&self, name: &str, key: &str) -> Result<Secret> {
        Err(Error::Refused(format!("key {key:?} of secret {name:?} is needed, but there are no secrets here")))
    }
}

impl<F> Secrets for F
where
    F: Fn(&str, &str) -> Result<Secret> + Send + Sync,
{
    fn secret(&self, name: &str, key: &str) -> Result<Secret> {
        self(name, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(***)");
    }

    #[test]
    fn mounted_secrets_stay_below_their_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("s3")).unwrap();
        std::fs::write(root.path().join("s3/key"), "abc").unwrap();
        let secrets = MountedSecrets::new(root.path());
        assert_eq!(secrets.secret("s3", "key").unwrap().expose(), "abc");
        assert!(secrets.secret("s3", "other").unwrap_err().to_string().contains("\"other\" of secret \"s3\""));
        assert!(secrets.secret("..", "passwd").is_err());
        assert!(secrets.secret("s3", "../../etc/passwd").is_err());
    }
}
