//! Logins from docker's `config.json`.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{At as _, Error};
use crate::secret::Secret;

/// What we know about our login at one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// Nobody logged in.
    None,
    /// A name and a password.
    Password { user: String, password: Secret },
    /// It is kept where we cannot get it.
    Elsewhere { place: String },
}

/// All logins of a docker configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins {
    path: Option<PathBuf>,
    entries: Arc<HashMap<String, Login>>,
    helper: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
}

#[derive(Deserialize, Default)]
pub(super) struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

impl Logins {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).at("read", path),
        };
        let refuse = |reason: String| Error::DockerConfig { path: path.to_owned(), reason };
        // The parser's message could quote a password; its place says enough.
        let file: ConfigFile = serde_json::from_slice(&text)
            .map_err(|error| refuse(format!("line {}, column {} is not as expected", error.line(), error.column())))?;
        let mut entries = HashMap::new();
        for (name, entry) in file.auths {
            let host = host(&name).to_owned();
            let login =
                entry.login().ok_or_else(|| refuse(format!("the auth of {name} is not base64 of NAME:PASSWORD")))?;
            let login = match (login, &file.creds_store) {
                (Login::None, Some(helper)) => Login::Elsewhere { place: format!("the credential helper {helper}") },
                (login, _) => login,
            };
            entries.insert(host, login);
        }
        for (name, helper) in file.cred_helpers {
            entries
                .insert(host(&name).to_owned(), Login::Elsewhere { place: format!("the credential helper {helper}") });
        }
        Ok(Self { path: Some(path.to_owned()), entries: Arc::new(entries), helper: file.creds_store })
    }

    /// Our login at a host, and what to tell the user when it is not enough.
    pub fn find(&self, host: &str) -> (Login, String) {
        let login = self.entries.get(host).cloned().unwrap_or(match &self.helper {
            Some(helper) => Login::Elsewhere { place: format!("the credential helper {helper}") },
            None => Login::None,
        });
        let file = self.path.as_deref().map_or("~/.docker/config.json".to_owned(), |path| path.display().to_string());
        let advice = match &login {
            Login::None => format!("log in with `docker login {host}`, or add an `auth` entry for {host} to {file}"),
            Login::Password { user, .. } => {
                format!("the login of {user} in {file} was refused; log in to {host} again")
            }
            Login::Elsewhere { place } => {
                format!("{file} leaves the login to {place}, which is not supported; add an `auth` entry for {host}")
            }
        };
        (login, advice)
    }
}

impl Entry {
    /// `None`: it cannot be read.
    pub fn login(self) -> Option<Login> {
        if !self.identitytoken.is_empty() {
            return Some(Login::Elsewhere { place: "an identity token".to_owned() });
        }
        if !self.username.is_empty() {
            return Some(Login::Password { user: self.username, password: Secret::new(self.password) });
        }
        if self.auth.is_empty() {
            return Some(Login::None);
        }
        let text = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Login::Password { user: user.to_owned(), password: Secret::new(password.trim_end_matches('\0')) })
    }
}

/// Keys are hosts, or addresses with a scheme and a path; Docker Hub's is an address of its own.
fn host(key: &str) -> &str {
    let key = without_scheme(key);
    match key.split('/').next().unwrap_or(key) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// An address as a name of a registry or repository.
pub(super) fn without_scheme(key: &str) -> &str {
    key.split_once("://").map_or(key, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Logins, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, text).unwrap();
        Logins::read(&path)
    }

    fn password(user: &str, password: &str) -> Login {
        Login::Password { user: user.into(), password: Secret::new(password) }
    }

    #[test]
    fn plain_logins_are_found_by_host() {
        let auth = STANDARD.encode("me:se:cret");
        let text = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}},
                "quay.io": {{"username": "u", "password": "p"}}, "empty.io": {{}}}}}}"#
        );
        let logins = read(&text).unwrap();
        assert_eq!(logins.find("docker.io").0, password("me", "se:cret"));
        assert_eq!(logins.find("quay.io").0, password("u", "p"));
        assert_eq!(logins.find("empty.io").0, Login::None);
        assert_eq!(logins.find("other.io").0, Login::None);
        assert!(!format!("{logins:?}").contains("cret"));
    }

    #[test]
    fn helpers_are_named_in_the_advice() {
        let logins =
            read(r#"{"credHelpers": {"gcr.io": "gcloud"}, "auths": {"a.io": {"identitytoken": "t"}}}"#).unwrap();
        let (login, advice) = logins.find("gcr.io");
        assert!(matches!(login, Login::Elsewhere { .. }));
        assert!(advice.contains("the credential helper gcloud, which is not supported"), "{advice}");
        assert!(logins.find("a.io").1.contains("an identity token"));
        let all = read(r#"{"credsStore": "desktop", "auths": {"a.io": {}}}"#).unwrap();
        assert!(all.find("a.io").1.contains("credential helper desktop"));
        assert!(all.find("b.io").1.contains("credential helper desktop"));
    }

    #[test]
    fn a_broken_file_is_said_without_its_secrets() {
        let error = read(r#"{"auths": {"a.io": {"auth": "c2VjcmV0"}}}"#).unwrap_err().to_string();
        assert!(error.contains("a.io is not base64 of NAME:PASSWORD"), "{error}");
        let error = read(r#"{"auths": {"a.io": "hunter2"}}"#).unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
        assert_eq!(Logins::read(Path::new("/nonexistent/config.json")).unwrap().find("a.io").0, Login::None);
    }
}
