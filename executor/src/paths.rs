//! Where the Pod's files lie. Production uses [`Paths::default`], the contract's absolute paths in the container's mount
//! namespace; tests pass folders of their own.

use std::path::{Path, PathBuf};

use tiphys_contract::path;

/// The roots of the file protocol.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Volume shared by the Pod's containers.
    pub shared: PathBuf,
    /// Termination message of this container.
    pub termination_log: PathBuf,
    /// Scratch space of this container.
    pub scratch: PathBuf,
    /// Where `init` puts input artifacts that lie on no volume of the user's.
    pub input_artifacts: PathBuf,
    /// `main`'s volumes as `init` and `wait` see them.
    pub main_filesystem: PathBuf,
    /// Secrets that artifacts need.
    pub secrets: PathBuf,
    /// Template too large for an environment variable.
    pub config_template: PathBuf,
    /// Source of a script template.
    pub script: PathBuf,
    /// The Pod's token, certificate authority and namespace.
    pub service_account: PathBuf,
    /// Folders of the artifact plugins' sockets, by plugin.
    pub plugins: PathBuf,
    /// Authorities that users give the agent of a workflow.
    pub agent_authorities: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            shared: path::SHARED.into(),
            termination_log: path::TERMINATION_LOG.into(),
            scratch: path::SCRATCH.into(),
            input_artifacts: path::INPUT_ARTIFACTS.into(),
            main_filesystem: path::MAIN_FILESYSTEM.into(),
            secrets: path::SECRETS.into(),
            config_template: path::CONFIG_TEMPLATE.into(),
            script: path::SCRIPT.into(),
            service_account: path::SERVICE_ACCOUNT.into(),
            plugins: path::ARTIFACT_PLUGINS.into(),
            agent_authorities: path::AGENT_AUTHORITIES.into(),
        }
    }
}

impl Paths {
    /// The same layout below another root.
    pub fn below(root: &Path) -> Self {
        let at = |absolute: &str| root.join(absolute.trim_start_matches('/'));
        Self {
            shared: at(path::SHARED),
            termination_log: at(path::TERMINATION_LOG),
            scratch: at(path::SCRATCH),
            input_artifacts: at(path::INPUT_ARTIFACTS),
            main_filesystem: at(path::MAIN_FILESYSTEM),
            secrets: at(path::SECRETS),
            config_template: at(path::CONFIG_TEMPLATE),
            script: at(path::SCRIPT),
            service_account: at(path::SERVICE_ACCOUNT),
            plugins: at(path::ARTIFACT_PLUGINS),
            agent_authorities: at(path::AGENT_AUTHORITIES),
        }
    }

    /// Folder of one container's protocol files.
    pub fn ctr(&self, container: &str) -> PathBuf {
        self.shared.join(path::ctr::DIR).join(container)
    }

    /// The template's file.
    pub fn template(&self) -> PathBuf {
        self.shared.join("template")
    }

    /// The delivered emissary.
    pub fn emissary(&self) -> PathBuf {
        self.shared.join("argoexec")
    }

    /// What `wait` has done.
    pub fn journal(&self) -> PathBuf {
        self.shared.join(path::JOURNAL)
    }

    /// What the executor as `main`'s own command came to.
    pub fn main_result(&self) -> PathBuf {
        self.shared.join(path::MAIN_RESULT)
    }

    /// How far uploads in parts have come.
    pub fn uploads(&self) -> PathBuf {
        self.shared.join(path::UPLOADS)
    }

    /// The supervisor's status marker.
    pub fn status(&self) -> PathBuf {
        self.shared.join("status")
    }

    /// Where the emissary leaves `main`'s output parameter that it found at `at`.
    pub fn staged_parameter(&self, at: &str) -> PathBuf {
        self.shared.join(path::OUTPUT_PARAMETERS).join(relative(at))
    }

    /// Where the emissary leaves the output artifact of that name as it is.
    pub fn staged_artifact(&self, name: &str) -> PathBuf {
        self.shared.join(path::OUTPUT_ARTIFACTS).join(name.replace('/', "_"))
    }

    /// Where the emissary leaves the output artifact of that name as a tar.
    pub fn staged_tar(&self, name: &str) -> PathBuf {
        self.shared.join(path::OUTPUT_TARS).join(name.replace('/', "_"))
    }

    /// A path of `main`'s as seen through the mirrored mounts.
    pub fn mirrored(&self, at: &str) -> PathBuf {
        self.main_filesystem.join(relative(at))
    }
}

/// A path of `main`'s, as it is to be looked up from [`Paths::main_filesystem`] on: cleaned, links and all.
pub fn in_main(at: &str) -> PathBuf {
    tiphys_contract::overlap::clean(at).into()
}

/// The cleaned path without its leading slash; the root becomes the name `root`.
fn relative(at: &str) -> String {
    match tiphys_contract::overlap::clean(at).trim_start_matches('/') {
        "" => "root".to_owned(),
        path => path.to_owned(),
    }
}
