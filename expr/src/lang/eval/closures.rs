//! Builtins that run a closure for each item of a list.

use super::{Evaluated, Machine, Scope, fail};
use crate::lang::ast::{Ast, BinaryOp, Kind, NodeId};
use crate::lang::{builtins, ops};
use crate::value::{Array, Elem, MapKind, Value};
use std::sync::Arc;

impl<'p> Machine<'p> {
    pub(super) fn closure_call(&mut self, id: NodeId, name: &str, args: &[NodeId]) -> Evaluated {
        if name == "sum"
            && args.len() == 1
            && let Some(total) = self.sum_of_literals(id, args[0])?
        {
            return Ok(total);
        }
        let items = match self.eval(args[0])? {
            Value::Array(array) => array,
            Value::Bytes(bytes) => {
                let items = bytes.iter().map(|byte| Value::Byte(*byte)).collect();
                Arc::new(Array::new(Elem::Any, items))
            }
            // reflect.Value.Len also counts these; only an empty one gets through a loop without being indexed.
            Value::Map(map) if map.len() == 0 => Arc::new(Array::new(Elem::Any, Vec::new())),
            Value::Str(text) => {
                let items = text.bytes().map(Value::Byte).collect();
                Arc::new(Array::new(Elem::Any, items))
            }
            other => {
                let message = format!("reflect: call of reflect.Value.Len on {} Value", other.go_type());
                return fail(message, id);
            }
        };
        let third = match (name, args.get(2)) {
            (_, Some(third)) => Some(self.eval(*third)?),
            _ => None,
        };
        let length = items.items.len();
        self.scopes.push(Scope { items, index: 0, accumulator: Value::Nil });
        let result = self.iterate(id, name, args.get(1).copied(), third, length);
        self.scopes.pop();
        result
    }

    /// `sum([a, b])` adds what stands in the brackets, from the right, without starting at zero.
    fn sum_of_literals(&mut self, id: NodeId, list: NodeId) -> Evaluated<Option<Value>> {
        let ast: &'p Ast = self.ast;
        let Kind::Array(nodes) = ast.kind(list) else { return Ok(None) };
        let folded = nodes.iter().all(|node| self.constant(*node).is_some());
        if nodes.len() < 2 || folded {
            return Ok(None);
        }
        let mut values = self.eval_all(nodes)?;
        let Some(mut total) = values.pop() else { return Ok(None) };
        while let Some(value) = values.pop() {
            total = self.located(id, ops::binary(BinaryOp::Add, &value, &total))?;
        }
        Ok(Some(total))
    }

    fn set_index(&mut self, index: usize) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.index = index;
        }
    }

    fn set_accumulator(&mut self, value: Value) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.accumulator = value;
        }
    }

    fn item(&self, index: usize) -> Value {
        self.scopes.last().and_then(|scope| scope.items.items.get(index).cloned()).unwrap_or(Value::Nil)
    }

    fn iterate(
        &mut self,
        id: NodeId,
        name: &str,
        predicate: Option<NodeId>,
        third: Option<Value>,
        length: usize,
    ) -> Evaluated {
        match name {
            "map" | "sum" | "groupBy" | "sortBy" | "reduce" => self.transform(id, name, predicate, third, length),
            _ => self.search(id, name, predicate, length),
        }
    }

    /// The builtins whose closure says yes or no.
    fn search(&mut self, id: NodeId, name: &str, predicate: Option<NodeId>, length: usize) -> Evaluated {
        let backwards = matches!(name, "findLast" | "findLastIndex");
        let mut found = Vec::new();
        let mut count = 0_i64;
        for step in 0..length {
            let index = if backwards { length - 1 - step } else { step };
            self.set_index(index);
            let holds = match predicate {
                Some(predicate) => self.truth(predicate)?,
                None => match self.item(index) {
                    Value::Bool(value) => value,
                    other => return fail(ops::not_a(&other, "bool"), id),
                },
            };
            match (name, holds) {
                ("all", false) | ("none", true) => return Ok(Value::Bool(false)),
                ("any", true) => return Ok(Value::Bool(true)),
                ("find" | "findLast", true) => return Ok(self.item(index)),
                ("findIndex" | "findLastIndex", true) => return Ok(Value::Int(index as i64)),
                ("filter", true) => found.push(self.item(index)),
                (_, true) => count += 1,
                _ => {}
            }
        }
        Ok(match name {
            "all" | "none" => Value::Bool(true),
            "any" => Value::Bool(false),
            "one" => Value::Bool(count == 1),
            "count" => Value::Int(count),
            "filter" => {
                self.grow(id, found.len())?;
                Value::array(found)
            }
            _ => Value::Nil,
        })
    }

    /// The builtins whose closure gives a value.
    fn transform(
        &mut self,
        id: NodeId,
        name: &str,
        predicate: Option<NodeId>,
        third: Option<Value>,
        length: usize,
    ) -> Evaluated {
        let descending = match (name, &third) {
            ("sortBy", Some(Value::Str(order))) => match &**order {
                "asc" => false,
                "desc" => true,
                _ => return fail("unknown order, use asc or desc", id),
            },
            ("sortBy", Some(_)) => return fail("sortBy order argument must be a string", id),
            _ => false,
        };
        let mut first = 0;
        match (name, third) {
            ("sum", _) => self.set_accumulator(Value::Int(0)),
            ("reduce", Some(start)) => self.set_accumulator(start),
            ("reduce", None) if length == 0 => return fail("reduce of empty array with no initial value", id),
            ("reduce", None) => {
                let start = self.item(0);
                self.set_accumulator(start);
                first = 1;
            }
            _ => {}
        }
        let mut results = Vec::new();
        for index in first..length {
            self.set_index(index);
            let value = match predicate {
                Some(predicate) => self.eval(predicate)?,
                None => self.item(index),
            };
            match name {
                "map" => results.push((Value::Nil, value)),
                "groupBy" | "sortBy" => results.push((value, self.item(index))),
                "sum" => {
                    let total = self.scopes.last().map_or(Value::Nil, |scope| scope.accumulator.clone());
                    let total = self.located(id, ops::binary(BinaryOp::Add, &value, &total))?;
                    self.set_accumulator(total);
                }
                _ => self.set_accumulator(value),
            }
        }
        match name {
            "map" => {
                self.grow(id, results.len())?;
                self.weigh(id, Value::array(results.into_iter().map(|(_, value)| value).collect()))
            }
            "sortBy" => {
                if let Err(message) = builtins::sort_by_key(&mut results, descending) {
                    return fail(message, id);
                }
                self.grow(id, results.len())?;
                Ok(Value::array(results.into_iter().map(|(_, item)| item).collect()))
            }
            "groupBy" => {
                let grouped = group(results);
                self.located(id, grouped)
            }
            _ => Ok(self.scopes.last().map_or(Value::Nil, |scope| scope.accumulator.clone())),
        }
    }
}

fn group(keyed: Vec<(Value, Value)>) -> Result<Value, String> {
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in keyed {
        if matches!(key, Value::Array(_) | Value::Map(_) | Value::Func(_) | Value::Bytes(_)) {
            return Err(format!("runtime error: hash of unhashable type {}", key.go_type()));
        }
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, items)) => items.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    let mut map = crate::value::Map::new(MapKind::Groups);
    for (key, items) in groups {
        map.insert(key, Value::array(items));
    }
    Ok(Value::Map(Arc::new(map)))
}
