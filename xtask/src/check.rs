//! What must hold of the sources: format, lints, licences, and the edges that must not appear between crates.

use anyhow::{Result, bail};

use crate::shell::{self, cargo, output};
use crate::{generated, licences};

/// `of` must not depend on `on`, directly or not. Empty features mean the default ones.
const FORBIDDEN: [(&str, &str, &[&str]); 12] = [
    ("tiphys-engine", "tokio", &[]),
    ("tiphys-engine", "nix", &[]),
    ("tiphys-podspec", "tokio", &[]),
    ("tiphys-podspec", "tiphys-engine", &[]),
    ("tiphys-expr", "tiphys-api", &[]),
    ("tiphys-archive", "kube", &[]),
    ("tiphys-cli", "tiphys-controller", &[]),
    ("tiphys-executor", "kube", &[]),
    ("tiphys-executor", "tokio", &["--no-default-features"]),
    ("tiphys-executor", "aws-sdk-s3", &["--no-default-features"]),
    ("tiphys-executor", "tiphys-otlp", &["--no-default-features"]),
    // Built anew for fuzzing, each time in full.
    ("tiphys-parsers", "tokio", &[]),
];

/// Runs every check; the first that fails ends it.
pub fn run() -> Result<()> {
    shell::run(cargo(&["fmt", "--all", "--check"]))?;
    shell::run(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    edges()?;
    generated::check()?;
    licences::check()
}

fn edges() -> Result<()> {
    for (of, on, features) in FORBIDDEN {
        let mut args = vec!["tree", "--package", of, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
        args.extend(features);
        let tree = output(cargo(&args))?;
        if tree.lines().skip(1).any(|line| line.split(' ').next() == Some(on)) {
            bail!("{of} must not depend on {on}, but does: see `cargo tree -p {of} -i {on}`");
        }
    }
    eprintln!("edges: {} that must not appear, none found", FORBIDDEN.len());
    Ok(())
}
