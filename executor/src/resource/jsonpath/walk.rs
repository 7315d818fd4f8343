//! A template applied to an object (client-go: util/jsonpath/jsonpath.go).

use std::cmp::Ordering;

use serde_json::Value;

use super::print::{self, type_name};
use super::{Bound, Node};

/// Steps that one template may take: `..` in `..` multiplies.
const MAX_STEPS: u32 = 1_000_000;
/// Bytes that it may print.
const MAX_TEXT: usize = 4 << 20;

/// What a path leads to.
#[derive(Debug, Clone)]
pub(super) enum Found<'o> {
    /// A part of the object.
    Part(&'o Value),
    /// A word of the template.
    Text(&'o str),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A byte of a text.
    Byte(u8),
    /// What a loop over a null has for its current object; also the object of a loop without turns.
    Nothing,
}

type Results<'o> = Vec<Found<'o>>;

/// The state of a run: which loops are open. The nodes of a loop's body are those that follow it, up to its `end`.
pub(super) struct Walk<'o> {
    nodes: &'o [Node],
    begin: u32,
    inside: u32,
    end: u32,
    last_end: Option<usize>,
    steps: u32,
}

impl<'o> Walk<'o> {
    pub(super) fn new(nodes: &'o [Node]) -> Self {
        Self { nodes, begin: 0, inside: 0, end: 0, last_end: None, steps: MAX_STEPS }
    }

    pub(super) fn render(mut self, object: &'o Value) -> Result<String, String> {
        let mut out = String::new();
        for results in self.run(0, Found::Part(object))? {
            print::results(&mut out, &results)?;
            if out.len() > MAX_TEXT {
                return Err(format!("the template prints more than {MAX_TEXT} bytes"));
            }
        }
        Ok(out)
    }

    /// Runs the nodes from `first` on the current object; ends at the `end` of the loop that it is the body of.
    fn run(&mut self, first: usize, current: Found<'o>) -> Result<Vec<Results<'o>>, String> {
        let nodes = self.nodes;
        let current = vec![current];
        let mut all = Vec::new();
        let mut at = first;
        while at < nodes.len() {
            let results = self.walk(current.clone(), &nodes[at])?;
            if self.end > 0 && self.end <= self.inside {
                self.end -= 1;
                self.last_end = Some(at);
                break;
            }
            if self.begin > 0 {
                self.begin -= 1;
                self.inside += 1;
                // A loop without turns is walked once all the same, to find its end; it prints nothing.
                if results.is_empty() {
                    self.run(at + 1, Found::Nothing)?;
                }
                for result in results {
                    let result = match result {
                        Found::Part(Value::Null) => Found::Nothing,
                        result => result,
                    };
                    all.extend(self.run(at + 1, result)?);
                }
                self.inside -= 1;
                at = self.last_end.filter(|end| *end > at).unwrap_or(at) + 1;
                continue;
            }
            all.push(results);
            at += 1;
        }
        Ok(all)
    }

    fn walk(&mut self, input: Results<'o>, node: &'o Node) -> Result<Results<'o>, String> {
        let cost = u32::try_from(input.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.steps = self.steps.checked_sub(cost).ok_or("the template takes too long")?;
        match node {
            Node::List(nodes) => self.list(input, nodes),
            Node::Text(text) => Ok(vec![Found::Text(text)]),
            Node::Int(value) => Ok(vec![Found::Int(*value); input.len()]),
            Node::Float(value) => Ok(vec![Found::Float(*value); input.len()]),
            Node::Bool(value) => Ok(vec![Found::Bool(*value); input.len()]),
            Node::Identifier(name) => self.identifier(input, name),
            Node::Field(name) => Ok(input.iter().filter_map(|found| field(found, name)).collect()),
            Node::Slice(bounds) => {
                let mut results = Vec::new();
                for found in &input {
                    slice(found, bounds, &mut results)?;
                }
                Ok(results)
            }
            Node::Wildcard => Ok(input.iter().flat_map(children).collect()),
            Node::Recursive => {
                let mut results = Vec::new();
                input.iter().for_each(|found| descend(found, &mut results));
                Ok(results)
            }
            Node::Union(parts) => {
                let mut results = Vec::new();
                for part in parts {
                    results.extend(self.list(input.clone(), part)?);
                }
                Ok(results)
            }
            Node::Filter { left, compared } => self.filter(&input, left, compared.as_ref()),
        }
    }

    fn list(&mut self, input: Results<'o>, nodes: &'o [Node]) -> Result<Results<'o>, String> {
        nodes.iter().try_fold(input, |results, node| self.walk(results, node))
    }

    fn identifier(&mut self, input: Results<'o>, name: &str) -> Result<Results<'o>, String> {
        match name {
            "range" => {
                self.begin += 1;
                Ok(input)
            }
            "end" if self.inside > 0 => {
                self.end += 1;
                Ok(Vec::new())
            }
            "end" => Err("not in range, nothing to end".to_owned()),
            _ => Err(format!("unrecognized identifier {name}")),
        }
    }

    fn filter(
        &mut self,
        input: &Results<'o>,
        left: &'o [Node],
        compared: Option<&'o (String, Vec<Node>)>,
    ) -> Result<Results<'o>, String> {
        let mut results = Vec::new();
        for found in input {
            let Found::Part(Value::Array(items)) = found else {
                return Err(format!("{} is not array or slice and cannot be filtered", print::value(found)));
            };
            for item in items {
                let item = Found::Part(item);
                let lefts = self.list(vec![item.clone()], left);
                let Some((operator, right)) = compared else {
                    // What cannot be evaluated counts as being there, as in client-go.
                    if lefts.is_ok_and(|lefts| lefts.is_empty()) {
                        continue;
                    }
                    results.push(item);
                    continue;
                };
                let Some(left) = single(lefts?)? else { continue };
                let rights = self.list(vec![item.clone()], right)?;
                let Some(right) = single(rights)? else { continue };
                if holds(operator, &left, &right)? {
                    results.push(item);
                }
            }
        }
        Ok(results)
    }
}

fn single(mut results: Results<'_>) -> Result<Option<Found<'_>>, String> {
    match results.len() {
        0 | 1 => Ok(results.pop()),
        _ => Err("can only compare one element at a time".to_owned()),
    }
}

fn field<'o>(found: &Found<'o>, name: &str) -> Option<Found<'o>> {
    match found {
        Found::Part(Value::Object(fields)) => fields.get(name).map(Found::Part),
        _ => None,
    }
}

fn children<'o>(found: &Found<'o>) -> Vec<Found<'o>> {
    match found {
        Found::Part(Value::Object(fields)) => fields.values().map(Found::Part).collect(),
        Found::Part(Value::Array(items)) => items.iter().map(Found::Part).collect(),
        Found::Part(Value::String(text)) => text.bytes().map(Found::Byte).collect(),
        Found::Text(text) => text.bytes().map(Found::Byte).collect(),
        _ => Vec::new(),
    }
}

/// Everything below that has something below it, from the top.
fn descend<'o>(found: &Found<'o>, results: &mut Results<'o>) {
    let children = children(found);
    if !children.is_empty() {
        results.push(found.clone());
        children.iter().for_each(|child| descend(child, results));
    }
}

fn slice<'o>(found: &Found<'o>, bounds: &[Bound; 3], results: &mut Results<'o>) -> Result<(), String> {
    let items = match found {
        Found::Part(Value::Null) => return Ok(()),
        Found::Part(Value::Array(items)) => items,
        found => return Err(format!("{} is not array or slice", type_name(found))),
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let [from, to, step] = *bounds;
    let start = from.value + if from.value < 0 { length } else { 0 };
    let mut end = if to.known { to.value } else { length };
    if end < 0 || (end == 0 && to.derived) {
        end += length;
    }
    if start == end {
        return Ok(());
    }
    if start >= length || start < 0 {
        return Err(format!("array index out of bounds: index {start}, length {length}"));
    }
    if end > length || end < 0 {
        return Err(format!("array index out of bounds: index {}, length {length}", end - 1));
    }
    if start > end {
        return Err(format!("starting index {start} is greater than ending index {end}"));
    }
    let stride = match step.known {
        true => usize::try_from(step.value).ok().filter(|step| *step > 0).ok_or("step must be > 0")?,
        false => 1,
    };
    results.extend(items[start as usize..end as usize].iter().step_by(stride).map(Found::Part));
    Ok(())
}

/// A plain value of one of the kinds that can be compared.
enum Plain<'v> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'v str),
}

fn plain<'v>(found: &Found<'v>) -> Result<Plain<'v>, String> {
    match found {
        Found::Part(Value::Bool(value)) => Ok(Plain::Bool(*value)),
        Found::Part(Value::Number(number)) => Ok(match number.as_i64() {
            Some(value) => Plain::Int(value),
            None => Plain::Float(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Found::Part(Value::String(text)) => Ok(Plain::Text(text)),
        Found::Text(text) => Ok(Plain::Text(text)),
        Found::Int(value) => Ok(Plain::Int(*value)),
        Found::Byte(value) => Ok(Plain::Int(i64::from(*value))),
        Found::Float(value) => Ok(Plain::Float(*value)),
        Found::Bool(value) => Ok(Plain::Bool(*value)),
        Found::Part(_) | Found::Nothing => Err("invalid type for comparison".to_owned()),
    }
}

/// text/template's comparisons: both sides of one kind, and order only where there is one.
fn holds(operator: &str, left: &Found<'_>, right: &Found<'_>) -> Result<bool, String> {
    let order = match (plain(left)?, plain(right)?) {
        (Plain::Bool(a), Plain::Bool(b)) if matches!(operator, "==" | "!=") => Some(a.cmp(&b)),
        (Plain::Bool(_), Plain::Bool(_)) => return Err("invalid type for comparison".to_owned()),
        (Plain::Int(a), Plain::Int(b)) => Some(a.cmp(&b)),
        (Plain::Float(a), Plain::Float(b)) => a.partial_cmp(&b),
        (Plain::Text(a), Plain::Text(b)) => Some(a.cmp(b)),
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    match operator {
        "==" => Ok(order == Some(Ordering::Equal)),
        "!=" => Ok(order != Some(Ordering::Equal)),
        "<" => Ok(order == Some(Ordering::Less)),
        "<=" => Ok(matches!(order, Some(Ordering::Less | Ordering::Equal))),
        ">" => Ok(!matches!(order, Some(Ordering::Less | Ordering::Equal))),
        ">=" => Ok(order != Some(Ordering::Less)),
        _ => Err(format!("unrecognized filter operator {operator}")),
    }
}
