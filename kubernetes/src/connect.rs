//! Who we are and where the API server is: a kubeconfig, or the Pod that we run in.

use std::path::PathBuf;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::api::{Api, chain};

/// Which cluster is meant.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A file in place of the files that `KUBECONFIG` names, or of `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig in place of its current one.
    pub context: Option<String>,
    /// A cluster of the kubeconfig in place of the context's.
    pub cluster: Option<String>,
    /// A user of the kubeconfig in place of the context's.
    pub user: Option<String>,
    /// Who is to be taken for whoever asks, where the server allows that (`Impersonate-User`).
    pub impersonate: Option<String>,
    /// The groups that they are in (`Impersonate-Group`).
    pub impersonate_groups: Vec<String>,
}

impl Access {
    /// Whether it says something that only a kubeconfig answers.
    fn names_a_kubeconfig(&self) -> bool {
        [&self.context, &self.cluster, &self.user].into_iter().any(Option::is_some) || self.kubeconfig.is_some()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a Pod's service account.
    #[error("no Kubernetes API is known: there is no kubeconfig, and this is no Pod with a service account")]
    Nowhere,
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// What the kubeconfig says of the connection cannot be used.
    #[error("no connection to the API server can be made: {0}")]
    Client(String),
}

/// A connection, and the namespace that is meant where none is named. Nothing is sent yet.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(access: &Access) -> Result<(Api, String), ConnectError> {
    let mut config = config(access).await?;
    if access.impersonate.is_some() {
        config.auth_info.impersonate.clone_from(&access.impersonate);
        config.auth_info.impersonate_groups =
            Some(access.impersonate_groups.clone()).filter(|groups| !groups.is_empty());
    }
    let namespace = config.default_namespace.clone();
    let client = kube::Client::try_from(config).map_err(|error| ConnectError::Client(chain(&error)))?;
    Ok((Api::new(client), namespace))
}

async fn config(access: &Access) -> Result<Config, ConnectError> {
    let read = match &access.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if !access.names_a_kubeconfig() && is_absent(&error) => {
            return Config::incluster().map_err(|_| ConnectError::Nowhere);
        }
        Err(error) => return Err(ConnectError::Kubeconfig(words(&error))),
    };
    let Access { context, cluster, user, .. } = access.clone();
    let options = KubeConfigOptions { context, cluster, user };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| ConnectError::Kubeconfig(words(&error)))
}

/// What is wrong with a kubeconfig. The words of the YAML parser show the lines around the mistake, which may hold a token.
fn words(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(mistake) = error else { return chain(error) };
    let text = mistake.to_string();
    let at = text.find("line ").map(|at| text[at..].split([':', ',', '\n']).next().unwrap_or_default());
    let place =
        at.filter(|at| at.split(' ').all(|word| ["line", "column"].contains(&word) || word.parse::<u32>().is_ok()));
    format!("it is no YAML of the right form{}", place.map(|at| format!(" ({at})")).unwrap_or_default())
}

/// Whether there is no kubeconfig, as opposed to one that cannot be read.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(cause, _) => cause.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_is_named_must_be_there() {
        let access = Access { kubeconfig: Some("/nowhere/config".into()), ..Access::default() };
        let error = config(&access).await.unwrap_err().to_string();
        assert!(error.starts_with("the kubeconfig cannot be used: "), "{error}");
        assert!(error.contains("/nowhere/config"), "{error}");
    }

    #[test]
    fn mistakes_do_not_show_what_stands_around_them() {
        for (text, place) in [
            ("users:\n- name: u\n  user:\n    token: hidden\n  bad: [", "line 5 column 8"),
            ("users:\n- name: u\n  user: {token: [hidden]}", "line 3 column 17"),
        ] {
            let words = words(&Kubeconfig::from_yaml(text).unwrap_err());
            assert_eq!(words, format!("it is no YAML of the right form ({place})"));
        }
    }
}
