//! Operations on constants: what expr-lang's optimizer computes before the expression runs, because it decides what is an
//! error and when (`7 % 0` does not compile, `x || true` does not look at `x`).

use super::ast::{Ast, BinaryOp, Kind, NodeId, Span, UnaryOp};
use crate::value::Value;

/// The constant of each node that has one.
///
/// # Errors
/// A message and its place; a pattern that only folding made a constant has none.
pub(super) fn folded(ast: &Ast) -> Result<Vec<Option<Value>>, (String, Option<Span>)> {
    let mut constants: Vec<Option<Value>> = Vec::with_capacity(ast.nodes.len());
    for node in &ast.nodes {
        let constant = {
            let of = |id: NodeId| constants.get(id.index()).and_then(Option::as_ref);
            match &node.kind {
                Kind::Int(value) => Some(Value::Int(*value)),
                Kind::Float(value) => Some(Value::Float(*value)),
                Kind::Bool(value) => Some(Value::Bool(*value)),
                Kind::Str(text) => Some(Value::Str(text.clone())),
                Kind::Unary(op, operand) => match (op, of(*operand)) {
                    (UnaryOp::Minus, Some(Value::Int(value))) => Some(Value::Int(value.wrapping_neg())),
                    (UnaryOp::Minus, Some(Value::Float(value))) => Some(Value::Float(-value)),
                    (UnaryOp::Plus, Some(value @ (Value::Int(_) | Value::Float(_)))) => Some(value.clone()),
                    (UnaryOp::Not | UnaryOp::Bang, Some(Value::Bool(value))) => Some(Value::Bool(!value)),
                    _ => None,
                },
                Kind::Binary(op, left, right) => {
                    if let (BinaryOp::Matches, Some(Value::Str(pattern))) = (op, of(*right)) {
                        super::ops::compile_regex(pattern).map_err(|message| (message, None))?;
                    }
                    fold_binary(*op, of(*left), of(*right)).map_err(|message| (message, Some(node.span)))?
                }
                _ => None,
            }
        };
        constants.push(constant);
    }
    Ok(constants)
}

fn fold_binary(op: BinaryOp, left: Option<&Value>, right: Option<&Value>) -> Result<Option<Value>, String> {
    use BinaryOp as Op;
    let (yes, no) = (Some(&Value::Bool(true)), Some(&Value::Bool(false)));
    if op.is_and() {
        if left == yes || right == yes {
            let other = if left == yes { right } else { left };
            return Ok(other.filter(|v| matches!(v, Value::Bool(_))).cloned());
        }
        return Ok((left == no || right == no).then_some(Value::Bool(false)));
    }
    if op.is_or() {
        if left == no || right == no {
            let other = if left == no { right } else { left };
            return Ok(other.filter(|v| matches!(v, Value::Bool(_))).cloned());
        }
        return Ok((left == yes || right == yes).then_some(Value::Bool(true)));
    }
    let (Some(a), Some(b)) = (left, right) else { return Ok(None) };
    let numbers = a.as_number().is_some() && b.as_number().is_some();
    Ok(match op {
        Op::Modulo => match (a, b) {
            (Value::Int(_), Value::Int(0)) => return Err("integer divide by zero".to_owned()),
            (Value::Int(a), Value::Int(b)) => Some(Value::Int(a.wrapping_rem(*b))),
            _ => None,
        },
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Power | Op::PowerCaret if numbers => {
            super::ops::binary(op, a, b).ok()
        }
        Op::Add => match (a, b) {
            (Value::Str(a), Value::Str(b)) => Some(Value::str(format!("{a}{b}"))),
            _ => None,
        },
        Op::Equal => match (a, b) {
            (Value::Int(_), Value::Int(_)) | (Value::Str(_), Value::Str(_)) | (Value::Bool(_), Value::Bool(_)) => {
                Some(Value::Bool(a == b))
            }
            _ => None,
        },
        _ => None,
    })
}
