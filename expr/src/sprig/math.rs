//! Numbers: everything is converted as github.com/spf13/cast does, mistakes count as zero.

use super::{int, table};
use crate::go::{format_float_f, parse_float};
use crate::lang::ops::{BUDGET, MAX_ELEMENTS, float_to_int};
use crate::value::Value;

/// `cast.ToInt64`.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Bool(value) => i64::from(*value),
        Value::Float(value) => float_to_int(*value),
        Value::Str(text) => parse_int(trim_zero_decimal(text)).unwrap_or(0),
        Value::Enum(_, value) => *value,
        _ => value.as_int().unwrap_or(0),
    }
}

/// `cast.ToFloat64`.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Str(text) => parse_float(text).unwrap_or(0.0),
        Value::Enum(_, value) => *value as f64,
        _ => value.as_number().unwrap_or(0.0),
    }
}

/// `5.00` is 5; `5.5` is no integer.
fn trim_zero_decimal(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    match trimmed.strip_suffix('.') {
        Some(whole) if trimmed.len() < text.len() => whole,
        _ => text,
    }
}

/// `strconv.ParseInt(text, 0, 0)`: prefixes tell the base.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = if let Some(hex) = lower.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (octal, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8)
    } else {
        (lower.as_str(), 10)
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, base).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

pub(super) fn divide(args: &[Value], f: fn(i64, i64) -> i64) -> Result<Value, String> {
    match to_int(&args[1]) {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        divisor => Ok(Value::Int64(f(to_int(&args[0]), divisor))),
    }
}

pub(super) fn extreme(args: &[Value], f: fn(f64, f64) -> f64) -> Result<Value, String> {
    Ok(Value::Float(args.iter().map(to_float).reduce(f).unwrap_or(0.0)))
}

pub(super) fn round(args: &[Value]) -> Result<Value, String> {
    let round_on = args.get(2).map_or(0.5, to_float);
    let power = 10_f64.powf(to_float(&args[1]));
    let digit = power * to_float(&args[0]);
    let rounded = if digit.fract() >= round_on { digit.ceil() } else { digit.floor() };
    Ok(Value::Float(rounded / power))
}

pub(super) fn to_decimal(args: &[Value]) -> Result<Value, String> {
    let text = args[0].to_string();
    Ok(Value::Int64(i64::from_str_radix(&text, 8).unwrap_or(0)))
}

fn steps(start: i64, stop: i64, step: i64) -> Result<Vec<i64>, String> {
    let mut out = Vec::new();
    if (stop < start && step >= 0) || (stop >= start && step <= 0) {
        return Ok(out);
    }
    let mut at = start;
    while if step > 0 { at < stop } else { at > stop } {
        if out.len() >= MAX_ELEMENTS {
            return Err(BUDGET.to_owned());
        }
        out.push(at);
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(out)
}

pub(super) fn until_step(start: i64, stop: i64, step: i64) -> Result<Value, String> {
    steps(start, stop, step).map(table::ints)
}

pub(super) fn seq(args: &[Value]) -> Result<Value, String> {
    let params: Vec<i64> = args.iter().map(int).collect();
    let numbers = match params[..] {
        [end] => {
            let step = if end < 1 { -1 } else { 1 };
            steps(1, end.saturating_add(step), step)?
        }
        [start, end] => {
            let step = if end < start { -1 } else { 1 };
            steps(start, end.saturating_add(step), step)?
        }
        [start, step, end] if end < start && step > 0 => steps(start, start, step)?,
        [start, step, end] => {
            let increment = if end < start { -1 } else { 1 };
            steps(start, end.saturating_add(increment), step)?
        }
        _ => Vec::new(),
    };
    Ok(Value::str(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")))
}

/// A decimal number: `mantissa * 10^exponent`. Go's shopspring/decimal has no limit; where 38 digits do not do, the
/// operation falls back to floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// Digits behind the point of a quotient.
const DIVISION_PRECISION: i32 = 16;

impl Decimal {
    fn of(value: f64) -> Option<Self> {
        let text = format_float_f(value);
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { mantissa, exponent: -i32::try_from(fraction.len()).ok()? })
    }

    fn to_float(self) -> f64 {
        format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f64::NAN)
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        let power = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(power)?)
    }

    pub fn add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        Some(Self { mantissa: self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?, exponent })
    }

    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { mantissa: other.mantissa.checked_neg()?, exponent: other.exponent })
    }

    pub fn mul(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self { mantissa, exponent: self.exponent.checked_add(other.exponent)? })
    }

    /// Rounded to 16 digits behind the point, halves away from zero.
    pub fn div(self, other: Self) -> Option<Self> {
        let shift = self.exponent - other.exponent + DIVISION_PRECISION;
        let power = 10_i128.checked_pow(shift.unsigned_abs())?;
        let (numerator, denominator) = if shift >= 0 {
            (self.mantissa.checked_mul(power)?, other.mantissa)
        } else {
            (self.mantissa, other.mantissa.checked_mul(power)?)
        };
        let (quotient, rest) = (numerator.checked_div(denominator)?, numerator.checked_rem(denominator)?);
        let up = rest.unsigned_abs().checked_mul(2)? >= denominator.unsigned_abs();
        let sign = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
        Some(Self { mantissa: quotient + if up { sign } else { 0 }, exponent: -DIVISION_PRECISION })
    }
}

pub(super) fn decimals(
    first: &Value,
    rest: &[Value],
    f: fn(Decimal, Decimal) -> Option<Decimal>,
) -> Result<Value, String> {
    let too_large = || "decimal out of range".to_owned();
    let mut total = Decimal::of(to_float(first)).ok_or_else(too_large)?;
    for value in rest {
        let operand = Decimal::of(to_float(value)).ok_or_else(too_large)?;
        if operand.mantissa == 0 && f(Decimal { mantissa: 1, exponent: 0 }, operand).is_none() {
            return Err("decimal division by 0".to_owned());
        }
        total = f(total, operand).ok_or_else(too_large)?;
    }
    Ok(Value::Float(total.to_float()))
}
