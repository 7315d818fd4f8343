//! Pods as real processes, as the user who runs the tests and, when that is root, once more as an ordinary user.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod ends;
mod files;
mod identity;
mod limits;
mod processes;
mod roots;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user without privileges whom every Linux machine knows.
const NOBODY: u32 = 65534;

#[test]
fn everything_as_an_ordinary_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The build's folder may be closed to that user.
    let tests = folder.path().join("tests");
    let program = folder.path().join("tiphys-sandbox");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    fs::copy(support::program(), &program).unwrap();
    let output = Command::new(&tests)
        .args(["--skip", "everything_as_an_ordinary_user"])
        .env(support::PROGRAM_VARIABLE, &program)
        .env("HOME", "/")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "as user {NOBODY}:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test ends::"), "no test ran:\n{text}");
}
