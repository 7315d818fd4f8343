//! Loops: one task becomes one for each item. References are resolved first. argo: steps.go resolveReferences and
//! expandStep, dag.go resolveDependencyReferences and expandTask, operator.go processItem and expandSequence.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tiphys_api::{Sequence, Task};
use tiphys_expr::template::{self, Layered, TemplateError, Variables};
use tiphys_expr::{go, when};

use crate::item;
use crate::run::Stop;
use crate::scope::Scope;
use crate::slot::{mark_absent, resolve_artifacts};
use crate::templates::to_json;

const STRICT: [&str; 2] = ["steps", "tasks"];

fn broken(error: serde_json::Error) -> Stop {
    Stop::Failed(format!("the task does not fit after substitution: {error}"))
}

fn should_expand(task: &Task) -> bool {
    !task.with_items.is_empty() || !task.with_param.is_empty() || task.with_sequence.is_some()
}

/// Whether a task is a loop.
pub(crate) fn is_loop(task: &Task) -> bool {
    should_expand(task)
}

/// Fills in what a task refers to. A task whose `when` is false already is left as it is. `artifact_error` goes before
/// the message about an artifact that leads nowhere.
pub(crate) fn resolve_task(task: &Task, scope: &Scope<'_>, artifact_error: &str) -> Result<Task, Stop> {
    let hooks = task.hooks.clone();
    let mut task = Task { hooks: BTreeMap::new(), ..task.clone() };
    if !task.when.is_empty() {
        let text = template::replace_strict(&to_json(&task.when), scope, &STRICT).map_err(in_words)?;
        let resolved: String = serde_json::from_str(&text).map_err(broken)?;
        match when::evaluate(&resolved) {
            Ok(false) => {
                task.when = resolved;
                task.hooks = hooks;
                return Ok(task);
            }
            Ok(true) => {}
            // The condition may hold a loop variable that is filled in later.
            Err(_) if should_expand(&task) => {}
            Err(error) => return Err(Stop::Failed(error.to_string())),
        }
    }
    mark_absent(&mut task.arguments, scope);
    let text = to_json(&task);
    if text.contains("{{") {
        let replaced = template::replace_strict(&text, scope, &STRICT).map_err(in_words)?;
        task = serde_json::from_str(&replaced).map_err(broken)?;
    }
    task.hooks = hooks;
    let artifacts = std::mem::take(&mut task.arguments.artifacts);
    task.arguments.artifacts = resolve_artifacts(artifacts, scope, |message| format!("{artifact_error}{message}"))?;
    Ok(task)
}

/// The variables that have a value.
struct Present<'a>(&'a dyn Variables);

impl Variables for Present<'_> {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        self.0.get(name).filter(Option::is_some)
    }

    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, Option<&str>)) {
        self.0.visit(prefix, &mut |name, value| {
            if value.is_some() {
                f(name, value);
            }
        });
    }
}

fn in_words(error: TemplateError) -> Stop {
    Stop::Failed(error.to_string())
}

/// The iterations of a task; None where it is no loop.
pub(crate) fn expand(task: &Task, scope: &Scope<'_>) -> Result<Option<Vec<Task>>, Stop> {
    if !should_expand(task) {
        return Ok(None);
    }
    let items = match items(task) {
        Ok(items) => items,
        // A loop that would not run may be over something that is not there.
        Err(_) if when::evaluate(&task.when) == Ok(false) => Vec::new(),
        Err(stop) => return Err(stop),
    };
    let bare = Task { with_items: Vec::new(), with_param: String::new(), with_sequence: None, ..task.clone() };
    let text = to_json(&bare);
    let skipped = !task.when.is_empty() && when::evaluate(&task.when) == Ok(false);
    // Of what will not run nothing is asked: an absent output is left as it is written.
    let present = Present(scope);
    let around: &dyn Variables = if skipped { &present } else { scope };
    let mut tasks = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let (variables, description) = item_variables(item)?;
        let mut expanded: Task = if text.contains("{{") {
            let layered = Layered(&variables, around);
            let replaced = template::replace(&text, &layered, skipped).map_err(in_words)?;
            serde_json::from_str(&replaced).map_err(broken)?
        } else {
            bare.clone()
        };
        let description: String = description.chars().filter(|char| !matches!(char, '(' | ')')).collect();
        expanded.name = format!("{}({index}:{description})", task.name);
        expanded.template.clone_from(&task.template);
        tasks.push(expanded);
    }
    Ok(Some(tasks))
}

/// The items as JSON text, so that numbers keep the way they are written.
fn items(task: &Task) -> Result<Vec<String>, Stop> {
    if !task.with_items.is_empty() {
        return Ok(task.with_items.iter().map(|item| item::written(&item.0)).collect());
    }
    if !task.with_param.is_empty() {
        let list: Vec<Box<RawValue>> = serde_json::from_str(&task.with_param).map_err(|error| {
            let text = task.with_param.trim();
            Stop::Failed(format!("withParam value could not be parsed as a JSON list: {text}: {error}"))
        })?;
        return Ok(list.into_iter().map(|item| item.get().to_string()).collect());
    }
    task.with_sequence.as_deref().map_or(Ok(Vec::new()), sequence)
}

/// argo: operator.go, expandSequence. The items are texts.
fn sequence(sequence: &Sequence) -> Result<Vec<String>, Stop> {
    const LIMIT: i64 = 10_000_000;
    let number = |value: &tiphys_api::IntOrString| {
        let text = value.to_string();
        text.parse::<i64>()
            .map_err(|_| Stop::Failed(format!("strconv.Atoi: parsing {}: invalid syntax", go::quote(&text))))
    };
    let start = sequence.start.as_ref().map_or(Ok(0), number)?;
    let end = match (&sequence.end, &sequence.count) {
        (Some(end), _) => number(end)?,
        (None, Some(count)) => match number(count)? {
            0 => return Ok(Vec::new()),
            count => start.saturating_add(count).saturating_sub(1),
        },
        (None, None) => return Err(Stop::Failed("neither end nor count was specified in withSequence".into())),
    };
    if start.abs_diff(end) >= LIMIT.unsigned_abs() {
        return Err(Stop::Failed(format!("withSequence from {start} to {end} is over the limit of {LIMIT} items")));
    }
    let format = if sequence.format.is_empty() { "%d" } else { &sequence.format };
    let item = |number: i64| to_json(&go::sprintf(format, &[tiphys_expr::Value::Int(number)]));
    Ok(if start <= end { (start..=end).map(item).collect() } else { (end..=start).rev().map(item).collect() })
}

/// `item` and `item.key`, and the text by which the iteration is named. argo: operator.go, processItem.
fn item_variables(raw: &str) -> Result<(BTreeMap<String, String>, String), Stop> {
    let mut variables = BTreeMap::new();
    let raw = raw.trim();
    let (item, description) = match raw.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw).map_err(broken)?;
            let mut parts = Vec::with_capacity(fields.len());
            let mut written = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                parts.push(format!("{key}:{}", item::text(value.get())));
                written.push(format!("{}:{}", go::json_quote(&key), item::compact(value.get(), true)));
                variables.insert(format!("item.{key}"), item::value(value.get()));
            }
            parts.sort();
            (format!("{{{}}}", written.join(",")), parts.join(","))
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(raw).map_err(broken)?;
            let texts: Vec<String> = elements.into_iter().map(|element| item::text(element.get())).collect();
            (item::compact(raw, true), format!("[{}]", texts.join(" ")))
        }
        // For Argo it is a list that is not there.
        _ if raw == "null" => (raw.to_string(), "[]".to_string()),
        _ => (item::value(raw), item::text(raw)),
    };
    variables.insert("item".into(), item);
    Ok((variables, description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let of = |start: Option<i64>, end: Option<i64>, count: Option<i64>, format: &str| {
            let int = |value: Option<i64>| value.map(tiphys_api::IntOrString::Int);
            sequence(&Sequence {
                start: int(start),
                end: int(end),
                count: int(count),
                format: format.into(),
                ..Default::default()
            })
        };
        assert_eq!(of(Some(3), Some(1), None, "").unwrap(), ["\"3\"", "\"2\"", "\"1\""]);
        assert_eq!(of(Some(1), None, Some(2), "host-%02d").unwrap(), ["\"host-01\"", "\"host-02\""]);
        assert!(of(None, None, Some(0), "").unwrap().is_empty());
        assert!(of(None, Some(i64::MAX), None, "").is_err());
    }

    #[test]
    fn iterations_are_named_as_argo_does() {
        for (raw, item, name) in [
            (r#"{"b": 1, "a": "x"}"#, r#"{"a":"x","b":1}"#, "a:x,b:1"),
            ("1.50", "1.50", "1.50"),
            ("1e3", "1e3", "1e3"),
            ("true", "true", "true"),
            ("null", "null", "[]"),
            ("\"text\"", "text", "text"),
            (r#""a \"b\"\n\u00e9 <c>""#, "a \"b\"\né <c>", r#"a \"b\"\n\u00e9 <c>"#),
            (
                r#"[1, "a", {"k": [1.10, null]}, null]"#,
                r#"[1,"a",{"k":[1.10,null]},null]"#,
                r#"[1 a {"k":[1.10,null]} null]"#,
            ),
            (
                r#"{"k": {"z": 12345678901234567890123, "a": 1.10}}"#,
                r#"{"k":{"z":12345678901234567890123,"a":1.10}}"#,
                r#"k:{"z":12345678901234567890123,"a":1.10}"#,
            ),
            (r#"{"k": "a<b"}"#, r#"{"k":"a\u003cb"}"#, "k:a<b"),
        ] {
            let (variables, described) = item_variables(raw).unwrap();
            assert_eq!((variables["item"].as_str(), described.as_str()), (item, name), "{raw}");
        }
        let (variables, name) = item_variables(r#"{"k": "say \"hi\"", "n": 1.10}"#).unwrap();
        assert_eq!((variables["item.k"].as_str(), variables["item.n"].as_str()), ("say \"hi\"", "1.10"));
        assert_eq!(name, r#"k:say \"hi\",n:1.10"#);
    }
}
