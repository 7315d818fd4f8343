//! Parsing a time by a layout.

use super::{Chunk, DAYS, MONTHS, next_chunk};
use crate::go::{Time, Zone};
use jiff::{civil, tz::TimeZone};

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
