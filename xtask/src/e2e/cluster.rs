//! Which Kubernetes, which S3: what the environment names, else the test cluster beside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::image::Built;
use crate::shell::{install, is_on_path, output, root, run};

/// What the tests run against.
pub struct Cluster {
    /// For kubectl.
    pub kubeconfig: PathBuf,
    /// The object store.
    pub s3: S3,
    script: Option<PathBuf>,
}

/// An S3 server without TLS, at one address for Pods and for this machine.
pub struct S3 {
    /// `host:port`.
    pub host: String,
    /// Access key.
    pub access: String,
    /// Secret key.
    pub secret: String,
}

impl Cluster {
    /// Finds the cluster, and starts the one beside the repository where none is named.
    ///
    /// # Errors
    /// When there is none, or it does not start.
    pub fn find() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(kubeconfig) = variable("KUBECONFIG") else {
            return Self::start();
        };
        let s3 = variable("TIPHYS_E2E_S3").and_then(|endpoint| {
            Some(S3 {
                host: endpoint.strip_prefix("http://").unwrap_or(&endpoint).trim_end_matches('/').to_owned(),
                access: variable("TIPHYS_E2E_S3_ACCESS_KEY")?,
                secret: variable("TIPHYS_E2E_S3_SECRET_KEY")?,
            })
        });
        let s3 = s3.context(
            "KUBECONFIG is set: set TIPHYS_E2E_S3 (http://host:port as Pods and this machine reach it), \
             TIPHYS_E2E_S3_ACCESS_KEY and TIPHYS_E2E_S3_SECRET_KEY too",
        )?;
        Ok(Self { kubeconfig: kubeconfig.into(), s3, script: None })
    }

    fn start() -> Result<Self> {
        let beside = || root().join("../shared/cluster/cluster");
        let script = std::env::var_os("TIPHYS_CLUSTER").map_or_else(beside, PathBuf::from);
        if !script.is_file() {
            bail!("no cluster: set KUBECONFIG, or TIPHYS_CLUSTER to a script that starts one ({})", script.display());
        }
        let mut line = up(&script)?;
        // What ends while the rest starts is started again.
        if is_down(&script)? {
            line = up(&script)?;
        }
        let kubeconfig =
            line.trim().strip_prefix("export KUBECONFIG=").context("the cluster's script names no KUBECONFIG")?;
        let mut images = Command::new(&script);
        images.arg("images");
        run(images)?;
        let s3 = S3 { host: "10.200.0.1:9000".into(), access: "admin".into(), secret: "password".into() };
        Ok(Self { kubeconfig: kubeconfig.into(), s3, script: Some(script) })
    }

    /// Starts again what has ended of a cluster of our own, so that the tests that follow do not wait for it in vain.
    ///
    /// # Errors
    /// When it does not start.
    pub fn mend(&self) -> Result<()> {
        match &self.script {
            Some(script) if is_down(script)? => {
                println!("        a part of the cluster has ended, and is started again");
                up(script).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Stops a cluster of our own and starts it again; another one is left as it is.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&self) -> Result<()> {
        let Some(script) = &self.script else { return Ok(()) };
        let mut down = Command::new(script);
        down.arg("down");
        run(down)?;
        up(script).map(|_| ())
    }

    /// The API server, where it is one that may be killed.
    pub fn api_server(&self) -> Option<ApiServer> {
        let script = self.script.clone()?;
        let process = self.kubeconfig.parent()?.join("run/kube-apiserver.pid");
        Some(ApiServer { script, process })
    }

    /// Brings an image to where the cluster's nodes find it. Its tag is of its digest, so that no node takes an older one
    /// for it.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn push(&self, built: &Built, name: &str) -> Result<String> {
        let digest = built.digest.trim_start_matches("sha256:");
        let tag = format!("{name}:{}", &digest[..12]);
        if !is_on_path("skopeo") {
            install("skopeo", &["skopeo"])?;
        }
        let source = format!("oci-archive:{}", built.path.display());
        let (mut command, name) = match (&self.script, std::env::var("TIPHYS_E2E_REGISTRY")) {
            (Some(script), _) => (script_push(script), format!("quay.io/tiphys/{tag}")),
            (None, Ok(registry)) => (Command::new("skopeo"), format!("{}/{tag}", registry.trim_end_matches('/'))),
            (None, Err(_)) => {
                bail!("set TIPHYS_E2E_REGISTRY to a registry (host/folder) from which the cluster's nodes pull")
            }
        };
        match self.script {
            Some(_) => command.arg(source).arg(&name),
            None => command.args(["copy", "--quiet", &source]).arg(format!("docker://{name}")),
        };
        run(command)?;
        Ok(name)
    }
}

/// The API server of the test cluster.
pub struct ApiServer {
    script: PathBuf,
    /// The file with its process id.
    process: PathBuf,
}

impl ApiServer {
    /// Kills it, as the kernel does, and starts it again.
    ///
    /// # Errors
    /// When it is not known which process it is, or it does not start.
    pub fn restart(&self) -> Result<()> {
        let id = std::fs::read_to_string(&self.process).with_context(|| self.process.display().to_string())?;
        let mut kill = Command::new("kill");
        kill.args(["-9", id.trim()]);
        run(kill)?;
        // The script would take a process for alive that is still on its way out.
        std::fs::remove_file(&self.process).with_context(|| self.process.display().to_string())?;
        up(&self.script).map(|_| ())
    }
}

/// Starts what does not run; gives the line that names the kubeconfig. Starting twice does no harm, and a first attempt may find
/// the machine between two states.
fn up(script: &Path) -> Result<String> {
    const ATTEMPTS: u32 = 4;
    let told = || {
        let mut up = Command::new(script);
        up.arg("up");
        output(up)
    };
    (1..ATTEMPTS).find_map(|_| told().ok()).map_or_else(told, Ok)
}

/// Whether a part of the cluster does not run.
fn is_down(script: &Path) -> Result<bool> {
    let mut status = Command::new(script);
    status.arg("status");
    Ok(output(status)?.lines().any(|part| part.ends_with(" down")))
}

fn script_push(script: &Path) -> Command {
    let mut command = Command::new(script);
    command.arg("push");
    command
}
