//! A Workflow's outcome without what differs from run to run: names, ids, times, addresses.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The fields of a node that are compared.
const KEEP: [&str; 14] = [
    "displayName",
    "type",
    "phase",
    "templateName",
    "templateRef",
    "templateScope",
    "message",
    "daemoned",
    "inputs",
    "outputs",
    "progress",
    "nodeFlag",
    "memoizationStatus",
    "podIP",
];

/// The normalised outcome of a Workflow object.
pub fn normalise(workflow: &Value) -> Value {
    let status = &workflow["status"];
    let empty = Map::new();
    let nodes = status["nodes"].as_object().unwrap_or(&empty);
    let names: BTreeMap<&str, &str> =
        nodes.iter().map(|(id, node)| (id.as_str(), node["name"].as_str().unwrap_or_default())).collect();
    let named = |ids: &Value| {
        let ids = ids.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut list: Vec<String> =
            ids.map(|id| names.get(id).map_or_else(|| format!("?{id}"), ToString::to_string)).collect();
        list.sort();
        json!(list)
    };
    let mut out = Map::new();
    for node in nodes.values() {
        let mut kept = Map::new();
        for field in KEEP.iter().filter(|field| **field != "podIP") {
            kept.insert((*field).to_string(), node[*field].clone());
        }
        let boundary = node["boundaryID"].as_str().filter(|id| !id.is_empty());
        kept.insert("boundary".into(), json!(boundary.and_then(|id| names.get(id))));
        kept.insert("children".into(), named(&node["children"]));
        kept.insert("outboundNodes".into(), named(&node["outboundNodes"]));
        kept.retain(|_, value| !blank(value));
        out.insert(node["name"].as_str().unwrap_or_default().to_string(), Value::Object(kept));
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut conditions: Vec<String> = conditions
        .map(|one| {
            format!("{}={}", one["type"].as_str().unwrap_or_default(), one["status"].as_str().unwrap_or_default())
        })
        .collect();
    conditions.sort();
    let mut all = Map::from_iter([
        ("phase".to_string(), status["phase"].clone()),
        ("message".to_string(), status["message"].clone()),
        ("progress".to_string(), status["progress"].clone()),
        ("outputs".to_string(), status["outputs"].clone()),
        ("conditions".to_string(), json!(conditions)),
        ("nodes".to_string(), Value::Object(out)),
    ]);
    all.retain(|_, value| !blank(value));
    Scrub::of(workflow, &names).value(&Value::Object(all))
}

/// Puts placeholders in place of a workflow's names, ids, times and addresses, in anything that is of the workflow.
pub fn scrub(workflow: &Value, value: &Value) -> Value {
    let nodes = workflow["status"]["nodes"].as_object().into_iter().flatten();
    let names = nodes.map(|(id, node)| (id.as_str(), node["name"].as_str().unwrap_or_default())).collect();
    Scrub::of(workflow, &names).value(value)
}

fn blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

struct Scrub {
    name: String,
    uid: String,
    ids: Vec<(String, String)>,
}

impl Scrub {
    fn of(workflow: &Value, names: &BTreeMap<&str, &str>) -> Scrub {
        let name = workflow["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let uid = workflow["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty()).unwrap_or("-none-").to_string();
        let mut ids: Vec<(String, String)> = names
            .iter()
            .filter(|(id, _)| **id != name)
            .map(|(id, node)| ((*id).to_string(), format!("{{id:{}}}", node.replace(&name, "{wf}"))))
            .collect();
        ids.sort_by_key(|(id, _)| std::cmp::Reverse(id.len()));
        Scrub { name, uid, ids }
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(list) => Value::Array(list.iter().map(|value| self.value(value)).collect()),
            Value::Object(map) => map.iter().map(|(key, value)| (self.text(key), self.value(value))).collect(),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_string();
        if text.contains(&self.name) {
            for (id, replacement) in &self.ids {
                if text.contains(id.as_str()) {
                    text = text.replace(id.as_str(), replacement);
                }
            }
            text = self.pods(&text);
            text = text.replace(&self.name, "{wf}");
        }
        text = text.replace(&self.uid, "{uid}");
        times(&addresses(&text))
    }

    /// The workflow's name, something, and a hash is a Pod.
    fn pods(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        let start = format!("{}-", self.name);
        while let Some(at) = rest.find(&start) {
            let tail = &rest[at + start.len()..];
            let allowed =
                tail.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-')));
            let word = &tail[..allowed.unwrap_or(tail.len())];
            match pod_length(word) {
                Some(length) => {
                    out.push_str(&rest[..at]);
                    out.push_str("{pod}");
                    rest = &tail[length..];
                }
                None => {
                    out.push_str(&rest[..at + start.len()]);
                    rest = tail;
                }
            }
        }
        out + rest
    }
}

/// How much of a word is a Pod's suffix: up to the first run of 5 to 10 digits that ends a word (a hash
/// of 32 bits has fewer than 7 once in four thousand times).
fn pod_length(word: &str) -> Option<usize> {
    let bytes = word.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_digit() {
            let end = (at..bytes.len()).find(|i| !bytes[*i].is_ascii_digit()).unwrap_or(bytes.len());
            let ends_word = end == bytes.len() || !(bytes[end].is_ascii_alphanumeric() || bytes[end] == b'_');
            if end - at >= 5 && ends_word {
                return Some(end);
            }
            at = end;
        } else {
            at += 1;
        }
    }
    None
}

fn addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("10.244.") {
        let tail = &rest[at..];
        let end = tail.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(tail.len());
        out.push_str(&rest[..at]);
        out.push_str("{ip}");
        rest = &tail[end..];
    }
    out + rest
}

/// `2006-01-02T15:04:05Z` and its relatives.
fn times(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    let mut copied = 0;
    while at + 19 <= bytes.len() {
        if is_time(&bytes[at..at + 19]) {
            let mut end = at + 19;
            if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
                end += 1;
                while bytes.get(end).is_some_and(u8::is_ascii_digit) {
                    end += 1;
                }
            }
            for suffix in [" +0000", "+0000", "Z", " UTC"] {
                if text[end..].starts_with(suffix) {
                    end += suffix.len();
                    if suffix == "Z" {
                        break;
                    }
                }
            }
            out.push_str(&text[copied..at]);
            out.push_str("{time}");
            (at, copied) = (end, end);
        } else {
            at += 1;
        }
    }
    out + &text[copied..]
}

fn is_time(bytes: &[u8]) -> bool {
    b"dddd-dd-ddTdd:dd:dd".iter().zip(bytes).all(|(pattern, byte)| match pattern {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b' '),
        other => other == byte,
    })
}
