//! Which operands an operator takes.

use super::{CheckError, Checked, Checker};
use crate::lang::ast::{BinaryOp, Kind, NodeId};
use crate::lang::types::{Is, Nature};

impl Checker<'_> {
    pub(super) fn binary(&mut self, id: NodeId, op: BinaryOp, l: &Nature, r: &Nature, right: NodeId) -> Checked {
        use BinaryOp as Op;
        let both = |kind| l.is(kind) && r.is(kind);
        let maybe = |kinds: &[Is]| l.maybe_compatible(r, kinds);
        let found = match op {
            Op::Equal | Op::NotEqual => l.comparable_to(r).then_some(Nature::Bool),
            Op::Or | Op::OrWord | Op::And | Op::AndWord => {
                (both(Is::Bool) || maybe(&[Is::Bool])).then_some(Nature::Bool)
            }
            Op::Less | Op::More | Op::MoreEqual | Op::LessEqual => {
                let kinds = [Is::Number, Is::Str, Is::Time, Is::Duration];
                (kinds.into_iter().any(both) || maybe(&kinds)).then_some(Nature::Bool)
            }
            Op::Subtract if both(Is::Number) => Some(l.promote(r)),
            Op::Subtract if both(Is::Time) || both(Is::Duration) => Some(Nature::Duration),
            Op::Subtract if l.is(Is::Time) && r.is(Is::Duration) => Some(Nature::Time),
            Op::Subtract => maybe(&[Is::Number, Is::Time, Is::Duration]).then_some(Nature::Unknown),
            Op::Multiply if both(Is::Number) => Some(l.promote(r)),
            Op::Multiply => {
                let scaled = l.is(Is::Number) && r.is(Is::Duration) || l.is(Is::Duration) && r.is(Is::Number);
                if scaled || both(Is::Duration) {
                    Some(Nature::Duration)
                } else {
                    maybe(&[Is::Number, Is::Duration]).then_some(Nature::Unknown)
                }
            }
            Op::Divide | Op::Power | Op::PowerCaret => {
                (both(Is::Number) || maybe(&[Is::Number])).then_some(Nature::Float)
            }
            Op::Modulo => (both(Is::Integer) || maybe(&[Is::Integer])).then_some(Nature::Int),
            Op::Add if both(Is::Number) => Some(l.promote(r)),
            Op::Add if both(Is::Str) => Some(Nature::Str),
            Op::Add if both(Is::Duration) => Some(Nature::Duration),
            Op::Add if l.is(Is::Time) && r.is(Is::Duration) || l.is(Is::Duration) && r.is(Is::Time) => {
                Some(Nature::Time)
            }
            Op::Add => maybe(&[Is::Number, Is::Str, Is::Time, Is::Duration]).then_some(Nature::Unknown),
            Op::In => self.check_in(id, l, r)?,
            Op::Matches => {
                if let Kind::Str(pattern) = self.ast.kind(right)
                    && let Err(message) = crate::lang::ops::compile_regex(pattern)
                {
                    return self.fail(id, message);
                }
                let texts = (l.is(Is::Str) || *l == Nature::Bytes) && r.is(Is::Str);
                (texts || maybe(&[Is::Str])).then_some(Nature::Bool)
            }
            Op::Contains | Op::StartsWith | Op::EndsWith => {
                (both(Is::Str) || maybe(&[Is::Str])).then_some(Nature::Bool)
            }
            Op::Range => (both(Is::Integer) || maybe(&[Is::Integer])).then(|| Nature::array_of(Nature::Int)),
            Op::Coalesce => Some(match (l, r) {
                (Nature::Nil, _) => r.clone(),
                (_, Nature::Nil) => l.clone(),
                _ if r.assignable_to(l) => l.clone(),
                _ => Nature::Unknown,
            }),
        };
        match found {
            Some(nature) => Ok(nature),
            None => self.fail(
                id,
                format!("invalid operation: {} (mismatched types {} and {})", op.text(), l.go_type(), r.go_type()),
            ),
        }
    }

    fn check_in(&self, id: NodeId, l: &Nature, r: &Nature) -> Result<Option<Nature>, CheckError> {
        if matches!(r, Nature::Struct(_) | Nature::Time) && (l.is(Is::Str) || l.is_unknown()) {
            return Ok(Some(Nature::Bool));
        }
        if r.is_map() {
            let key = r.key();
            if !l.is_unknown() && !l.assignable_to(&key) {
                let key = if key.is_unknown() { "interface {}".to_owned() } else { key.go_type() };
                return self.fail(id, format!("cannot use {} as type {key} in map key", l.go_type()));
            }
            return Ok(Some(Nature::Bool));
        }
        if r.is_array() {
            let elem = r.elem();
            if !l.comparable_to(&elem) {
                return self.fail(id, format!("cannot use {} as type {} in array", l.go_type(), elem.go_type()));
            }
            return Ok(Some(Nature::Bool));
        }
        let could = l.is_unknown() && r.is(Is::Str);
        Ok((could || r.is_unknown()).then_some(Nature::Bool))
    }
}
