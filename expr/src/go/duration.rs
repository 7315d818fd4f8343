//! time.ParseDuration, Duration.String and Argo's durations.

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not in Go's form at all (empty, no number).
    #[error("time: invalid duration {}", super::quote(.0))]
    Invalid(String),
    /// A number without a unit behind it.
    #[error("time: missing unit in duration {}", super::quote(.0))]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {} in duration {}", super::quote(.unit), super::quote(.text))]
    UnknownUnit {
        /// The unknown unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const LIMIT: u64 = 1 << 63;

/// `time.ParseDuration`: nanoseconds of a text like `1h30m`, `-1.5s`, `300ms`.
///
/// # Errors
/// As Go's, with Go's messages.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let mut fraction = "";
        let mut tail = after;
        if let Some(dot) = after.strip_prefix('.') {
            (fraction, tail) = digits(dot);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (name, next) = tail.split_at(end);
        if name.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let Some((_, unit)) = UNITS.iter().find(|(n, _)| *n == name) else {
            return Err(DurationError::UnknownUnit { unit: name.to_owned(), text: text.to_owned() });
        };
        let number: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let mut value = number.checked_mul(*unit).filter(|v| *v <= LIMIT).ok_or_else(invalid)?;
        value += fraction_of(fraction, *unit);
        total = total.checked_add(value).filter(|v| *v <= LIMIT).ok_or_else(invalid)?;
        rest = next;
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The part of `unit` that a decimal fraction stands for; digits beyond what fits are ignored, as in Go.
fn fraction_of(fraction: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1.0_f64);
    for digit in fraction.bytes() {
        let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
        let Some(next) = next.filter(|v| *v < LIMIT) else { break };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// `time.Duration.String`: `1h30m0s`, `1.5s`, `300ms`, `0s`.
pub fn format_duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let value = nanoseconds.unsigned_abs();
    if value < 1_000_000_000 {
        let (unit, name) = match value {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(value, unit));
    }
    let seconds = decimal(value % 60_000_000_000, 1_000_000_000);
    let minutes = value / 60_000_000_000;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Argo's durations (`argo: ParseStringToDuration`): a whole number counts seconds, anything else is a Go duration.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_argo_duration(text: &str) -> Result<i64, DurationError> {
    match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1_000_000_000).ok_or_else(|| DurationError::Invalid(text.to_owned())),
        Err(_) => parse_duration(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        let cases = [
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("-300ms", -300_000_000, "-300ms"),
            ("1us", 1_000, "1µs"),
            ("0", 0, "0s"),
            (".5m", 30_000_000_000, "30s"),
            ("2h0m0.000000001s", 7_200_000_000_001, "2h0m0.000000001s"),
        ];
        for (text, value, printed) in cases {
            assert_eq!(parse_duration(text), Ok(value), "{text}");
            assert_eq!(format_duration(value), printed);
        }
    }

    #[test]
    fn refuses_with_gos_words() {
        let message = |text| parse_duration(text).unwrap_err().to_string();
        assert_eq!(message("23"), r#"time: missing unit in duration "23""#);
        assert_eq!(message("1d"), r#"time: unknown unit "d" in duration "1d""#);
        assert_eq!(message(""), r#"time: invalid duration """#);
        assert_eq!(message("9999999h"), r#"time: invalid duration "9999999h""#);
    }

    #[test]
    fn argo_counts_bare_numbers_in_seconds() {
        assert_eq!(parse_argo_duration("10"), Ok(10_000_000_000));
        assert_eq!(parse_argo_duration("10m"), Ok(600_000_000_000));
        assert!(parse_argo_duration("x").is_err());
    }
}
