//! Logins from Secrets of Kubernetes with which images are pulled (`imagePullSecrets`).
//!
//! Unlike docker's, their names may hold the beginning of a repository, and patterns of hosts; the longest name that fits is
//! taken. Source: kubernetes.io/docs/concepts/containers/images, "Interpretation of config.json".

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::login::{Entry, Login, without_scheme};
use crate::error::Error;
use crate::reference::Reference;

/// Logins by registry, or by the beginning of a repository there. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PullSecrets {
    /// The longest names first; of one name the first Secret's.
    entries: Arc<Vec<(Scope, Login, String)>>,
}

/// What a login is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    /// May hold `*` in place of a part.
    host: String,
    /// The beginning of repositories' names, empty for all.
    repository: String,
}

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

impl PullSecrets {
    /// Adds what a Secret holds: `.dockerconfigjson` or, of the older type, `.dockercfg`. `name` is the Secret's, for messages.
    ///
    /// # Errors
    /// The text is none of these.
    pub fn with(mut self, name: &str, key: &str, text: &[u8]) -> Result<Self, Error> {
        let auths = match key {
            ".dockercfg" => serde_json::from_slice(text),
            _ => serde_json::from_slice::<ConfigJson>(text).map(|config| config.auths),
        };
        // The parser's message could quote a password; its place says enough.
        let refuse = |reason| Error::PullSecret { name: name.to_owned(), key: key.to_owned(), reason };
        let auths: HashMap<String, Entry> = auths
            .map_err(|error| refuse(format!("line {}, column {} is not as expected", error.line(), error.column())))?;
        let entries = Arc::make_mut(&mut self.entries);
        for (registry, entry) in auths {
            let login = entry.login();
            let login =
                login.ok_or_else(|| refuse(format!("the auth of {registry} is not base64 of NAME:PASSWORD")))?;
            entries.push((Scope::of(&registry), login, name.to_owned()));
        }
        entries.sort_by_key(|(scope, ..)| Reverse((scope.repository.len(), !scope.host.contains('*'))));
        Ok(self)
    }

    /// Whether one of them is for an image.
    pub fn know(&self, reference: &Reference) -> bool {
        self.entry(reference.registry(), reference.repository()).is_some()
    }

    /// The login for a repository, and what to tell the user when it is not enough.
    pub(super) fn find(&self, host: &str, repository: &str) -> (Login, String) {
        let Some((_, login, secret)) = self.entry(host, repository) else {
            let advice = format!(
                "name a Secret with a login at {host} in imagePullSecrets, of the workflow or of its service account"
            );
            return (Login::None, advice);
        };
        let advice = match login {
            Login::None => format!("the Secret {secret} has an entry for {host} without a login"),
            Login::Password { user, .. } => format!("the login of {user} in the Secret {secret} was refused"),
            Login::Elsewhere { place } => format!("the Secret {secret} names {place}, which is not supported"),
        };
        (login.clone(), advice)
    }

    fn entry(&self, host: &str, repository: &str) -> Option<&(Scope, Login, String)> {
        self.entries.iter().find(|(scope, ..)| scope.holds(host, repository))
    }
}

impl Scope {
    fn of(name: &str) -> Scope {
        let name = without_scheme(name);
        let (host, path) = name.split_once('/').unwrap_or((name, ""));
        // Addresses of the protocol's versions are the registry's own.
        let path = path.trim_end_matches('/');
        let version = |path: &str| ["v1", "v2"].contains(&path);
        let repository = match path.split_once('/') {
            Some((first, rest)) if version(first) => rest,
            None if version(path) => "",
            _ => path,
        };
        let host = match host {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        };
        Scope { host: host.to_owned(), repository: repository.to_owned() }
    }

    fn holds(&self, host: &str, repository: &str) -> bool {
        let (patterns, parts) = (self.host.split('.'), host.split('.'));
        let same_host = patterns.clone().count() == parts.clone().count()
            && patterns.zip(parts).all(|(pattern, part)| fits(pattern, part));
        same_host && repository.starts_with(&self.repository)
    }
}

/// Whether a part of a host's name fits a pattern with any number of `*`.
fn fits(pattern: &str, part: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == part };
    let Some(part) = part.strip_prefix(begin) else { return false };
    (0..=part.len()).any(|at| part.is_char_boundary(at) && fits(rest, &part[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(secrets: &PullSecrets, image: &str) -> Option<String> {
        let reference: Reference = image.parse().unwrap();
        match secrets.find(reference.registry(), reference.repository()).0 {
            Login::Password { user, .. } => {
                assert!(secrets.know(&reference));
                Some(user)
            }
            Login::None => {
                assert!(!secrets.know(&reference));
                None
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_longest_name_that_fits_is_taken() {
        let login = |user: &str| format!(r#"{{"username": "{user}", "password": "hunter2"}}"#);
        let config = format!(
            r#"{{"auths": {{"quay.io": {}, "https://quay.io/team/": {}, "https://index.docker.io/v1/": {}, "*.pkg.dev": {},
                "eu.pkg.dev": {}}}}}"#,
            login("all"),
            login("team"),
            login("hub"),
            login("any"),
            login("eu"),
        );
        let secrets = PullSecrets::default().with("new", ".dockerconfigjson", config.as_bytes()).unwrap();
        let old = format!(r#"{{"quay.io": {}, "old.io:5000": {}}}"#, login("late"), login("old"));
        let secrets = secrets.with("old", ".dockercfg", old.as_bytes()).unwrap();
        for (image, expected) in [
            ("quay.io/other/a", Some("all")),
            ("quay.io/team/a", Some("team")),
            ("busybox", Some("hub")),
            ("us.pkg.dev/a/b", Some("any")),
            ("eu.pkg.dev/a/b", Some("eu")),
            ("a.b.pkg.dev/a/b", None),
            ("old.io:5000/a", Some("old")),
            ("old.io/a/b", None),
        ] {
            assert_eq!(user(&secrets, image).as_deref(), expected, "{image}");
        }
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_named_without_its_content() {
        for text in [r#"{"auths": {"a.io": "hunter2"}}"#, r#"{"auths": {"a.io": {"auth": "aHVudGVyMg=="}}}"#] {
            let error = PullSecrets::default().with("mine", ".dockerconfigjson", text.as_bytes()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("the Secret mine") && !error.contains("hunter2"), "{error}");
        }
    }
}
