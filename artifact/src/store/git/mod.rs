//! Git repositories as inputs (argo: artifacts/git/git.go), cloned in process: the executor's image has neither git nor
//! a shell. The work tree is the artifact, with its `.git`.

use std::path::Path;

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::{Body, Listing, Object, Store, failed_listing};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;
use crate::store::BasicAuth;
use crate::transfer::{Moved, blocking};

mod address;
mod clone;
mod fault;
mod ssh;
mod web;

use address::Address;
use clone::Remote;
use ssh::Ssh;
use web::Web;

/// A repository and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct GitConfig {
    /// Its address.
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
    /// The private key to log in with by ssh.
    pub ssh_key: Option<Secret>,
    /// Take any host's key.
    pub any_host: bool,
    /// Take any certificate.
    pub skip_tls: bool,
    /// Where the known hosts are.
    pub environment: Environment,
    /// Repetition of a whole clone.
    pub retry: Retry,
}

/// One repository; keys play no part.
#[derive(Debug)]
pub(crate) struct GitStore {
    config: GitConfig,
    address: Address,
    ssh: Option<Ssh>,
    /// The address without credentials.
    shown: String,
}

impl GitStore {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// For what is no address of http, https or ssh, and for credentials of the other kind.
    pub(crate) fn new(config: GitConfig) -> Result<Self> {
        let mut address = Address::parse(&config.repo).ok_or_else(|| {
            Error::Refused(
                "artifacts[].git.repo is neither an http, https or ssh URL nor user@host:path; a password for ssh is not \
                 supported, use sshPrivateKeySecret"
                    .into(),
            )
        })?;
        let mut config = config;
        match (&mut address, &config.ssh_key) {
            (Address::Web(_), Some(_)) => {
                let why = "is for ssh: give git@host:path as repo, or usernameSecret and passwordSecret instead";
                return Err(Error::Refused(format!("artifacts[].git.sshPrivateKeySecret {why}")));
            }
            (Address::Ssh(..), None) => {
                let why = "is an address of ssh, which needs sshPrivateKeySecret";
                return Err(Error::Refused(format!("artifacts[].git.repo {why}")));
            }
            (Address::Ssh(..), Some(_)) => config.auth = None,
            (Address::Web(url), None) => {
                if let (Some(password), None) = (url.password(), &config.auth) {
                    let (username, password) = (Secret::new(url.username()), Secret::new(password));
                    config.auth = Some(BasicAuth { username, password });
                }
                // Both fail only for URLs that cannot have credentials.
                let _ = url.set_username("");
                let _ = url.set_password(None);
            }
        }
        let key = config.ssh_key.as_ref();
        let ssh = key.map(|key| Ssh::new(key, config.any_host, &config.environment, &config.retry)).transpose()?;
        Ok(GitStore { config, shown: address.to_string(), address, ssh })
    }

    async fn clone_to(&self, dest: &Path) -> Result<()> {
        let origin = match &self.address {
            Address::Web(url) => Some(url),
            Address::Ssh(..) => None,
        };
        let remote = Remote {
            web: Web::new(origin, self.config.auth.as_ref(), self.config.skip_tls, &self.config.retry)?,
            config: self.config.clone(),
            address: self.address.clone(),
            ssh: self.ssh.clone(),
            runtime: Handle::current(),
        };
        let dest = dest.to_owned();
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
