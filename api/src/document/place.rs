//! The text that documents were read from, and where in it each of their fields is.

use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Severity};
use crate::yaml::{self, Node};

/// A text with a name.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    text: String,
    /// The offset of each line.
    lines: Vec<usize>,
}

/// A part of a source that is read on its own, so that a mistake in one document does not hide the others.
pub(super) enum Chunk<'a> {
    Json { value: Value, root: Option<Node> },
    Yaml { text: &'a str, first_line: u32 },
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Source {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_string();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { name: name.to_string(), text, lines }
    }

    /// A line by its number, from 1.
    pub(super) fn line(&self, number: u32) -> Option<&str> {
        let index = (number as usize).checked_sub(1)?;
        let from = *self.lines.get(index)?;
        let until = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        Some(self.text[from..until].trim_end_matches(['\n', '\r']))
    }

    pub(super) fn chunks(&self) -> Vec<Chunk<'_>> {
        if self.text.trim_start().starts_with(['{', '['])
            && let Ok(value) = serde_json::from_str(&self.text)
        {
            // JSON is YAML but for some escapes; those cost the positions only.
            let root = yaml::parse(&self.text).ok().and_then(|trees| trees.into_iter().next()).map(|tree| tree.root);
            return vec![Chunk::Json { value, root }];
        }
        let is_separator = |from: &usize| {
            let rest = &self.text[*from..];
            rest.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        };
        let separators = self.lines.iter().enumerate().skip(1).filter(|(_, from)| is_separator(from));
        let starts: Vec<(usize, usize)> =
            std::iter::once((0, 0)).chain(separators.map(|(i, from)| (i, *from))).collect();
        let ends = starts.iter().skip(1).map(|(_, from)| *from).chain([self.text.len()]);
        starts
            .iter()
            .zip(ends)
            .map(|((line, from), until)| Chunk::Yaml { text: &self.text[*from..until], first_line: *line as u32 + 1 })
            .collect()
    }
}

/// Where a document is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) source: Arc<Source>,
    /// None for JSON with escapes that YAML lacks.
    pub(super) root: Option<Node>,
    secret: bool,
}

impl Place {
    pub(super) fn new(source: &Arc<Source>, root: Option<Node>) -> Place {
        let kind = root.as_ref().and_then(|root| root.get("kind")).and_then(|kind| kind.value.as_str());
        // Without positions the kind is unknown, and no line is shown anyway.
        Place { source: source.clone(), secret: kind.is_some_and(|kind| kind.starts_with("Secret")), root }
    }

    /// The place of one item.
    pub(super) fn below(&self, path: &str) -> Place {
        let node = self.root.as_ref().and_then(|root| root.find(path)).map(|found| found.node.clone());
        let place = Place::new(&self.source, node);
        Place { secret: place.secret || self.secret, ..place }
    }

    /// A line of the source, unless it may hold a secret.
    pub(super) fn line(&self, number: u32) -> Option<&str> {
        self.source.line(number).filter(|_| !self.secret)
    }

    /// A mistake at the key of a field, or at the nearest field above it that was written.
    pub(super) fn diagnostic(&self, severity: Severity, path: &str, message: String) -> Diagnostic {
        let position = self.root.as_ref().map(|root| root.find_nearest(path).position);
        self.compose(severity, path, message, position)
    }

    /// A mistake in the value of a field.
    pub(super) fn value_diagnostic(&self, severity: Severity, path: &str, message: String) -> Diagnostic {
        let position = self.root.as_ref().map(|root| root.find_nearest(path).node.position);
        self.compose(severity, path, message, position)
    }

    fn compose(&self, severity: Severity, path: &str, message: String, position: Option<yaml::Position>) -> Diagnostic {
        let diagnostic = Diagnostic { severity, ..Diagnostic::error(&*self.source.name, message) }.on(path);
        match position {
            Some(position) => diagnostic.at(position, self.line(position.line)),
            None => diagnostic,
        }
    }
}
