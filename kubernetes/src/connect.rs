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
    let config = config(access).await?;
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
        Err(error) if access.kubeconfig.is_none() && access.context.is_none() && is_absent(&error) => {
            return Config::incluster().map_err(|_| ConnectError::Nowhere);
        }
        Err(error) => return Err(ConnectError::Kubeconfig(words(&error))),
    };
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
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
        let access = Access { kubeconfig: Some("/nowhere/config".into()), context: None };
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
