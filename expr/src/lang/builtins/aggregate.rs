//! max, min, mean, median.

use crate::lang::ast::BinaryOp;
use crate::lang::ops;
use crate::value::Value;

/// Lists deeper than this are refused.
const MAX_DEPTH: usize = 100;
const TOO_DEEP: &str = "recursion depth exceeded";

pub(super) fn min_max(name: &str, args: &[Value], depth: usize) -> Result<Value, String> {
    let op = if name == "max" { BinaryOp::Less } else { BinaryOp::More };
    if depth > MAX_DEPTH {
        return Err(TOO_DEEP.to_owned());
    }
    let mut best = Value::Nil;
    let take = |best: &mut Value, value: Value| -> Result<(), String> {
        if *best == Value::Nil || ops::compare(op, best, &value)? {
            *best = value;
        }
        Ok(())
    };
    for arg in args {
        match arg {
            Value::Array(array) => {
                for item in &array.items {
                    match item {
                        Value::Array(_) => {
                            let nested = min_max(name, std::slice::from_ref(item), depth + 1)?;
                            if nested != Value::Nil {
                                take(&mut best, nested)?;
                            }
                        }
                        _ if item.as_number().is_some() => take(&mut best, item.clone())?,
                        _ => return Err(format!("invalid argument for {name} (type {})", item.go_type())),
                    }
                }
            }
            Value::Duration(_) | Value::Enum(..) => take(&mut best, arg.clone())?,
            _ if arg.as_number().is_some() => take(&mut best, arg.clone())?,
            _ if args.len() == 1 => return Ok(arg.clone()),
            _ => return Err(format!("invalid argument for {name} (type {})", arg.go_type())),
        }
    }
    Ok(best)
}

fn numbers(name: &str, args: &[Value], depth: usize, into: &mut Vec<f64>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(TOO_DEEP.to_owned());
    }
    for arg in args {
        match arg {
            Value::Array(array) => numbers(name, &array.items, depth + 1, into)?,
            Value::Duration(value) | Value::Enum(_, value) => into.push(*value as f64),
            _ => into
                .push(arg.as_number().ok_or_else(|| format!("invalid argument for {name} (type {})", arg.go_type()))?),
        }
    }
    Ok(())
}

pub(super) fn mean(args: &[Value]) -> Result<Value, String> {
    let mut all = Vec::new();
    numbers("mean", args, 0, &mut all)?;
    let count = all.len();
    Ok(Value::Float(if count == 0 { 0.0 } else { all.iter().sum::<f64>() / count as f64 }))
}

pub(super) fn median(args: &[Value]) -> Result<Value, String> {
    let mut all = Vec::new();
    numbers("median", args, 0, &mut all)?;
    all.sort_by(f64::total_cmp);
    let half = all.len() / 2;
    Ok(Value::Float(match all.len() {
        0 => 0.0,
        count if count % 2 == 1 => all[half],
        _ => (all[half - 1] + all[half]) / 2.0,
    }))
}
