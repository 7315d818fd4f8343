//! fmt: `%v` of values, and the subset of Printf that withSequence formats and `sprig.printf` use.

use crate::value::Value;

/// `%v` of a JSON value as Go sees it decoded: maps sorted `map[k:v]`, lists `[a b]`, null `<nil>`, numbers float64.
pub fn display_json(value: &serde_json::Value) -> String {
    display_value(&Value::from_json(value))
}

/// `%v`.
pub fn display_value(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) | Value::Int64(value) => value.to_string(),
        Value::Byte(value) => value.to_string(),
        Value::Float(value) => super::format_float_g(*value),
        Value::Str(text) => text.to_string(),
        Value::Bytes(bytes) => joined("[", bytes.iter().map(u8::to_string)),
        Value::Time(time) => time.text(),
        Value::Duration(value) => super::format_duration(*value),
        Value::Enum(kind, value) => kind.name(*value),
        Value::Location(zone) => zone.name().to_owned(),
        Value::Func(function) => function.go_type(),
        Value::Array(array) => joined("[", array.items.iter().map(display_value)),
        Value::Map(map) => match crate::sprig::semver_text(map) {
            Some(text) => text.to_owned(),
            None => joined("map[", map.iter().map(|(k, v)| format!("{}:{}", display_value(&k), display_value(v)))),
        },
    }
}

fn joined(open: &str, items: impl Iterator<Item = String>) -> String {
    let mut out = open.to_owned();
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Widths and precisions beyond this are refused by Go as well (`%!(BADWIDTH)`); here they are cut.
const MAX_WIDTH: usize = 1_000_000;

/// `fmt.Sprintf` for the verbs v d s q x X o b c e f g t T U and %, with flags, width and precision.
///
/// Mistakes come out as Go prints them: `%!d(string=x)`, `%!d(MISSING)`, `%!(EXTRA int=1)`, `%!(NOVERB)`.
pub fn sprintf(format: &str, args: &[Value]) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars().peekable();
    let mut next_arg = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => break,
            }
            chars.next();
        }
        spec.width = read_number(&mut chars, args, &mut next_arg);
        if chars.peek() == Some(&'.') {
            chars.next();
            spec.precision = Some(read_number(&mut chars, args, &mut next_arg).unwrap_or(0));
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match args.get(next_arg) {
            Some(value) => out.push_str(&pad(&spec, format_verb(&spec, verb, value))),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
        next_arg += 1;
    }
    if next_arg < args.len() {
        let extra: Vec<_> = args[next_arg..].iter().map(typed).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn read_number(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    args: &[Value],
    next_arg: &mut usize,
) -> Option<usize> {
    if chars.peek() == Some(&'*') {
        chars.next();
        let value = args.get(*next_arg).and_then(Value::as_int);
        *next_arg += 1;
        return value.and_then(|v| usize::try_from(v).ok()).map(|v| v.min(MAX_WIDTH));
    }
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        number = Some((number.unwrap_or(0_usize) * 10 + digit as usize).min(MAX_WIDTH));
        chars.next();
    }
    number
}

fn typed(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        _ => format!("{}={}", value.go_type(), display_value(value)),
    }
}

struct Piece {
    text: String,
    /// Zeros may be put between a sign and the digits.
    numeric: bool,
}

fn pad(spec: &Spec, piece: Piece) -> String {
    let length = piece.text.chars().count();
    let Some(missing) = spec.width.and_then(|w| w.checked_sub(length)) else { return piece.text };
    if spec.minus {
        return piece.text + &" ".repeat(missing);
    }
    if !spec.zero {
        return " ".repeat(missing) + &piece.text;
    }
    let sign = usize::from(piece.numeric && piece.text.starts_with(['-', '+', ' ']));
    format!("{}{}{}", &piece.text[..sign], "0".repeat(missing), &piece.text[sign..])
}

fn text(text: String) -> Piece {
    Piece { text, numeric: false }
}

fn format_verb(spec: &Spec, verb: char, value: &Value) -> Piece {
    let bad = || {
        if *value == Value::Nil {
            return text(format!("%!{verb}(<nil>)"));
        }
        text(format!("%!{verb}({})", typed(value)))
    };
    match (verb, value) {
        ('T', Value::Nil) => text("<nil>".to_owned()),
        ('T', _) => text(value.go_type()),
        ('t', Value::Bool(value)) => text(value.to_string()),
        ('v', Value::Int(n) | Value::Int64(n)) => integer(spec, 'd', *n),
        ('v', Value::Float(f)) => float(spec, 'g', *f),
        ('v', Value::Str(s)) if spec.sharp => text(super::quote(s)),
        ('v', _) => text(display_value(value)),
        ('d' | 'x' | 'X' | 'o' | 'O' | 'b' | 'c' | 'q' | 'U', Value::Int(n) | Value::Int64(n)) => {
            integer(spec, verb, *n)
        }
        ('d' | 'x' | 'X' | 'o' | 'b', Value::Duration(n) | Value::Enum(_, n)) => integer(spec, verb, *n),
        ('d' | 'x' | 'X' | 'o' | 'b' | 'c', Value::Byte(n)) => integer(spec, verb, i64::from(*n)),
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(f)) => float(spec, verb, *f),
        ('s', Value::Str(s)) => text(cut(spec, s)),
        ('q', Value::Str(s)) => text(super::quote(&cut(spec, s))),
        ('x' | 'X', Value::Str(s)) => text(hex(s.as_bytes(), verb)),
        ('x' | 'X', Value::Bytes(b)) => text(hex(b, verb)),
        ('s', Value::Bytes(b)) => text(String::from_utf8_lossy(b).into_owned()),
        ('s', Value::Time(_) | Value::Duration(_) | Value::Enum(..)) => text(display_value(value)),
        (_, Value::Array(array)) => {
            text(joined("[", array.items.iter().map(|item| pad(spec, format_verb(spec, verb, item)))))
        }
        (_, Value::Map(map)) => text(joined(
            "map[",
            map.iter().map(|(k, v)| {
                format!("{}:{}", pad(spec, format_verb(spec, verb, &k)), pad(spec, format_verb(spec, verb, v)))
            }),
        )),
        _ => bad(),
    }
}

fn cut(spec: &Spec, text: &str) -> String {
    match spec.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text.to_owned(),
    }
}

fn hex(bytes: &[u8], verb: char) -> String {
    bytes.iter().map(|b| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") }).collect()
}

fn integer(spec: &Spec, verb: char, n: i64) -> Piece {
    let value = n.unsigned_abs();
    let mut digits = match verb {
        'x' => format!("{}{value:x}", if spec.sharp { "0x" } else { "" }),
        'X' => format!("{}{value:X}", if spec.sharp { "0X" } else { "" }),
        'o' => format!("{}{value:o}", if spec.sharp { "0" } else { "" }),
        'O' => format!("0o{value:o}"),
        'b' => format!("{}{value:b}", if spec.sharp { "0b" } else { "" }),
        'U' => return text(format!("U+{value:04X}")),
        'c' | 'q' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            return text(if verb == 'c' { c.to_string() } else { format!("'{c}'") });
        }
        _ => value.to_string(),
    };
    if let Some(width) = spec.precision.filter(|width| digits.len() < *width) {
        digits = format!("{digits:0>width$}");
    }
    let sign = match (n < 0, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    Piece { text: format!("{sign}{digits}"), numeric: true }
}

fn float(spec: &Spec, verb: char, value: f64) -> Piece {
    let mut digits = match (verb, spec.precision) {
        _ if !value.is_finite() => super::format_float_g(value).trim_start_matches('+').to_owned(),
        ('g' | 'G', None) => super::format_float_g(value),
        ('g' | 'G', Some(precision)) => general(value, precision.max(1)),
        ('e' | 'E', precision) => exponent(value, precision.unwrap_or(6)),
        (_, precision) => format!("{value:.*}", precision.unwrap_or(6)),
    };
    if verb.is_ascii_uppercase() {
        digits = digits.to_uppercase();
    }
    if value >= 0.0 {
        if spec.plus {
            digits.insert(0, '+');
        } else if spec.space {
            digits.insert(0, ' ');
        }
    }
    Piece { text: digits, numeric: value.is_finite() }
}

fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%.Ng`: N significant digits, without trailing zeros.
fn general(value: f64, digits: usize) -> String {
    let scientific = exponent(value, digits - 1);
    let (mantissa, exp) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exp: i32 = exp.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exp < -4 || exp >= i32::try_from(digits).unwrap_or(i32::MAX) {
        return format!("{}e{}{:02}", trim(mantissa), if exp < 0 { '-' } else { '+' }, exp.abs());
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(i32::MAX) - 1 - exp).unwrap_or(0);
    trim(&format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let one = |format: &str, n: i64| sprintf(format, &[Value::Int(n)]);
        assert_eq!(one("%d", 7), "7");
        assert_eq!(one("testuser%02X", 10), "testuser0A");
        assert_eq!(
            sprintf("%05d|%-5d|%5d|%+d", &[Value::Int(-42), Value::Int(4), Value::Int(4), Value::Int(4)]),
            "-0042|4    |    4|+4"
        );
        assert_eq!(one("%x %%", 255), "ff %");
        assert_eq!(one("none", 1), "none%!(EXTRA int=1)");
        assert_eq!(one("%s", 1), "%!s(int=1)");
    }

    #[test]
    fn json_values() {
        let value = serde_json::json!({"b": [1, 2.5, null], "a": {"x": "y"}, "c": true});
        assert_eq!(display_json(&value), "map[a:map[x:y] b:[1 2.5 <nil>] c:true]");
    }

    #[test]
    fn floats() {
        let all = sprintf("%v %f %.2f %e %g %.3g", &[1.5, 1.5, 1.005, 1500.0, 1e21, 1234.5].map(Value::Float));
        assert_eq!(all, "1.5 1.500000 1.00 1.500000e+03 1e+21 1.23e+03");
    }
}
