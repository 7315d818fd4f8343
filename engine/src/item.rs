//! The elements of loops as text. Argo keeps each as the JSON it was written in, and names iterations by that.
//! argo: item.go, Item.String.

use serde_json::{Number, Value};
use tiphys_expr::{Value as Operand, go};

/// An element of `withItems` as the API server gives it to Argo: integers as they are, other numbers and texts in Go's form.
pub(crate) fn written(value: &Value) -> String {
    let all = |items: Vec<String>| items.join(",");
    match value {
        Value::Number(number) => number_text(number),
        Value::Array(items) => format!("[{}]", all(items.iter().map(written).collect())),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("{}:{}", go::json_quote(key), written(value));
            format!("{{{}}}", all(fields.iter().map(field).collect()))
        }
        Value::String(text) => go::json_quote(text),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn number_text(number: &Number) -> String {
    let whole = number.is_i64() || number.is_u64();
    let float = number.as_f64().filter(|_| !whole).and_then(|float| go::marshal(&Operand::Float(float)).ok());
    float.unwrap_or_else(|| number.to_string())
}

/// What an element stands for where it is put into a text: a text itself, anything else as JSON.
pub(crate) fn value(raw: &str) -> String {
    serde_json::from_str::<String>(raw).unwrap_or_else(|_| text(raw))
}

/// What an element is in a name: a text without its quotes, but with its escapes. `<`, `>` and `&` are themselves.
pub(crate) fn text(raw: &str) -> String {
    let compact = compact(raw, false);
    let inner = compact.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&compact);
    inner.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")
}

/// JSON without white space between its parts; Go escapes two line separators in texts, and `<`, `>` and `&` if `html` says so.
pub(crate) fn compact(raw: &str, html: bool) -> String {
    let mut out = String::with_capacity(raw.len());
    let (mut inside, mut escaped) = (false, false);
    for char in raw.chars() {
        match char {
            ' ' | '\t' | '\n' | '\r' if !inside => continue,
            '<' | '>' | '&' if html => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => out.push(char),
        }
        inside ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_of_with_items_are_as_the_api_server_has_them() {
        let items = json!({"b": [1.0, 1.10, 9_007_199_254_740_993_u64, null], "a": "x\n\"y\"", "c": true});
        assert_eq!(written(&items), r#"{"a":"x\n\"y\"","b":[1,1.1,9007199254740993,null],"c":true}"#);
    }

    #[test]
    fn white_space_goes_but_in_texts() {
        assert_eq!(compact(" { \"a b\" : [ 1 , \"\\\" c\" ] } ", true), r#"{"a b":[1,"\" c"]}"#);
        assert_eq!(compact("\"a<b\u{2028}\"", true), r#""a\u003cb\u2028""#);
        assert_eq!(text("\"a<b\\u003e\u{2028}\""), r"a<b>\u2028");
    }
}
