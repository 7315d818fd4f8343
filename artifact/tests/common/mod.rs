//! What several test binaries need: an S3 server on loopback and trees of files.
#![allow(dead_code, clippy::unwrap_used)] // Each binary uses its own part; a failed set-up fails the test.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tiphys_artifact::{Addressing, Opened, Retry, S3Config, Secret};
use tiphys_s3server::S3Server;

pub const BUCKET: &str = "artifacts";

pub struct Server {
    pub server: S3Server,
    _folder: tempfile::TempDir,
}

pub async fn s3() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), &[BUCKET]).await.unwrap();
    Server { server, _folder: folder }
}

/// A server that is not this test's, from `TIPHYS_TEST_S3`, `TIPHYS_TEST_S3_ACCESS_KEY` and `TIPHYS_TEST_S3_SECRET_KEY`.
pub fn named_server() -> Option<S3Config> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let secret = |name| Secret::new(variable(name).unwrap_or_default());
    let endpoint = variable("TIPHYS_TEST_S3")?;
    let keys = (secret("TIPHYS_TEST_S3_ACCESS_KEY"), secret("TIPHYS_TEST_S3_SECRET_KEY"));
    let mut config = S3Config::new(endpoint, "tiphys-conformance", keys.0, keys.1);
    config.create_bucket = Some(false);
    config.part_size = 5 << 20;
    Some(config)
}

/// A retry that does not make tests wait.
pub fn quick() -> Retry {
    Retry { first: Duration::from_millis(1), longest: Duration::from_millis(5), ..Retry::default() }
}

impl Server {
    pub fn config(&self) -> S3Config {
        self.config_at(self.server.endpoint())
    }

    pub fn config_at(&self, endpoint: &str) -> S3Config {
        let keys = (Secret::new(self.server.access_key()), Secret::new(self.server.secret_key().expose()));
        let mut config = S3Config::new(endpoint, BUCKET, keys.0, keys.1);
        config.insecure = true;
        config.addressing = Addressing::Auto;
        config.part_size = 5 << 20;
        config.retry = quick();
        config
    }
}

/// What is at a path of a test's own.
pub fn opened(path: &Path) -> Opened {
    Opened::at(path).unwrap()
}

/// Bytes that do not compress and differ everywhere.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// What is below a folder: relative path to kind, mode and content.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            found.insert(name, format!("-> {}", path.read_link().unwrap().display()));
        } else if metadata.is_dir() {
            found.insert(name, format!("dir {mode:o}"));
            for item in std::fs::read_dir(path).unwrap() {
                walk(root, &item.unwrap().path(), found);
            }
        } else {
            let content = std::fs::read(path).unwrap();
            let shown = String::from_utf8(content).unwrap_or_else(|other| format!("{} bytes", other.as_bytes().len()));
            found.insert(name, format!("{mode:o} {shown}"));
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}
