//! Repositories over ssh, from a server in this process, which runs git itself, and from OpenSSH's where there is one.
#![cfg(feature = "git")]
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/repos.rs"]
mod repos;
#[path = "common/sshd.rs"]
mod sshd;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::{noise, quick};
use repos::git;
use serde_json::{Value, json};
use sshd::{Odd, Server, data, text};
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Class, Environment, Error, Loaded, Options, Retry, Secret};

const USER: &str = "git";

struct World {
    folder: tempfile::TempDir,
    server: Server,
    user: String,
    second: String,
}

async fn world(odd: Odd) -> World {
    over(sshd::start(&["host_ed25519", "host_rsa"], odd).await, USER.to_owned())
}

fn over(server: Server, user: String) -> World {
    let folder = tempfile::tempdir().unwrap();
    let (_, second) = repos::make(&folder.path().join("repos"));
    World { folder, server, user, second }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The repository of that name below the tests' folder.
    fn url(&self, repo: &str) -> String {
        format!("ssh://{}@{}{}", self.user, self.server.address, self.path("repos").join(repo).display())
    }

    /// Writes the known hosts: the keys of these names for the server.
    fn know(&self, keys: &[&str]) {
        let address = self.server.address;
        let line = |key: &&str| format!("[{}]:{} {}", address.ip(), address.port(), text(&format!("{key}.pub")));
        std::fs::write(self.path("known_hosts"), keys.iter().map(line).collect::<String>()).unwrap();
    }

    async fn load_as(&self, key: &str, repo: &str, more: Value) -> Result<PathBuf, Error> {
        let dest = self.path("in");
        let known = self.path("known_hosts").display().to_string();
        let lookup = |name: &str| (name == "SSH_KNOWN_HOSTS").then(|| format!("/nonexistent:{known}"));
        let options = Options {
            retry: Retry { tries: 3, ..quick() },
            environment: Environment::from_lookup(lookup),
            ..Options::default()
        };
        let secrets = |_: &str, key: &str| Ok(Secret::new(text(key)));
        let mut git = json!({"repo": repo, "sshPrivateKeySecret": {"name": "s", "key": key}});
        git.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let artifact: Artifact = serde_json::from_value(json!({"name": "src", "path": "/src", "git": git})).unwrap();
        let loaded = Artifacts::new(secrets, options).load_input(&artifact, &dest).await?;
        assert!(matches!(loaded, Loaded::Directory(_)), "{loaded:?}");
        Ok(dest)
    }

    async fn load(&self, more: Value) -> Result<PathBuf, Error> {
        self.load_as("id_ed25519", &self.url("app"), more).await
    }

    /// Whether what was loaded is the whole repository, as git itself sees it.
    fn is_whole(&self, dest: &Path) {
        assert_eq!(std::fs::read(dest.join("large")).unwrap(), noise(600_000, 1));
        assert_eq!(std::fs::read_to_string(dest.join("vendor/lib/lib.txt")).unwrap(), "library");
        assert_eq!(git(dest, &["rev-parse", "HEAD"]), self.second);
        assert_eq!(git(dest, &["status", "--porcelain"]), "");
        git(dest, &["fsck", "--strict"]);
        assert_eq!(git(dest, &["config", "remote.origin.url"]), self.url("app"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_with_its_submodules_in_both_protocols() {
    for no_variables in [false, true] {
        let world = world(Odd { no_variables, ..Odd::default() }).await;
        world.know(&["host_ed25519"]);
        let dest = world.load(json!({})).await.unwrap();
        world.is_whole(&dest);
        assert_eq!(world.server.logins.lock().unwrap()[0], ("git".to_owned(), "ssh-ed25519".to_owned()));
        // The repository and its submodule, each in one connection.
        let repos = world.path("repos").display().to_string();
        let run = [format!("git-upload-pack '{repos}/app'"), format!("git-upload-pack '{repos}/lib'")];
        assert_eq!(*world.server.commands.lock().unwrap(), run);
        let dest = world.load(json!({"depth": 1, "disableSubmodules": true})).await.unwrap();
        // All of the history comes where the protocol is the older one.
        assert_eq!(git(&dest, &["rev-list", "--count", "HEAD"]), if no_variables { "2" } else { "1" });
        git(&dest, &["fsck", "--strict"]);
        let dest = world.load(json!({"depth": 1, "revision": "main~1"})).await.unwrap();
        assert!(!dest.join("large").exists());
        let dest = world.load(json!({"singleBranch": true, "branch": "other"})).await.unwrap();
        assert_eq!(git(&dest, &["branch", "-r"]), "origin/other");
    }
}

#[tokio::test]
async fn one_thread_is_enough() {
    let world = world(Odd::default()).await;
    world.know(&["host_ed25519"]);
    let (port, app) = (world.server.address.port(), world.path("repos/app"));
    // As scp writes it, with go-git's port.
    let scp = format!("{USER}@127.0.0.1:{port}:{}", app.display());
    world.is_whole(&world.load_as("id_ed25519", &scp, json!({})).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_each_kind_and_form() {
    let world = world(Odd::default()).await;
    world.know(&["host_rsa"]);
    for (key, signature) in [
        ("id_rsa", "rsa-sha2-512"),
        ("id_ecdsa", "ecdsa-sha2-nistp256"),
        ("id_sec1", "ecdsa-sha2-nistp384"),
        ("id_ed25519", "ssh-ed25519"),
    ] {
        world.server.logins.lock().unwrap().clear();
        // The host's other key comes first where nobody asks for the one that is known.
        world.load_as(key, &world.url("lib"), json!({})).await.unwrap();
        assert_eq!(*world.server.logins.lock().unwrap(), [("git".to_owned(), signature.to_owned())]);
    }
    let error = world.load_as("id_locked", &world.url("lib"), json!({})).await.unwrap_err();
    assert!(error.to_string().contains("without a passphrase"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_known_host_is_trusted() {
    let world = world(Odd::default()).await;
    let refused = async |why: &str| {
        let error = world.load(json!({})).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}\nshould say {why}");
        assert_eq!(error.class(), Class::Permanent, "{error}");
        assert!(world.server.logins.lock().unwrap().is_empty(), "nobody logs in there");
    };
    refused("SSH_KNOWN_HOSTS").await;
    refused("artifacts[].git.insecureIgnoreHostKey").await;
    // Somebody else's key of the same kind.
    std::fs::write(
        world.path("known_hosts"),
        format!("[127.0.0.1]:{} {}", world.server.address.port(), text("id_ed25519.pub")),
    )
    .unwrap();
    refused("has another key").await;
    world.know(&["host_ed25519"]);
    let line = std::fs::read_to_string(world.path("known_hosts")).unwrap();
    std::fs::write(world.path("known_hosts"), format!("{line}@revoked * {}", text("host_ed25519.pub"))).unwrap();
    refused("is revoked").await;
    std::fs::remove_file(world.path("known_hosts")).unwrap();
    world.load(json!({"insecureIgnoreHostKey": true})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_said() {
    let world = world(Odd::default()).await;
    world.know(&["host_ed25519"]);
    let error = world.load_as("id_ed25519", &world.url("none"), json!({})).await.unwrap_err();
    assert!(error.to_string().contains("git on the server says: fatal: '"), "{error}");
    assert!(error.to_string().contains("does not appear to be a git repository"), "{error}");
    let logins = world.server.logins.lock().unwrap().len();
    let stranger = world.url("app").replace("git@", "nobody@");
    let error = world.load_as("id_ed25519", &stranger, json!({})).await.unwrap_err();
    assert!(error.to_string().contains("does not take the key of artifacts[].git.sshPrivateKeySecret"), "{error}");
    assert_eq!((error.class(), world.server.logins.lock().unwrap().len()), (Class::Permanent, logins));
    // The host's key is no key of a user.
    let error = world.load_as("host_ed25519", &world.url("app"), json!({})).await.unwrap_err();
    assert!(error.to_string().contains("does not take the key"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_off_is_made_again() {
    let world = world(Odd { breaks: Some((2, 100_000)), ..Odd::default() }).await;
    world.know(&["host_ed25519"]);
    world.is_whole(&world.load(json!({})).await.unwrap());
    assert_eq!(world.server.commands.lock().unwrap().len(), 4, "two that broke off, the repository, the submodule");
    let gone = world.url("app").replace(&world.server.address.port().to_string(), "1");
    let error = world.load_as("id_ed25519", &gone, json!({})).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh() {
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    let Some(server) = sshd::openssh(&["host_ed25519", "host_rsa"]) else {
        // Not by a macro: the reason must be seen though the test passes.
        std::io::stderr().write_all(b"skipped: no sshd at /usr/sbin/sshd or TIPHYS_TEST_SSHD\n").unwrap();
        return;
    };
    let world = over(server, user);
    for (host, key) in [("host_ed25519", "id_rsa"), ("host_rsa", "id_ed25519"), ("host_rsa", "id_sec1")] {
        world.know(&[host]);
        let dest = world.load_as(key, &world.url("app"), json!({})).await.unwrap();
        world.is_whole(&dest);
    }
    world.know(&["id_ed25519"]);
    assert!(world.load(json!({})).await.unwrap_err().to_string().contains("has another key"));
    assert!(data("id_ed25519").exists());
}
