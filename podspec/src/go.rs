//! JSON and durations as Go prints them, for readers that compare or parse them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tiphys_api::Template;

/// The template for `ARGO_TEMPLATE`: input parameters are left out, for they are substituted already, and fields that Go
/// prints although they are empty are there. Go's order of fields is not kept.
pub(crate) fn template(template: &Template) -> Value {
    let mut value = json!(template);
    let Some(fields) = value.as_object_mut() else { return value };
    if let Some(Value::Object(inputs)) = fields.get_mut("inputs") {
        inputs.retain(|name, _| name == "artifacts");
    }
    for name in ["inputs", "outputs", "metadata"] {
        fields.entry(name).or_insert_with(|| json!({}));
    }
    for name in ["container", "script"] {
        if let Some(Value::Object(container)) = fields.get_mut(name) {
            fill_container(container);
        }
    }
    if let Some(Value::Object(script)) = fields.get_mut("script") {
        script.entry("source").or_insert_with(|| json!(""));
    }
    let lists = [fields.get_mut("initContainers").map(Value::take), fields.get_mut("sidecars").map(Value::take)];
    for (name, list) in ["initContainers", "sidecars"].into_iter().zip(lists) {
        if let Some(mut list) = list {
            fill_containers(&mut list);
            fields.insert(name.into(), list);
        }
    }
    if let Some(containers) = fields.get_mut("containerSet").and_then(|set| set.get_mut("containers")) {
        fill_containers(containers);
    }
    for list in ["inputs", "outputs"] {
        let artifacts = fields.get_mut(list).and_then(|list| list.get_mut("artifacts")).and_then(Value::as_array_mut);
        artifacts.into_iter().flatten().for_each(fill_location);
    }
    fields.get_mut("archiveLocation").into_iter().for_each(fill_location);
    value
}

/// Fields of stores that Go prints although they are empty.
fn fill_location(location: &mut Value) {
    for (store, field) in [
        ("azure", "blob"),
        ("azure", "container"),
        ("azure", "endpoint"),
        ("gcs", "key"),
        ("git", "repo"),
        ("hdfs", "path"),
        ("http", "url"),
        ("oss", "key"),
        ("raw", "data"),
    ] {
        if let Some(Value::Object(store)) = location.get_mut(store) {
            store.entry(field).or_insert_with(|| json!(""));
        }
    }
}

fn fill_containers(list: &mut Value) {
    for container in list.as_array_mut().into_iter().flatten() {
        if let Some(container) = container.as_object_mut() {
            fill_container(container);
        }
    }
}

fn fill_container(container: &mut Map<String, Value>) {
    container.entry("name").or_insert_with(|| json!(""));
    container.entry("resources").or_insert_with(|| json!({}));
}

/// `1h0m0s`, `1m0s`, `3s`, `1.5s`, `20ms`, `0s`.
pub(crate) fn duration(value: Duration) -> String {
    let (seconds, nanos) = (value.as_secs(), value.subsec_nanos());
    if seconds == 0 && nanos > 0 {
        return match nanos {
            1_000_000.. => format!("{}ms", fraction(u64::from(nanos), 1_000_000)),
            1_000.. => format!("{}µs", fraction(u64::from(nanos), 1_000)),
            _ => format!("{nanos}ns"),
        };
    }
    let rest = format!("{}s", fraction(seconds % 60 * 1_000_000_000 + u64::from(nanos), 1_000_000_000));
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

fn fraction(value: u64, unit: u64) -> String {
    let digits = unit.to_string().len() - 1;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A duration as users write it: bare seconds, or Go's syntax (argo: ParseStringToDuration). None where it is none, or
/// negative.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end =
            rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let seconds = match &rest[number..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += rest[..number].parse::<f64>().ok()? * seconds;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(total).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_gos() {
        for (text, printed) in [
            ("0", "0s"),
            ("60", "1m0s"),
            ("3s", "3s"),
            ("1h", "1h0m0s"),
            ("90m5s", "1h30m5s"),
            ("1.5s", "1.5s"),
            ("500ms", "500ms"),
            ("1500us", "1.5ms"),
            ("2m0.5s", "2m0.5s"),
        ] {
            assert_eq!(parse_duration(text).map(duration).as_deref(), Some(printed), "{text}");
        }
        for text in ["", "s", "5 s", "1x", "-5s", "h1"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
