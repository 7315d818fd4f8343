//! Go's time layouts ("2006-01-02 15:04:05"): formatting and parsing by example.

mod parse;

pub use parse::parse_time;

use super::time::Time;
use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    /// An offset: `Z` for zero, colons, digits of hours/minutes/seconds that are written (1, 2 or 3 fields).
    Offset {
        z: bool,
        colon: bool,
        fields: u8,
    },
    /// Fractional seconds: the number of digits, and whether trailing zeros are cut (`.999`).
    Fraction {
        digits: usize,
        cut: bool,
        comma: bool,
    },
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

pub(crate) fn month_name(month: i64) -> Option<&'static str> {
    MONTHS.get(usize::try_from(month - 1).ok()?).copied()
}

pub(crate) fn weekday_name(day: i64) -> Option<&'static str> {
    DAYS.get(usize::try_from(day).ok()?).copied()
}

/// Fixed texts in the order in which they must be tried at one place.
const FIXED: [(&str, Chunk); 32] = [
    ("January", Chunk::LongMonth),
    ("Monday", Chunk::LongWeekday),
    ("MST", Chunk::ZoneName),
    ("002", Chunk::ZeroYearDay),
    ("01", Chunk::ZeroMonth),
    ("02", Chunk::ZeroDay),
    ("03", Chunk::ZeroHour12),
    ("04", Chunk::ZeroMinute),
    ("05", Chunk::ZeroSecond),
    ("06", Chunk::Year),
    ("15", Chunk::Hour),
    ("1", Chunk::NumMonth),
    ("2006", Chunk::LongYear),
    ("2", Chunk::Day),
    ("__2", Chunk::UnderYearDay),
    ("_2", Chunk::UnderDay),
    ("3", Chunk::Hour12),
    ("4", Chunk::Minute),
    ("5", Chunk::Second),
    ("PM", Chunk::UpperPm),
    ("pm", Chunk::LowerPm),
    ("-070000", Chunk::Offset { z: false, colon: false, fields: 3 }),
    ("-07:00:00", Chunk::Offset { z: false, colon: true, fields: 3 }),
    ("-0700", Chunk::Offset { z: false, colon: false, fields: 2 }),
    ("-07:00", Chunk::Offset { z: false, colon: true, fields: 2 }),
    ("-07", Chunk::Offset { z: false, colon: false, fields: 1 }),
    ("Z070000", Chunk::Offset { z: true, colon: false, fields: 3 }),
    ("Z07:00:00", Chunk::Offset { z: true, colon: true, fields: 3 }),
    ("Z0700", Chunk::Offset { z: true, colon: false, fields: 2 }),
    ("Z07:00", Chunk::Offset { z: true, colon: true, fields: 2 }),
    ("Z07", Chunk::Offset { z: true, colon: false, fields: 1 }),
    ("Jan", Chunk::Month),
];

fn chunk_at(rest: &str) -> Option<(Chunk, usize)> {
    if rest.starts_with("_2006") {
        return None;
    }
    if rest.starts_with("Mon") && !rest.starts_with("Monday") {
        let lower_follows = rest[3..].starts_with(|c: char| c.is_ascii_lowercase());
        return (!lower_follows).then_some((Chunk::Weekday, 3));
    }
    if rest.starts_with("Jan") && !rest.starts_with("January") {
        let lower_follows = rest[3..].starts_with(|c: char| c.is_ascii_lowercase());
        return (!lower_follows).then_some((Chunk::Month, 3));
    }
    if let Some((text, chunk)) = FIXED.iter().find(|(text, _)| rest.starts_with(text)) {
        return Some((*chunk, text.len()));
    }
    fraction_at(rest)
}

fn fraction_at(rest: &str) -> Option<(Chunk, usize)> {
    let bytes = rest.as_bytes();
    let comma = match bytes.first()? {
        b'.' => false,
        b',' => true,
        _ => return None,
    };
    let digit = *bytes.get(1)?;
    if digit != b'0' && digit != b'9' {
        return None;
    }
    let digits = bytes[1..].iter().take_while(|b| **b == digit).count();
    // A digit behind the run means that this is not a fraction.
    if bytes.get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((Chunk::Fraction { digits, cut: digit == b'9', comma }, digits + 1))
}

/// Splits the layout before its next chunk: text, chunk, rest.
fn next_chunk(layout: &str) -> (&str, Option<Chunk>, &str) {
    for (at, _) in layout.char_indices() {
        let rest = &layout[at..];
        if rest.starts_with("_2006") {
            return (&layout[..at + 1], Some(Chunk::LongYear), &layout[at + 5..]);
        }
        if let Some((chunk, length)) = chunk_at(rest) {
            return (&layout[..at], Some(chunk), &layout[at + length..]);
        }
    }
    (layout, None, "")
}

/// The instant in UTC, in a Go layout.
pub fn format_timestamp(layout: &str, instant: Timestamp) -> String {
    format_time(layout, &Time::utc(instant))
}

/// `Time.Format(layout)`.
pub(crate) fn format_time(layout: &str, time: &Time) -> String {
    let zoned = time.zoned();
    let mut out = String::with_capacity(layout.len() + 8);
    let mut rest = layout;
    while !rest.is_empty() {
        let (text, chunk, tail) = next_chunk(rest);
        out.push_str(text);
        if let Some(chunk) = chunk {
            out.push_str(&format_chunk(chunk, time, &zoned));
        }
        rest = tail;
    }
    out
}

fn format_chunk(chunk: Chunk, time: &Time, zoned: &jiff::Zoned) -> String {
    let (year, month, day) = (zoned.year(), zoned.month(), zoned.day());
    let hour12 = match zoned.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month_text = MONTHS[usize::from(month.unsigned_abs()) - 1];
    let day_text = DAYS[usize::from(zoned.weekday().to_sunday_zero_offset().unsigned_abs())];
    match chunk {
        Chunk::LongMonth => month_text.to_owned(),
        Chunk::Month => month_text[..3].to_owned(),
        Chunk::NumMonth => month.to_string(),
        Chunk::ZeroMonth => format!("{month:02}"),
        Chunk::LongWeekday => day_text.to_owned(),
        Chunk::Weekday => day_text[..3].to_owned(),
        Chunk::Day => day.to_string(),
        Chunk::UnderDay => format!("{day:2}"),
        Chunk::ZeroDay => format!("{day:02}"),
        Chunk::UnderYearDay => format!("{:3}", zoned.day_of_year()),
        Chunk::ZeroYearDay => format!("{:03}", zoned.day_of_year()),
        Chunk::Hour => format!("{:02}", zoned.hour()),
        Chunk::Hour12 => hour12.to_string(),
        Chunk::ZeroHour12 => format!("{hour12:02}"),
        Chunk::Minute => zoned.minute().to_string(),
        Chunk::ZeroMinute => format!("{:02}", zoned.minute()),
        Chunk::Second => zoned.second().to_string(),
        Chunk::ZeroSecond => format!("{:02}", zoned.second()),
        Chunk::LongYear => format!("{year:04}"),
        Chunk::Year => format!("{:02}", year.rem_euclid(100)),
        Chunk::UpperPm => if zoned.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        Chunk::LowerPm => if zoned.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        Chunk::ZoneName => time.abbreviation(),
        Chunk::Offset { z: true, .. } if time.offset() == 0 => "Z".to_owned(),
        Chunk::Offset { colon, fields, .. } => format_offset(time.offset(), colon, fields),
        Chunk::Fraction { digits, cut, comma } => format_fraction(zoned.subsec_nanosecond(), digits, cut, comma),
    }
}

fn format_offset(offset: i32, colon: bool, fields: u8) -> String {
    let (sign, value) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let separator = if colon { ":" } else { "" };
    let mut out = format!("{sign}{:02}", value / 3600);
    if fields > 1 {
        out.push_str(&format!("{separator}{:02}", value % 3600 / 60));
    }
    if fields > 2 {
        out.push_str(&format!("{separator}{:02}", value % 60));
    }
    out
}

fn format_fraction(nanoseconds: i32, digits: usize, cut: bool, comma: bool) -> String {
    let mut text = format!("{nanoseconds:09}");
    text.truncate(digits.min(9));
    if cut {
        let length = text.trim_end_matches('0').len();
        text.truncate(length);
        if text.is_empty() {
            return text;
        }
    }
    format!("{}{text}", if comma { ',' } else { '.' })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::Zone;

    #[test]
    fn formats_by_example() {
        let time = parse_time("2006-01-02T15:04:05Z07:00", "2024-03-05T14:07:09.25+02:00", &Zone::Utc).unwrap();
        let cases = [
            ("Mon Jan _2 15:04:05 2006", "Tue Mar  5 14:07:09 2024"),
            ("3:04PM", "2:07PM"),
            ("2006-002", "2024-065"),
            ("05.000 05.999999", "09.250 09.25"),
            ("-0700 Z07:00 MST", "+0200 +02:00 +02"),
            ("20060102150405", "20240305140709"),
            ("Januaryx Janx", "Marchx Janx"),
        ];
        for (layout, expected) in cases {
            assert_eq!(format_time(layout, &time), expected, "{layout}");
        }
    }

    #[test]
    fn parses_by_example() {
        let show = |layout: &str, value: &str| parse_time(layout, value, &Zone::Utc).map(|t| t.text());
        let cases = [
            ("2006-01-02", "2024-02-29", Some("2024-02-29 00:00:00 +0000 UTC")),
            ("2006-01-02", "2023-02-29", None),
            ("15:04:05", "10:11:12.5", Some("0000-01-01 10:11:12.5 +0000 UTC")),
            ("02 Jan 06 15:04 MST", "05 Mar 24 10:00 EST", Some("2024-03-05 10:00:00 +0000 EST")),
            (
                "Monday, 02-Jan-06 15:04:05 MST",
                "Tuesday, 05-Mar-24 10:00:00 UTC",
                Some("2024-03-05 10:00:00 +0000 UTC"),
            ),
            ("3:04PM", "12:30AM", Some("0000-01-01 00:30:00 +0000 UTC")),
            ("2006-01-02", "2024-02-29x", None),
        ];
        for (layout, value, expected) in cases {
            assert_eq!(show(layout, value).as_deref(), expected, "{layout} {value}");
        }
    }
}
