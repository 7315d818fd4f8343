//! Running commands of the toolchain, and what they need on the machine.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Whether a program can be started by its name.
pub fn is_on_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Installs Debian's packages where this process may.
///
/// # Errors
/// Where it may not: what is missing and how to install it.
pub fn install(what: &str, packages: &[&str]) -> Result<()> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root || !is_on_path("apt-get") {
        bail!("{what} is missing: install it (Debian: apt-get install {})", packages.join(" "));
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.args(["--yes", "--quiet", "--no-install-recommends"]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let mut update = apt_get();
    update.arg("update");
    run(update)?;
    let mut install = apt_get();
    install.arg("install").args(packages);
    run(install)
}

/// A cargo command in the project's root, in the environment of the one that a developer calls: with what `cargo xtask` tells
/// this program about its package, build scripts that read the same variables would run again, and much be built again.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    let told = std::env::vars_os().map(|(name, _)| name);
    let told = told.filter(|name| {
        name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    });
    for name in told {
        command.env_remove(name);
    }
    command
}

/// Builds a program of the workspace as it is built beside its tests: after `cargo test` nothing of it is built anew. With
/// one package alone chosen, or without any test, dependencies would have other features.
///
/// # Errors
/// When it cannot be built.
pub fn build(program: &str) -> Result<PathBuf> {
    run(cargo(&["build", "--workspace", "--bin", program, "--test", "conformance"]))?;
    Ok(target().join("debug").join(program))
}

/// Runs a command that must succeed, with its output shown.
pub fn run(mut command: Command) -> Result<()> {
    eprintln!("+ {command:?}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{command:?} cannot be started"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Runs a command that must succeed and gives what it printed.
pub fn output(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} cannot be started"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
