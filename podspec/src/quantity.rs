//! Kubernetes quantities: `100m`, `64Mi`, `1.5`, `1e3`.

use serde_json::Value;

const BINARY: [(&str, f64); 6] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];
const DECIMAL: [(&str, f64); 9] =
    [("n", 1e-9), ("u", 1e-6), ("m", 1e-3), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15), ("E", 1e18)];

/// The value of a quantity in its base unit (cores, bytes). None for what is no quantity.
pub fn parse(quantity: &Value) -> Option<f64> {
    let text = match quantity {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text.as_str(),
        _ => return None,
    };
    // A plain number first: in `1e3` the `e` is an exponent.
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    number(text).or_else(|| {
        let units = BINARY.iter().chain(&DECIMAL);
        units.filter_map(|(suffix, unit)| Some(number(text.strip_suffix(suffix)?)? * unit)).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("100m", Some(0.1)),
            ("64Mi", Some(67_108_864.0)),
            ("1.5", Some(1.5)),
            ("1e3", Some(1000.0)),
            ("2k", Some(2000.0)),
            ("1E", Some(1e18)),
            ("3Ei", Some(3.0 * 1_152_921_504_606_846_976.0)),
            ("", None),
            ("Mi", None),
            ("inf", None),
            ("5x", None),
        ] {
            assert_eq!(parse(&Value::from(text)), expected, "{text}");
        }
        assert_eq!(parse(&Value::from(2)), Some(2.0));
    }
}
