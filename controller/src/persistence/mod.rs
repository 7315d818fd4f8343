//! The database of the configuration's `persistence`: finished workflows go into its archive,
//! and nodes of large ones into a table of their own.
//!
//! It is connected to when it is needed, and may be away: whoever needs it waits and asks again, and nobody else.

mod archiving;
mod collecting;
mod options;

pub use archiving::{is_awaited, keep};
pub use collecting::collect;
pub use options::PersistenceOptions;

use tiphys_archive::config::{DatabaseSettings, Persistence};
use tiphys_archive::{Archive, Database, OffloadedNodes, Settings};
use tiphys_kubernetes::{ApiError, SecretError};
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
        let database = Database::new(&connection_settings(cluster, &persistence.database).await?)?;
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

/// How a database is connected to, with the name and password that its Secrets hold now: they are in the controller's own
/// namespace.
///
/// # Errors
/// See [`SecretError`].
pub(crate) async fn connection_settings(
    cluster: &Cluster,
    database: &DatabaseSettings,
) -> Result<Settings, SecretError> {
    let (api, namespace) = (&cluster.api, &cluster.namespace);
    database.with(|secret| async move { api.secret_text(namespace, &secret.name, &secret.key).await }).await
}
