//! Artifacts in git.

use tiphys_api::GitArtifact;

use super::Place;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::secret::Secrets;

/// Without the crate's feature there is nothing to clone with.
#[cfg(not(feature = "git"))]
pub(super) fn place(_git: &GitArtifact, _secrets: &dyn Secrets, _options: &Options) -> Result<Place> {
    Err(Error::Refused("artifacts[].git: this program was built without git".into()))
}

/// The repository.
#[cfg(feature = "git")]
pub(super) fn place(git: &GitArtifact, secrets: &dyn Secrets, options: &Options) -> Result<Place> {
    use std::sync::Arc;

    use crate::secret::Secret;
    use crate::store::BasicAuth;
    use crate::store::git::{GitConfig, GitStore};

    let single_branch = match (git.single_branch, git.branch.as_str()) {
        (true, "") => {
            return Err(Error::Refused("artifacts[].git: single branch mode without a branch specified".into()));
        }
        (true, branch) => Some(branch.to_owned()),
        (false, _) => None,
    };
    let depth = git.depth.filter(|depth| *depth != 0);
    let depth = depth.map(|depth| {
        u32::try_from(depth)
            .map_err(|_| Error::Refused(format!("artifacts[].git.depth {depth} is not a number of commits")))
    });
    let username = super::secret(git.username_secret.as_ref(), secrets)?;
    let password = super::secret(git.password_secret.as_ref(), secrets)?;
    // One of them alone is sent with the other empty (argo: git.go, auth).
    let auth = (username.is_some() || password.is_some()).then(|| BasicAuth {
        username: username.unwrap_or_else(|| Secret::new("")),
        password: password.unwrap_or_else(|| Secret::new("")),
    });
    let config = GitConfig {
        repo: git.repo.clone(),
        revision: git.revision.clone(),
        depth: depth.transpose()?,
        fetch: git.fetch.clone(),
        single_branch,
        submodules: !git.disable_submodules,
        auth,
        ssh_key: super::secret(git.ssh_private_key_secret.as_ref(), secrets)?,
        any_host: git.insecure_ignore_host_key,
        skip_tls: git.insecure_skip_tls,
        environment: options.environment.clone(),
        retry: options.retry.clone(),
    };
    Ok(Place { store: Arc::new(GitStore::new(config)?), key: String::new() })
}
