//! A statement with its values, put together piece by piece. Values never become part of the text.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

use crate::dialect::Dialect;

/// SQL in one of the dialects, and the values for its places. All of them are text; the dialect says what becomes of it.
pub(crate) struct Statement {
    pub dialect: Dialect,
    text: String,
    values: Vec<String>,
}

impl Statement {
    pub fn new(dialect: Dialect, text: impl Into<String>) -> Statement {
        Statement { dialect, text: text.into(), values: Vec::new() }
    }

    /// Text of ours.
    pub fn sql(mut self, text: &str) -> Statement {
        self.text.push_str(text);
        self
    }

    /// A value.
    pub fn value(self, value: impl Into<String>) -> Statement {
        self.wrapped(("", ""), value.into())
    }

    /// A moment, to the second.
    pub fn moment(self, moment: Timestamp) -> Statement {
        let wrap = self.dialect.moment();
        self.wrapped(wrap, text_of(moment))
    }

    /// A moment of locks, to the second.
    pub fn plain_moment(self, moment: Timestamp) -> Statement {
        let wrap = self.dialect.plain_moment();
        self.wrapped(wrap, text_of(moment))
    }

    /// A whole number.
    pub fn integer(self, number: i64) -> Statement {
        let wrap = self.dialect.integer();
        self.wrapped(wrap, number.to_string())
    }

    /// JSON for a column of this type.
    pub fn json(self, kind: &'static str, json: String) -> Statement {
        let wrap = self.dialect.json(kind);
        self.wrapped(wrap, json)
    }

    fn wrapped(mut self, (before, behind): (&str, &str), value: String) -> Statement {
        self.values.push(value);
        self.text.push_str(before);
        self.dialect.place(self.values.len(), &mut self.text);
        self.text.push_str(behind);
        self
    }

    /// For the driver. The text is put together from words of this crate alone.
    pub fn query(&self) -> Query<'_, sqlx::Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text.as_str()));
        self.values.iter().fold(query, |query, value| query.bind(value.as_str()))
    }
}

/// A moment as the databases read it, in UTC.
fn text_of(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment as [`Dialect::moment_as_text`] writes it.
pub(crate) fn moment_of(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}
