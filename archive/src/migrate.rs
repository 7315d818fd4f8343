//! Brings a database's tables up to date. argo: util/sqldb/migrate.go.

use sqlx::Connection as _;

use crate::database::number;
use crate::dialect::Dialect;
use crate::schema::{self, HISTORY, NOW, OLDEST};
use crate::statement::Statement;
use crate::{Database, Error};

/// What is wanted, in an error's words.
const WHAT: &str = "to bring the tables up to date";

impl Database {
    /// Makes the tables, or brings those of an older Argo up to date. `nodes` is the name of the table of nodes
    /// (`tableName`). Newer ones stay as they are.
    ///
    /// # Errors
    /// [`Error::TooOld`], or the database refuses.
    pub async fn migrate(&self, nodes: &str) -> Result<(), Error> {
        is_name(nodes)?;
        self.bring_up_to_date(HISTORY, async |version| match version {
            -1 => self.make(nodes).await,
            version if version < OLDEST => Err(Error::TooOld { version }),
            version => self.change(HISTORY, version, NOW, |number| schema::change(number, self.dialect)).await,
        })
        .await
    }

    /// Does what changes the tables that a history counts the changes of; `work` is told how many they have seen, -1 for none.
    ///
    /// Two guards keep others from doing the same at once, and neither can stand in for the other. In PostgreSQL and SQLite a
    /// change is one transaction with its count, which Argo's controllers respect as well. In MySQL a change of tables ends
    /// the transaction that it is in: there nobody of ours begins while another is at it.
    pub(crate) async fn bring_up_to_date(
        &self,
        history: &str,
        work: impl AsyncFnOnce(i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let others = self.hold_off(WHAT, history).await?;
        let done = async { work(self.begin_history(history).await?).await }.await;
        if let Some(connection) = others {
            // It ends in any case.
            let _ = connection.close().await;
        }
        done
    }

    /// Makes sure that the tables are there, without changing any.
    ///
    /// # Errors
    /// [`Error::NotMigrated`], or the database refuses.
    pub async fn is_migrated(&self, nodes: &str) -> Result<(), Error> {
        is_name(nodes)?;
        match self.version(HISTORY).await? {
            Some(version) if version >= NOW => Ok(()),
            version => Err(Error::NotMigrated { version: version.unwrap_or(-1) }),
        }
    }

    async fn make(&self, nodes: &str) -> Result<(), Error> {
        let mut steps: Vec<_> =
            schema::tables(self.dialect, nodes).into_iter().map(|table| self.statement(table)).collect();
        steps.push(self.counted(HISTORY, NOW, -1));
        self.together(WHAT, &steps).await
    }

    /// How many changes a database has seen, by the table that counts them; the table is made where there is none.
    async fn begin_history(&self, history: &str) -> Result<i64, Error> {
        let version = match self.version(history).await {
            // There is no such table.
            Err(Error::Refused { .. }) => {
                self.execute(WHAT, &self.statement(schema::history(history))).await?;
                self.version(history).await?
            }
            version => version?,
        };
        if let Some(version) = version {
            return Ok(version);
        }
        // One row, whoever else begins at the same moment: a second one would count anew what the first has seen.
        let first = match self.dialect {
            Dialect::PostgreSql | Dialect::Sqlite => "select -1",
            Dialect::MySql => "select -1 from dual",
        };
        let first = format!("insert into {history} {first} where not exists (select 1 from {history})");
        // In PostgreSQL nobody sees a row that another is about to write.
        let alone = (self.dialect == Dialect::PostgreSql).then(|| format!("lock table {history} in exclusive mode"));
        let steps: Vec<_> = alone.into_iter().chain([first]).map(|step| self.statement(step)).collect();
        self.together(WHAT, &steps).await?;
        Ok(self.version(history).await?.unwrap_or(-1))
    }

    /// Carries out the changes that a database has not seen, each by one of those who try; within
    /// [`Database::bring_up_to_date`].
    pub(crate) async fn change(
        &self,
        history: &str,
        version: i64,
        now: i64,
        change: impl Fn(i64) -> Option<String>,
    ) -> Result<(), Error> {
        for next in version + 1..=now {
            let change = change(next).map(|change| self.statement(change));
            let counted = self.counted(history, next, next - 1);
            if self.dialect != Dialect::MySql {
                self.once(WHAT, &counted, change.as_ref()).await?;
                continue;
            }
            // Counted when it is done: a change that is given up for the sake of another transaction is tried again.
            if let Some(change) = change {
                match self.execute(WHAT, &change).await {
                    Err(Error::Refused { reason, .. }) if is_done(&reason) => {}
                    done => drop(done?),
                }
            }
            self.execute(WHAT, &counted).await?;
        }
        Ok(())
    }

    fn counted(&self, history: &str, now: i64, before: i64) -> Statement {
        self.statement(format!("update {history} set schema_version = {now} where schema_version = {before}"))
    }

    async fn version(&self, history: &str) -> Result<Option<i64>, Error> {
        let asked = self.statement(format!("select cast(schema_version as {}) from {history}", self.integer()));
        let rows = self.rows(WHAT, &asked).await?;
        rows.first().map(|row| number(row, 0)).transpose()
    }

    fn integer(&self) -> &'static str {
        match self.dialect {
            Dialect::PostgreSql => "bigint",
            Dialect::MySql => "signed",
            Dialect::Sqlite => "integer",
        }
    }
}

/// Whether a change is refused since it was made before, by somebody who was killed before it was counted.
fn is_done(reason: &str) -> bool {
    ["Duplicate key name", "Duplicate column name", "Can't DROP"].iter().any(|words| reason.starts_with(words))
}

/// A table's name becomes part of statements.
pub(crate) fn is_name(name: &str) -> Result<(), Error> {
    is_named("tableName", name)
}

/// The same for a table that another field names.
pub(crate) fn is_named(field: &str, name: &str) -> Result<(), Error> {
    let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match !name.is_empty() && name.len() <= 50 && letters(name) && !name.as_bytes()[0].is_ascii_digit() {
        true => Ok(()),
        false => Err(Error::Settings(format!("{field} '{name}' must be letters, digits and underscores"))),
    }
}
