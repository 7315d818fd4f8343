//! A controller's database: a file of SQLite, with the tables in it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

use std::path::PathBuf;
use std::time::Duration;

use tiphys_archive::{Archive, Database, Engine, OffloadedNodes, PoolSize, Reconnection, Settings};

const TABLE: &str = "argo_workflows";

/// The file; it goes with the value.
pub struct SqliteFile {
    folder: tempfile::TempDir,
}

impl SqliteFile {
    pub fn new() -> SqliteFile {
        let file = SqliteFile { folder: tempfile::tempdir().unwrap() };
        file.with(async |database| database.migrate(TABLE).await.unwrap());
        file
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("argo.db")
    }

    /// What the controller's ConfigMap says of it.
    pub fn persistence(&self) -> String {
        format!("sqlite: {{path: {}}}\n", self.path().display())
    }

    /// Does something with it as a controller would.
    pub fn with<T>(&self, act: impl AsyncFnOnce(&Database) -> T) -> T {
        let settings = Settings {
            engine: Engine::Sqlite(self.path()),
            pool: PoolSize::default(),
            timeout: Duration::from_secs(10),
            reconnection: Reconnection::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = Database::new(&settings).unwrap();
            let done = act(&database).await;
            database.close().await;
            done
        })
    }

    pub fn nodes(&self, database: &Database) -> OffloadedNodes {
        OffloadedNodes::new(database.clone(), "default", TABLE).unwrap()
    }

    pub fn archive(&self, database: &Database) -> Archive {
        Archive::new(database.clone(), "default", "", "")
    }
}
