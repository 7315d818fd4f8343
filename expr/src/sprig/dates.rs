//! Dates.

use super::{int, text};
use crate::go::{Time, Zone, format_duration, format_time, parse_duration, parse_time};
use crate::value::Value;
use jiff::Timestamp;
use std::sync::Arc;

fn instant(value: &Value) -> Time {
    match value {
        Value::Time(time) => (**time).clone(),
        Value::Int(seconds) | Value::Int64(seconds) => {
            Time::utc(Timestamp::from_second(*seconds).unwrap_or(Timestamp::MIN))
        }
        _ => Time::utc(crate::ambient::now()),
    }
}

pub(super) fn in_zone(layout: &str, date: &Value, zone: &str) -> Result<Value, String> {
    let time = Time { instant: instant(date).instant, zone: Zone::load(zone).unwrap_or(Zone::Utc) };
    Ok(Value::str(format_time(layout, &time)))
}

pub(super) fn now(_: &[Value]) -> Result<Value, String> {
    Ok(Value::Time(Arc::new(Time::utc(crate::ambient::now()))))
}

pub(super) fn ago(args: &[Value]) -> Result<Value, String> {
    let elapsed = Time::utc(crate::ambient::now()).minus(&instant(&args[0]));
    let second = 1_000_000_000;
    let rounded = (elapsed.saturating_add(elapsed.signum() * second / 2)) / second * second;
    Ok(Value::str(format_duration(rounded)))
}

pub(super) fn modify(args: &[Value]) -> Result<Value, String> {
    let by = parse_duration(text(&args[0])).map_err(|e| e.to_string())?;
    Ok(Value::Time(Arc::new(instant(&args[1]).plus(by))))
}

pub(super) fn must_to_date(args: &[Value]) -> Result<Value, String> {
    match parse_time(text(&args[0]), text(&args[1]), &Zone::Utc) {
        Some(time) => Ok(Value::Time(Arc::new(time))),
        None => Err(format!("parsing time {}: cannot parse it by the layout", crate::go::quote(text(&args[1])))),
    }
}

pub(super) fn unix_epoch(args: &[Value]) -> Result<Value, String> {
    Ok(Value::str(instant(&args[0]).instant.as_nanosecond().div_euclid(1_000_000_000).to_string()))
}

pub(super) fn duration(args: &[Value]) -> Result<Value, String> {
    let seconds = match &args[0] {
        Value::Str(text) => text.parse().unwrap_or(0),
        Value::Int64(_) => int(&args[0]),
        _ => 0,
    };
    Ok(Value::str(format_duration(seconds.wrapping_mul(1_000_000_000))))
}

pub(super) fn duration_round(args: &[Value]) -> Result<Value, String> {
    let nanoseconds = match &args[0] {
        Value::Str(text) => parse_duration(text).unwrap_or(0),
        Value::Int64(value) => *value,
        Value::Time(time) => Time::utc(crate::ambient::now()).minus(time),
        _ => 0,
    };
    const HOUR: u64 = 3_600_000_000_000;
    let units = [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (HOUR / 60, "m"),
        (HOUR / 3600, "s"),
    ];
    let value = nanoseconds.unsigned_abs();
    let text = units.iter().find(|(unit, _)| value > *unit).map(|(unit, name)| format!("{}{name}", value / unit));
    Ok(Value::str(text.unwrap_or_else(|| "0s".to_owned())))
}
