//! What goes to standard output.

use std::io::{ErrorKind, Write};

use serde::Serialize;
use serde_json::{Value, json};
use tiphys_api::Workflow;

use crate::args::Output;
use crate::display::style::{age, duration};
use tiphys_api::yaml;

/// Prints text; a reader that has left early is no mistake.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("tiphys: cannot write to standard output: {error}");
        }
        _ => {}
    }
}

/// A workflow in one of the machine's or the short forms.
pub fn workflow(workflow: &Workflow, output: Output) -> String {
    match output {
        Output::Json => json(workflow),
        Output::Yaml => yaml::print(&serde_json::to_value(workflow).unwrap_or(Value::Null)),
        Output::Name => format!("{}\n", workflow.metadata.name),
        Output::Wide => wide(workflow),
    }
}

/// A value as JSON or YAML.
pub fn value(value: &Value, output: Output) -> String {
    if output == Output::Yaml { yaml::print(value) } else { json(value) }
}

/// Objects as JSON or YAML, in a List as `kubectl` has it.
pub fn list(items: &[impl Serialize], output: Output) -> String {
    value(&json!({"apiVersion": "v1", "kind": "List", "items": items}), output)
}

/// As `kubectl` prints JSON: four spaces.
fn json(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    // A workflow's keys are text and its values are JSON's own: nothing in it can fail.
    let _ = value.serialize(&mut serializer);
    let mut text = String::from_utf8(text).unwrap_or_default();
    text.push('\n');
    text
}

fn wide(workflow: &Workflow) -> String {
    let status = &workflow.status;
    table(&[
        ["NAME", "STATUS", "AGE", "DURATION", "PROGRESS", "MESSAGE", "PARAMETERS"].map(str::to_owned).to_vec(),
        vec![
            workflow.metadata.name.clone(),
            status.phase.to_string(),
            age(status.started_at),
            duration(status.started_at, status.finished_at),
            status.progress.clone(),
            status.message.clone(),
            parameters(workflow),
        ],
    ])
}

/// The parameters of a workflow as `NAME=VALUE,…`.
pub fn parameters(workflow: &Workflow) -> String {
    let parameters = workflow.spec.arguments.parameters.iter();
    let texts = parameters.map(|parameter| {
        let value = parameter.value.as_ref().map(|value| value.as_str()).unwrap_or_default();
        format!("{}={value}", parameter.name)
    });
    texts.collect::<Vec<_>>().join(",")
}

/// A message that leaves a table a table.
pub fn shortened(message: &str) -> String {
    const MOST: usize = 60;
    let line = message.replace('\n', " ");
    if line.chars().count() <= MOST {
        return line;
    }
    line.chars().take(MOST - 1).chain(['…']).collect()
}

/// Names and values, a line each; what has no value is left out.
pub fn fields(rows: &[(&str, String)]) -> String {
    let rows: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}   {value}\n")).collect()
}

/// Rows in columns, three spaces apart, as `kubectl` and `argo` do.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}
