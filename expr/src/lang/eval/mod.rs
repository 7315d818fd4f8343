//! The evaluator: walks the tree, within limits of steps and memory.

use super::Program;
mod closures;

use super::ast::{Ast, BinaryOp, Kind, NodeId, UnaryOp};
use super::builtins;
use super::error::Error;
use super::func::{Func, MethodHandle};
use super::methods::{self, Method};
use super::ops;
use crate::value::{Array, MapKind, Value};
use std::sync::Arc;

/// Nodes that one run may visit.
const MAX_STEPS: u32 = 4_000_000;
/// Bytes of texts, lists and maps that one run may create.
const MAX_BYTES: usize = 64 << 20;
/// Levels of lists and maps in a value, and its parts in all.
const MAX_VALUE_DEPTH: u16 = 200;
const MAX_VALUE_SIZE: u32 = 4_000_000;
/// What reading a value costs: a step for so many bytes.
const BYTES_PER_STEP: usize = 32;
/// What compiling a regular expression costs, in steps.
const PATTERN_STEPS: u32 = 2_000;

pub(super) fn run(program: &Program, env: &Value) -> Result<Value, Error> {
    let mut machine = Machine {
        program,
        ast: &program.ast,
        env,
        variables: Vec::new(),
        scopes: Vec::new(),
        elements: 0,
        bytes: 0,
        steps: 0,
    };
    match machine.eval(program.ast.root) {
        Ok(value) => Ok(value),
        Err(Stop::Nil) => Ok(Value::Nil),
        Err(Stop::Fail(failure)) => Err(Error::run(failure.0, program.ast.span(failure.1), &program.source)),
    }
}

/// A method as a value.
pub(super) fn bound(receiver: &Value, method: &'static Method) -> Value {
    Value::Func(Func::Method(Box::new(receiver.clone()), MethodHandle(method)))
}

/// Why a node gives no value.
enum Stop {
    /// `?.` met nil: the chain around it is nil.
    Nil,
    Fail(Box<(String, NodeId)>),
}

type Evaluated<T = Value> = Result<T, Stop>;

/// A closure being run over a list.
struct Scope {
    items: Arc<Array>,
    index: usize,
    accumulator: Value,
}

struct Machine<'p> {
    program: &'p Program,
    ast: &'p Ast,
    env: &'p Value,
    variables: Vec<(&'p str, Value)>,
    scopes: Vec<Scope>,
    elements: usize,
    bytes: usize,
    steps: u32,
}

fn fail<T>(message: impl Into<String>, at: NodeId) -> Evaluated<T> {
    Err(Stop::Fail(Box::new((message.into(), at))))
}

impl<'p> Machine<'p> {
    fn eval(&mut self, id: NodeId) -> Evaluated {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return fail("step budget exceeded", id);
        }
        if let Some(constant) = self.program.constants.get(id.index()).and_then(Option::as_ref) {
            return Ok(constant.clone());
        }
        let ast: &'p Ast = self.ast;
        match ast.kind(id) {
            Kind::Nil => Ok(Value::Nil),
            Kind::Int(value) => Ok(Value::Int(*value)),
            Kind::Float(value) => Ok(Value::Float(*value)),
            Kind::Bool(value) => Ok(Value::Bool(*value)),
            Kind::Str(text) => Ok(Value::Str(text.clone())),
            Kind::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
            Kind::Ident(name) => Ok(self.identifier(name)),
            Kind::Unary(op, operand) => self.unary(id, *op, *operand),
            Kind::Binary(..) => self.binary_spine(id),
            Kind::Chain(node) => match self.eval(*node) {
                Err(Stop::Nil) => Ok(Value::Nil),
                Ok(value) if value.is_nil() => Ok(Value::Nil),
                other => other,
            },
            Kind::Member { node, property, optional, .. } => self.member(id, *node, *property, *optional),
            Kind::Slice { node, from, to } => self.slice(id, *node, *from, *to),
            Kind::Call { callee, args } => self.call(id, *callee, args),
            Kind::Builtin { name, args } => self.builtin(id, name, args),
            Kind::Predicate(body) => self.eval(*body),
            Kind::Pointer(name) => self.pointer(id, name),
            Kind::Let { name, value, body } => {
                let value = self.eval(*value)?;
                self.variables.push((name, value));
                let result = self.eval(*body);
                self.variables.pop();
                result
            }
            Kind::Sequence(nodes) => {
                let mut last = Value::Nil;
                for node in nodes {
                    last = self.eval(*node)?;
                }
                Ok(last)
            }
            Kind::Conditional { condition, then, otherwise } => {
                let holds = self.truth(*condition)?;
                self.eval(if holds { *then } else { *otherwise })
            }
            Kind::Array(nodes) => {
                self.grow(id, nodes.len())?;
                let items = self.eval_all(nodes)?;
                self.weigh(id, Value::array(items))
            }
            Kind::Map(pairs) => self.map(id, pairs),
        }
    }

    fn eval_all(&mut self, nodes: &[NodeId]) -> Evaluated<Vec<Value>> {
        nodes.iter().map(|node| self.eval(*node)).collect()
    }

    /// Counts elements that were created.
    fn grow(&mut self, at: NodeId, elements: usize) -> Evaluated<()> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements >= ops::MAX_ELEMENTS { fail(ops::BUDGET, at) } else { Ok(()) }
    }

    /// Counts the bytes of a new value.
    fn weigh(&mut self, at: NodeId, value: Value) -> Evaluated {
        self.bytes = self.bytes.saturating_add(value.weight());
        let extent = value.extent();
        let fits = self.bytes <= MAX_BYTES && extent.depth <= MAX_VALUE_DEPTH && extent.size <= MAX_VALUE_SIZE;
        if fits { Ok(value) } else { fail(ops::BUDGET, at) }
    }

    /// Counts the work of an operation on its operands.
    fn charge(&mut self, at: NodeId, operands: &[Value], extra: u32) -> Evaluated<()> {
        let bytes: usize = operands.iter().map(Value::weight).sum();
        let steps = u32::try_from(bytes / BYTES_PER_STEP).unwrap_or(u32::MAX).saturating_add(extra);
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS { fail("step budget exceeded", at) } else { Ok(()) }
    }

    fn located(&mut self, at: NodeId, result: Result<Value, String>) -> Evaluated {
        match result {
            Ok(value) => self.weigh(at, value),
            Err(message) => fail(message, at),
        }
    }

    fn truth(&mut self, id: NodeId) -> Evaluated<bool> {
        match self.eval(id)? {
            Value::Bool(value) => Ok(value),
            other => fail(ops::not_a(&other, "bool"), id),
        }
    }

    fn identifier(&self, name: &str) -> Value {
        if let Some((_, value)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            return value.clone();
        }
        if name == "$env" {
            return self.env.clone();
        }
        match self.env {
            Value::Map(map) => map.entries.get(name).cloned().unwrap_or(Value::Nil),
            _ => Value::Nil,
        }
    }

    fn unary(&mut self, id: NodeId, op: UnaryOp, operand: NodeId) -> Evaluated {
        match op {
            UnaryOp::Not | UnaryOp::Bang => Ok(Value::Bool(!self.truth(operand)?)),
            UnaryOp::Plus => self.eval(operand),
            UnaryOp::Minus => {
                let value = self.eval(operand)?;
                self.located(id, ops::negate(&value))
            }
        }
    }

    /// Chains of left-bound operators are run in a loop: their length is not a depth.
    fn binary_spine(&mut self, id: NodeId) -> Evaluated {
        let ast: &'p Ast = self.ast;
        let mut spine = Vec::new();
        let mut bottom = id;
        while let Kind::Binary(op, left, right) = ast.kind(bottom) {
            let constant = self.program.constants.get(bottom.index()).is_some_and(Option::is_some);
            if constant {
                break;
            }
            spine.push((bottom, *op, *left, *right));
            bottom = *left;
        }
        let mut left = self.eval_left(bottom, spine.last().map(|(_, op, ..)| *op))?;
        while let Some((node, op, left_id, right_id)) = spine.pop() {
            self.steps += 1;
            left = self.binary(node, op, (left_id, left), right_id)?;
        }
        Ok(left)
    }

    /// The left operand; inside `a?.b ?? c` the chain gives nil to the operator.
    fn eval_left(&mut self, id: NodeId, op: Option<BinaryOp>) -> Evaluated {
        match self.eval(id) {
            Err(Stop::Nil) if op == Some(BinaryOp::Coalesce) => Ok(Value::Nil),
            other => other,
        }
    }

    fn constant(&self, id: NodeId) -> Option<&Value> {
        self.program.constants.get(id.index()).and_then(Option::as_ref)
    }

    fn binary(&mut self, id: NodeId, op: BinaryOp, left: (NodeId, Value), right: NodeId) -> Evaluated {
        let (left_id, left) = left;
        if op == BinaryOp::Coalesce {
            return if left.is_nil() { self.eval(right) } else { Ok(left) };
        }
        if op.is_and() || op.is_or() {
            let short = op.is_or();
            // Folding took the constant side out: the other one is the value, whatever it is.
            if self.constant(left_id) == Some(&Value::Bool(!short)) {
                return self.eval(right);
            }
            if self.constant(right) == Some(&Value::Bool(!short)) {
                return Ok(left);
            }
            return match left {
                Value::Bool(value) if value == short => Ok(left),
                Value::Bool(_) => self.eval(right),
                other => fail(ops::not_a(&other, "bool"), id),
            };
        }
        let operands = [left, self.eval(right)?];
        self.charge(id, &operands, if op == BinaryOp::Matches { PATTERN_STEPS } else { 0 })?;
        let [left, right_value] = operands;
        if op == BinaryOp::In && self.is_text_list(right) {
            match left {
                Value::Str(_) => {}
                Value::Nil => return self.located(id, ops::binary(op, &Value::str(""), &right_value)),
                other => return fail(ops::key_mismatch(&other), id),
            }
        }
        self.located(id, ops::binary(op, &left, &right_value))
    }

    /// A list of text literals is looked up as a map of texts.
    fn is_text_list(&self, id: NodeId) -> bool {
        match self.ast.kind(id) {
            Kind::Array(nodes) => !nodes.is_empty() && nodes.iter().all(|n| matches!(self.ast.kind(*n), Kind::Str(_))),
            _ => false,
        }
    }

    fn member(&mut self, id: NodeId, node: NodeId, property: NodeId, optional: bool) -> Evaluated {
        let base = self.eval(node)?;
        if optional && base.is_nil() {
            return Err(Stop::Nil);
        }
        let key = self.eval(property)?;
        if let Some(method) = key.as_str().and_then(|name| methods::method_of(&base, name)) {
            return Ok(bound(&base, method));
        }
        match ops::fetch(&base, &key) {
            Ok(value) => Ok(value),
            Err(message) => fail(message, id),
        }
    }

    fn slice(&mut self, id: NodeId, node: NodeId, from: Option<NodeId>, to: Option<NodeId>) -> Evaluated {
        let node = self.eval(node)?;
        let to = to.map(|to| self.eval(to)).transpose()?;
        let from = from.map(|from| self.eval(from)).transpose()?;
        self.located(id, ops::slice(&node, from.as_ref(), to.as_ref()))
    }

    fn call(&mut self, id: NodeId, callee: NodeId, args: &[NodeId]) -> Evaluated {
        let args = self.eval_all(args)?;
        match self.eval(callee)? {
            Value::Func(function) => {
                self.charge(id, &args, if function.compiles_patterns() { PATTERN_STEPS } else { 0 })?;
                let result = function.call(args);
                self.located(id, result)
            }
            Value::Nil => fail("invalid operation: cannot call nil", id),
            other => fail(format!("invalid operation: cannot call non-function of type {}", other.go_type()), id),
        }
    }

    fn map(&mut self, id: NodeId, pairs: &[(NodeId, NodeId)]) -> Evaluated {
        let mut entries = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let key_value = self.eval(*key)?;
            let value = self.eval(*value)?;
            entries.push((key_value, value));
        }
        self.grow(id, pairs.len())?;
        let mut map = crate::value::Map::new(MapKind::StrAny);
        // Go fills the map from the last pair to the first: of equal keys the first wins.
        for (key, value) in entries.into_iter().rev() {
            match key {
                Value::Str(_) => map.insert(key, value),
                other => return fail(ops::not_a(&other, "string"), id),
            }
        }
        self.weigh(id, Value::Map(Arc::new(map)))
    }

    fn pointer(&mut self, id: NodeId, name: &str) -> Evaluated {
        let Some(scope) = self.scopes.last() else { return fail("no pointer outside a closure", id) };
        match name {
            "index" => Ok(Value::Int(scope.index as i64)),
            "acc" => Ok(scope.accumulator.clone()),
            _ => match scope.items.items.get(scope.index) {
                Some(item) => Ok(item.clone()),
                None => fail("index out of range", id),
            },
        }
    }

    fn builtin(&mut self, id: NodeId, name: &'p str, args: &'p [NodeId]) -> Evaluated {
        if builtins::takes_predicate(name) {
            return self.closure_call(id, name, args);
        }
        let args = self.eval_all(args)?;
        self.charge(id, &args, 0)?;
        let result = builtins::call(name, &args);
        if let (Ok(Value::Array(array)), "reverse" | "concat" | "flatten" | "sort") = (&result, name) {
            self.grow(id, array.items.len())?;
        }
        if let (Ok(Value::Str(text)), "repeat") = (&result, name) {
            self.grow(id, text.len())?;
        }
        self.located(id, result)
    }
}
