//! The executor's own log: lines on standard error, from the level on that `--loglevel` names, as text or as JSON
//! (`--log-format`).
//!
//! In a user's container the log is the user's: the emissary tells nothing there but what failed, unless it is asked to.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who looks for a mistake of the executor's.
    Debug,
    /// What was done.
    Info,
    /// What went wrong and was got over.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

struct Log {
    from: Level,
    json: bool,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Begins to log. Without flags from `info` on, as text.
///
/// # Errors
/// The text for the user when a flag's value is none.
pub fn begin(level: Option<&str>, format: Option<&str>) -> Result<(), String> {
    let from = match level.map(str::to_ascii_lowercase).as_deref() {
        Some("debug" | "trace") => Level::Debug,
        None | Some("" | "info") => Level::Info,
        Some("warn" | "warning") => Level::Warn,
        Some("error" | "fatal" | "panic") => Level::Error,
        Some(other) => return Err(format!("flag --loglevel is {other:?}: expected debug, info, warn or error")),
    };
    let json = match format {
        None | Some("" | "text") => false,
        Some("json") => true,
        Some(other) => return Err(format!("flag --log-format is {other:?}: expected text or json")),
    };
    // Who began first set the level.
    let _ = LOG.set(Log { from, json });
    Ok(())
}

/// Whether lines of the level are written.
pub fn shows(level: Level) -> bool {
    LOG.get().is_some_and(|log| level >= log.from)
}

/// Writes a line, if its level is shown.
pub fn line(level: Level, message: &str) {
    if let Some(log) = LOG.get().filter(|log| level >= log.from) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        eprintln!("{}", written(&timestamp(since.as_millis()), level, message, log.json));
    }
}

fn written(time: &str, level: Level, message: &str, json: bool) -> String {
    let message = serde_json::Value::from(message);
    let level = level.word();
    match json {
        true => format!(r#"{{"time":"{time}","level":"{level}","msg":{message}}}"#),
        false => format!("time={time} level={level} msg={message}"),
    }
}

/// RFC 3339 in UTC, of milliseconds since 1970 (days to date after Howard Hinnant's `civil_from_days`).
fn timestamp(millis: u128) -> String {
    let (seconds, millis) = ((millis / 1000) as u64, millis % 1000);
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_text_or_json() {
        let time = timestamp(1_709_164_800_007);
        assert_eq!(time, "2024-02-29T00:00:00.007Z");
        assert_eq!(timestamp(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written("T", Level::Info, "a \"b\"\n", false), r#"time=T level=info msg="a \"b\"\n""#);
        assert_eq!(written("T", Level::Warn, "x", true), r#"{"time":"T","level":"warn","msg":"x"}"#);
    }

    #[test]
    fn flags_that_mean_nothing_are_refused() {
        assert_eq!(
            begin(Some("loud"), None).unwrap_err(),
            "flag --loglevel is \"loud\": expected debug, info, warn or error"
        );
        assert_eq!(begin(None, Some("xml")).unwrap_err(), "flag --log-format is \"xml\": expected text or json");
    }
}
