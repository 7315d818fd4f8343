//! strconv's floats: shortest digits, written plain (`f`) or with an exponent (`g` as `%v` does).

/// The shortest decimal digits of a finite number and the power of ten of the first digit.
fn shortest(value: f64) -> (String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// `strconv.FormatFloat(value, 'f', -1, 64)`: shortest digits, never an exponent.
pub fn format_float_f(value: f64) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => format!("{value}"),
    }
}

/// strconv's 'g' without a precision decides for an exponent as if the precision were six.
const PLAIN_DIGITS: i32 = 6;

/// `%v` of a float64: shortest digits, an exponent below 1e-4 and from 1e6.
pub fn format_float_g(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = shortest(value);
    if value != 0.0 && !(-4..PLAIN_DIGITS).contains(&exponent) {
        exponent_form(value, &digits, exponent, 2)
    } else {
        format!("{value}")
    }
}

/// The number as encoding/json writes it: an exponent below 1e-6 and from 1e21, without a leading zero in it.
pub(super) fn format_float_json(value: f64) -> String {
    let (digits, exponent) = shortest(value);
    if value != 0.0 && !(-6..21).contains(&exponent) {
        let width = if exponent < 0 { 1 } else { 2 };
        exponent_form(value, &digits, exponent, width)
    } else {
        format!("{value}")
    }
}

fn exponent_form(value: f64, digits: &str, exponent: i32, width: usize) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{exponent_sign}{:0width$}", exponent.unsigned_abs())
}

/// `strconv.ParseFloat(text, 64)`; None where Go reports an error (bad syntax, or out of range).
pub fn parse_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let named = text.bytes().any(|b| b.eq_ignore_ascii_case(&b'n'));
    if value.is_infinite() && !named { None } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_form_switches_to_exponents_where_go_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (123456.0, "123456"),
            (1234567.0, "1.234567e+06"),
            (1e21, "1e+21"),
            (1.25e-5, "1.25e-05"),
            (0.0001, "0.0001"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(format_float_g(value), expected);
        }
    }

    #[test]
    fn json_form_has_its_own_thresholds() {
        assert_eq!(format_float_json(1e-6), "0.000001");
        assert_eq!(format_float_json(1e-7), "1e-7");
        assert_eq!(format_float_json(1e21), "1e+21");
        assert_eq!(format_float_json(123456789.0), "123456789");
    }

    #[test]
    fn parsing_refuses_overflow() {
        assert_eq!(parse_float("1e3"), Some(1000.0));
        assert_eq!(parse_float("1e999"), None);
        assert_eq!(parse_float("inf"), Some(f64::INFINITY));
        assert_eq!(parse_float(""), None);
    }
}
