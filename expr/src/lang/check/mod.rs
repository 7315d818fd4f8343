//! The static check: names and types against an environment, as expr-lang's checker with a map for environment.

mod closures;
mod operators;

use super::ast::{Ast, Kind, NodeId, Span, UnaryOp};
use super::builtins;
use super::methods;
use super::types::{Is, Nature, Sig};
use crate::value::{Elem, Map};
use std::sync::Arc;

pub(super) type CheckError = (String, Span);
type Checked = Result<Nature, CheckError>;

/// Checks the tree.
pub(super) fn check(ast: &Ast, env: &Map) -> Result<(), CheckError> {
    let mut checker = Checker { ast, env, closures: Vec::new(), variables: Vec::new() };
    checker.visit(ast.root).map(drop)
}

/// What `#` is inside a closure, and which other pointers are known.
struct Closure {
    collection: Nature,
    index: bool,
    accumulator: bool,
}

struct Checker<'a> {
    ast: &'a Ast,
    env: &'a Map,
    closures: Vec<Closure>,
    variables: Vec<(Arc<str>, Nature)>,
}

impl Checker<'_> {
    fn fail<T>(&self, at: NodeId, message: impl Into<String>) -> Result<T, CheckError> {
        Err((message.into(), self.ast.span(at)))
    }

    fn visit(&mut self, id: NodeId) -> Checked {
        let ast = self.ast;
        Ok(match ast.kind(id) {
            Kind::Nil => Nature::Nil,
            Kind::Int(_) => Nature::Int,
            Kind::Float(_) => Nature::Float,
            Kind::Bool(_) => Nature::Bool,
            Kind::Str(_) => Nature::Str,
            Kind::Bytes(_) => Nature::Bytes,
            Kind::Ident(name) => self.identifier(id, name)?,
            Kind::Unary(op, operand) => self.unary(id, *op, *operand)?,
            Kind::Binary(..) => self.binary_spine(id)?,
            Kind::Chain(node) => self.visit(*node)?,
            Kind::Member { node, property, optional, method } => {
                self.member(id, *node, *property, *optional, *method)?
            }
            Kind::Slice { node, from, to } => self.slice(id, *node, *from, *to)?,
            Kind::Call { callee, args } => self.call(id, *callee, args)?,
            Kind::Builtin { name, args } => self.builtin(id, name, args)?,
            Kind::Predicate(body) => Nature::Predicate(Arc::new(self.visit(*body)?)),
            Kind::Pointer(name) => self.pointer(id, name)?,
            Kind::Let { name, value, body } => self.declaration(id, name, *value, *body)?,
            Kind::Sequence(nodes) => {
                let mut last = Nature::Unknown;
                for node in nodes {
                    last = self.visit(*node)?;
                }
                last
            }
            Kind::Conditional { condition, then, otherwise } => self.conditional(*condition, *then, *otherwise)?,
            Kind::Array(nodes) => self.array(nodes)?,
            Kind::Map(pairs) => {
                for (key, value) in pairs {
                    self.visit(*key)?;
                    self.visit(*value)?;
                }
                Nature::Map(crate::value::MapKind::StrAny)
            }
        })
    }

    fn identifier(&mut self, id: NodeId, name: &str) -> Checked {
        if let Some((_, nature)) = self.variables.iter().rev().find(|(known, _)| &**known == name) {
            return Ok(nature.clone());
        }
        if name == "$env" {
            return Ok(Nature::Unknown);
        }
        match self.env.entries.get(name) {
            Some(value) => Ok(Nature::of(value)),
            None if builtins::is_builtin(name) => Ok(Nature::Func(Sig::new(&[], super::types::Ty::Any))),
            None => self.fail(id, format!("unknown name {name}")),
        }
    }

    fn unary(&mut self, id: NodeId, op: UnaryOp, operand: NodeId) -> Checked {
        let nature = self.visit(operand)?;
        match op {
            UnaryOp::Bang | UnaryOp::Not if nature.is(Is::Bool) || nature.is_unknown() => return Ok(Nature::Bool),
            UnaryOp::Plus | UnaryOp::Minus if nature.is_number() || nature.is_unknown() => return Ok(nature),
            _ => {}
        }
        self.fail(id, format!("invalid operation: {} (mismatched type {})", op.text(), nature.go_type()))
    }

    /// Left-bound chains of operators may be long: they are checked in a loop.
    fn binary_spine(&mut self, id: NodeId) -> Checked {
        let ast = self.ast;
        let mut spine = Vec::new();
        let mut bottom = id;
        while let Kind::Binary(op, left, right) = ast.kind(bottom) {
            spine.push((bottom, *op, *right));
            bottom = *left;
        }
        let mut left = self.visit(bottom)?;
        while let Some((node, op, right)) = spine.pop() {
            let right_nature = self.visit(right)?;
            left = self.binary(node, op, &left, &right_nature, right)?;
        }
        Ok(left)
    }

    fn member(&mut self, id: NodeId, node: NodeId, property: NodeId, optional: bool, method: bool) -> Checked {
        let ast = self.ast;
        let name = match ast.kind(property) {
            Kind::Str(name) => Some(name.clone()),
            _ => None,
        };
        if let Kind::Ident(base) = ast.kind(node) {
            if &**base == "$env" {
                return match name.as_deref().map(|name| (name, self.env.entries.get(name))) {
                    Some((_, Some(value))) => Ok(Nature::of(value)),
                    Some((name, None)) if !optional => self.fail(id, format!("unknown name {name}")),
                    _ => Ok(Nature::Unknown),
                };
            }
            if &**base == "sprig"
                && let Some(name) = &name
                && crate::sprig::is_left_out(name)
            {
                return self.fail(id, format!("sprig.{name} is not supported by Tiphys: compute it in a step instead"));
            }
        }
        let base = self.visit(node)?;
        let prop = self.visit(property)?;
        if base.is_unknown() {
            return Ok(Nature::Unknown);
        }
        if let Some(name) = &name {
            if base == Nature::Nil {
                return self.fail(id, format!("type nil has no field {name}"));
            }
            if let Some(sig) = methods::signature(&base, name) {
                return Ok(Nature::Func(sig));
            }
        }
        match &base {
            Nature::Map(_) => {
                if !prop.assignable_to(&base.key()) && !prop.is_unknown() {
                    let message = format!("cannot use {} to get an element from {}", prop.go_type(), base.go_type());
                    return self.fail(property, message);
                }
                return Ok(base.elem());
            }
            Nature::Array(..) | Nature::Bytes => {
                if !prop.is_integer() && !prop.is_unknown() {
                    let message =
                        format!("array elements can only be selected using an integer (got {})", prop.go_type());
                    return self.fail(property, message);
                }
                return Ok(base.elem());
            }
            Nature::Struct(fields) => {
                if let Some(value) = name.as_ref().and_then(|name| fields.entries.get(name)) {
                    return Ok(Nature::of(value));
                }
            }
            _ => {}
        }
        let base = base.go_type();
        match name {
            Some(name) if method => self.fail(id, format!("type {base} has no method {name}")),
            Some(name) => self.fail(id, format!("type {base} has no field {name}")),
            None => self.fail(id, format!("type {base}[{}] is undefined", prop.go_type())),
        }
    }

    fn slice(&mut self, id: NodeId, node: NodeId, from: Option<NodeId>, to: Option<NodeId>) -> Checked {
        let nature = self.visit(node)?;
        if nature.is_unknown() {
            return Ok(Nature::Unknown);
        }
        if !nature.is(Is::Str) && !nature.is_array() {
            return self.fail(id, format!("cannot slice {}", nature.go_type()));
        }
        for bound in [from, to].into_iter().flatten() {
            let bound_nature = self.visit(bound)?;
            if !bound_nature.is_integer() && !bound_nature.is_unknown() {
                return self.fail(bound, format!("non-integer slice index {}", bound_nature.go_type()));
            }
        }
        Ok(nature)
    }

    fn call(&mut self, id: NodeId, callee: NodeId, args: &[NodeId]) -> Checked {
        let ast = self.ast;
        let name = match ast.kind(callee) {
            Kind::Ident(name) if &**name == "$env" => {
                return self.fail(id, "map[string]interface {} is not callable");
            }
            Kind::Ident(name) => name.clone(),
            Kind::Member { property, .. } => match ast.kind(*property) {
                Kind::Str(name) => name.clone(),
                _ => "function".into(),
            },
            _ => "function".into(),
        };
        match self.visit(callee)? {
            // The arguments of what is only known at run time are not looked at.
            Nature::Unknown | Nature::Any => Ok(Nature::Unknown),
            Nature::Nil => self.fail(id, format!("{name} is nil; cannot call nil as function")),
            Nature::Func(sig) => {
                let natures = self.visit_all(args)?;
                self.arguments(id, &name, &sig, args, &natures)
            }
            nature => self.fail(id, format!("{} is not callable", nature.go_type())),
        }
    }

    fn visit_all(&mut self, nodes: &[NodeId]) -> Result<Vec<Nature>, CheckError> {
        nodes.iter().map(|node| self.visit(*node)).collect()
    }

    fn arguments(&self, id: NodeId, name: &str, sig: &Sig, args: &[NodeId], natures: &[Nature]) -> Checked {
        if sig.outs > 2 {
            return self.fail(id, format!("func {name} returns more then two values"));
        }
        let wanted = sig.params.len();
        if !sig.variadic && args.len() > wanted {
            return self.fail(id, format!("too many arguments to call {name}"));
        }
        if args.len() < wanted - usize::from(sig.variadic) {
            return self.fail(id, format!("not enough arguments to call {name}"));
        }
        for (i, (arg, nature)) in args.iter().zip(natures).enumerate() {
            let ty = sig.param(i);
            let wanted = ty.nature();
            let floats = ty == super::types::Ty::Floats;
            if *nature == Nature::Nil {
                if wanted.is_unknown() || wanted == Nature::Location {
                    continue;
                }
                let message = format!("cannot use nil as argument (type {}) to call {name}", ty.go_type());
                return self.fail(*arg, message);
            }
            let fits = nature.is_unknown()
                || (wanted.is_integer() && nature.is_integer())
                || (!floats && nature.assignable_to(&wanted));
            if !fits {
                let nature = nature.go_type();
                let message = format!("cannot use {nature} as argument (type {}) to call {name} ", ty.go_type());
                return self.fail(*arg, message);
            }
        }
        Ok(sig.out.nature())
    }

    fn builtin(&mut self, id: NodeId, name: &str, args: &[NodeId]) -> Checked {
        if let Some(result) = self.predicate_builtin(name, args) {
            return result;
        }
        if name == "get" {
            return self.get(id, args);
        }
        let natures = self.visit_all(args)?;
        match builtins::check_of(name) {
            builtins::Check::Validate(validate) => validate(&natures).or_else(|message| self.fail(id, message)),
            builtins::Check::Types(overloads) => {
                let mut last = Ok(Nature::Unknown);
                for sig in overloads {
                    last = self.arguments(id, name, sig, args, &natures);
                    if last.is_ok() {
                        break;
                    }
                }
                last
            }
        }
    }

    fn get(&mut self, id: NodeId, args: &[NodeId]) -> Checked {
        let [base_id, prop_id] = args else {
            return self.fail(id, format!("invalid number of arguments (expected 2, got {})", args.len()));
        };
        let ast = self.ast;
        let base = self.visit(*base_id)?;
        let prop = self.visit(*prop_id)?;
        if matches!(ast.kind(*base_id), Kind::Ident(name) if &**name == "$env") {
            let value = match ast.kind(*prop_id) {
                Kind::Str(name) => self.env.entries.get(name),
                _ => None,
            };
            return Ok(value.map_or(Nature::Unknown, Nature::of));
        }
        match &base {
            Nature::Unknown | Nature::Any => Ok(Nature::Unknown),
            Nature::Array(..) | Nature::Bytes if prop.is_integer() || prop.is_unknown() => Ok(base.elem()),
            Nature::Array(..) | Nature::Bytes => {
                self.fail(*prop_id, format!("non-integer slice index {}", prop.go_type()))
            }
            Nature::Map(_) if prop.assignable_to(&base.key()) || prop.is_unknown() => Ok(base.elem()),
            Nature::Map(_) => {
                let message = format!("cannot use {} to get an element from {}", prop.go_type(), base.go_type());
                self.fail(*prop_id, message)
            }
            _ => self.fail(*base_id, format!("type {} does not support indexing", base.go_type())),
        }
    }

    fn pointer(&mut self, id: NodeId, name: &str) -> Checked {
        let Some(closure) = self.closures.last() else {
            return self.fail(id, "cannot use pointer accessor outside predicate");
        };
        match name {
            "" if closure.collection.is_unknown() => Ok(Nature::Unknown),
            "" => Ok(closure.collection.elem()),
            "index" if closure.index => Ok(Nature::Int),
            "acc" if closure.accumulator => Ok(Nature::Unknown),
            _ => self.fail(id, format!("unknown pointer #{name}")),
        }
    }

    fn declaration(&mut self, id: NodeId, name: &Arc<str>, value: NodeId, body: NodeId) -> Checked {
        if self.env.entries.contains_key(name) {
            return self.fail(id, format!("cannot redeclare {name}"));
        }
        if builtins::is_builtin(name) {
            return self.fail(id, format!("cannot redeclare builtin {name}"));
        }
        if self.variables.iter().any(|(known, _)| known == name) {
            return self.fail(id, format!("cannot redeclare variable {name}"));
        }
        let nature = self.visit(value)?;
        self.variables.push((name.clone(), nature));
        let result = self.visit(body);
        self.variables.pop();
        result
    }

    fn conditional(&mut self, condition: NodeId, then: NodeId, otherwise: NodeId) -> Checked {
        let nature = self.visit(condition)?;
        if !nature.is(Is::Bool) && !nature.is_unknown() {
            let message = format!("non-bool expression (type {}) used as condition", nature.go_type());
            return self.fail(condition, message);
        }
        let (then, otherwise) = (self.visit(then)?, self.visit(otherwise)?);
        Ok(match (&then, &otherwise) {
            (Nature::Nil, _) => otherwise,
            (_, Nature::Nil) => then,
            (Nature::Array(..), Nature::Array(..)) if then.assignable_to(&otherwise) => {
                let (a, b) = (then.elem(), otherwise.elem());
                if a.assignable_to(&b) && b.assignable_to(&a) { then } else { Nature::Array(Elem::Any, None) }
            }
            _ if then.assignable_to(&otherwise) => then,
            _ => Nature::Unknown,
        })
    }

    fn array(&mut self, nodes: &[NodeId]) -> Checked {
        let natures = self.visit_all(nodes)?;
        let same = natures.windows(2).all(|pair| pair[0].same_kind(&pair[1]));
        Ok(match natures.last() {
            None => Nature::array_of(Nature::Unknown),
            Some(last) if same => Nature::array_of(last.clone()),
            Some(_) => Nature::Array(Elem::Any, None),
        })
    }
}
