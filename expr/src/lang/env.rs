//! Environments: nested maps from dotted names, and the functions Argo adds (`argo: util/expr/env`).

use super::func::{Func, SprigHandle};
use crate::template::Variables;
use crate::value::{MapKind, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// What Argo adds to every environment: `asInt`, `asFloat`, `jsonpath`, `toJson` and the map `sprig`.
pub fn argo_functions() -> impl Iterator<Item = (&'static str, Value)> {
    static SPRIG: LazyLock<Value> = LazyLock::new(|| {
        Value::map_of(
            MapKind::StrAny,
            crate::sprig::FUNCTIONS.iter().map(|f| (f.name, Value::Func(Func::Sprig(SprigHandle(f))))),
        )
    });
    [
        ("asInt", Value::Func(Func::AsInt)),
        ("asFloat", Value::Func(Func::AsFloat)),
        ("jsonpath", Value::Func(Func::JsonPath)),
        ("toJson", Value::Func(Func::ToJson)),
        ("sprig", SPRIG.clone()),
    ]
    .into_iter()
}

/// The entries and Argo's functions (`argo: GetFuncMap`, for entries that are nested already).
pub fn argo_env(entries: impl IntoIterator<Item = (Arc<str>, Value)>) -> Value {
    let functions = argo_functions().map(|(name, function)| (Arc::from(name), function));
    Value::map(entries.into_iter().chain(functions))
}

/// The nested environment of dotted variables, with Argo's functions (`argo: GetFuncMap(replaceMap)`).
///
/// Names are split at every dot. Where both `a` and `a.b` exist, the value of `a` is dropped in favour of the map.
/// Only variables under the `roots` are visited; an empty list means all.
pub fn nested_env(variables: &dyn Variables, roots: &[&str]) -> Value {
    let mut tree = Tree::default();
    let mut add = |name: &str, value: Option<&str>| tree.insert(name, value.map_or(Value::Nil, Value::str));
    if roots.is_empty() {
        variables.visit("", &mut add);
    }
    for root in roots {
        variables.visit(root, &mut |name, value| {
            let rest = name.strip_prefix(root);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                add(name, value);
            }
        });
    }
    let functions = argo_functions().map(|(name, function)| (Arc::from(name), function));
    Value::map(tree.into_entries().chain(functions))
}

#[derive(Default)]
struct Tree {
    children: BTreeMap<Arc<str>, Tree>,
    value: Option<Value>,
}

/// Names with more dots than this are cut into this many parts: a name from outside cannot nest without end.
const MAX_PARTS: usize = 64;

impl Tree {
    fn insert(&mut self, name: &str, value: Value) {
        let mut node = self;
        for part in name.splitn(MAX_PARTS, '.') {
            if !node.children.contains_key(part) {
                node.children.insert(part.into(), Self::default());
            }
            let Some(child) = node.children.get_mut(part) else { return };
            node = child;
        }
        node.value = Some(value);
    }

    fn into_entries(self) -> impl Iterator<Item = (Arc<str>, Value)> {
        self.children.into_iter().map(|(name, child)| (name, child.into_value()))
    }

    fn into_value(self) -> Value {
        match self.value {
            Some(value) if self.children.is_empty() => value,
            _ => Value::map(self.into_entries()),
        }
    }
}
