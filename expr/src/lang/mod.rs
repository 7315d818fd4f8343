//! expr-lang (github.com/expr-lang/expr v1.17.8) as Argo uses it: parse, check against the environment, run.
//!
//! [`Program`] is compiled once for an environment's shape and may run many times. [`eval`] and [`eval_bool`] do both.
//! Numbers that came from JSON are floats; literals are ints. Text, nodes, nesting, steps and memory are limited:
//! beyond the limits an expression is an [`Error`], never a crash.

mod ast;
mod builtins;
mod check;
mod env;
mod error;
mod escape;
mod eval;
mod fold;
mod func;
mod lexer;
mod methods;
pub(crate) mod ops;
mod parser;
pub(crate) mod types;

pub use ast::{Ast, BinaryOp, Kind, Node, NodeId, Span, UnaryOp};
pub use env::{argo_env, argo_functions, nested_env};
pub use error::{Diagnostic, Error};
pub use func::{Func, MethodHandle, SprigHandle};
pub use parser::parse;

use crate::value::{Map, Value};

/// A parsed and checked expression.
#[derive(Debug, Clone)]
pub struct Program {
    source: String,
    ast: Ast,
    constants: Vec<Option<Value>>,
}

impl Program {
    /// Parses the expression and checks it against an environment: a map of the names it may use
    /// (`argo: expr.Compile(e, expr.Env(env))`).
    ///
    /// # Errors
    /// [`Error::Compile`], with expr-lang's message where it has one.
    pub fn compile(source: &str, env: &Value) -> Result<Self, Error> {
        let empty = Map::new(crate::value::MapKind::StrAny);
        let env = match env {
            Value::Map(map) => map,
            _ => &empty,
        };
        let ast = parser::parse_with(source, &|name| env.entries.contains_key(name))?;
        check::check(&ast, env).map_err(|(message, span)| Error::compile(message, span, source))?;
        let constants = fold::folded(&ast).map_err(|(message, span)| match span {
            Some(span) => Error::compile(message, span, source),
            None => Error::compile(message, Span::default(), ""),
        })?;
        Ok(Self { source: source.to_owned(), ast, constants })
    }

    /// The syntax tree.
    pub fn ast(&self) -> &Ast {
        &self.ast
    }

    /// Runs the expression.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn run(&self, env: &Value) -> Result<Value, Error> {
        eval::run(self, env)
    }
}

/// Compiles and runs an expression.
///
/// # Errors
/// [`Error::Compile`] and [`Error::Run`].
pub fn eval(source: &str, env: &Value) -> Result<Value, Error> {
    Program::compile(source, env)?.run(env)
}

/// Why an expression is no condition (`argo: argoexpr.EvalBool`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalBoolError {
    /// It does not compile.
    #[error("{0}")]
    Compile(Box<Diagnostic>),
    /// It fails while running.
    #[error("unable to evaluate expression '{source_text}': {diagnostic}")]
    Run {
        /// The expression.
        source_text: String,
        /// What failed.
        diagnostic: Box<Diagnostic>,
    },
    /// It gives something else than true or false.
    #[error("unable to cast expression result '{0}' to bool")]
    NotBool(String),
}

/// Compiles and runs an expression that must be true or false (`argo: argoexpr.EvalBool`).
///
/// # Errors
/// With Argo's messages.
pub fn eval_bool(source: &str, env: &Value) -> Result<bool, EvalBoolError> {
    match eval(source, env) {
        Ok(Value::Bool(value)) => Ok(value),
        Ok(other) => Err(EvalBoolError::NotBool(crate::go::sprintf("%s", &[other]))),
        Err(Error::Compile(diagnostic)) => Err(EvalBoolError::Compile(diagnostic)),
        Err(Error::Run(diagnostic)) => Err(EvalBoolError::Run { source_text: source.to_owned(), diagnostic }),
    }
}
