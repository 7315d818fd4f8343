//! The executor and the emissary as static programs, small by profile `min`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Machine, Programs};
use crate::shell::{cargo, install, is_on_path, output, root, run, target};

/// Builds both programs for a machine, after installing what that needs.
pub fn build(machine: Machine) -> Result<Programs> {
    rust_target(machine.triple())?;
    let compiler = c_compiler(machine)?;
    let programs = [("tiphys-executor", &[][..]), ("tiphys-emissary", &["--no-default-features"][..])];
    for (program, features) in programs {
        let mut command = cargo(&["build", "--package", "tiphys-executor", "--bin", program]);
        command.args(["--locked", "--profile", "min", "--target", machine.triple()]).args(features);
        let triple = machine.triple().replace('-', "_");
        command.env(format!("CC_{triple}"), compiler);
        command.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\u{1f}"));
        run(command)?;
    }
    let folder = target().join(machine.triple()).join("min");
    let (executor, emissary) = (folder.join("tiphys-executor"), folder.join("tiphys-emissary"));
    Ok(Programs { machine, executor, emissary })
}

/// What makes the programs smaller than the profile alone does, and the same wherever they are built.
fn flags() -> Result<Vec<String>> {
    let script = root().join("images/no-unwinding.ld");
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    let mut flags = Vec::new();
    for (folder, name) in [(home.join("registry/src"), "crates"), (root(), "tiphys")] {
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    }
    // The toolchain has musl's start files and its own linker, for each machine: no compiler's is needed.
    let linker = ["--no-eh-frame-hdr".into(), "--icf=all".into(), format!("-T{}", script.display())];
    flags.extend(["-Clinker=rust-lld".into(), "-Crelocation-model=static".into()]);
    flags.extend(linker.map(|argument| format!("-Clink-arg={argument}")));
    Ok(flags)
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
