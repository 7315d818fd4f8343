//! The recorded tables of `tests/oracles/paths`, for the tests beside the code they check.

use std::path::Path;

use serde_json::Value;

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/paths");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The object that all rows are about.
pub fn object() -> Value {
    serde_json::from_str(&read("object.json")).unwrap()
}

/// Rows of a table: text, outcome, message.
pub fn rows(table: &str) -> Vec<(String, String, String)> {
    let rows: Vec<_> = read(table)
        .lines()
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [text, outcome, message] = columns[..] else { panic!("a row without three columns: {line}") };
            (serde_json::from_str(text).unwrap(), outcome.to_owned(), serde_json::from_str(message).unwrap())
        })
        .collect();
    assert!(rows.len() > 100, "{table} has only {} rows", rows.len());
    rows
}
