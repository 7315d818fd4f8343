//! Methods of time.Time, time.Duration and their kin: `date("2024-01-02").Year()`.

use super::types::{Nature, Sig, Ty};
use crate::go::{Time, Zone, format_duration, format_time};
use crate::value::{GoEnum, Value};
use std::sync::Arc;

/// A method.
#[derive(Debug)]
pub(crate) struct Method {
    receiver: Ty,
    name: &'static str,
    pub sig: Sig,
    pub call: fn(&Value, &[Value]) -> Result<Value, String>,
}

/// The signature of a method of a type; None if it has no such method.
pub(super) fn signature(nature: &Nature, name: &str) -> Option<Sig> {
    let receiver = match nature {
        Nature::Time => Ty::Time,
        Nature::Duration => Ty::Duration,
        Nature::Enum(GoEnum::Month) => Ty::Month,
        Nature::Enum(GoEnum::Weekday) => Ty::Weekday,
        Nature::Location => Ty::Location,
        _ => return None,
    };
    let several = receiver == Ty::Time && matches!(name, "Date" | "Clock");
    if several {
        return Some(Sig { params: &[], variadic: false, out: Ty::Int, outs: 3 });
    }
    find(receiver, name).map(|method| method.sig)
}

/// The method of a value.
pub(super) fn method_of(value: &Value, name: &str) -> Option<&'static Method> {
    let receiver = match value {
        Value::Time(_) => Ty::Time,
        Value::Duration(_) => Ty::Duration,
        Value::Enum(GoEnum::Month, _) => Ty::Month,
        Value::Enum(GoEnum::Weekday, _) => Ty::Weekday,
        Value::Location(_) => Ty::Location,
        _ => return None,
    };
    find(receiver, name)
}

fn find(receiver: Ty, name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.receiver == receiver && method.name == name)
}

fn time(value: &Value) -> Result<&Arc<Time>, String> {
    match value {
        Value::Time(time) => Ok(time),
        _ => Err(super::ops::not_a(value, "time.Time")),
    }
}

fn nanoseconds(value: &Value) -> Result<i64, String> {
    match value {
        Value::Duration(value) | Value::Enum(_, value) => Ok(*value),
        _ => Err(super::ops::not_a(value, "time.Duration")),
    }
}

fn integer(value: &Value) -> i64 {
    value.as_int().unwrap_or(0)
}

fn int(value: impl Into<i64>) -> Result<Value, String> {
    Ok(Value::Int(value.into()))
}

fn moved(value: &Value, instant: jiff::Timestamp) -> Result<Value, String> {
    Ok(Value::Time(Arc::new(Time { instant, zone: time(value)?.zone.clone() })))
}

fn in_zone(value: &Value, zone: Zone) -> Result<Value, String> {
    Ok(Value::Time(Arc::new(Time { instant: time(value)?.instant, zone })))
}

/// A multiple of `unit` since Go's zero time; halves go up if `half` is set.
fn rounded(value: &Value, unit: i64, half: bool) -> Result<Value, String> {
    if unit <= 0 {
        return Ok(value.clone());
    }
    let since_zero = time(value)?.instant.as_nanosecond() - Time::zero().instant.as_nanosecond();
    let rest = since_zero.rem_euclid(i128::from(unit));
    let up = half && rest * 2 >= i128::from(unit);
    let target = time(value)?.instant.as_nanosecond() - rest + if up { i128::from(unit) } else { 0 };
    moved(value, jiff::Timestamp::from_nanosecond(target).map_err(|e| e.to_string())?)
}

fn add_date(value: &Value, args: &[Value]) -> Result<Value, String> {
    let this = time(value)?;
    let zoned = this.zoned();
    let civil = zoned.datetime();
    let months = i64::from(civil.year()) * 12 + i64::from(civil.month()) - 1 + integer(&args[0]).saturating_mul(12);
    let months = months.saturating_add(integer(&args[1]));
    let out_of_range = |_| "time out of range".to_owned();
    let year = i16::try_from(months.div_euclid(12)).map_err(|_| "time out of range".to_owned())?;
    let month = i8::try_from(months.rem_euclid(12) + 1).unwrap_or(1);
    let first = jiff::civil::Date::new(year, month, 1).map_err(out_of_range)?;
    let days = integer(&args[2]).saturating_add(i64::from(civil.day()) - 1);
    let span = jiff::Span::new().try_days(days).map_err(out_of_range)?;
    let date = first.checked_add(span).map_err(out_of_range)?;
    let moved_to = this.zone.time_zone().to_ambiguous_zoned(date.to_datetime(civil.time()));
    moved(value, moved_to.compatible().map_err(out_of_range)?.timestamp())
}

fn compared(value: &Value, args: &[Value], f: fn(std::cmp::Ordering) -> bool) -> Result<Value, String> {
    Ok(Value::Bool(f(time(value)?.instant.cmp(&time(&args[0])?.instant))))
}

fn duration_rounded(value: i64, unit: i64, half: bool) -> i64 {
    if unit <= 0 {
        return value;
    }
    let rest = value % unit;
    let cut = value - rest;
    if half && rest.unsigned_abs() * 2 >= unit.unsigned_abs() {
        return cut.saturating_add(if value < 0 { -unit } else { unit });
    }
    cut
}

fn fraction(value: &Value, unit: f64) -> Result<Value, String> {
    Ok(Value::Float(nanoseconds(value)? as f64 / unit))
}

macro_rules! methods {
    ($($receiver:ident . $name:ident ( $($param:ident),* ) -> $out:ident = $call:expr;)*) => {
        &[$(Method {
            receiver: Ty::$receiver,
            name: stringify!($name),
            sig: Sig::new(&[$(Ty::$param),*], Ty::$out),
            call: $call,
        }),*]
    };
}

static METHODS: &[Method] = methods! {
    Time.Year() -> Int = |t, _| int(time(t)?.zoned().year());
    Time.Month() -> Month = |t, _| Ok(Value::Enum(GoEnum::Month, time(t)?.zoned().month().into()));
    Time.Day() -> Int = |t, _| int(time(t)?.zoned().day());
    Time.Hour() -> Int = |t, _| int(time(t)?.zoned().hour());
    Time.Minute() -> Int = |t, _| int(time(t)?.zoned().minute());
    Time.Second() -> Int = |t, _| int(time(t)?.zoned().second());
    Time.Nanosecond() -> Int = |t, _| int(time(t)?.zoned().subsec_nanosecond());
    Time.YearDay() -> Int = |t, _| int(time(t)?.zoned().day_of_year());
    Time.Weekday() -> Weekday = |t, _| {
        Ok(Value::Enum(GoEnum::Weekday, time(t)?.zoned().weekday().to_sunday_zero_offset().into()))
    };
    Time.Unix() -> Int64 = |t, _| Ok(Value::Int64(time(t)?.instant.as_nanosecond().div_euclid(1_000_000_000) as i64));
    Time.UnixMilli() -> Int64 = |t, _| Ok(Value::Int64(time(t)?.instant.as_nanosecond().div_euclid(1_000_000) as i64));
    Time.UnixMicro() -> Int64 = |t, _| Ok(Value::Int64(time(t)?.instant.as_nanosecond().div_euclid(1_000) as i64));
    Time.UnixNano() -> Int64 = |t, _| Ok(Value::Int64(time(t)?.instant.as_nanosecond() as i64));
    Time.Format(Str) -> Str = |t, a| Ok(Value::str(format_time(a[0].as_str().unwrap_or(""), time(t)?)));
    Time.String() -> Str = |t, _| Ok(Value::str(time(t)?.text()));
    Time.GoString() -> Str = |t, _| Ok(Value::str(time(t)?.text()));
    Time.Add(Duration) -> Time = |t, a| Ok(Value::Time(Arc::new(time(t)?.plus(nanoseconds(&a[0])?))));
    Time.Sub(Time) -> Duration = |t, a| Ok(Value::Duration(time(t)?.minus(time(&a[0])?)));
    Time.AddDate(Int, Int, Int) -> Time = add_date;
    Time.Before(Time) -> Bool = |t, a| compared(t, a, std::cmp::Ordering::is_lt);
    Time.After(Time) -> Bool = |t, a| compared(t, a, std::cmp::Ordering::is_gt);
    Time.Equal(Time) -> Bool = |t, a| compared(t, a, std::cmp::Ordering::is_eq);
    Time.Compare(Time) -> Int = |t, a| int(time(t)?.instant.cmp(&time(&a[0])?.instant) as i64);
    Time.Truncate(Duration) -> Time = |t, a| rounded(t, nanoseconds(&a[0])?, false);
    Time.Round(Duration) -> Time = |t, a| rounded(t, nanoseconds(&a[0])?, true);
    Time.UTC() -> Time = |t, _| in_zone(t, Zone::Utc);
    Time.Local() -> Time = |t, _| in_zone(t, Zone::Utc);
    Time.In(Location) -> Time = |t, a| match &a[0] {
        Value::Location(zone) => in_zone(t, (**zone).clone()),
        _ => Err("time: missing Location in call to Time.In".to_owned()),
    };
    Time.IsZero() -> Bool = |t, _| Ok(Value::Bool(time(t)?.instant == Time::zero().instant));
    Time.Location() -> Location = |t, _| Ok(Value::Location(Arc::new(time(t)?.zone.clone())));
    Time.Zone() -> Str = |t, _| Ok(Value::str(time(t)?.abbreviation()));
    Time.ISOWeek() -> Int = |t, _| int(time(t)?.zoned().date().iso_week_date().year());
    Duration.Hours() -> Float = |d, _| fraction(d, 3.6e12);
    Duration.Minutes() -> Float = |d, _| fraction(d, 6e10);
    Duration.Seconds() -> Float = |d, _| fraction(d, 1e9);
    Duration.Milliseconds() -> Int64 = |d, _| Ok(Value::Int64(nanoseconds(d)? / 1_000_000));
    Duration.Microseconds() -> Int64 = |d, _| Ok(Value::Int64(nanoseconds(d)? / 1_000));
    Duration.Nanoseconds() -> Int64 = |d, _| Ok(Value::Int64(nanoseconds(d)?));
    Duration.String() -> Str = |d, _| Ok(Value::str(format_duration(nanoseconds(d)?)));
    Duration.Abs() -> Duration = |d, _| Ok(Value::Duration(nanoseconds(d)?.saturating_abs()));
    Duration.Truncate(Duration) -> Duration = |d, a| {
        Ok(Value::Duration(duration_rounded(nanoseconds(d)?, nanoseconds(&a[0])?, false)))
    };
    Duration.Round(Duration) -> Duration = |d, a| {
        Ok(Value::Duration(duration_rounded(nanoseconds(d)?, nanoseconds(&a[0])?, true)))
    };
    Month.String() -> Str = |m, _| Ok(Value::str(GoEnum::Month.name(nanoseconds(m)?)));
    Weekday.String() -> Str = |d, _| Ok(Value::str(GoEnum::Weekday.name(nanoseconds(d)?)));
    Location.String() -> Str = |l, _| Ok(Value::str(l.to_string()));
};
