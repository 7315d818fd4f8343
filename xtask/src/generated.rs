//! Files that are made from the sources and kept in the repository: the CustomResourceDefinitions of the chart, and plain
//! manifests of the chart for those who do without Helm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tiphys_api::yaml;

use crate::shell::{is_on_path, output, root, run as run_command, target};

/// The version of Helm that is built where none is installed.
const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.19.0";
/// What is said at the top of each file.
const HEAD: &str = "# Made by `cargo xtask gen`.\n";

/// Plain manifests: the file, and what is set.
const MANIFESTS: [(&str, &[&str]); 2] = [
    ("install.yaml", &[]),
    ("namespace-install.yaml", &["namespaced=true", "rbac.aggregate=false", "rbac.clusterWorkflowTemplates=false"]),
];

/// Writes them all.
pub fn run() -> Result<()> {
    for (path, text) in definitions().into_iter().chain(manifests()?) {
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Whether those that need no further tool are as they would be made.
pub fn check() -> Result<()> {
    differs(definitions())
}

/// Whether the plain manifests are as they would be made.
pub fn check_manifests() -> Result<()> {
    differs(manifests()?)
}

fn differs(files: Vec<(PathBuf, String)>) -> Result<()> {
    for (path, text) in files {
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            bail!("{} is not what the sources make: run `cargo xtask gen` and commit it", path.display());
        }
    }
    Ok(())
}

/// The chart.
pub fn chart() -> PathBuf {
    root().join("helm/tiphys")
}

/// A file of plain manifests.
pub fn manifest(name: &str) -> PathBuf {
    root().join("helm").join(name)
}

fn definitions() -> Vec<(PathBuf, String)> {
    let file = |(plural, definition)| {
        (chart().join(format!("crds/{plural}.yaml")), format!("{HEAD}{}", yaml::print(&definition)))
    };
    tiphys_api::definitions().into_iter().map(file).collect()
}

fn manifests() -> Result<Vec<(PathBuf, String)>> {
    let helm = helm()?;
    let rendered = MANIFESTS.iter().map(|(name, set)| {
        let mut command = template(&helm, "tiphys");
        for one in *set {
            command.args(["--set", one]);
        }
        Ok((
            manifest(name),
            format!("{HEAD}# In namespace tiphys, after the definitions in helm/tiphys/crds.\n{}", output(command)?),
        ))
    });
    rendered.collect()
}

/// The command that renders the chart for a namespace.
pub fn template(helm: &Path, namespace: &str) -> Command {
    let mut command = Command::new(helm);
    command.args(["template", "tiphys"]).arg(chart()).args(["--namespace", namespace]);
    // One that Go built takes the cluster for an old one.
    command.args(["--kube-version", "1.34.0"]);
    command
}

/// Helm: the one on the path, else one that Go builds.
///
/// # Errors
/// When there is none, and no Go to build it.
pub fn helm() -> Result<PathBuf> {
    if is_on_path("helm") {
        return Ok("helm".into());
    }
    let folder = target().join("tools");
    let program = folder.join("helm");
    if !program.is_file() {
        if !is_on_path("go") {
            bail!("helm is missing: install it, or Go (1.24 or later) to build it");
        }
        let mut command = Command::new("go");
        command.args(["install", HELM]).env("GOBIN", absolute(&folder)?).env("GOFLAGS", "-mod=mod");
        run_command(command)?;
    }
    Ok(program)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}
