//! Functions on text.

use super::{convert::whole, text_of};
use crate::value::{Elem, Value};

pub(super) fn trim(args: &[Value]) -> Result<Value, String> {
    let text = text_of(&args[0])?;
    Ok(Value::str(match args.get(1) {
        None => crate::text::trim_space(text),
        Some(set) => {
            let set = text_of(set)?;
            text.trim_matches(|c| set.contains(c))
        }
    }))
}

fn affix(args: &[Value]) -> Result<&str, String> {
    args.get(1).map_or(Ok(" "), text_of)
}

pub(super) fn trim_prefix(args: &[Value]) -> Result<Value, String> {
    let text = text_of(&args[0])?;
    Ok(Value::str(text.strip_prefix(affix(args)?).unwrap_or(text)))
}

pub(super) fn trim_suffix(args: &[Value]) -> Result<Value, String> {
    let text = text_of(&args[0])?;
    Ok(Value::str(text.strip_suffix(affix(args)?).unwrap_or(text)))
}

pub(super) fn upper(args: &[Value]) -> Result<Value, String> {
    Ok(Value::str(crate::text::to_upper(text_of(&args[0])?)))
}

pub(super) fn lower(args: &[Value]) -> Result<Value, String> {
    Ok(Value::str(crate::text::to_lower(text_of(&args[0])?)))
}

fn limit(args: &[Value], at: usize) -> Result<i64, String> {
    args.get(at).map_or(Ok(-1), whole)
}

pub(super) fn split(args: &[Value]) -> Result<Value, String> {
    let parts = crate::text::split_n(text_of(&args[0])?, text_of(&args[1])?, limit(args, 2)?, false);
    Ok(parts.map_or_else(|| Value::nil_slice(Elem::Str), Value::strs))
}

pub(super) fn split_after(args: &[Value]) -> Result<Value, String> {
    let parts = crate::text::split_n(text_of(&args[0])?, text_of(&args[1])?, limit(args, 2)?, true);
    Ok(parts.map_or_else(|| Value::nil_slice(Elem::Str), Value::strs))
}

pub(super) fn replace(args: &[Value]) -> Result<Value, String> {
    let (text, old, new) = (text_of(&args[0])?, text_of(&args[1])?, text_of(&args[2])?);
    let count = limit(args, 3)?;
    crate::text::replace(text, old, new, count).map(Value::str)
}

pub(super) fn repeat(args: &[Value]) -> Result<Value, String> {
    let (text, count) = (text_of(&args[0])?, whole(&args[1])?);
    if count < 0 {
        return Err(format!("invalid argument for repeat (expected positive integer, got {count})"));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let max = crate::lang::ops::MAX_ELEMENTS;
    if count > max || text.len().saturating_mul(count) >= max {
        return Err(crate::lang::ops::BUDGET.to_owned());
    }
    Ok(Value::str(text.repeat(count)))
}

pub(super) fn join(args: &[Value]) -> Result<Value, String> {
    let glue = args.get(1).map_or(Ok(""), text_of)?;
    let Value::Array(array) = &args[0] else {
        return Err(format!("invalid argument for join (type {})", args[0].go_type()));
    };
    if !matches!(array.elem, Elem::Any | Elem::Str) {
        return Err(format!("invalid argument for join (type {})", args[0].go_type()));
    }
    let parts: Vec<&str> = array.items.iter().map(text_of).collect::<Result<_, _>>()?;
    Ok(Value::str(parts.join(glue)))
}

fn position(found: Option<usize>) -> Value {
    Value::Int(found.map_or(-1, |at| at as i64))
}

pub(super) fn index_of(args: &[Value]) -> Result<Value, String> {
    Ok(position(text_of(&args[0])?.find(text_of(&args[1])?)))
}

pub(super) fn last_index_of(args: &[Value]) -> Result<Value, String> {
    Ok(position(text_of(&args[0])?.rfind(text_of(&args[1])?)))
}

pub(super) fn has_prefix(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Bool(text_of(&args[0])?.starts_with(text_of(&args[1])?)))
}

pub(super) fn has_suffix(args: &[Value]) -> Result<Value, String> {
    Ok(Value::Bool(text_of(&args[0])?.ends_with(text_of(&args[1])?)))
}

pub(super) fn to_json(args: &[Value]) -> Result<Value, String> {
    crate::go::marshal_indent(&args[0], "  ").map(Value::str).map_err(|e| e.to_string())
}

pub(super) fn from_json(args: &[Value]) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(text_of(&args[0])?).map_err(|e| e.to_string())?;
    Ok(Value::from_json(&json))
}

pub(super) fn to_base64(args: &[Value]) -> Result<Value, String> {
    Ok(Value::str(crate::base64_encode(text_of(&args[0])?.as_bytes())))
}

pub(super) fn from_base64(args: &[Value]) -> Result<Value, String> {
    let bytes = crate::base64_decode(text_of(&args[0])?)?;
    Ok(Value::str(String::from_utf8_lossy(&bytes)))
}
