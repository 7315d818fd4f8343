//! Real repositories, made by git itself.
#![allow(dead_code, clippy::unwrap_used)] // Each binary uses its own part; a failed set-up fails the test.

use std::path::Path;
use std::process::Command;

use super::common::noise;

pub fn git(folder: &Path, order: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]).args(order);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "test").env(format!("GIT_{role}_EMAIL"), "test@example.com");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {order:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn commit(folder: &Path, file: &str, content: &[u8]) -> String {
    std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
    std::fs::write(folder.join(file), content).unwrap();
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", file]);
    git(folder, &["rev-parse", "HEAD"])
}

/// `app` with two commits on `main`, a branch, a tag, a ref that is neither, and the submodule `lib`. Gives the commits.
pub fn make(root: &Path) -> (String, String) {
    let (app, lib) = (root.join("app"), root.join("lib"));
    for repo in [&app, &lib] {
        std::fs::create_dir_all(repo).unwrap();
        git(repo, &["init", "-q"]);
    }
    commit(&lib, "lib.txt", b"library");
    let first = commit(&app, "a.txt", b"one");
    git(&app, &["tag", "-a", "v1", "-m", "one"]);
    git(&app, &["branch", "other"]);
    git(&app, &["checkout", "-q", "other"]);
    commit(&app, "other.txt", b"other");
    git(&app, &["update-ref", "refs/pull/7/head", "HEAD"]);
    git(&app, &["checkout", "-q", "main"]);
    std::fs::create_dir(app.join("bin")).unwrap();
    std::fs::write(app.join("bin/run"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("a.txt", app.join("link")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(app.join("bin/run"), PermissionsExt::from_mode(0o755)).unwrap();
    git(&app, &["submodule", "--quiet", "add", "../lib", "vendor/lib"]);
    let second = commit(&app, "large", &noise(600_000, 1));
    (first, second)
}
