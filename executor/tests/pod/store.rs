//! An S3 server on loopback for a test's Pod.

use std::path::Path;

use tiphys_s3server::S3Server;

use super::Pod;

pub struct Store {
    runtime: tokio::runtime::Runtime,
    server: Option<S3Server>,
    root: tempfile::TempDir,
}

impl Store {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let server = runtime.block_on(S3Server::start(root.path(), &["bucket"])).unwrap();
        Self { runtime, server: Some(server), root }
    }

    /// The template's `archiveLocation`, whose secrets are put where the Pod looks for them.
    pub fn location(&self, pod: &Pod, logs: bool) -> serde_json::Value {
        self.write_keys(&pod.paths.secrets.join("cred"), "access", "secret");
        let host = self.address();
        serde_json::json!({"archiveLogs": logs, "s3": {"endpoint": host, "insecure": true, "bucket": "bucket",
            "key": "wf/pod", "accessKeySecret": {"name": "cred", "key": "access"},
            "secretKeySecret": {"name": "cred", "key": "secret"}}})
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.server.as_ref().unwrap().endpoint().trim_start_matches("http://")
    }

    /// The keys as files of a mounted Secret.
    pub fn write_keys(&self, folder: &Path, access: &str, secret: &str) {
        let server = self.server.as_ref().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(access), server.access_key()).unwrap();
        std::fs::write(folder.join(secret), server.secret_key().expose()).unwrap();
    }

    /// The bytes of an object.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(key)).ok()
    }

    /// Where an object's bytes lie on this machine.
    pub fn path(&self, key: &str) -> std::path::PathBuf {
        self.root.path().join("bucket").join(key)
    }

    /// How many uploads in parts are under way, or were left.
    pub fn uploads(&self) -> usize {
        std::fs::read_dir(self.root.path().join(".tiphys-s3/uploads")).unwrap().count()
    }

    pub fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}
