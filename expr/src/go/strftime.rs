//! The strftime characters behind `workflow.creationTimestamp.<c>` (`argo: util/strftime`).

use jiff::Timestamp;

/// The characters that Argo publishes as `workflow.creationTimestamp.<c>`, with their layouts in Go's form.
pub const FORMAT_CHARS: [(char, &str); 16] = [
    ('B', "January"),
    ('b', "Jan"),
    ('m', "01"),
    ('A', "Monday"),
    ('a', "Mon"),
    ('d', "02"),
    ('H', "15"),
    ('I', "03"),
    ('M', "04"),
    ('S', "05"),
    ('Y', "2006"),
    ('y', "06"),
    ('p', "PM"),
    ('Z', "MST"),
    ('z', "-0700"),
    ('L', ".000"),
];

/// The time in UTC for one of [`FORMAT_CHARS`]; None for any other character.
pub fn strftime(c: char, time: Timestamp) -> Option<String> {
    let (_, layout) = FORMAT_CHARS.iter().find(|(known, _)| *known == c)?;
    Some(super::format_timestamp(layout, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character() {
        let time: Timestamp = "2024-03-05T14:07:09.25Z".parse().unwrap();
        let all: Vec<_> = FORMAT_CHARS.iter().map(|(c, _)| strftime(*c, time).unwrap()).collect();
        assert_eq!(all.join(" "), "March Mar 03 Tuesday Tue 05 14 02 07 09 2024 24 PM UTC +0000 .250");
        assert_eq!(strftime('q', time), None);
    }
}
