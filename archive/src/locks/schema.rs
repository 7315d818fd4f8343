//! The tables of locks, as Argo 4.1.2 makes them. argo: util/sync/db/migrate.go.

use crate::Error;
use crate::migrate::is_named;

/// Counts the changes that a database has seen.
pub(super) const HISTORY: &str = "sync_schema_history";
/// The number of the last change.
pub(super) const NOW: i64 = 10;

/// What the tables are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNames {
    /// How many may hold a semaphore.
    pub limit: String,
    /// Who holds locks, and who waits for them.
    pub state: String,
    /// When each controller was alive last.
    pub controller: String,
    /// Which locks are being decided about.
    pub lock: String,
}

impl Default for TableNames {
    fn default() -> TableNames {
        TableNames {
            limit: "sync_limit".into(),
            state: "sync_state".into(),
            controller: "sync_controller".into(),
            lock: "sync_lock".into(),
        }
    }
}

impl TableNames {
    /// Each with the field that names it.
    fn all(&self) -> [(&'static str, &str); 4] {
        [
            ("limitTableName", &self.limit),
            ("stateTableName", &self.state),
            ("controllerTableName", &self.controller),
            ("lockTableName", &self.lock),
        ]
    }

    /// They become part of statements.
    ///
    /// # Errors
    /// One of them is no plain name.
    pub fn check(&self) -> Result<(), Error> {
        self.all().into_iter().try_for_each(|(field, name)| is_named(field, name))
    }

    /// Asks whether they are there.
    pub(super) fn probe(&self) -> String {
        let [limit, state, controller, lock] = self.all().map(|(_, name)| name);
        format!(
            "select {limit}.sizelimit, {state}.held, {controller}.time, {lock}.controller \
             from {limit}, {state}, {controller}, {lock} where 1 = 0"
        )
    }

    /// The change with a number.
    pub(super) fn change(&self, number: i64) -> Option<String> {
        let [limit, state, controller, lock] = self.all().map(|(_, name)| name);
        Some(match number {
            0 => format!(
                "create table if not exists {limit} (name varchar(256) not null, sizelimit int, primary key (name))"
            ),
            1 => format!("create unique index ilimit_name on {limit} (name)"),
            2 => format!(
                "create table if not exists {controller} (controller varchar(64) not null, time timestamp, \
                 primary key (controller))"
            ),
            3 => format!("create unique index icontroller_name on {controller} (controller)"),
            4 => format!(
                "create table if not exists {state} (name varchar(256), workflowkey varchar(256), \
                 controller varchar(64) not null, held boolean, priority int, time timestamp, \
                 primary key(name, workflowkey, controller))"
            ),
            5 => format!("create index istate_name on {state} (name)"),
            6 => format!("create index istate_workflowkey on {state} (workflowkey)"),
            7 => format!("create index istate_controller on {state} (controller)"),
            8 => format!("create index istate_held on {state} (held)"),
            9 => format!(
                "create table if not exists {lock} (name varchar(256), controller varchar(64) not null, \
                 time timestamp, primary key(name))"
            ),
            10 => format!("create unique index ilock_name on {lock} (name)"),
            _ => return None,
        })
    }
}
