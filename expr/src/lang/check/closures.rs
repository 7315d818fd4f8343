//! Builtins that take a closure.

use super::{Checked, Checker, Closure};
use crate::lang::ast::NodeId;
use crate::lang::builtins;
use crate::lang::types::{Is, Nature};
use crate::value::Elem;

impl Checker<'_> {
    /// The builtins with closures; None for the others.
    pub(super) fn predicate_builtin(&mut self, name: &str, args: &[NodeId]) -> Option<Checked> {
        if !builtins::takes_predicate(name) {
            return None;
        }
        Some(self.closure_call(name, args))
    }

    fn closure_call(&mut self, name: &str, args: &[NodeId]) -> Checked {
        let collection = self.visit(args[0])?;
        if !collection.is_array() && !collection.is_unknown() {
            let message = format!("builtin {name} takes only array (got {})", collection.go_type());
            return self.fail(args[0], message);
        }
        let elem = if collection.is_unknown() { Nature::Unknown } else { collection.elem() };
        let Some(predicate) = args.get(1) else {
            return Ok(if name == "count" { Nature::Int } else { elem });
        };
        let (index, accumulator) = (matches!(name, "map" | "reduce"), name == "reduce");
        self.closures.push(Closure { collection: collection.clone(), index, accumulator });
        let out = match self.visit(*predicate)? {
            Nature::Predicate(out) => (*out).clone(),
            other => other,
        };
        self.closures.pop();
        if let Some(third) = args.get(2) {
            let order = self.visit(*third)?;
            if name == "sortBy" && !order.is(Is::Str) && !order.is_unknown() {
                let message = format!("sortBy order argument must be a string (got {})", order.go_type());
                return self.fail(*third, message);
            }
        }
        if out == Nature::Nil && name == "sum" {
            let message = "cannot use func(interface {}) as argument (type func(interface {}) bool) to call sum ";
            return self.fail(*predicate, message);
        }
        if out == Nature::Nil {
            let inputs = if name == "reduce" { "two" } else { "one" };
            return self.fail(*predicate, format!("predicate should has {inputs} input and one output param"));
        }
        let boolean = !matches!(name, "map" | "sum" | "groupBy" | "sortBy" | "reduce");
        if boolean && !out.is(Is::Bool) && !out.is_unknown() {
            return self.fail(*predicate, format!("predicate should return boolean (got {})", out.go_type()));
        }
        Ok(match name {
            "all" | "none" | "any" | "one" => Nature::Bool,
            "filter" if collection.is_unknown() => Nature::Array(Elem::Any, None),
            "filter" => Nature::array_of(elem),
            "map" => Nature::array_of(out),
            "count" | "findIndex" | "findLastIndex" => Nature::Int,
            "sum" if out.is_unknown() => Nature::Any,
            "sum" | "reduce" => out,
            "groupBy" => Nature::Map(crate::value::MapKind::Groups),
            "sortBy" => collection,
            _ => elem,
        })
    }
}
