//! Functions as values: those Argo puts into the environment, and methods of times.

use super::methods::Method;
use super::ops::not_a;
use super::types::{Sig, Ty};
use crate::sprig::SprigFn;
use crate::value::Value;

/// A function value.
#[derive(Debug, Clone)]
pub enum Func {
    /// `asInt`
    AsInt,
    /// `asFloat`
    AsFloat,
    /// `toJson`
    ToJson,
    /// `jsonpath`
    JsonPath,
    /// A method that gives a value known before (of versions made by `sprig.semver`).
    #[doc(hidden)]
    Constant(Box<Value>),
    /// One of `sprig.*`.
    #[doc(hidden)]
    Sprig(SprigHandle),
    /// A method bound to its time, duration or zone.
    #[doc(hidden)]
    Method(Box<Value>, MethodHandle),
}

/// A function of the sprig table.
#[derive(Debug, Clone, Copy)]
pub struct SprigHandle(pub(crate) &'static SprigFn);

/// A method of a type of Go's time package.
#[derive(Debug, Clone, Copy)]
pub struct MethodHandle(pub(crate) &'static Method);

impl PartialEq for Func {
    /// As reflect.DeepEqual: functions are never equal.
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

const ANY_TO_ANY: Sig = Sig::new(&[Ty::Any], Ty::Any);
const ANY_TO_TEXT: Sig = Sig::new(&[Ty::Any], Ty::Str);
const CONSTANT: Sig = Sig::new(&[], Ty::Any);
const JSON_PATH: Sig = Sig::new(&[Ty::Str, Ty::Str], Ty::Any);

impl Func {
    pub(crate) fn sig(&self) -> Sig {
        match self {
            Self::AsInt | Self::AsFloat => ANY_TO_ANY,
            Self::ToJson => ANY_TO_TEXT,
            Self::JsonPath => JSON_PATH,
            Self::Constant(_) => CONSTANT,
            Self::Sprig(function) => function.0.sig,
            Self::Method(_, method) => method.0.sig,
        }
    }

    /// The Go type.
    pub fn go_type(&self) -> String {
        self.sig().go_type()
    }

    /// A call compiles a regular expression.
    pub(crate) fn compiles_patterns(&self) -> bool {
        match self {
            Self::Sprig(function) => function.0.name.to_ascii_lowercase().contains("regex"),
            Self::JsonPath => true,
            _ => false,
        }
    }

    /// Calls the function as reflect.Call would: the number and the types of the arguments must fit.
    pub(crate) fn call(&self, args: Vec<Value>) -> Result<Value, String> {
        let sig = self.sig();
        let wanted = sig.params.len();
        if sig.variadic && args.len() + 1 < wanted {
            let least = wanted - 1;
            return Err(format!("invalid number of arguments: expected at least {least}, got {}", args.len()));
        }
        if !sig.variadic && args.len() != wanted {
            return Err(format!("invalid number of arguments: expected {wanted}, got {}", args.len()));
        }
        let mut given = args;
        for (i, arg) in given.iter_mut().enumerate() {
            let ty = sig.param(i);
            if *arg == Value::Nil {
                *arg = ty.zero();
            } else if !ty.accepts(arg) {
                return Err(format!("reflect: Call using {} as type {}", arg.go_type(), ty.go_type()));
            }
        }
        match self {
            Self::AsInt => super::builtins::int(&given[0]),
            Self::AsFloat => super::builtins::float(&given[0]),
            Self::ToJson => crate::go::marshal(&given[0]).map(Value::str).map_err(|e| e.to_string()),
            Self::JsonPath => json_path(&given[0], &given[1]),
            Self::Constant(value) => Ok((**value).clone()),
            Self::Sprig(function) => (function.0.call)(&given),
            Self::Method(receiver, method) => (method.0.call)(receiver, &given),
        }
    }
}

fn json_path(text: &Value, path: &Value) -> Result<Value, String> {
    let (Value::Str(text), Value::Str(path)) = (text, path) else { return Err(not_a(text, "string")) };
    let document: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    crate::jsonpath::query(path, &Value::from_json(&document)).map_err(|e| e.to_string())
}
