//! Names of containers in a step's Pod, and what follows from a name.

/// The user's container of container and script templates.
pub const MAIN: &str = "main";
/// Init container: delivers the emissary, the template, the script and the input artifacts.
pub const INIT: &str = "init";
/// Runs beside `main` and reports its results (layout with an init container).
pub const WAIT: &str = "wait";
/// Does the work of `init` and `wait` in Pods without an init container.
pub const SUPERVISOR: &str = "supervisor";
/// Prefix of an artifact plugin's sidecar.
pub const ARTIFACT_PLUGIN_PREFIX: &str = "artifact-plugin-";
/// Prefix of an artifact plugin's init container.
pub const INIT_ARTIFACT_PLUGIN_PREFIX: &str = "init-artifact-";

/// Whether the container is the executor's own auxiliary one, which reports results.
pub fn is_auxiliary(name: &str) -> bool {
    name == WAIT || name == SUPERVISOR
}

/// Whether the container belongs to the user: neither auxiliary nor a plugin's sidecar.
pub fn is_user(name: &str) -> bool {
    !is_auxiliary(name) && !name.starts_with(ARTIFACT_PLUGIN_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_containers_are_those_that_are_not_ours() {
        assert!(is_user("main") && is_user("redis"));
        assert!(!is_user("wait") && !is_user("supervisor") && !is_user("artifact-plugin-x"));
        assert!(is_auxiliary("wait") && !is_auxiliary("main"));
    }
}
