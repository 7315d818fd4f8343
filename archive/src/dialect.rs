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
