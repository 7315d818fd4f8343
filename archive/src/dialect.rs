//! What the three languages say differently.

use std::fmt::Write as _;

/// A language of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    PostgreSql,
    /// MySQL and MariaDB.
    MySql,
    Sqlite,
}

impl Dialect {
    /// The place of a value, by its number from 1.
    pub fn place(self, number: usize, out: &mut String) {
        match self {
            // Writing to a String does not fail.
            Dialect::PostgreSql => drop(write!(out, "${number}")),
            Dialect::MySql | Dialect::Sqlite => out.push('?'),
        }
    }

    /// A text as a moment: what goes before it and behind it.
    pub fn moment(self) -> (&'static str, &'static str) {
        match self {
            Dialect::PostgreSql => ("cast(", " as timestamp)"),
            Dialect::MySql | Dialect::Sqlite => ("", ""),
        }
    }

    /// A text as JSON: what goes before it, and behind it.
    pub fn json(self, kind: &'static str) -> (&'static str, &'static str) {
        match (self, kind) {
            (Dialect::PostgreSql, "jsonb") => ("cast(", " as jsonb)"),
            (Dialect::PostgreSql, _) => ("cast(", " as json)"),
            (Dialect::MySql | Dialect::Sqlite, _) => ("", ""),
        }
    }

    /// The same as a driver for Go says it, who gives UTC and does not say so: the server takes it for its own time. argo:
    /// the moments of locks, which are compared with each other alone.
    pub fn plain_moment(self) -> (&'static str, &'static str) {
        match self {
            // Our sessions are in UTC.
            Dialect::MySql => ("convert_tz(", ", @@global.time_zone, '+00:00')"),
            Dialect::PostgreSql | Dialect::Sqlite => self.moment(),
        }
    }

    /// A text as a whole number: what goes before it and behind it.
    pub fn integer(self) -> (&'static str, &'static str) {
        match self {
            Dialect::PostgreSql => ("cast(", " as int)"),
            Dialect::MySql | Dialect::Sqlite => ("", ""),
        }
    }

    /// What begins a transaction that others see as done at one moment.
    pub fn begin_serializable(self) -> &'static str {
        match self {
            Dialect::PostgreSql => "begin isolation level serializable",
            Dialect::MySql => "set transaction isolation level serializable; start transaction",
            Dialect::Sqlite => "begin immediate",
        }
    }

    /// An insertion that does nothing where there is such a row: what begins it, and what ends it.
    pub fn insert_if_new(self) -> (&'static str, &'static str) {
        match self {
            Dialect::PostgreSql | Dialect::Sqlite => ("insert into", " on conflict do nothing"),
            Dialect::MySql => ("insert ignore into", ""),
        }
    }

    /// A column with a moment as text: `2026-01-31 23:59:59`.
    pub fn moment_as_text(self, column: &str) -> String {
        match self {
            Dialect::PostgreSql => format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS')"),
            Dialect::MySql => format!("date_format({column}, '%Y-%m-%d %H:%i:%s')"),
            Dialect::Sqlite => format!("strftime('%Y-%m-%d %H:%M:%S', {column})"),
        }
    }

    /// A column with JSON as text.
    pub fn json_as_text(self, column: &str) -> String {
        match self {
            Dialect::PostgreSql | Dialect::Sqlite => format!("cast({column} as text)"),
            Dialect::MySql => format!("cast({column} as char)"),
        }
    }

    /// A column with a whole number as text.
    pub fn integer_as_text(self, column: &str) -> String {
        match self {
            Dialect::PostgreSql | Dialect::Sqlite => format!("cast({column} as text)"),
            Dialect::MySql => format!("cast({column} as char)"),
        }
    }

    /// What the column `workflow` has at a path, as JSON text; null where it has nothing.
    pub fn part(self, path: &[&str]) -> String {
        match self {
            Dialect::PostgreSql => format!("cast(workflow #> '{{{}}}' as text)", path.join(",")),
            Dialect::MySql => format!("cast(json_extract(workflow, '$.{}') as char)", path.join(".")),
            Dialect::Sqlite => format!("cast(workflow -> '$.{}' as text)", path.join(".")),
        }
    }

    /// The moment that was so many seconds ago by the database's clock.
    pub fn ago(self, seconds: u64) -> String {
        match self {
            Dialect::PostgreSql => format!("cast(current_timestamp - interval '{seconds} seconds' as timestamp)"),
            Dialect::MySql => format!("current_timestamp - interval {seconds} second"),
            Dialect::Sqlite => format!("datetime('now', '-{seconds} seconds')"),
        }
    }

    /// Whether a label's value is a number beyond another.
    pub fn number(self, comparison: char, number: i64) -> String {
        match self {
            Dialect::PostgreSql => format!(
                "case when value ~ '^-?[0-9]{{1,18}}$' then cast(value as bigint) {comparison} {number} else false end"
            ),
            Dialect::MySql => {
                format!("value regexp '^-?[0-9]{{1,18}}$' and cast(value as signed) {comparison} {number}")
            }
            Dialect::Sqlite => format!(
                "value glob '*[0-9]' and ltrim(value, '-') not glob '*[^0-9]*' and cast(value as integer) {comparison} {number}"
            ),
        }
    }
}
