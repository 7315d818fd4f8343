//! Durations as Go writes them: `1h2m3.5s`, `300ms`, `0`.

use std::time::Duration;

/// Reads a duration that is not negative; `None` when the text is none.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, scale) =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit))?;
        seconds += number * scale;
        rest = &rest[unit.len()..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, millis) in
            [("1m0s", Some(60_000)), ("1h1m1.5s", Some(3_661_500)), ("300ms", Some(300)), ("0", Some(0))]
        {
            assert_eq!(parse(text).map(|d| d.as_millis()), millis, "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1..2s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
