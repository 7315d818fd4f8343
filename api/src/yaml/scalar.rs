//! What a YAML scalar means to Go: the rules of `go.yaml.in/yaml/v2` (resolve.go) and the keys of `sigs.k8s.io/yaml`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// A scalar, resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Above what `Int` can hold.
    Unsigned(u64),
    Float(f64),
    Text(String),
}

const CORE: &str = "tag:yaml.org,2002:";

/// Resolves a scalar. `plain` is false for quoted and block scalars; `tag` is the full tag, if one was written.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Scalar, String> {
    let as_text = || Scalar::Text(text.to_string());
    // A lone `!` asks for the meaning that the plain text would have.
    let tag = match tag {
        None if !plain => return Ok(as_text()),
        None | Some("!") => return Ok(implicit(text)),
        Some(tag) => tag,
    };
    let Some(kind) = tag.strip_prefix(CORE) else { return Ok(as_text()) };
    let mismatch = |found: &Scalar| Err(format!("cannot decode {} `{text}` as a !!{kind}", found.tag()));
    match kind {
        "str" => Ok(as_text()),
        "binary" => binary(text),
        "timestamp" if looks_like_date(text) => Ok(as_text()),
        "bool" | "int" | "float" | "null" | "timestamp" => match (kind, implicit(text)) {
            ("bool", value @ Scalar::Bool(_)) | ("null", value @ Scalar::Null) => Ok(value),
            ("int", value @ (Scalar::Int(_) | Scalar::Unsigned(_))) | ("float", value @ Scalar::Float(_)) => Ok(value),
            ("float", Scalar::Int(value)) => Ok(Scalar::Float(value as f64)),
            (_, other) => mismatch(&other),
        },
        _ => Ok(as_text()),
    }
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Scalar::Null => "!!null",
            Scalar::Bool(_) => "!!bool",
            Scalar::Int(_) | Scalar::Unsigned(_) => "!!int",
            Scalar::Float(_) => "!!float",
            Scalar::Text(_) => "!!str",
        }
    }

    /// The text of a mapping's key.
    pub(super) fn into_key(self) -> Result<String, String> {
        match self {
            Scalar::Text(text) => Ok(text),
            Scalar::Bool(value) => Ok(value.to_string()),
            Scalar::Int(value) => Ok(value.to_string()),
            Scalar::Float(value) => Ok(float_key(value)),
            Scalar::Null => Err("a key cannot be null: put it in quotes".to_string()),
            Scalar::Unsigned(value) => Err(format!("the number {value} is too large for a key: put it in quotes")),
        }
    }
}

fn implicit(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' => underscores_between_digits(text).then(|| text.replace('_', "")).and_then(|plain| float(&plain)),
        b'+' | b'-' | b'0'..=b'9' => {
            let plain = text.replace('_', "");
            integer(&plain).or_else(|| float(&plain)).or_else(|| signed_binary(&plain))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.to_string()))
}

/// Go's `ParseInt(text, 0, 64)`, then `ParseUint`: the prefix names the base, and a leading 0 alone means octal.
fn integer(text: &str) -> Option<Scalar> {
    let (sign, digits) = match text.as_bytes()[0] {
        sign @ (b'+' | b'-') => (Some(sign), &text[1..]),
        _ => (None, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [] => return None,
        [b'0'] => (10, digits),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match sign {
        Some(b'-') => 0i64.checked_sub_unsigned(magnitude).map(Scalar::Int),
        sign => match i64::try_from(magnitude) {
            Ok(value) => Some(Scalar::Int(value)),
            Err(_) => sign.is_none().then_some(Scalar::Unsigned(magnitude)),
        },
    }
}

/// A sign after the prefix, as in `0b-11`, which Go's reader lets through.
fn signed_binary(text: &str) -> Option<Scalar> {
    i64::from_str_radix(text.strip_prefix("0b")?, 2).ok().map(Scalar::Int)
}

fn float(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let well_formed = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    if !well_formed || exponent.is_some_and(|digits| digits.is_empty() || !all_digits(digits)) {
        return None;
    }
    // What is out of range stays text.
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Float)
}

fn underscores_between_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit_at = |index: Option<usize>| index.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let lone = |(index, _)| digit_at(usize::checked_sub(index, 1)) && digit_at(Some(index + 1));
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(lone)
}

fn looks_like_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |part: Option<&str>, most: usize| {
        part.is_some_and(|p| !p.is_empty() && p.len() <= most && p.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let year = parts.next();
    digits(year, 4) && year.is_some_and(|y| y.len() == 4) && digits(parts.next(), 2) && {
        let rest = parts.next().unwrap_or_default();
        digits(rest.split(['T', 't', ' ']).next(), 2)
    }
}

fn binary(text: &str) -> Result<Scalar, String> {
    let engine = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = engine.decode(compact).map_err(|_| "!!binary value contains invalid base64 data".to_string())?;
    // Go prints each byte that is no UTF-8 as a replacement character.
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Ok(Scalar::Text(decoded))
}

/// Go's `FormatFloat(value, 'g', -1, 32)`, with YAML's words for what is not finite.
fn float_key(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_string();
    }
    let value = value as f32;
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_string();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        resolve(text, true, None).and_then(Scalar::into_key).unwrap_or_else(|error| error)
    }

    #[test]
    fn numbers_as_go_reads_them() {
        let cases = [
            ("0", Scalar::Int(0)),
            ("-0b11", Scalar::Int(-3)),
            ("0b-11", Scalar::Int(-3)),
            ("0B11", Scalar::Int(3)),
            ("0_17", Scalar::Int(15)),
            ("-9223372036854775808", Scalar::Int(i64::MIN)),
            ("18446744073709551615", Scalar::Unsigned(u64::MAX)),
            ("+18446744073709551615", Scalar::Float(18446744073709551615.0)),
            ("0x", Scalar::Text("0x".into())),
            ("0x-1", Scalar::Text("0x-1".into())),
            ("+", Scalar::Text("+".into())),
            ("-", Scalar::Text("-".into())),
            (".", Scalar::Text(".".into())),
            (".5_0", Scalar::Float(0.5)),
            ("._5", Scalar::Text("._5".into())),
            ("1e", Scalar::Text("1e".into())),
            ("1.5.2", Scalar::Text("1.5.2".into())),
            ("12e03", Scalar::Float(12000.0)),
            ("é", Scalar::Text("é".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text, true, None), Ok(expected), "{text}");
        }
    }

    #[test]
    fn tags_choose_the_kind() {
        let tagged = |tag: &str, text: &str| resolve(text, false, Some(&format!("{CORE}{tag}")));
        assert_eq!(tagged("int", "0x10"), Ok(Scalar::Int(16)));
        assert_eq!(tagged("float", "5"), Ok(Scalar::Float(5.0)));
        assert_eq!(tagged("int", "1.5"), Err("cannot decode !!float `1.5` as a !!int".into()));
        assert_eq!(tagged("bool", "maybe"), Err("cannot decode !!str `maybe` as a !!bool".into()));
        assert_eq!(tagged("binary", "aGk=\n"), Ok(Scalar::Text("hi".into())));
        assert_eq!(tagged("binary", "*"), Err("!!binary value contains invalid base64 data".into()));
        assert_eq!(tagged("timestamp", "2024-1-2"), Ok(Scalar::Text("2024-1-2".into())));
        assert_eq!(resolve("5", false, Some("!")), Ok(Scalar::Int(5)));
        assert_eq!(resolve("5", true, Some("!mine")), Ok(Scalar::Text("5".into())));
    }

    #[test]
    fn keys_as_go_prints_them() {
        for (text, expected) in
            [("1.50", "1.5"), ("yes", "true"), ("1e30", "1e+30"), ("0.00001", "1e-05"), ("1e3", "1000")]
        {
            assert_eq!(key(text), expected);
        }
        assert_eq!(key("~"), "a key cannot be null: put it in quotes");
    }
}
