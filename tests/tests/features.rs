//! docs/features.md names the tests that show what it says: each of them exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

/// A row of one of the page's tables, by its cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Why the page must not refer to this.
fn wrong(reference: &str) -> Result<(), String> {
    let (place, name) = reference.split_once(": ").ok_or_else(|| format!("{reference} is no reference to a test"))?;
    let (file, what) = match place {
        "corpus" => ("docs/conformance.md", format!("| {name} | ")),
        "xtask e2e" => ("xtask/src/e2e/steps.rs", format!("\"{name}\"")),
        file => (file, format!("fn {name}(")),
    };
    match read(file)?.contains(&what) {
        true => Ok(()),
        false => Err(format!("{reference}: there is no such test")),
    }
}

#[test]
fn every_row_names_tests_that_exist() {
    let page = read("docs/features.md").expect("the page");
    let mut mistakes = Vec::new();
    let mut ids = BTreeSet::new();
    for row in rows(&page) {
        let [id, _, state, tests] = row[..] else {
            mistakes.push(format!("{row:?} has not four cells"));
            continue;
        };
        if !ids.insert(id) {
            mistakes.push(format!("{id} is there twice"));
        }
        let word = state.split([':', ' ']).next().unwrap_or_default();
        let named: Vec<&str> = quoted(tests).collect();
        match word {
            "yes" | "partly" if named.is_empty() => mistakes.push(format!("{id} is {word}, and no test shows it")),
            "yes" | "partly" | "no" => {}
            other => mistakes.push(format!("{id}: {other:?} is no state")),
        }
        if word != "yes" && !state.contains(": ") {
            mistakes.push(format!("{id}: {word} without a reason"));
        }
        mistakes
            .extend(named.into_iter().filter_map(|reference| wrong(reference).err().map(|why| format!("{id}: {why}"))));
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(ids.len() > 100, "only {} rows were read", ids.len());
}

#[test]
fn every_variable_of_the_executor_has_a_row() {
    let page = read("docs/features.md").expect("the page");
    let source = read("contract/src/env.rs").expect("the table of variables");
    let names = source.lines().filter_map(|line| line.split_once("\" by ")?.0.split_once(" \"").map(|(_, name)| name));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
