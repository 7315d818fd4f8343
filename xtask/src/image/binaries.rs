//! Static programs: the executor and the emissary, small by profile `min`, and the controller, fast by `controller`. Tests
//! take all of them by profile `quick`, with the same dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Machine, Programs};
use crate::shell::{cargo, install, is_on_path, output, root, run, target};

/// The controller's profiles follow them from a function to its callers; C in dependencies gets them as well.
const FRAME_POINTERS: &str = "-Cforce-frame-pointers=yes";

/// Builds the executor and the emissary for a machine, after installing what that needs.
pub fn build(machine: Machine, build: Build) -> Result<Programs> {
    let (profile, flags) = match build {
        Build::Release => ("min", small()),
        Build::Quick => ("quick", linker()),
    };
    let programs = [("tiphys-executor", &[][..]), ("tiphys-emissary", &["--no-default-features"][..])];
    for (program, features) in programs {
        let mut command = cargo(&["build", "--package", "tiphys-executor", "--bin", program, "--profile", profile]);
        command.args(features);
        command.env("CARGO_ENCODED_RUSTFLAGS", [same_paths()?, flags.clone()].concat().join("\u{1f}"));
        run_static(command, machine)?;
    }
    let folder = target().join(machine.triple()).join(profile);
    let (executor, emissary) = (folder.join("tiphys-executor"), folder.join("tiphys-emissary"));
    Ok(Programs { machine, executor, emissary })
}

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// As it is shipped.
    Release,
    /// As fast as it can be had, for tests.
    Quick,
}

/// Builds the controller for a machine.
pub fn controller(machine: Machine, build: Build) -> Result<PathBuf> {
    let (profile, flags) = match build {
        Build::Release => ("controller", [linker(), vec![FRAME_POINTERS.to_owned()]].concat()),
        Build::Quick => ("quick", linker()),
    };
    let mut command = cargo(&["build", "--package", "tiphys-controller", "--profile", profile]);
    command.env("CARGO_ENCODED_RUSTFLAGS", [same_paths()?, flags].concat().join("\u{1f}"));
    run_static(command, machine)?;
    Ok(target().join(machine.triple()).join(profile).join("tiphys-controller"))
}

/// Runs a build for a machine, after installing what that needs.
fn run_static(mut command: Command, machine: Machine) -> Result<()> {
    rust_target(machine.triple())?;
    command.args(["--locked", "--target", machine.triple()]);
    command.env(format!("CC_{}", machine.triple().replace('-', "_")), c_compiler(machine)?);
    run(command)
}

/// What makes programs the same wherever they are built.
fn same_paths() -> Result<Vec<String>> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    let mut flags = Vec::new();
    for (folder, name) in [(home.join("registry/src"), "crates"), (root(), "tiphys")] {
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    }
    Ok(flags)
}

/// The toolchain has musl's start files and its own linker, for each machine: no compiler's is needed.
fn linker() -> Vec<String> {
    ["-Clinker=rust-lld", "-Crelocation-model=static"].map(str::to_owned).into()
}

/// What makes programs smaller than the profile alone does.
fn small() -> Vec<String> {
    let script = root().join("images/no-unwinding.ld");
    let arguments = ["--no-eh-frame-hdr".into(), "--icf=all".into(), format!("-T{}", script.display())];
    let mut flags = linker();
    flags.extend(arguments.map(|argument| format!("-Clink-arg={argument}")));
    flags
}

/// The standard library for static programs.
fn rust_target(triple: &str) -> Result<()> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--print", "target-libdir", "--target", triple]);
    if Path::new(output(command)?.trim()).is_dir() {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    command.args(["target", "add", triple]).current_dir(root());
    run(command).with_context(|| format!("Rust's standard library for {triple} is missing: install it"))
}

/// The compiler for the C and assembly in dependencies (TLS, zstd).
fn c_compiler(machine: Machine) -> Result<&'static str> {
    let (program, packages) = match (machine == Machine::host()?, machine) {
        (true, _) => ("musl-gcc", &["musl-tools"][..]),
        (false, Machine::Arm64) => ("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"][..]),
        (false, Machine::Amd64) => ("x86_64-linux-gnu-gcc", &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"][..]),
    };
    if !is_on_path(program) {
        install(program, packages)?;
    }
    Ok(program)
}
