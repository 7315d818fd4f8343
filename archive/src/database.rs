//! The connection to a database.

use std::sync::{Arc, OnceLock};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Row as _, Transaction};

use crate::dialect::Dialect;
use crate::statement::Statement;
use crate::{Engine, Error, Reconnection, Settings};

/// How long whoever is at the tables is waited for.
const HELD_OFF_SECONDS: u32 = 60;

/// A database. Connections are made when they are needed.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    pub(crate) dialect: Dialect,
    reconnection: Reconnection,
}

impl Database {
    /// A database with these settings. It need not be there yet.
    ///
    /// # Errors
    /// [`Error::Settings`]
    pub fn new(settings: &Settings) -> Result<Database, Error> {
        static DRIVERS: OnceLock<()> = OnceLock::new();
        DRIVERS.get_or_init(sqlx::any::install_default_drivers);
        let url = settings.engine.url()?;
        let options = AnyConnectOptions::from_url(&url).map_err(|error| Error::of("its address", error))?;
        // Statements are of no interest to an operator, and their values are users' data.
        let options = options.disable_statement_logging();
        let (dialect, most) = match settings.engine {
            Engine::PostgreSql(_) => (Dialect::PostgreSql, settings.pool.most),
            Engine::MySql(_) => (Dialect::MySql, settings.pool.most),
            // A file has one writer; a second connection would only be refused while the first writes.
            Engine::Sqlite(_) => (Dialect::Sqlite, 1),
        };
        let itself: Arc<OnceLock<AnyPool>> = Arc::default();
        let idle = settings.pool.idle.filter(|_| dialect != Dialect::Sqlite);
        let known = itself.clone();
        let pool = AnyPoolOptions::new()
            .max_connections(most.max(1))
            .max_lifetime(settings.pool.lifetime)
            .acquire_timeout(settings.timeout)
            .after_release(move |_, _| {
                let waiting = known.get().map_or(0, AnyPool::num_idle);
                let kept = idle.is_none_or(|idle| waiting < usize::try_from(idle).unwrap_or(usize::MAX));
                Box::pin(async move { Ok(kept) })
            })
            .connect_lazy_with(options);
        if idle.is_some() {
            let _ = itself.set(pool.clone());
        }
        Ok(Database { pool, dialect, reconnection: settings.reconnection })
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A statement in this database's language.
    pub(crate) fn statement(&self, text: impl Into<String>) -> Statement {
        Statement::new(self.dialect, text)
    }

    /// Carries out a statement; tells how many rows it touched.
    pub(crate) async fn execute(&self, what: &'static str, statement: &Statement) -> Result<u64, Error> {
        self.patiently(|| async {
            let done = statement.query().execute(&self.pool).await;
            done.map(|done| done.rows_affected()).map_err(|error| Error::of(what, error))
        })
        .await
    }

    /// The rows that a statement finds.
    pub(crate) async fn rows(&self, what: &'static str, statement: &Statement) -> Result<Vec<AnyRow>, Error> {
        self.patiently(|| async {
            statement.query().fetch_all(&self.pool).await.map_err(|error| Error::of(what, error))
        })
        .await
    }

    /// Carries out several statements, all or none.
    pub(crate) async fn together(&self, what: &'static str, statements: &[Statement]) -> Result<(), Error> {
        self.patiently(|| async {
            let refused = |error| Error::of(what, error);
            let mut transaction = self.pool.begin().await.map_err(refused)?;
            for statement in statements {
                statement.query().execute(&mut *transaction).await.map_err(refused)?;
            }
            transaction.commit().await.map_err(refused)
        })
        .await
    }

    /// Carries out a statement if its guard touches a row: then nobody else does.
    pub(crate) async fn once(
        &self,
        what: &'static str,
        guard: &Statement,
        statement: Option<&Statement>,
    ) -> Result<(), Error> {
        self.patiently(|| async {
            let refused = |error| Error::of(what, error);
            let mut transaction = self.pool.begin().await.map_err(refused)?;
            let touched = guard.query().execute(&mut *transaction).await.map_err(refused)?.rows_affected();
            if let Some(statement) = statement.filter(|_| touched > 0) {
                statement.query().execute(&mut *transaction).await.map_err(refused)?;
            }
            transaction.commit().await.map_err(refused)
        })
        .await
    }

    /// Holds everybody off who asks for the same name in the same database, until the connection ends. In MySQL, where a
    /// statement about tables ends the transaction that it is in; None elsewhere. Source: MySQL, "Locking Functions".
    pub(crate) async fn hold_off(&self, what: &'static str, name: &str) -> Result<Option<AnyConnection>, Error> {
        if self.dialect != Dialect::MySql {
            return Ok(None);
        }
        // Not of the pool: whoever is alone needs what that has.
        let options = self.pool.connect_options();
        let hold = self.statement(format!("select get_lock(md5(concat(database(), '.{name}')), {HELD_OFF_SECONDS})"));
        self.patiently(|| async {
            let refused = |error| Error::of(what, error);
            let mut connection = options.connect().await.map_err(refused)?;
            let held = hold.query().fetch_one(&mut connection).await.map_err(refused)?;
            match number(&held, 0)? {
                1 => Ok(Some(connection)),
                _ => Err(Error::Unreachable("somebody else has been at the same tables for a minute".into())),
            }
        })
        .await
    }

    /// Begins what others see as done at one moment, if they read and write in such a way themselves.
    pub(crate) async fn serializable(&self, what: &'static str) -> Result<Transaction<'static, Any>, Error> {
        let begun = self.pool.begin_with(self.dialect.begin_serializable()).await;
        begun.map_err(|error| Error::of(what, error))
    }

    /// Tries again while the server is away, as often as the settings say. What is tried may be done twice: whoever calls
    /// this takes care that it does no harm.
    pub(crate) async fn patiently<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() && failures < self.reconnection.retries => {
                    if failures == 0 {
                        tracing::warn!(%error, "the database does not answer; it is asked again");
                    }
                    tokio::time::sleep(self.reconnection.pause(failures)).await;
                    failures += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A column of text; empty where it is null.
pub(crate) fn text(row: &AnyRow, index: usize) -> Result<String, Error> {
    let found: Option<String> = row.try_get(index).map_err(|error| Error::of("to tell a column", error))?;
    Ok(found.unwrap_or_default())
}

/// A column that counts.
pub(crate) fn number(row: &AnyRow, index: usize) -> Result<i64, Error> {
    row.try_get(index).map_err(|error| Error::of("to tell a number", error))
}
