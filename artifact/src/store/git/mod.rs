//! Git repositories as inputs (argo: artifacts/git/git.go), cloned in process: the executor's image has neither git nor
//! a shell. The work tree is the artifact, with its `.git`.

use std::path::Path;

use async_trait::async_trait;
use reqwest::Url;
use tokio::runtime::Handle;

use super::{Body, Listing, Object, Store, failed_listing};
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::store::BasicAuth;
use crate::transfer::{Moved, blocking};

mod clone;
mod web;

use clone::Remote;
use web::Web;

/// A repository and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct GitConfig {
    /// Its URL.
    pub repo: String,
    /// What is checked out; empty for the remote's own branch.
    pub revision: String,
    /// Commits of each branch that are loaded; none for all.
    pub depth: Option<u32>,
    /// Further refs to load.
    pub fetch: Vec<String>,
    /// The one branch that is loaded.
    pub single_branch: Option<String>,
    /// Load submodules as well.
    pub submodules: bool,
    /// User and password.
    pub auth: Option<BasicAuth>,
    /// Take any certificate.
    pub skip_tls: bool,
    /// Repetition of a whole clone.
    pub retry: Retry,
}

/// One repository; keys play no part.
#[derive(Debug)]
pub(crate) struct GitStore {
    config: GitConfig,
    url: Url,
    /// The URL without credentials.
    shown: String,
}

impl GitStore {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// For what is not a URL of http or https.
    pub(crate) fn new(config: GitConfig) -> Result<Self> {
        let url: Option<Url> = config.repo.parse().ok();
        let mut url = url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            Error::Refused(
                "artifacts[].git.repo is not an http or https URL: ssh and local repositories are not supported yet by \
                 Tiphys, use https with usernameSecret and passwordSecret"
                    .into(),
            )
        })?;
        let mut config = config;
        if let (Some(password), None) = (url.password(), &config.auth) {
            let (username, password) = (crate::Secret::new(url.username()), crate::Secret::new(password));
            config.auth = Some(BasicAuth { username, password });
        }
        // Both fail only for URLs that cannot have credentials.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(GitStore { config, shown: url.as_str().to_owned(), url })
    }

    async fn clone_to(&self, dest: &Path) -> Result<()> {
        let web = Web::new(&self.url, self.config.auth.as_ref(), self.config.skip_tls, &self.config.retry)?;
        let (remote, dest) = (Remote::new(&self.config, self.url.clone(), web, Handle::current()), dest.to_owned());
        blocking(move || {
            // What an earlier try left.
            let _ = std::fs::remove_dir_all(&dest);
            remote.run(&dest)
        })
        .await
    }
}

fn refused(verb: &str) -> Error {
    Error::Refused(format!("artifacts[].git cannot be {verb}: it is for input artifacts only"))
}

#[async_trait]
impl Store for GitStore {
    fn describe(&self, _key: &str) -> String {
        self.shown.clone()
    }

    async fn open(&self, _key: &str) -> Result<Object> {
        Err(refused("read as a stream"))
    }

    async fn put(&self, _key: &str, _body: Body) -> Result<u64> {
        Err(refused("saved"))
    }

    async fn delete(&self, _key: &str) -> Result<()> {
        Err(refused("deleted"))
    }

    fn list<'a>(&'a self, _key: &str) -> Listing<'a> {
        failed_listing(refused("listed"))
    }

    async fn is_directory(&self, _key: &str) -> Result<bool> {
        Ok(true)
    }

    async fn load(&self, _key: &str, dest: &Path) -> Result<Option<Moved>> {
        self.config.retry.run("cloning", || self.clone_to(dest)).await?;
        // Files, not objects: nobody counted them.
        Ok(Some(Moved::default()))
    }
}
