//! What Kubernetes takes for a label's key and value, in its words (apimachinery: pkg/util/validation).

const LONGEST: usize = 63;
const LONGEST_PREFIX: usize = 253;
const CHARACTERS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// What is wrong with a key; nothing when it is one.
pub fn key_problems(key: &str) -> Vec<String> {
    let form = format!(
        "{CHARACTERS} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    );
    let mut problems = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            problems.extend(prefix_problem(prefix).map(|problem| format!("prefix part {problem}")));
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {form} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > LONGEST {
        problems.push(format!("name part must be no more than {LONGEST} bytes"));
    }
    if !is_name(name) {
        problems.push(format!("name part {form}"));
    }
    problems
}

/// What is wrong with a value; nothing when it is one. It may be empty.
pub fn value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > LONGEST {
        problems.push(format!("must be no more than {LONGEST} bytes"));
    }
    if !value.is_empty() && !is_name(value) {
        problems.push(format!(
            "a valid label must be an empty string or {} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
             validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            CHARACTERS.trim_start_matches("must ")
        ));
    }
    problems
}

fn prefix_problem(prefix: &str) -> Option<String> {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(inner) && label.ends_with(inner) && label.chars().all(|c| inner(c) || c == '-')
    };
    if prefix.is_empty() {
        Some("must be non-empty".to_owned())
    } else if prefix.len() > LONGEST_PREFIX {
        Some(format!("must be no more than {LONGEST_PREFIX} bytes"))
    } else if !prefix.split('.').all(is_label) {
        Some(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .to_owned(),
        )
    } else {
        None
    }
}

fn is_name(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(|c| outer(c) || matches!(c, '-' | '_' | '.'))
}
