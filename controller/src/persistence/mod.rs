//! The database of the configuration's `persistence`: finished workflows go into its archive,
//! and nodes of large ones into a table of their own.
//!
//! It is connected to when it is needed, and may be away: whoever needs it waits and asks again, and nobody else.

mod archiving;
mod collecting;
mod options;
mod server;
mod settings;

pub use archiving::{is_awaited, keep};
pub use collecting::collect;
pub use options::PersistenceOptions;
pub use server::{DatabaseSettings, SecretKey};
pub(crate) use server::{WrittenMySql, WrittenPool, WrittenPostgreSql, WrittenReconnection, WrittenServers, wrong};
pub use settings::{Persistence, WrittenPersistence};

use tiphys_archive::{Archive, Credentials, Database, OffloadedNodes};
use tiphys_kubernetes::{Api, ApiError, SecretError};
use tokio::sync::Mutex;

use crate::cluster::Cluster;

/// A database that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PersistenceError {
    /// The configuration names none any more.
    #[error("the configuration has no persistence")]
    Unconfigured,
    /// The name and password cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Workflows cannot be listed.
    #[error("workflows cannot be listed: {0}")]
    Workflows(ApiError),
    /// The database.
    #[error(transparent)]
    Database(#[from] tiphys_archive::Error),
}

/// The connection to the database, which all share.
#[derive(Default)]
pub struct Connection {
    open: Mutex<Option<(DatabaseSettings, Database)>>,
}

impl Connection {
    /// The archive, once its database is there and its tables are.
    ///
    /// # Errors
    /// See [`PersistenceError`]; asking again may help.
    pub async fn archive(&self, cluster: &Cluster) -> Result<Archive, PersistenceError> {
        let (persistence, database) = self.database(cluster).await?;
        let instance = cluster.config().pod.instance_id.clone();
        Ok(Archive::new(database, &persistence.cluster_name, &instance, &cluster.watched))
    }

    /// The nodes of large workflows, once their database is there.
    ///
    /// # Errors
    /// As [`Connection::archive`].
    pub async fn nodes(&self, cluster: &Cluster) -> Result<OffloadedNodes, PersistenceError> {
        let (persistence, database) = self.database(cluster).await?;
        Ok(OffloadedNodes::new(database, &persistence.cluster_name, &persistence.table)?)
    }

    /// The database, as the configuration names it now. One that refuses our password is opened anew the next time, with what
    /// its Secrets hold then.
    async fn database(&self, cluster: &Cluster) -> Result<(Persistence, Database), PersistenceError> {
        let persistence = cluster.config().persistence.clone().ok_or(PersistenceError::Unconfigured)?;
        let mut open = self.open.lock().await;
        if let Some((settings, database)) = &*open
            && *settings == persistence.database
        {
            return Ok((persistence, database.clone()));
        }
        if let Some((_, before)) = open.take() {
            before.close().await;
        }
        let settings = persistence.database.with(&Secrets::new(&cluster.api, &cluster.namespace)).await?;
        let database = Database::new(&settings)?;
        // Whoever looks on leaves the tables to whoever works.
        match persistence.skip_migration || cluster.config().shadow {
            true => database.is_migrated(&persistence.table).await?,
            false => database.migrate(&persistence.table).await?,
        }
        tracing::info!("the database of `persistence` is ready");
        *open = Some((persistence.database.clone(), database.clone()));
        Ok((persistence, database))
    }

    /// What came of its use: after a refusal of our password it is opened anew.
    pub async fn note<T>(&self, outcome: &Result<T, PersistenceError>) {
        if let Err(PersistenceError::Database(tiphys_archive::Error::Credentials)) = outcome
            && let Some((_, database)) = self.open.lock().await.take()
        {
            database.close().await;
        }
    }
}

/// Secrets of the controller's own namespace.
pub struct Secrets<'a> {
    api: &'a Api,
    namespace: &'a str,
}

impl<'a> Secrets<'a> {
    /// Those of a namespace, read with the rights of whoever asks.
    pub fn new(api: &'a Api, namespace: &'a str) -> Secrets<'a> {
        Secrets { api, namespace }
    }

    pub(crate) async fn credentials(&self, user: &SecretKey, password: &SecretKey) -> Result<Credentials, SecretError> {
        Ok(Credentials { user: self.text(user).await?, password: self.text(password).await? })
    }

    async fn text(&self, wanted: &SecretKey) -> Result<String, SecretError> {
        self.api.secret_text(self.namespace, &wanted.name, &wanted.key).await
    }
}
