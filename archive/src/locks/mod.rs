//! Locks that several controllers share, ours and Argo's, in Argo's tables. argo: workflow/sync/database_semaphore.go,
//! util/sync/db/queries.go.
//!
//! A row of the state table is somebody who holds a lock, or waits for it. Rows are changed from waiting to held in a
//! serialisable transaction, as Argo does it: there two controllers never both see the same place free. The lock table keeps
//! them from trying at the same time, which is for peace alone. Argo's controllers put a row there, try, and remove it; here
//! the row is put and removed within the transaction, so that nothing stays when this process dies.

mod schema;
mod taking;

pub use schema::TableNames;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::database::text;
use crate::statement::Statement;
use crate::{Database, Error};
use schema::{HISTORY, NOW};

/// The most that a column for a name holds, in characters.
const NAME: usize = 256;

/// The locks in a database, as one controller sees them.
#[derive(Clone, Debug)]
pub struct LockTables {
    database: Database,
    names: TableNames,
    controller: String,
    inactive: Duration,
}

/// Somebody who waits for locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockPlace {
    /// `<namespace>/<workflow>`, or that and the node's id.
    pub holder: String,
    /// The workflow's priority: higher ones come first.
    pub priority: i64,
    /// When it was created: of the same priority the older comes first.
    pub created: Timestamp,
}

/// A lock that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockKey {
    /// `sem/<namespace>/<key>` or `mtx/<namespace>/<key>`.
    pub key: String,
    /// How many may hold it.
    pub limit: LockLimit,
}

/// How many may hold a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockLimit {
    /// One.
    Mutex,
    /// So many, whatever the limit table says.
    Given(i64),
    /// As many as the limit table says under `name`. Where it says nothing any more, as it said last.
    Table {
        /// `<namespace>/<key>`
        name: String,
        /// What it said last.
        last: Option<i64>,
    },
}

/// How a lock is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many may hold it.
    pub limit: i64,
    /// Who does, under whatever controller.
    pub holders: Vec<String>,
    /// Whether whoever asked has it, or could have it.
    pub free: bool,
    /// Whether whoever asked has it already.
    held: bool,
}

/// What came of trying to take locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// All are held.
    All(Vec<Standing>),
    /// None was taken, for at least one of them is not free.
    None(Vec<Standing>),
    /// Nobody says how many may hold this one.
    NoLimit {
        /// Its key.
        key: String,
    },
}

/// A row of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRow {
    /// The lock's key.
    pub key: String,
    /// Who holds it.
    pub holder: String,
}

impl LockTables {
    /// The tables of these names in a database. `controller` is ours, and nobody else's; who has not been heard of for the
    /// time `inactive` waits for nothing any more.
    ///
    /// # Errors
    /// A table's name is none.
    pub fn new(
        database: Database,
        names: TableNames,
        controller: &str,
        inactive: Duration,
    ) -> Result<LockTables, Error> {
        names.check()?;
        Ok(LockTables { database, names, controller: controller.into(), inactive })
    }

    /// Makes the tables, or what is missing of them.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn migrate(&self) -> Result<(), Error> {
        let change =
            async |version| self.database.change(HISTORY, version, NOW, |number| self.names.change(number)).await;
        self.database.bring_up_to_date(HISTORY, change).await
    }

    /// Makes sure that the tables are there.
    ///
    /// # Errors
    /// The database refuses: they are not.
    pub async fn are_there(&self) -> Result<(), Error> {
        let asked = self.database.statement(self.names.probe());
        self.database.rows("to find the tables of locks", &asked).await.map(|_| ())
    }

    /// Says that this controller is alive.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn heartbeat(&self) -> Result<(), Error> {
        const WHAT: &str = "to note that this controller is alive";
        let (table, now) = (&self.names.controller, Timestamp::now());
        let update = self.database.statement(format!("update {table} set time = ")).plain_moment(now);
        let update = update.sql(" where controller = ").value(&*self.controller);
        if self.database.execute(WHAT, &update).await? > 0 {
            return Ok(());
        }
        let (insert, end) = self.database.dialect.insert_if_new();
        let insert = self.database.statement(format!("{insert} {table} (controller, time) values ("));
        let insert = insert.value(&*self.controller).sql(", ").plain_moment(now).sql(")").sql(end);
        self.database.execute(WHAT, &insert).await.map(|_| ())
    }

    /// Puts somebody in line for these locks. Who stands there keeps his place, or changes it with his priority.
    ///
    /// # Errors
    /// The database refuses; a name is too long for it.
    pub async fn queue(&self, place: &LockPlace, keys: &[LockKey]) -> Result<(), Error> {
        const WHAT: &str = "to put a workflow in line for a lock";
        for LockKey { key, .. } in keys {
            self.fits(&[key, &place.holder])?;
            let insert = self.row(place, key, false);
            if self.database.execute(WHAT, &insert).await? > 0 {
                continue;
            }
            let table = &self.names.state;
            let update = self.database.statement(format!("update {table} set priority = "));
            let update = update.integer(column(place.priority)).sql(" where held = false");
            self.database.execute(WHAT, &self.of(update, key, &place.holder)).await?;
        }
        Ok(())
    }

    /// Takes somebody out of the lines for these locks, and from among their holders.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn release(&self, holder: &str, keys: &[String]) -> Result<(), Error> {
        for key in keys {
            let delete = self.database.statement(format!("delete from {} where true", self.names.state));
            self.database.execute("to release a lock", &self.of(delete, key, holder)).await?;
        }
        Ok(())
    }

    /// What is held under this controller's name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn held(&self) -> Result<Vec<LockRow>, Error> {
        let asked = format!("select name, workflowkey from {} where held = true and controller = ", self.names.state);
        let asked = self.database.statement(asked).value(&*self.controller);
        let rows = self.database.rows("to list the locks of this controller", &asked).await?;
        rows.iter().map(|row| Ok(LockRow { key: text(row, 0)?, holder: text(row, 1)? })).collect()
    }

    /// Takes everybody out of every line who stands there under this controller's name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn leave_lines(&self) -> Result<(), Error> {
        let delete = format!("delete from {} where held = false and controller = ", self.names.state);
        let delete = self.database.statement(delete).value(&*self.controller);
        self.database.execute("to clear this controller's places in line", &delete).await.map(|_| ())
    }

    /// Removes what controllers that are gone have left in the lock table.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn expire(&self) -> Result<(), Error> {
        let TableNames { lock, controller, .. } = &self.names;
        let delete =
            format!("delete from {lock} where controller in (select controller from {controller} where time <= ");
        let delete = self.database.statement(delete).plain_moment(self.since()).sql(")");
        self.database.execute("to remove what controllers that are gone have left", &delete).await.map(|_| ())
    }

    /// Before this moment nobody is alive.
    fn since(&self) -> Timestamp {
        let inactive = SignedDuration::try_from(self.inactive).unwrap_or(SignedDuration::MAX);
        Timestamp::now().checked_sub(inactive).unwrap_or(Timestamp::MIN)
    }

    fn row(&self, place: &LockPlace, key: &str, held: bool) -> Statement {
        let (insert, end) = self.database.dialect.insert_if_new();
        let table = &self.names.state;
        let columns = "name, workflowkey, controller, held, priority, time";
        let insert = self.database.statement(format!("{insert} {table} ({columns}) values ("));
        let texts = [key, &place.holder, &self.controller];
        let insert = texts.into_iter().fold(insert, |insert, text| insert.value(text).sql(", "));
        let insert = insert.sql(if held { "true, " } else { "false, " }).integer(column(place.priority));
        insert.sql(", ").plain_moment(place.created).sql(")").sql(end)
    }

    /// A statement about one row of the state table.
    fn of(&self, statement: Statement, key: &str, holder: &str) -> Statement {
        let statement = statement.sql(" and name = ").value(key).sql(" and workflowkey = ").value(holder);
        statement.sql(" and controller = ").value(&*self.controller)
    }

    /// MySQL would cut what is too long, and take two names for one.
    fn fits(&self, names: &[&str]) -> Result<(), Error> {
        match names.iter().find(|name| name.chars().count() > NAME) {
            Some(name) => Err(Error::Refused {
                what: "a lock",
                reason: format!("'{name}' has more than the {NAME} characters of its column"),
            }),
            None => Ok(()),
        }
    }
}

/// As much as the column holds.
fn column(priority: i64) -> i64 {
    priority.clamp(i32::MIN.into(), i32::MAX.into())
}
