//! Go's time layouts ("2006-01-02 15:04:05"): formatting and parsing by example.

use super::time::{Time, Zone};
use jiff::{Timestamp, civil, tz::TimeZone};

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

#[derive(Default)]
struct Parsed {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanosecond: i64,
    pm: Option<bool>,
    utc: bool,
    offset: Option<i32>,
    zone_name: Option<String>,
}

/// `time.ParseInLocation(layout, value, zone)`; None where Go reports an error.
pub fn parse_time(layout: &str, value: &str, zone: &Zone) -> Option<Time> {
    let mut parsed = Parsed::default();
    let (mut layout, mut value) = (layout, value);
    loop {
        let (text, chunk, tail) = next_chunk(layout);
        value = skip_text(text, value)?;
        let Some(chunk) = chunk else {
            return if value.is_empty() { finish(&parsed, zone) } else { None };
        };
        value = parse_chunk(chunk, &mut parsed, value, tail)?;
        layout = tail;
    }
}

/// Go skips runs of blanks against runs of blanks.
fn skip_text<'v>(text: &str, value: &'v str) -> Option<&'v str> {
    let mut value = value;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == ' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return None;
            }
            rest = rest.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        value = value.strip_prefix(c)?;
        rest = &rest[c.len_utf8()..];
    }
    Some(value)
}

fn number(value: &str, min: usize, max: usize) -> Option<(i64, &str)> {
    let length = value.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if length < min {
        return None;
    }
    Some((value[..length].parse().ok()?, &value[length..]))
}

fn name<'v>(value: &'v str, names: &[&str], short: bool) -> Option<(i64, &'v str)> {
    names.iter().enumerate().find_map(|(i, full)| {
        let wanted = if short { &full[..3] } else { full };
        let head = value.get(..wanted.len())?;
        head.eq_ignore_ascii_case(wanted).then_some((i as i64, &value[wanted.len()..]))
    })
}

fn parse_chunk<'v>(chunk: Chunk, into: &mut Parsed, value: &'v str, layout_tail: &str) -> Option<&'v str> {
    let within = |(n, rest): (i64, &'v str), low: i64, high: i64| (low..=high).contains(&n).then_some((n, rest));
    let blank = |value: &'v str| value.strip_prefix(' ').unwrap_or(value);
    let rest;
    match chunk {
        Chunk::Year => {
            let (year, tail) = number(value, 2, 2)?;
            into.year = year + if year >= 69 { 1900 } else { 2000 };
            rest = tail;
        }
        Chunk::LongYear => (into.year, rest) = number(value, 4, 4)?,
        Chunk::Month | Chunk::LongMonth => {
            let (month, tail) = name(value, &MONTHS, chunk == Chunk::Month)?;
            into.month = Some(month + 1);
            rest = tail;
        }
        Chunk::NumMonth | Chunk::ZeroMonth => {
            let min = if chunk == Chunk::ZeroMonth { 2 } else { 1 };
            let (month, tail) = within(number(value, min, 2)?, 1, 12)?;
            into.month = Some(month);
            rest = tail;
        }
        Chunk::Weekday | Chunk::LongWeekday => rest = name(value, &DAYS, chunk == Chunk::Weekday)?.1,
        Chunk::Day | Chunk::UnderDay | Chunk::ZeroDay => {
            let value = if chunk == Chunk::UnderDay { blank(value) } else { value };
            let (day, tail) = number(value, if chunk == Chunk::ZeroDay { 2 } else { 1 }, 2)?;
            into.day = Some(day);
            rest = tail;
        }
        Chunk::UnderYearDay | Chunk::ZeroYearDay => {
            let value = if chunk == Chunk::UnderYearDay { value.trim_start_matches(' ') } else { value };
            let (day, tail) = number(value, if chunk == Chunk::ZeroYearDay { 3 } else { 1 }, 3)?;
            into.year_day = Some(day);
            rest = tail;
        }
        Chunk::Hour => (into.hour, rest) = within(number(value, 1, 2)?, 0, 23)?,
        Chunk::Hour12 | Chunk::ZeroHour12 => {
            let min = if chunk == Chunk::ZeroHour12 { 2 } else { 1 };
            (into.hour, rest) = within(number(value, min, 2)?, 0, 12)?;
        }
        Chunk::Minute | Chunk::ZeroMinute => {
            let min = if chunk == Chunk::ZeroMinute { 2 } else { 1 };
            (into.minute, rest) = within(number(value, min, 2)?, 0, 59)?;
        }
        Chunk::Second | Chunk::ZeroSecond => {
            let min = if chunk == Chunk::ZeroSecond { 2 } else { 1 };
            let (second, tail) = within(number(value, min, 2)?, 0, 59)?;
            into.second = second;
            // A fraction in the value is accepted even if the layout has none.
            let fraction_next = matches!(next_chunk(layout_tail), ("", Some(Chunk::Fraction { .. }), _));
            rest = if fraction_next { tail } else { optional_fraction(into, tail) };
        }
        Chunk::UpperPm | Chunk::LowerPm => {
            let (pm, am) = if chunk == Chunk::UpperPm { ("PM", "AM") } else { ("pm", "am") };
            into.pm = Some(value.starts_with(pm));
            rest = value.strip_prefix(pm).or_else(|| value.strip_prefix(am))?;
        }
        Chunk::ZoneName => rest = parse_zone_name(into, value)?,
        Chunk::Offset { z, colon, fields } => match value.strip_prefix('Z').filter(|_| z) {
            Some(tail) => {
                into.utc = true;
                rest = tail;
            }
            None => rest = parse_offset(into, value, colon, fields)?,
        },
        Chunk::Fraction { digits, cut: false, .. } => {
            let tail = value.strip_prefix(['.', ','])?;
            let (text, after) = tail.split_at_checked(digits)?;
            set_fraction(into, text)?;
            rest = after;
        }
        Chunk::Fraction { .. } => rest = optional_fraction(into, value),
    }
    Some(rest)
}

fn set_fraction(into: &mut Parsed, digits: &str) -> Option<()> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded = format!("{digits:0<9}");
    into.nanosecond = padded[..9].parse().ok()?;
    Some(())
}

fn optional_fraction<'v>(into: &mut Parsed, value: &'v str) -> &'v str {
    let Some(tail) = value.strip_prefix(['.', ',']) else { return value };
    let length = tail.bytes().take_while(u8::is_ascii_digit).count();
    match set_fraction(into, &tail[..length]) {
        Some(()) => &tail[length..],
        None => value,
    }
}

fn parse_offset<'v>(into: &mut Parsed, value: &'v str, colon: bool, fields: u8) -> Option<&'v str> {
    let sign = match value.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, mut rest) = number(&value[1..], 2, 2)?;
    let mut seconds = hours * 3600;
    for unit in [60, 1].into_iter().take(usize::from(fields) - 1) {
        if colon {
            rest = rest.strip_prefix(':')?;
        }
        let (field, tail) = number(rest, 2, 2)?;
        seconds += field * unit;
        rest = tail;
    }
    into.offset = Some(sign * i32::try_from(seconds).ok()?);
    Some(rest)
}

/// An abbreviation of three to five capital letters, or GMT with hours, as Go guesses them.
fn parse_zone_name<'v>(into: &mut Parsed, value: &'v str) -> Option<&'v str> {
    if let Some(rest) = value.strip_prefix("UTC") {
        into.utc = true;
        return Some(rest);
    }
    let letters = value.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    let mut length = match letters {
        3 => 3,
        4 if value.as_bytes()[3] == b'T' || value.starts_with("WITA") => 4,
        5 if value.as_bytes()[4] == b'T' => 5,
        _ => return None,
    };
    if let Some(rest) = value.strip_prefix("GMT") {
        let digits = rest.strip_prefix(['+', '-']).map_or(0, |t| t.bytes().take_while(u8::is_ascii_digit).count());
        length = if digits > 0 { 4 + digits } else { 3 };
    }
    into.zone_name = Some(value[..length].to_owned());
    Some(&value[length..])
}

fn finish(parsed: &Parsed, zone: &Zone) -> Option<Time> {
    let mut hour = parsed.hour;
    match parsed.pm {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let year = i16::try_from(parsed.year).ok()?;
    let date = match parsed.year_day {
        Some(day) => {
            let first = civil::Date::new(year, 1, 1).ok()?;
            let date = first.checked_add(jiff::Span::new().days(day - 1)).ok()?;
            if day < 1 || date.year() != year { None } else { Some(date) }
        }
        None => {
            let month = i8::try_from(parsed.month.unwrap_or(1)).ok()?;
            civil::Date::new(year, month, i8::try_from(parsed.day.unwrap_or(1)).ok()?).ok()
        }
    }?;
    let time = civil::Time::new(
        i8::try_from(hour).ok()?,
        i8::try_from(parsed.minute).ok()?,
        i8::try_from(parsed.second).ok()?,
        i32::try_from(parsed.nanosecond).ok()?,
    )
    .ok()?;
    let local = date.to_datetime(time);
    let at = |zone: Zone| {
        let instant = zone.time_zone().to_ambiguous_zoned(local).compatible().ok()?.timestamp();
        Some(Time { instant, zone })
    };
    if parsed.utc {
        return at(Zone::Utc);
    }
    if let Some(offset) = parsed.offset {
        let fixed = at(Zone::Fixed(offset, parsed.zone_name.as_deref().map(Into::into)))?;
        let same = zone.time_zone().to_offset(fixed.instant).seconds() == offset && parsed.zone_name.is_none();
        return Some(if same { Time { zone: zone.clone(), ..fixed } } else { fixed });
    }
    if let Some(name) = &parsed.zone_name {
        let known = at(zone.clone())?;
        if known.abbreviation() == *name {
            return Some(known);
        }
        let offset = name.strip_prefix("GMT").and_then(|hours| hours.parse::<i32>().ok()).unwrap_or(0) * 3600;
        let utc = TimeZone::UTC.to_zoned(local).ok()?.timestamp();
        let instant = utc.checked_sub(jiff::SignedDuration::from_secs(i64::from(offset))).ok()?;
        return Some(Time { instant, zone: Zone::Fixed(offset, Some(name.as_str().into())) });
    }
    at(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

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
