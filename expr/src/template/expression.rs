//! `{{=expression}}` tags (`argo: expression_template.go`).

use super::{Demand, PLACEHOLDER_PREFIX, TemplateError, Variables};
use crate::go::{marshal, quote_inner};
use crate::lang::{Ast, BinaryOp, Error, Kind, NodeId, Program, nested_env, parse};
use crate::value::Value;
use rustc_hash::FxHashSet;

/// Names that become known late: an expression that mentions an unknown one of them stays as it is where it may, even
/// if it could be computed without.
pub const LATE_VARIABLES: [&str; 8] = [
    "item",
    "retries",
    "lastRetry.exitCode",
    "lastRetry.status",
    "lastRetry.duration",
    "lastRetry.message",
    "workflow.status",
    "workflow.failures",
];

/// Writes what comes in the place of an expression tag.
pub(super) fn insert(
    out: &mut String,
    escaped: &str,
    variables: &dyn Variables,
    demand: Demand<'_>,
) -> Result<(), TemplateError> {
    let expression: String = serde_json::from_str(&format!("\"{escaped}\""))
        .map_err(|error| TemplateError::ExpressionJson(error.to_string()))?;
    let tolerates = || sees_placeholder(variables);
    let ast = match parse(&expression) {
        Ok(ast) => ast,
        Err(_) if tolerates() => return keep(out, escaped),
        Err(error) => return Err(TemplateError::of_expression(&expression, error)),
    };
    let env = environment(&ast, variables);
    let missing: Vec<String> = identifiers(&ast).into_iter().filter(|name| !has(&env, name)).collect();
    if let Some(name) = missing.iter().find(|name| demand.demands(name)) {
        return Err(demand.missing(name.clone(), format!("={escaped}"), true));
    }
    let allow_unresolved = !missing.is_empty() || matches!(demand, Demand::Nothing);
    if allow_unresolved && missing.iter().any(|name| LATE_VARIABLES.contains(&name.as_str())) {
        return keep(out, escaped);
    }
    let result = Program::compile(&expression, &env).and_then(|program| program.run(&env));
    let value = match result {
        Ok(Value::Nil) if allow_unresolved || tolerates() => return keep(out, escaped),
        Ok(Value::Nil) => return Err(TemplateError::NilResult(escaped.to_owned())),
        Ok(value) => value,
        Err(_) if allow_unresolved || tolerates() => return keep(out, escaped),
        Err(error) => return Err(TemplateError::of_expression(&expression, error)),
    };
    let json = match marshal(&value) {
        Ok(json) => json,
        Err(_) if allow_unresolved => return keep(out, escaped),
        Err(error) => return Err(TemplateError::Marshal(error)),
    };
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => out.push_str(text),
        None => out.push_str(&quote_inner(&json)),
    }
    Ok(())
}

fn keep(out: &mut String, escaped: &str) -> Result<(), TemplateError> {
    out.push_str("{{=");
    out.push_str(escaped);
    out.push_str("}}");
    Ok(())
}

/// Some value is a validation placeholder: expressions may fail then.
fn sees_placeholder(variables: &dyn Variables) -> bool {
    let mut found = false;
    variables.visit("", &mut |_, value| found |= value.is_some_and(|v| v.starts_with(PLACEHOLDER_PREFIX)));
    found
}

/// The nested environment of the roots that an expression may look at.
fn environment(ast: &Ast, variables: &dyn Variables) -> Value {
    let mut roots = FxHashSet::default();
    for (_, node) in ast.nodes() {
        match &node.kind {
            Kind::Ident(name) if &**name == "$env" => return nested_env(variables, &[]),
            Kind::Ident(name) | Kind::Let { name, .. } | Kind::Builtin { name, .. } => {
                roots.insert(&**name);
            }
            _ => {}
        }
    }
    let mut roots: Vec<&str> = roots.into_iter().collect();
    roots.sort_unstable();
    if roots.is_empty() {
        return crate::lang::argo_env([]);
    }
    nested_env(variables, &roots)
}

/// The names that an expression needs: its identifiers and paths of members, in the order of a walk. Paths guarded by
/// `??` or `?.` are not needed (`argo: getIdentifiers`).
///
/// # Errors
/// If it cannot be parsed.
pub fn expression_identifiers(expression: &str) -> Result<Vec<String>, Error> {
    Ok(identifiers(&parse(expression)?))
}

fn identifiers(ast: &Ast) -> Vec<String> {
    let mut guarded = FxHashSet::default();
    for (_, node) in ast.nodes() {
        match node.kind {
            Kind::Binary(BinaryOp::Coalesce, left, _) => guard_members(ast, left, &mut guarded),
            Kind::Member { node, optional: true, .. } if matches!(ast.node(node).kind, Kind::Member { .. }) => {
                guarded.insert(node);
            }
            _ => {}
        }
    }
    let mut seen = FxHashSet::default();
    let mut names = Vec::new();
    for (id, node) in ast.nodes() {
        let name = match &node.kind {
            _ if guarded.contains(&id) => None,
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Member { .. } => member_path(ast, id),
            _ => None,
        };
        if let Some(name) = name.filter(|name| seen.insert(name.clone())) {
            names.push(name);
        }
    }
    names
}

fn guard_members(ast: &Ast, root: NodeId, guarded: &mut FxHashSet<NodeId>) {
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if matches!(ast.node(id).kind, Kind::Member { .. }) {
            guarded.insert(id);
        }
        ast.children(id, &mut |child| open.push(child));
    }
}

fn member_path(ast: &Ast, id: NodeId) -> Option<String> {
    let mut parts = Vec::new();
    let mut at = id;
    loop {
        match &ast.node(at).kind {
            Kind::Member { node, property, optional: false, .. } => {
                let Kind::Str(name) = &ast.node(*property).kind else { return None };
                parts.push(&**name);
                at = *node;
            }
            Kind::Ident(name) if !parts.is_empty() => {
                parts.push(name);
                break;
            }
            _ => return None,
        }
    }
    parts.reverse();
    Some(parts.join("."))
}

/// The environment has the name; a value that is nil counts, one below it does not.
fn has(env: &Value, name: &str) -> bool {
    let mut current = env;
    for part in name.split('.') {
        match current {
            Value::Map(map) => match map.entries.get(part) {
                Some(value) => current = value,
                None => return false,
            },
            _ => return false,
        }
    }
    true
}
