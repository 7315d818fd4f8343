//! Settings of the agent, read once from the environment.

use tiphys_contract::env;

/// Tasks under way together, unless the environment says otherwise (argo: agent.go).
const WORKERS: usize = 16;

/// What the controller set on the agent's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The workflow's name, which is also its WorkflowTaskSet's.
    pub workflow: Option<String>,
    /// The workflow's uid.
    pub workflow_uid: String,
    /// The executor plugins, in the order in which they are asked.
    pub plugins: Vec<Known>,
    /// Tasks under way together.
    pub workers: usize,
}

/// An executor plugin: a server in a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its URL; empty in `agent init`.
    pub address: String,
}

impl Settings {
    /// Reads the settings through a look-up function.
    ///
    /// # Errors
    /// The text for the user: which variable holds what it must not.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name| lookup(name).filter(|value| !value.is_empty());
        let list = |name| match set(name) {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str::<Option<Vec<String>>>(&text)
                .map(Option::unwrap_or_default)
                .map_err(|_| format!("{name} is {text:?}: expected a JSON list of texts")),
        };
        let (names, addresses) = (list(env::PLUGIN_NAMES)?, list(env::PLUGIN_ADDRESSES)?);
        if addresses.len() > names.len() {
            return Err(format!("{} has more entries than {}", env::PLUGIN_ADDRESSES, env::PLUGIN_NAMES));
        }
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.contains('/') || name.starts_with('.')) {
            return Err(format!("{}: {name:?} is no name of a container", env::PLUGIN_NAMES));
        }
        let mut addresses = addresses.into_iter();
        let plugins = names.into_iter().map(|name| Known { name, address: addresses.next().unwrap_or_default() });
        let workers = match set(env::AGENT_TASK_WORKERS) {
            None => WORKERS,
            Some(text) => {
                let number = text.parse().ok().filter(|workers| (1..=1000).contains(workers));
                number.ok_or_else(|| {
                    format!("{} is {text:?}: expected a number from 1 to 1000", env::AGENT_TASK_WORKERS)
                })?
            }
        };
        Ok(Self {
            workflow: set(env::WORKFLOW_NAME),
            workflow_uid: set(env::WORKFLOW_UID).unwrap_or_default(),
            plugins: plugins.collect(),
            workers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn plugins_have_names_and_addresses() {
        let names = ("ARGO_PLUGIN_NAMES", r#"["a","b"]"#);
        let found = settings(&[names, ("ARGO_PLUGIN_ADDRESSES", r#"["http://localhost:1","http://localhost:2"]"#)]);
        let known = |name: &str, address: &str| Known { name: name.into(), address: address.into() };
        assert_eq!(found.unwrap().plugins, [known("a", "http://localhost:1"), known("b", "http://localhost:2")]);
        assert_eq!(settings(&[("ARGO_PLUGIN_NAMES", "null")]).unwrap().plugins, []);
        assert_eq!(settings(&[]).unwrap().workers, 16);
    }

    #[test]
    fn mistakes_are_named() {
        for (pair, message) in [
            (("ARGO_PLUGIN_NAMES", "a"), "ARGO_PLUGIN_NAMES is \"a\": expected a JSON list of texts"),
            (("ARGO_PLUGIN_NAMES", r#"["../x"]"#), "ARGO_PLUGIN_NAMES: \"../x\" is no name of a container"),
            (("ARGO_PLUGIN_ADDRESSES", r#"["x"]"#), "ARGO_PLUGIN_ADDRESSES has more entries than ARGO_PLUGIN_NAMES"),
            (("ARGO_AGENT_TASK_WORKERS", "0"), "ARGO_AGENT_TASK_WORKERS is \"0\": expected a number from 1 to 1000"),
        ] {
            assert_eq!(settings(&[pair]).unwrap_err(), message);
        }
    }
}
