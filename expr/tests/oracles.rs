//! The recorded results of the Go libraries: every row of the tables must come out the same here.
//!
//! `tests/oracles/*.tsv` were written by the Go program next to them. Where the shared corpus is at hand (`TIPHYS_CORPUS`), its
//! tables are checked as well.

use std::path::{Path, PathBuf};
use tiphys_expr::lang::{self, Error};
use tiphys_expr::value::Value;
use tiphys_expr::when::{self, WhenError};

fn corpus() -> Option<PathBuf> {
    let root = std::env::var_os("TIPHYS_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
    let oracles = root.join("oracles");
    oracles.is_dir().then_some(oracles)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn env(json: &str) -> Value {
    let json: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("the environment: {e}"));
    let Value::Map(map) = Value::from_json(&json) else { panic!("the environment is no object") };
    lang::argo_env(map.entries.clone())
}

/// The outcome in the words of the tables.
fn outcome(expression: &str, env: &Value) -> (String, String) {
    match lang::eval(expression, env) {
        Ok(value) => match tiphys_expr::go::marshal(&value) {
            Ok(json) => (json, String::new()),
            Err(error) => ("JSON_ERR".to_owned(), error.to_string()),
        },
        Err(error @ Error::Compile(_)) => ("COMPILE_ERR".to_owned(), error.to_string()),
        Err(error @ Error::Run(_)) => ("RUN_ERR".to_owned(), error.to_string()),
    }
}

fn when_outcome(condition: &str) -> (String, String) {
    match when::evaluate(condition) {
        Ok(value) => (format!("{value} bool"), String::new()),
        Err(error) => {
            let kind = match &error {
                WhenError::Invalid { .. } | WhenError::Parse { .. } => "PARSE_ERR".to_owned(),
                WhenError::Evaluate { .. } => "EVAL_ERR".to_owned(),
                WhenError::NotBool { got, .. } => format!("{got} other"),
            };
            (kind, error.to_string())
        }
    }
}

fn report(table: &str, rows: usize, wrong: &[String]) {
    assert!(rows > 0, "{table} is empty");
    assert!(wrong.is_empty(), "{table}: {} of {rows} rows differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn corpus_expressions() {
    let Some(oracles) = corpus() else { return };
    let env = env(&read(&oracles.join("expr-env.json")));
    let mut wrong = Vec::new();
    let table = read(&oracles.join("expr.tsv"));
    for line in table.lines() {
        let mut columns = line.split('\t');
        let (Some(expression), Some(expected)) = (columns.next(), columns.next()) else { continue };
        let (got, message) = outcome(expression, &env);
        if got != expected {
            wrong.push(format!("{expression}\n  expected {expected}\n  got      {got} {message}"));
        }
    }
    report("expr.tsv", table.lines().count(), &wrong);
}

#[test]
fn corpus_conditions() {
    let Some(oracles) = corpus() else { return };
    let mut wrong = Vec::new();
    let table = read(&oracles.join("when.tsv"));
    for line in table.lines() {
        let Some((condition, expected)) = line.split_once('\t') else { continue };
        let expected = expected.replace(" string", " other").replace(" float64", " other");
        let (got, message) = when_outcome(condition);
        if got != expected {
            wrong.push(format!("{condition}\n  expected {expected}\n  got      {got} {message}"));
        }
    }
    report("when.tsv", table.lines().count(), &wrong);
}

fn recorded(name: &str) -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles").join(name))
}

fn unquoted(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

/// Rows of a recorded table: text, outcome, message.
fn rows(table: &str) -> impl Iterator<Item = (String, &str, String)> {
    table.lines().map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let [text, outcome, message] = columns[..] else { panic!("a row without three columns: {line}") };
        (unquoted(text), outcome, unquoted(message))
    })
}

#[test]
fn recorded_expressions() {
    let env = env(&recorded("env.json"));
    let table = recorded("expressions.tsv");
    let mut wrong = Vec::new();
    for (text, expected, message) in rows(&table) {
        let (got, got_message) = outcome(&text, &env);
        // Go escapes what replaces a character cut in two, and prints the same character plainly elsewhere.
        let expected = expected.replace("\\ufffd", "\u{fffd}");
        let same_message = expected != "COMPILE_ERR" || message == got_message;
        if got != expected || !same_message {
            wrong.push(format!("{text}\n  expected {expected} {message}\n  got      {got} {got_message}"));
        }
    }
    report("expressions.tsv", table.lines().count(), &wrong);
}

#[test]
fn recorded_conditions() {
    let table = recorded("conditions.tsv");
    let mut wrong = Vec::new();
    for (text, expected, message) in rows(&table) {
        let expected =
            if expected.starts_with('"') { format!("{} other", unquoted(expected)) } else { expected.to_owned() };
        let (got, got_message) = when_outcome(&text);
        if got != expected || !got_message.contains(&message) {
            wrong.push(format!("{text}\n  expected {expected} {message}\n  got      {got} {got_message}"));
        }
    }
    report("conditions.tsv", table.lines().count(), &wrong);
}
