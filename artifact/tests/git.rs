//! Real repositories, made and served by git itself through a small HTTP server on loopback.
#![cfg(feature = "git")]
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/repos.rs"]
mod repos;
#[path = "common/site.rs"]
mod site;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{noise, quick};
use repos::git;
use serde_json::{Value, json};
use site::{Answer, Request, Site, answer};
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Class, Error, Loaded, Options, Retry, Secret};

/// Serves the repositories below `root` as `git http-backend` would.
fn served(root: &Path, request: &Request) -> Answer {
    let path = request.path().trim_start_matches('/');
    let (repo, service) = match path.strip_suffix("/info/refs") {
        Some(repo) => (repo, None),
        None => (path.trim_end_matches("/git-upload-pack"), Some(())),
    };
    let folder = root.join(repo);
    if !folder.exists() {
        return answer(404, "");
    }
    let mut command = Command::new("git");
    command.args(["-c", "uploadpack.allowFilter=true", "upload-pack", "--stateless-rpc"]);
    if service.is_none() {
        command.arg("--advertise-refs");
    }
    command.arg(&folder).env("GIT_PROTOCOL", request.header("git-protocol"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, body) = (child.stdin.take().unwrap(), request.body.clone());
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    match service {
        None => {
            let mut body = b"001e# service=git-upload-pack\n0000".to_vec();
            body.extend_from_slice(&output.stdout);
            answer(200, body).with("content-type", "application/x-git-upload-pack-advertisement")
        }
        Some(()) => answer(200, output.stdout).with("content-type", "application/x-git-upload-pack-result"),
    }
}

struct World {
    folder: tempfile::TempDir,
    site: Site,
    first: String,
    second: String,
}

/// The repositories of [`repos::make`], behind a server.
async fn world() -> World {
    world_with(|_, answer| answer).await
}

async fn world_with(twist: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> World {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repos");
    let (first, second) = repos::make(&root);
    let serve = root.clone();
    let site = Site::start(move |request| twist(request, served(&serve, request))).await;
    World { folder, site, first, second }
}

impl World {
    fn at(&self, repo: &str, more: Value) -> Artifact {
        let mut git = json!({"repo": format!("{}/{repo}", self.site.url)});
        git.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({"name": "src", "path": "/src", "git": git})).unwrap()
    }

    async fn load(&self, name: &str, more: Value) -> Result<PathBuf, Error> {
        let dest = self.folder.path().join(name);
        let secrets = |_: &str, key: &str| Ok(Secret::new(if key == "user" { "robot" } else { "t0ken\n" }));
        let retry = Retry { tries: 3, ..quick() };
        let artifacts = Artifacts::new(secrets, Options { retry, ..Options::default() });
        let loaded = artifacts.load_input(&self.at("app", more), &dest).await?;
        assert!(matches!(loaded, Loaded::Directory(_)), "{loaded:?}");
        Ok(dest)
    }
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_with_its_history_and_submodules() {
    let world = world().await;
    let dest = world.load("in", json!({})).await.unwrap();
    assert_eq!(read(dest.join("a.txt")), "one");
    assert_eq!(std::fs::read(dest.join("large")).unwrap(), noise(600_000, 1));
    assert_eq!(read(dest.join("vendor/lib/lib.txt")), "library");
    assert_eq!(dest.join("link").read_link().unwrap(), Path::new("a.txt"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(dest.join("bin/run").metadata().unwrap().permissions().mode() & 0o111, 0o111);
    // What git itself thinks of it.
    assert_eq!(git(&dest, &["rev-parse", "HEAD"]), world.second);
    assert_eq!(git(&dest, &["branch", "--show-current"]), "main");
    assert_eq!(git(&dest, &["status", "--porcelain"]), "");
    assert_eq!(git(&dest, &["rev-parse", "v1^{commit}"]), world.first);
    assert_eq!(git(&dest, &["config", "remote.origin.url"]), format!("{}/app", world.site.url));
    git(&dest, &["fsck", "--strict"]);
    assert!(git(&dest, &["branch", "-r"]).contains("origin/other"));
    assert!(!world.folder.path().join("in.tmpload").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_of_each_kind() {
    let world = world().await;
    let (first, second) = (world.first.clone(), world.second.clone());
    for (number, (revision, commit)) in
        [("v1", &first), ("main~1", &first), (&first[..10], &first), (&second, &second), ("main", &second)]
            .into_iter()
            .enumerate()
    {
        let dest = world.load(&format!("r{number}"), json!({"revision": revision})).await.unwrap();
        assert_eq!(&git(&dest, &["rev-parse", "HEAD"]), commit, "{revision}");
        assert_eq!(git(&dest, &["status", "--porcelain"]), "", "{revision}");
        assert_eq!(dest.join("large").exists(), commit == &second, "{revision}");
    }
    let dest = world.load("other", json!({"revision": "other"})).await.unwrap();
    assert!(dest.join("other.txt").exists());
    let error = world.load("none", json!({"revision": "v9"})).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].git.revision") && error.to_string().contains("\"v9\""), "{error}");
    assert!(!world.folder.path().join("none").exists() && !world.folder.path().join("none.tmpload").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_depth_and_refs() {
    let world = world().await;
    let dest = world.load("single", json!({"singleBranch": true, "branch": "other"})).await.unwrap();
    assert_eq!(
        (git(&dest, &["branch", "--show-current"]), git(&dest, &["branch", "-r"])),
        ("other".into(), "origin/other".into())
    );
    let dest = world.load("shallow", json!({"depth": 1, "disableSubmodules": true})).await.unwrap();
    assert_eq!(git(&dest, &["rev-list", "--count", "HEAD"]), "1");
    assert!(std::fs::read_dir(dest.join("vendor/lib")).map_or(0, Iterator::count) == 0, "no submodules");
    // What lies deeper than the depth is loaded when it is asked for.
    let dest = world.load("deeper", json!({"depth": 1, "revision": "main~1"})).await.unwrap();
    assert_eq!(git(&dest, &["rev-parse", "HEAD"]), world.first);
    let more = json!({"fetch": ["refs/pull/*/head:refs/pull/*/head"], "revision": "refs/pull/7/head"});
    let dest = world.load("pull", more).await.unwrap();
    assert!(dest.join("other.txt").exists());
    let error = world.load("x", json!({"singleBranch": true, "branch": "none"})).await.unwrap_err();
    assert_eq!(error.class(), Class::Permanent, "{error}");
    let error = world.load("x", json!({"singleBranch": true})).await.unwrap_err();
    assert!(error.to_string().contains("single branch mode without a branch"), "{error}");
    let error = world.load("x", json!({"depth": -1})).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].git.depth"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_sent_and_never_shown() {
    let allowed = |request: &Request, good: Answer| match request.header("authorization") {
        // robot:t0ken
        "Basic cm9ib3Q6dDBrZW4=" => good,
        _ => answer(401, "").with("www-authenticate", "Basic"),
    };
    let world = world_with(allowed).await;
    let keys = |password: &str| json!({"usernameSecret": {"name": "s", "key": "user"}, "passwordSecret": {"name": "s", "key": password}});
    let dest = world.load("in", keys("password")).await.unwrap();
    assert_eq!(read(dest.join("vendor/lib/lib.txt")), "library");
    let config = read(dest.join(".git/config"));
    assert!(!config.contains("t0ken") && !config.contains("robot"), "{config}");
    let error = world.load("x", json!({})).await.unwrap_err();
    assert!(error.to_string().contains("usernameSecret and passwordSecret"), "{error}");
    assert_eq!(error.class(), Class::Permanent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_now_is_tried_again_and_what_is_not_there_is_said() {
    let count = AtomicUsize::new(0);
    let twist = move |request: &Request, good: Answer| match count.fetch_add(1, Ordering::Relaxed) {
        0 => answer(503, ""),
        // A pack that breaks off in the middle.
        3 if request.method == "POST" => Answer { cut: Some(good.body.len() / 2), ..good },
        _ => good,
    };
    let world = world_with(twist).await;
    let dest = world.load("in", json!({})).await.unwrap();
    git(&dest, &["fsck", "--strict"]);
    let artifacts = Artifacts::new(tiphys_artifact::NoSecrets, Options { retry: quick(), ..Options::default() });
    let dest = world.folder.path().join("x");
    let error = artifacts.load_input(&world.at("none", json!({})), &dest).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
    let world_empty = world.folder.path().join("repos/empty");
    std::fs::create_dir(&world_empty).unwrap();
    git(&world_empty, &["init", "-q"]);
    artifacts.load_input(&world.at("empty", json!({})), &dest).await.unwrap();
    assert!(dest.join(".git/HEAD").exists(), "an empty repository is no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_offered_is_named() {
    let world = world().await;
    let artifacts = Artifacts::new(|_: &str, _: &str| Ok(Secret::new("hunter2")), Options::default());
    let dest = world.folder.path().join("x");
    let key = json!({"name": "s", "key": "k"});
    for (git, why) in [
        (json!({"repo": "git@github.com:argoproj/argo-workflows.git"}), "git.repo is an address of ssh"),
        (json!({"repo": "ssh://git@host/x"}), "which needs sshPrivateKeySecret"),
        (json!({"repo": "/etc"}), "artifacts[].git.repo is neither"),
        (json!({"repo": "ssh://git:hunter2@host/x"}), "artifacts[].git.repo is neither"),
        (json!({"repo": "https://h/x", "sshPrivateKeySecret": key}), "artifacts[].git.sshPrivateKeySecret is for ssh"),
        (json!({"repo": "git@h:x", "sshPrivateKeySecret": key}), "sshPrivateKeySecret holds no private key"),
    ] {
        let artifact: Artifact = serde_json::from_value(json!({"name": "a", "git": git})).unwrap();
        let error = artifacts.load_input(&artifact, &dest).await.unwrap_err();
        assert!(error.to_string().contains(why) && !error.to_string().contains("hunter2"), "{error}");
    }
    let there = world.at("app", json!({}));
    assert!(artifacts.delete(&there).await.unwrap_err().to_string().contains("artifacts[].git cannot be deleted"));
}
