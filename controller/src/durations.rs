//! Times on the command line and in the environment, as Go writes them.

use std::time::Duration;

/// A time that may be nothing.
///
/// # Errors
/// Why the text is none.
pub(crate) fn not_negative(text: &str) -> Result<Duration, String> {
    let nanos = tiphys_expr::go::parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| "a time cannot be negative".to_owned())
}

/// A time that is more than nothing.
///
/// # Errors
/// Why the text is none.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    let nanos = tiphys_expr::go::parse_duration(text).map_err(|error| error.to_string())?;
    match u64::try_from(nanos) {
        Ok(nanos) if nanos > 0 => Ok(Duration::from_nanos(nanos)),
        _ => Err("must be more than nothing".into()),
    }
}
