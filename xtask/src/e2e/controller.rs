//! Our controller under test, and what the namespace has in which it works.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;
use tiphys_tests::corpus;

use super::cluster::Cluster;
use super::databases::{self, Server};
use super::namespace::{CREDENTIALS, Namespace};
use crate::shell::{build, target};

/// The ConfigMap that the controller reads.
pub const CONFIGURATION: &str = "workflow-controller-configmap";
/// The Secret with who we are in the database.
const DATABASE: &str = "database";

/// A controller that is running.
pub struct Controller {
    command: Command,
    child: Child,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a controller is started.
pub struct Setup<'a> {
    /// How it reaches the API server.
    pub kubeconfig: &'a Path,
    /// The namespace that it looks at.
    pub namespace: &'a str,
    /// The executor's image.
    pub executor: &'a str,
    /// Whether it works without asking who else does. One that was killed would hold its Lease for a while.
    pub alone: bool,
    /// What else it is told.
    pub arguments: &'a [&'a str],
    /// What it finds in its environment.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Controller {
    /// Builds and starts it for one namespace.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let program = build("tiphys-controller")?;
        let log = target().join("e2e-controller.log");
        let file = std::fs::File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| log.display().to_string())?;
        let mut command = Command::new(program);
        command.args(["--namespaced", "--health-port", "0"]);
        if setup.alone {
            command.arg("--no-leader-election");
        }
        // Plugins that workflows bring stay forbidden, as they were where the corpus was recorded.
        command.arg("--executor-plugins");
        command.args(["--namespace", setup.namespace, "--executor-image", setup.executor]).args(setup.arguments);
        command.envs(setup.environment.iter().copied());
        command.env("KUBECONFIG", setup.kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().context("tiphys-controller cannot be started")?;
        Ok(Self { command, child })
    }

    /// Kills it, as the kernel does, and starts another one.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn replace(&mut self) -> Result<()> {
        self.kill();
        self.child = self.command.spawn().context("tiphys-controller cannot be started")?;
        Ok(())
    }

    fn kill(&mut self) {
        // It is the child of this process alone, and keeps nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a namespace has in which the corpus runs.
pub struct Furniture<'a> {
    /// The archive; none where nothing is archived.
    pub database: Option<&'a Server>,
    /// Whether logs are saved, as they were when the corpus was recorded.
    pub logs: bool,
}

/// Puts what the corpus's workflows refer to into the namespace, and the controller's configuration.
///
/// # Errors
/// When the cluster refuses.
pub async fn furnish(
    namespace: &Namespace<'_>,
    cluster: &Cluster,
    folder: &Path,
    furniture: &Furniture<'_>,
) -> Result<()> {
    namespace.allow_everything().await?;
    let secret = |key: &str| json!({"name": CREDENTIALS, "key": key});
    let repository = json!({"archiveLogs": furniture.logs, "s3": {
        "bucket": "my-bucket", "endpoint": cluster.s3.host, "insecure": true,
        "accessKeySecret": secret("accesskey"), "secretKeySecret": secret("secretkey"),
    }});
    let images = json!({
        "argoproj/argosay:v2": {"entrypoint": ["/argosay"]}, "argoproj/argosay:v1": {"entrypoint": ["cowsay"]},
        "docker/whalesay:latest": {"entrypoint": ["cowsay"]}, "docker/whalesay": {"entrypoint": ["cowsay"]},
        "busybox": {"entrypoint": ["sh"]}, "busybox:latest": {"entrypoint": ["sh"]},
        "alpine": {"entrypoint": ["sh"]}, "alpine:latest": {"entrypoint": ["sh"]}, "alpine:3.23": {"cmd": ["sh"]},
        "nginx:1.13": {"cmd": ["nginx", "-g", "daemon off;"]},
        "curlimages/curl": {"entrypoint": ["/usr/bin/curl"]},
    });
    // The chart's test asks for metrics; here the port may be taken.
    let metrics = json!({"enabled": false});
    let signed = json!({"user": databases::USER, "password": databases::PASSWORD});
    let named = json!({"name": DATABASE});
    namespace.put(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": signed})).await?;
    let mut data = json!({
        "artifactRepository": repository.to_string(), "images": images.to_string(), "metricsConfig": metrics.to_string(),
    });
    if let Some(database) = furniture.database {
        let persistence = json!({"archive": true, "postgresql": {
            "host": "127.0.0.1", "port": database.port, "database": "postgres", "tableName": "argo_workflows",
            "userNameSecret": {"name": DATABASE, "key": "user"}, "passwordSecret": {"name": DATABASE, "key": "password"},
        }});
        data["persistence"] = persistence.to_string().into();
    }
    namespace
        .put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": data}))
        .await?;
    for (file, text) in corpus::common(folder) {
        let trees = tiphys_api::yaml::parse(&text).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
        for tree in trees {
            namespace.put(&tree.root.to_value()).await.with_context(|| file.clone())?;
        }
    }
    Ok(())
}
