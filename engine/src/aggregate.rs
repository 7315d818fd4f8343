//! What the iterations of a loop gave, as lists. argo: operator.go, processAggregateNodeOutputs.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use tiphys_api::{NodePhase, NodeStatus};

use crate::run::Stop;

/// The successful iterations in the order of their index, without hooks and attempts.
fn in_order<'a>(children: &[&'a NodeStatus]) -> Vec<&'a NodeStatus> {
    let mut kept: Vec<(i64, &NodeStatus)> = children
        .iter()
        .filter(|node| node.node_flag.as_ref().is_none_or(|flag| !flag.hooked && !flag.retried))
        .map(|node| (loop_index(&node.name), *node))
        .collect();
    kept.sort_by_key(|(index, _)| *index);
    kept.into_iter().map(|(_, node)| node).filter(|node| node.phase == NodePhase::Succeeded).collect()
}

/// The index in `name(index:text)`.
fn loop_index(name: &str) -> i64 {
    let inside = name.rsplit_once('(').map_or("", |(_, inside)| inside);
    inside.split(':').next().and_then(|index| index.parse().ok()).unwrap_or(-1)
}

/// Every aggregated variable, without prefix and name; none where there are no iterations.
pub(crate) fn variables(children: &[&NodeStatus]) -> Result<Vec<(String, String)>, Stop> {
    if children.is_empty() {
        return Ok(Vec::new());
    }
    let kept = in_order(children);
    let mut found = vec![
        ("outputs.result".to_string(), results(&kept)?),
        ("outputs.parameters".to_string(), parameter_maps(&kept)),
    ];
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in &kept {
        for parameter in node.outputs.iter().flat_map(|outputs| &outputs.parameters) {
            let value = parameter.value.as_ref().map_or("", |value| value.as_str());
            by_name.entry(&parameter.name).or_default().push(value);
        }
    }
    for (name, values) in by_name {
        found.push((format!("outputs.parameters.{name}"), value_list(&values)));
    }
    Ok(found)
}

/// One aggregated variable.
pub(crate) fn variable(children: &[&NodeStatus], name: &str) -> Result<Option<String>, Stop> {
    Ok(variables(children)?.into_iter().find(|(found, _)| found == name).map(|(_, value)| value))
}

fn results(kept: &[&NodeStatus]) -> Result<String, Stop> {
    let mut list = Vec::new();
    for node in kept {
        if let Some(raw) = result(node)? {
            list.push(compact(raw.get()));
        }
    }
    Ok(format!("[{}]", list.join(",")))
}

/// What an iteration printed, where that was kept, as one element of the list.
fn result(node: &NodeStatus) -> Result<Option<Box<RawValue>>, Stop> {
    let Some(text) = node.outputs.as_ref().and_then(|outputs| outputs.result.as_ref()) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| {
        Stop::Failed(format!(
            "the result of {} is no JSON, so the results of the loop cannot be listed: {error}",
            node.name
        ))
    })
}

/// Whether the results of these iterations can be listed.
pub(crate) fn check_results(children: &[&NodeStatus]) -> Result<(), Stop> {
    in_order(children).into_iter().try_for_each(|node| result(node).map(|_| ()))
}

/// JSON without the blanks between its parts.
fn compact(json: &str) -> String {
    serde_json::from_str::<Value>(json).map_or_else(
        |_| json.to_string(),
        |value| match value {
            Value::Number(_) => json.trim().to_string(),
            other => other.to_string(),
        },
    )
}

fn parameter_maps(kept: &[&NodeStatus]) -> String {
    let maps = kept.iter().filter_map(|node| {
        let parameters = &node.outputs.as_ref()?.parameters;
        let map = parameters.iter().map(|parameter| {
            let value = parameter.value.as_ref().map_or("", |value| value.as_str());
            (parameter.name.clone(), Value::String(value.to_string()))
        });
        (!parameters.is_empty()).then(|| Value::Object(map.collect()))
    });
    Value::Array(maps.collect()).to_string()
}

/// Values that are all objects or lists are listed as JSON, others as text.
fn value_list(values: &[&str]) -> String {
    let parsed: Option<Vec<Value>> = values
        .iter()
        .map(|value| serde_json::from_str::<Value>(value).ok().filter(|value| value.is_object() || value.is_array()))
        .collect();
    let list = parsed.unwrap_or_else(|| values.iter().map(|value| Value::String((*value).to_string())).collect());
    Value::Array(list).to_string()
}

#[cfg(test)]
mod tests {
    use tiphys_api::{Outputs, Parameter};

    use super::*;

    fn node(name: &str, result: Option<&str>, parameter: &str) -> NodeStatus {
        let parameter = Parameter { name: "p".into(), value: Some(parameter.into()), ..Default::default() };
        let outputs = Outputs { result: result.map(str::to_string), parameters: vec![parameter], ..Default::default() };
        NodeStatus {
            name: name.into(),
            phase: NodePhase::Succeeded,
            outputs: Some(Box::new(outputs)),
            ..Default::default()
        }
    }

    #[test]
    fn in_index_order_and_as_json_where_all_are() {
        let nodes = [node("w.x(10:b)", Some("{\"a\": 1}"), "[1]"), node("w.x(9:a)", Some("2"), "{}")];
        let children: Vec<&NodeStatus> = nodes.iter().collect();
        let all = variables(&children).unwrap();
        assert_eq!(
            all,
            [
                ("outputs.result".to_string(), "[2,{\"a\":1}]".to_string()),
                ("outputs.parameters".to_string(), "[{\"p\":\"{}\"},{\"p\":\"[1]\"}]".to_string()),
                ("outputs.parameters.p".to_string(), "[{},[1]]".to_string()),
            ]
        );
    }

    #[test]
    fn text_where_one_is_no_object() {
        let nodes = [node("w.x(0:a)", None, "[1]"), node("w.x(1:b)", None, "x")];
        let children: Vec<&NodeStatus> = nodes.iter().collect();
        assert_eq!(variable(&children, "outputs.parameters.p").unwrap().unwrap(), "[\"[1]\",\"x\"]");
    }

    #[test]
    fn a_result_that_is_no_json_is_an_error() {
        let nodes = [node("w.x(0:a)", Some("hello"), "1")];
        let children: Vec<&NodeStatus> = nodes.iter().collect();
        assert!(variables(&children).is_err());
    }
}
