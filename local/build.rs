//! Builds the emissary, PID 1 of every user container, as a static binary of its own, to be embedded in this crate: it
//! has to run in any image. Cargo has no way yet to depend on a binary for another target, so cargo is called again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = path("CARGO_MANIFEST_DIR").join("..");
    for watched in ["executor/src", "executor/Cargo.toml", "contract/src", "contract/Cargo.toml", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let embedded = path("OUT_DIR").join("tiphys-emissary");
    if let Err(problem) = build(&root).and_then(|built| fs::copy(built, &embedded).map_err(|error| error.to_string())) {
        println!(
            "cargo::warning=the static emissary could not be built: {problem}. `tiphys run` will need the file \
             tiphys-emissary beside it, and steps with images may fail"
        );
        // An empty file says that there is none.
        if let Err(error) = fs::write(&embedded, b"") {
            panic!("cannot write {}: {error}", embedded.display());
        }
    }
}

/// Builds for musl where that target is installed, else for this target's own static C library.
fn build(root: &Path) -> Result<PathBuf, String> {
    let target = env::var("TARGET").map_err(|error| error.to_string())?;
    let musl = target.replace("-gnu", "-musl");
    let target = if is_installed(&musl) { musl } else { target };
    let folder = path("OUT_DIR").join("emissary");
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["rustc", "--quiet", "--package", "tiphys-executor", "--bin", "tiphys-emissary", "--no-default-features"])
        .args(["--profile", "min", "--target", &target, "--target-dir"])
        .arg(&folder)
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET")
        // Set by `cargo clippy`, which only wants to look at this crate.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(reason.lines().collect::<Vec<_>>().join(" / "));
    }
    Ok(folder.join(&target).join("min").join("tiphys-emissary"))
}

fn is_installed(target: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

fn path(variable: &str) -> PathBuf {
    env::var_os(variable).map(PathBuf::from).unwrap_or_default()
}
