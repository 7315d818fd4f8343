//! Manifests: from the text of a file to typed objects that know where each of their fields was written.

mod object;
mod place;
mod read;
mod secret;
mod unknown;

use std::sync::Arc;

use serde_json::Value;

pub use object::{ConfigMap, Object};
pub use secret::{Secret, SecretText};

use crate::diagnostic::{Diagnostic, Severity};
use crate::yaml::{self, Duplicate, Position, YamlError};
use place::{Chunk, Place, Source};

/// One object of a manifest.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub object: Object,
    place: Place,
    duplicates: Vec<Duplicate>,
}

/// Reads every object of a file: YAML with any number of documents, or JSON. A `List` gives its items.
///
/// Documents that hold nothing are left out. `source_name` is the file's name for messages.
///
/// # Errors
/// All mistakes that were found: text that is no YAML or JSON, and fields of the wrong type. Unknown fields are no
/// errors: see [`Document::warnings`].
pub fn parse(source_name: &str, text: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    if text.len() > yaml::MAX_BYTES {
        let message = format!("the file has {} bytes; at most {} are read", text.len(), yaml::MAX_BYTES);
        return Err(vec![Diagnostic::error(source_name, message)]);
    }
    let source = Arc::new(Source::new(source_name, text));
    let mut reading = Reading::default();
    for chunk in source.chunks() {
        match chunk {
            Chunk::Json { value, root } => reading.object(&Place::new(&source, root), value, Vec::new()),
            Chunk::Yaml { text, first_line } => match yaml::parse_from_line(text, first_line) {
                Ok(trees) => {
                    for tree in trees {
                        let value = tree.root.to_value();
                        reading.object(&Place::new(&source, Some(tree.root)), value, tree.duplicates);
                    }
                }
                // The line is not shown where it may be one of a Secret.
                Err(error) => reading.mistakes.push(syntax_mistake(&source, error, !text.contains("Secret"))),
            },
        }
    }
    if reading.mistakes.is_empty() { Ok(reading.documents) } else { Err(reading.mistakes) }
}

fn syntax_mistake(source: &Source, YamlError { position, message }: YamlError, show_line: bool) -> Diagnostic {
    let line = source.line(position.line).filter(|_| show_line);
    let hint =
        line.filter(|line| line.contains(": {{")).map(|_| "a value that begins with `{{` needs quotes".to_string());
    Diagnostic::error(&*source.name, message).at(position, line).hinting(hint)
}

#[derive(Default)]
struct Reading {
    documents: Vec<Document>,
    mistakes: Vec<Diagnostic>,
}

impl Reading {
    /// Reads an object, or each item of a `List`.
    fn object(&mut self, place: &Place, mut value: Value, duplicates: Vec<Duplicate>) {
        let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        if is_list && let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) {
            for (index, item) in items.into_iter().enumerate() {
                self.object(&place.below(&format!("items[{index}]")), item, Vec::new());
            }
            return;
        }
        match read::object(place, value) {
            Ok(object) => self.documents.push(Document { object, place: place.clone(), duplicates }),
            Err(mistakes) => self.mistakes.extend(mistakes),
        }
    }
}

impl Document {
    /// The file or other source that it was read from.
    pub fn source_name(&self) -> &str {
        &self.place.source.name
    }

    /// The name of the object; empty where it has none.
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// Where a field or list item begins, by its path (`spec.templates[0].steps[1][0].arguments`). The empty path is
    /// the whole document.
    pub fn position(&self, path: &str) -> Option<Position> {
        Some(self.place.root.as_ref()?.find(path)?.position)
    }

    /// A mistake at a field, or at the nearest field above it that was written.
    pub fn diagnostic(&self, severity: Severity, path: &str, message: impl Into<String>) -> Diagnostic {
        self.place.diagnostic(severity, path, message.into())
    }

    /// Fields that are unknown or given twice, in the order of the file. Under `--strict` they are errors:
    /// [`Diagnostic::into_error`].
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = unknown::warnings(&self.object, &self.place);
        warnings.extend(self.duplicates.iter().map(|Duplicate { key, position }| {
            let message = format!("`{key}` is given twice; this value counts");
            self.place.diagnostic(Severity::Warning, "", message).at(*position, self.place.line(position.line))
        }));
        warnings.sort_by_key(|warning| (warning.line, warning.column));
        warnings
    }
}
