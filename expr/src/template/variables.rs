//! Where the values of tags come from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A scope of variables with dotted names. Scopes may be lazy, and are layered without copying ([`Layered`]).
pub trait Variables {
    /// None: unknown name. Some(None): known, but absent (optional output of a skipped producer). Some(Some(v)): its
    /// text.
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>>;

    /// Calls `f` for every variable whose dotted name starts with `prefix` (used to build the nested environment of an
    /// expression: only for the roots that the expression mentions). A name may come twice: the last value counts.
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, Option<&str>));
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        BTreeMap::get(self, name).map(|value| Some(Cow::Borrowed(value.as_str())))
    }

    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, Option<&str>)) {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (name, value) in self.range::<str, _>(from).take_while(|(name, _)| name.starts_with(prefix)) {
            f(name, Some(value));
        }
    }
}

impl Variables for BTreeMap<String, Option<String>> {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        BTreeMap::get(self, name).map(|value| value.as_deref().map(Cow::Borrowed))
    }

    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, Option<&str>)) {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (name, value) in self.range::<str, _>(from).take_while(|(name, _)| name.starts_with(prefix)) {
            f(name, value.as_deref());
        }
    }
}

/// Two scopes as one: the first hides names of the second.
#[derive(Clone, Copy)]
pub struct Layered<'a>(pub &'a dyn Variables, pub &'a dyn Variables);

impl std::fmt::Debug for Layered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layered")
    }
}

impl Variables for Layered<'_> {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        self.0.get(name).or_else(|| self.1.get(name))
    }

    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, Option<&str>)) {
        self.1.visit(prefix, f);
        self.0.visit(prefix, f);
    }
}

impl<V: Variables + ?Sized> Variables for &V {
    fn get(&self, name: &str) -> Option<Option<Cow<'_, str>>> {
        (**self).get(name)
    }

    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, Option<&str>)) {
        (**self).visit(prefix, f);
    }
}
