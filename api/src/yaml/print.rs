//! JSON values as YAML, in block style, as `kubectl get -o yaml` prints objects.

use serde_json::Value;

/// The value as a YAML document, with a line end.
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(fields, 0, &mut out),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut out),
        scalar => {
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
    out
}

fn object(fields: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    for (index, (key, value)) in fields.iter().enumerate() {
        // The first field of an object in a list stands behind the dash.
        if index > 0 || out.is_empty() || out.ends_with('\n') {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                object(fields, indent + 2, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                list(items, indent, out);
            }
            Value::String(block) if is_block(block) => literal(block, indent + 2, out),
            scalar => {
                out.push(' ');
                out.push_str(&inline(scalar));
                out.push('\n');
            }
        }
    }
}

fn list(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        if out.is_empty() || out.ends_with('\n') {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push('-');
        match item {
            Value::Object(fields) if !fields.is_empty() => {
                out.push(' ');
                object(fields, indent + 2, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push(' ');
                list(items, indent + 2, out);
            }
            Value::String(block) if is_block(block) => literal(block, indent + 2, out),
            scalar => {
                out.push(' ');
                out.push_str(&inline(scalar));
                out.push('\n');
            }
        }
    }
}

/// Text of several lines that a literal block holds unchanged.
fn is_block(text: &str) -> bool {
    let plain = |c: char| {
        c == '\n' || (!c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}' && c != '\u{85}')
    };
    text.contains('\n') && text.chars().all(plain) && !text.starts_with([' ', '\n'])
}

fn literal(text: &str, indent: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => " |-\n",
        1 => " |\n",
        _ => " |+\n",
    });
    for line in body.split('\n').chain(std::iter::repeat_n("", (text.len() - body.len()).saturating_sub(1))) {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

/// Text as it is where every reader takes it for text, else in quotes.
fn text(string: &str) -> String {
    const WORDS: [&str; 12] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ".nan", ".inf"];
    let first = |c: char| c.is_ascii_alphabetic() || c == '/' || c == '_';
    let inner = |c: char| c.is_ascii_alphanumeric() || "/_-. ()+=@,".contains(c);
    let plain = string.starts_with(first)
        && string.chars().all(inner)
        && !string.ends_with(' ')
        && !WORDS.contains(&string.to_ascii_lowercase().as_str());
    if plain { string.to_owned() } else { Value::from(string).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_printed_reads_back() {
        let value = json!({
            "a": {"b": [1, {"c": "x", "d": []}, [true, [null]], "yes"], "e": {}},
            "text": "two\nlines\n", "cut": "two\nlines", "kept": "two\n\n\n", "odd": " x\ny", "tab": "a\tb\n",
            "needs: quotes": "- x", "number": "1e3", "date": "2026-11-21T10:00:00Z", "empty": "", "unicode": "ä\u{85}",
            "list": ["a\nb\n", {"k": "v\nw"}], "float": 1.5, "tag": "{{x}}", "hash": "a #b", "colon": "a: b",
        });
        let yaml = print(&value);
        assert_eq!(crate::yaml::to_json(&yaml).unwrap(), value, "{yaml}");
        for scalar in [json!("x"), json!([]), json!({}), json!(1)] {
            assert_eq!(crate::yaml::to_json(&print(&scalar)).unwrap(), scalar);
        }
    }

    #[test]
    fn it_looks_like_kubectls() {
        let value = json!({"kind": "Workflow", "spec": {"templates": [{"name": "a", "args": ["echo hi"]}]}});
        let expected = "kind: Workflow\nspec:\n  templates:\n  - args:\n    - echo hi\n    name: a\n";
        assert_eq!(print(&value), expected);
    }
}
