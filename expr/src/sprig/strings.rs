//! Functions on text. Go counts bytes where it cuts; what is left of a character cut in two becomes U+FFFD.

use super::{int, text};
use crate::value::Value;

fn lossy(bytes: &[u8]) -> Result<Value, String> {
    Ok(Value::str(String::from_utf8_lossy(bytes)))
}

/// A value as text: Stringers by their String method, the rest as `%v`.
pub(super) fn strval(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.to_string(),
    }
}

pub(super) fn abbrev(offset: i64, width: i64, source: &str) -> Result<Value, String> {
    if width < 4 {
        return Ok(Value::str(source));
    }
    lossy(&abbreviated(source.as_bytes(), offset, width))
}

pub(super) fn abbrev_both(left: i64, right: i64, source: &str) -> Result<Value, String> {
    if right < 4 || left > 0 && right < 7 {
        return Ok(Value::str(source));
    }
    lossy(&abbreviated(source.as_bytes(), left, right))
}

/// `goutils.AbbreviateFull`; the width is at least 4.
fn abbreviated(source: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = source.len() as i64;
    if length <= width {
        return source.to_vec();
    }
    let kept = width - 3;
    let mut offset = offset.min(length);
    if length - offset < kept {
        offset = length - kept;
    }
    let cut = |from: i64, to: i64| &source[from.clamp(0, length) as usize..to.clamp(0, length) as usize];
    if offset <= 4 {
        return [cut(0, kept), b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + kept < length {
        // Below four there is nothing left to abbreviate to.
        let rest = if kept < 4 { Vec::new() } else { abbreviated(cut(offset, length), 0, kept) };
        return [b"...", rest.as_slice()].concat();
    }
    [b"...", cut(length - kept, length)].concat()
}

pub(super) fn trunc(args: &[Value]) -> Result<Value, String> {
    let (count, source) = (int(&args[0]), text(&args[1]).as_bytes());
    let length = source.len() as i64;
    if count < 0 && length + count > 0 {
        return lossy(&source[(length + count) as usize..]);
    }
    if count >= 0 && length > count {
        return lossy(&source[..count as usize]);
    }
    Ok(args[1].clone())
}

pub(super) fn substr(args: &[Value]) -> Result<Value, String> {
    let (start, end, source) = (int(&args[0]), int(&args[1]), text(&args[2]).as_bytes());
    let length = source.len() as i64;
    let (start, end) = if start < 0 {
        (0, end)
    } else if end < 0 || end > length {
        (start, length)
    } else {
        (start, end)
    };
    if start > end || end > length || end < 0 {
        return Err(format!("runtime error: slice bounds out of range [{start}:{end}]"));
    }
    lossy(&source[start as usize..end as usize])
}

pub(super) fn trim_all(args: &[Value]) -> Result<Value, String> {
    let set = text(&args[0]);
    Ok(Value::str(text(&args[1]).trim_matches(|c| set.contains(c))))
}

pub(super) fn untitle(args: &[Value]) -> Result<Value, String> {
    let mut lower_next = true;
    let out = text(&args[0]).chars().map(|c| {
        if c.is_whitespace() {
            lower_next = true;
            c.to_string()
        } else if std::mem::take(&mut lower_next) {
            crate::text::to_lower(&c.to_string())
        } else {
            c.to_string()
        }
    });
    Ok(Value::str(out.collect::<String>()))
}

/// goutils reads bytes as characters: a text of more than ASCII that holds a space comes out mangled, as there.
pub(super) fn nospace(args: &[Value]) -> Result<Value, String> {
    let source = text(&args[0]);
    let kept: Vec<char> = source.bytes().map(char::from).filter(|c| !c.is_whitespace()).collect();
    if kept.len() == source.len() {
        return Ok(args[0].clone());
    }
    Ok(Value::str(kept.into_iter().collect::<String>()))
}

pub(super) fn initials(args: &[Value]) -> Result<Value, String> {
    let mut gap = true;
    let mut out = String::new();
    for c in text(&args[0]).bytes().map(char::from) {
        if c.is_whitespace() {
            gap = true;
        } else if std::mem::take(&mut gap) {
            out.push(c);
        }
    }
    Ok(Value::str(out))
}

pub(super) fn swap_case(args: &[Value]) -> Result<Value, String> {
    let swapped = text(&args[0]).chars().map(|c| {
        let text = c.to_string();
        match c {
            c if c.is_uppercase() => crate::text::to_lower(&text),
            c if c.is_lowercase() => crate::text::to_upper(&text),
            _ => text,
        }
    });
    Ok(Value::str(swapped.collect::<String>()))
}

/// `goutils.WrapCustom`.
pub(super) fn wrap(width: i64, separator: &str, source: &str, long_words: bool) -> Result<Value, String> {
    let separator = if separator.is_empty() { "\n" } else { separator };
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let bytes = source.as_bytes();
    let mut out: Vec<u8> = Vec::new();
    let mut offset = 0;
    while bytes.len() - offset > width {
        if bytes[offset] == b' ' {
            offset += 1;
            continue;
        }
        let window = &bytes[offset..offset + width + 1];
        if let Some(at) = window.iter().rposition(|b| *b == b' ') {
            out.extend_from_slice(&bytes[offset..offset + at]);
            offset += at + 1;
        } else if long_words {
            out.extend_from_slice(&bytes[offset..offset + width]);
            offset += width;
        } else {
            match bytes[offset + width..].iter().position(|b| *b == b' ') {
                Some(at) => {
                    out.extend_from_slice(&bytes[offset..offset + width + at]);
                    offset += width + at + 1;
                }
                None => {
                    out.extend_from_slice(&bytes[offset..]);
                    offset = bytes.len();
                    break;
                }
            }
        }
        out.extend_from_slice(separator.as_bytes());
        if out.len() > 16 << 20 {
            return Err(crate::lang::ops::BUDGET.to_owned());
        }
    }
    out.extend_from_slice(&bytes[offset..]);
    lossy(&out)
}

pub(super) fn quote(args: &[Value]) -> Result<Value, String> {
    let quoted = args.iter().filter(|v| **v != Value::Nil).map(|value| crate::go::quote(&strval(value)));
    Ok(Value::str(quoted.collect::<Vec<_>>().join(" ")))
}

pub(super) fn squote(args: &[Value]) -> Result<Value, String> {
    let quoted = args.iter().filter(|v| **v != Value::Nil).map(|value| format!("'{value}'"));
    Ok(Value::str(quoted.collect::<Vec<_>>().join(" ")))
}

pub(super) fn cat(args: &[Value]) -> Result<Value, String> {
    let shown = args.iter().filter(|v| **v != Value::Nil).map(Value::to_string);
    Ok(Value::str(shown.collect::<Vec<_>>().join(" ")))
}

pub(super) fn indent(spaces: i64, source: &str) -> Result<String, String> {
    let pad = crate::text::repeat(" ", spaces)?;
    let body = crate::text::replace(source, "\n", &format!("\n{pad}"), -1)?;
    Ok(pad + &body)
}
