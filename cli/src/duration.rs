//! Durations on the command line: Go's, and days.

/// Seconds of a text such as `90s`, `1h30m` or `1d`; a bare number is seconds. None where it is none.
pub fn seconds(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(f64::from(seconds));
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "d" => 86_400.0,
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    // Longer than a machine's memory of time is no duration that anybody means.
    (!text.is_empty() && total < 1e11).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("90s", Some(90.0)),
            ("5m", Some(300.0)),
            ("1h30m", Some(5400.0)),
            ("2d", Some(172_800.0)),
            ("7", Some(7.0)),
            ("10ms", Some(0.01)),
            ("1.5m", Some(90.0)),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for text in ["", "x", "5y", "-1s", "s", "99999999999h"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
