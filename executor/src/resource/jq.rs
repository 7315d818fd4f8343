//! `valueFrom.jqFilter`: a jq program over an object.
//!
//! argo: workflow/executor/resource.go, jqFilter. Argo runs gojq; this is jaq, another implementation of the same
//! language. Numbers of the object are floats there and here, and results are printed as Go prints them. As with gojq the
//! program sees neither the executor's environment nor any further input.

use std::fmt::Write;

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars};
use jaq_json::{Map, Num, Val};
use serde_json::Value;
use tiphys_expr::go;

/// Bytes that a filter may print: an output parameter has to fit into a Kubernetes object.
const MAX_TEXT: usize = 4 << 20;

/// What gojq has and jaq has not; and an empty environment.
const DEFINITIONS: &str = include_str!("jq.defs");
/// Natives that would show this process' environment.
const WITHHELD: &[&str] = &["env"];

/// What a filter gives for an object: its results, one a line, texts as they are, the rest as JSON; space around the whole
/// is cut.
///
/// # Errors
/// The text for the user: the filter cannot be read, or fails.
pub fn filter(program: &str, object: &Value) -> Result<String, String> {
    let failed = |reason: String| format!("jqFilter {program:?} failed: {reason}");
    let arena = Arena::default();
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let own = jaq_core::load::parse(DEFINITIONS, |parser| parser.defs()).unwrap_or_default();
    let definitions = definitions.chain(own);
    let modules = Loader::new(definitions).load(&arena, File { code: program, path: () });
    let modules = modules.map_err(|errors| failed(unreadable(errors)))?;
    let natives = jaq_core::funs::<JustLut<Val>>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let natives = natives.filter(|(name, ..)| !WITHHELD.contains(name));
    let compiled = Compiler::default().with_funs(natives).compile(modules).map_err(|errors| failed(unknown(errors)))?;
    let context = Ctx::<JustLut<Val>>::new(&compiled.lut, Vars::new([]));
    let mut out = String::new();
    for result in compiled.id.run((context, input(object))) {
        match result {
            Ok(value) => print(&mut out, &value).map_err(failed)?,
            Err(exception) => match exception.get_err() {
                Ok(error) => return Err(failed(error.to_string())),
                // `halt`: what came so far is the result.
                Err(_) => break,
            },
        }
        out.push('\n');
        if out.len() > MAX_TEXT {
            return Err(failed(format!("it gives more than {MAX_TEXT} bytes")));
        }
    }
    Ok(out.trim().to_owned())
}

fn unreadable(errors: jaq_core::load::Errors<&str, ()>) -> String {
    let mut out = String::new();
    for (file, error) in errors {
        let at = |rest: &str| match rest.is_empty() {
            true => "at its end".to_owned(),
            false => format!("at {:?}", rest.chars().take(20).collect::<String>()),
        };
        let _ = match error {
            jaq_core::load::Error::Io(list) => write!(out, "{} cannot be included; ", list.len()),
            jaq_core::load::Error::Lex(list) => list
                .iter()
                .try_for_each(|(expected, rest)| write!(out, "{} expected {}; ", expected.as_str(), at(rest))),
            jaq_core::load::Error::Parse(list) => list.iter().try_for_each(|(expected, rest)| {
                let rest = if rest.is_empty() { "" } else { &file.code[span(file.code, rest)..] };
                write!(out, "{} expected {}; ", expected.as_str(), at(rest))
            }),
        };
    }
    out.trim_end_matches("; ").to_owned()
}

/// Where a part of the program begins.
fn span(program: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(program.as_ptr() as usize).min(program.len())
}

fn unknown(errors: jaq_core::compile::Errors<&str, ()>) -> String {
    let undefined = errors.into_iter().flat_map(|(_, list)| list);
    let texts = undefined.map(|(name, what)| format!("{} {name:?} is not defined", what.as_str()));
    texts.collect::<Vec<_>>().join("; ")
}

/// The largest whole number up to which every one has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn input(json: &Value) -> Val {
    match json {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Number(number) => match number.as_f64().unwrap_or(f64::NAN) {
            whole if whole.fract() == 0.0 && whole.abs() <= EXACT => Val::Num(Num::Int(whole as isize)),
            float => Val::Num(Num::Float(float)),
        },
        Value::String(text) => Val::from(text.clone()),
        Value::Array(items) => items.iter().map(input).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (Val::from(name.clone()), input(value)));
            Val::obj(fields.collect::<Map>())
        }
    }
}

fn print(out: &mut String, value: &Val) -> Result<(), String> {
    match value {
        Val::TStr(text) | Val::BStr(text) => out.push_str(&String::from_utf8_lossy(text)),
        value => out.push_str(&go::marshal(&held(value)).map_err(|error| error.to_string())?),
    }
    Ok(())
}

fn held(value: &Val) -> tiphys_expr::Value {
    use tiphys_expr::Value as Held;
    match value {
        Val::Null => Held::Nil,
        Val::Bool(value) => Held::Bool(*value),
        Val::Num(Num::Int(value)) => Held::Int64(*value as i64),
        Val::Num(Num::Float(value)) => Held::Float(*value),
        Val::Num(other) => Held::Float(other.to_string().parse().unwrap_or(f64::NAN)),
        Val::TStr(text) | Val::BStr(text) => Held::str(String::from_utf8_lossy(text)),
        Val::Arr(items) => Held::array(items.iter().map(held).collect()),
        Val::Obj(fields) => Held::map(fields.iter().map(|(name, value)| match name {
            Val::TStr(name) => (String::from_utf8_lossy(name).into_owned(), held(value)),
            name => (name.to_string(), held(value)),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::recorded::{object, rows};

    /// Rows in which jaq differs from gojq, with what it gives; `None` is an error.
    const DIFFERENT: &[(&str, Option<&str>)] = &[
        // Texts are sliced, not indexed.
        (".metadata.name[0]", None),
        // The environment has no variable either.
        ("$ENV.PATH | type", None),
        ("[nan] | tojson", Some("[NaN]")),
        // Numbers beyond 64 bits become floats.
        ("12345678901234567890", Some("12345678901234567000")),
        // A number begins with a digit.
        ("[.1, 1e-5, 1e5]", None),
        // An index is a whole number.
        (".status.conditions[1.7].type", None),
        // Unknown formats are refused.
        ("@foo \"x\"", None),
        // jq has these, gojq has not.
        ("{\"b\":1,\"a\":2} | keys_unsorted | length", Some("2")),
        ("[1,2,3,4] | debug | length", Some("4")),
    ];

    #[test]
    fn filters_come_out_as_recorded() {
        let object = object();
        let mut wrong = Vec::new();
        for (text, outcome, message) in rows("filters.tsv") {
            let expected = match outcome.as_str() {
                "PARSE_ERR" | "RUN_ERR" => None,
                printed => Some(serde_json::from_str::<String>(printed).unwrap()),
            };
            let expected = match DIFFERENT.iter().find(|(row, _)| *row == text) {
                Some((_, different)) => different.map(str::to_owned),
                None => expected,
            };
            let got = filter(&text, &object);
            if text == "abs" {
                // jaq leaves what is no number as it is.
                assert!(got.unwrap().starts_with('{'));
                continue;
            }
            if got.as_ref().ok() != expected.as_ref() {
                wrong.push(format!("{text}\n  expected {expected:?} {message}\n  got      {got:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} rows differ\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn nothing_of_this_process_is_seen() {
        assert_eq!(filter("env", &Value::Null), Ok("{}".to_owned()));
        assert_eq!(filter("1, halt, 2", &Value::Null), Ok("1".to_owned()));
        let error = filter(".a | nope(1)", &Value::Null).unwrap_err();
        assert_eq!(error, "jqFilter \".a | nope(1)\" failed: filter \"nope\" is not defined");
        let error = filter("repeat(\"0123456789\" * 1000)", &Value::Null).unwrap_err();
        assert!(error.ends_with("it gives more than 4194304 bytes"), "{error}");
    }
}
