//! Dates and durations.

use super::text_of;
use crate::go::{Time, Zone, parse_duration, parse_time};
use crate::value::Value;
use std::sync::Arc;

pub(super) fn now(args: &[Value]) -> Result<Value, String> {
    let zone = match args {
        [Value::Location(zone)] => (**zone).clone(),
        _ => Zone::Utc,
    };
    Ok(Value::Time(Arc::new(Time { instant: crate::ambient::now(), zone })))
}

pub(super) fn duration(args: &[Value]) -> Result<Value, String> {
    parse_duration(text_of(&args[0])?).map(Value::Duration).map_err(|e| e.to_string())
}

fn load(name: &str) -> Result<Zone, String> {
    Zone::load(name).ok_or_else(|| format!("unknown time zone {name}"))
}

pub(super) fn timezone(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Location(Arc::new(load(text_of(&args[0])?)?)))
}

const LAYOUTS: [&str; 7] = [
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
];

pub(super) fn date(args: &[Value]) -> Result<Value, String> {
    let (zone, args) = match args {
        [Value::Location(zone), rest @ ..] => ((**zone).clone(), rest),
        all => (Zone::Utc, all),
    };
    let Some(text) = args.first() else {
        return Err("runtime error: index out of range [0] with length 0".to_owned());
    };
    let text = text_of(text)?;
    let parsed = match args {
        [_] => LAYOUTS.iter().find_map(|layout| parse_time(layout, text, &zone)),
        [_, layout] => parse_time(text_of(layout)?, text, &zone),
        [_, layout, name, ..] => parse_time(text_of(layout)?, text, &load(text_of(name)?)?),
        [] => None,
    };
    match parsed {
        Some(time) => Ok(Value::Time(Arc::new(time))),
        None if args.len() == 1 => Err(format!("invalid date {text}")),
        None => Err(format!("parsing time {}: cannot parse it by the layout", crate::go::quote(text))),
    }
}
