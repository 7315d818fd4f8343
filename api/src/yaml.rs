//! YAML as Kubernetes' Go tools read it, with the position of every key and value.
//!
//! `sigs.k8s.io/yaml` reads YAML 1.1 scalars (`yes` is true, `0755` is 493), merge keys and aliases, and lets the last of
//! two equal keys win. A manifest must mean the same here, so the scalars are resolved by hand on top of a parser that
//! only gives events; `yaml/scalar.rs` holds those rules and `yaml/build.rs` makes the tree.

mod build;
mod print;
mod scalar;

use std::fmt;

use serde_json::{Map, Number, Value};

pub use print::print;

/// Longest text that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 20;
/// Deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 200;
/// Most values in one document, after aliases have been replaced by what they stand for.
pub const MAX_NODES: usize = 5_000_000;

/// A place in a text: line and column start at 1, columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value begins; for an absent value, where its key begins.
    pub position: Position,
    /// The value.
    pub content: Content,
}

/// What a node holds: the same kinds as JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean, in any of YAML 1.1's spellings.
    Bool(bool),
    /// A number; a whole number has no fraction, however it was written.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order of its keys' last appearance; no key is there twice.
    Mapping(Vec<Entry>),
}

/// A key, and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as text: numbers and booleans are printed as Go prints them.
    pub key: String,
    /// Where the key begins.
    pub position: Position,
    /// The value.
    pub value: Node,
}

/// A key that was given twice in one mapping; the later value won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The key.
    pub key: String,
    /// Where it was given the second time.
    pub position: Position,
}

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The document's value.
    pub root: Node,
    /// Keys that were given twice.
    pub duplicates: Vec<Duplicate>,
}

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {message}")]
pub struct YamlError {
    /// Where reading stopped.
    pub position: Position,
    /// What was wrong.
    pub message: String,
}

/// Reads the first document of a text to JSON, as `yaml.YAMLToJSON` of `sigs.k8s.io/yaml` does. Empty text is null.
///
/// # Errors
/// The text is no YAML, has keys or numbers that JSON cannot hold, or is beyond the limits of this module.
pub fn to_json(text: &str) -> Result<Value, YamlError> {
    Ok(parse(text)?.into_iter().next().map_or(Value::Null, |tree| tree.root.to_value()))
}

/// Reads every document of a text. Documents that hold nothing are left out.
///
/// # Errors
/// As [`to_json`].
pub fn parse(text: &str) -> Result<Vec<Tree>, YamlError> {
    build::parse(text, 1)
}

/// As [`parse`], for a text that begins at line `first_line` of its file.
pub(crate) fn parse_from_line(text: &str, first_line: u32) -> Result<Vec<Tree>, YamlError> {
    build::parse(text, first_line)
}

impl Node {
    /// The value as JSON.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::Sequence(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Content::Mapping(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// The entry of that key, where the node is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, where the node is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Follows a path such as `spec.templates[0].steps[1][0].name`: where its last part is named and what it holds.
    /// Keys may themselves contain dots and brackets.
    pub fn find(&self, path: &str) -> Option<Found<'_>> {
        let mut deepest = 0;
        self.follow(Found { position: self.position, node: self }, path, 0, &mut (&mut deepest, &mut None))
    }

    /// As [`Node::find`], but where the path leads nowhere, the last place on it that exists.
    pub fn find_nearest(&self, path: &str) -> Found<'_> {
        let here = Found { position: self.position, node: self };
        let (mut deepest, mut nearest) = (0, None);
        self.follow(here, path, 0, &mut (&mut deepest, &mut nearest)).or(nearest).unwrap_or(here)
    }

    fn follow<'a>(
        &'a self,
        here: Found<'a>,
        path: &str,
        depth: usize,
        nearest: &mut (&mut usize, &mut Option<Found<'a>>),
    ) -> Option<Found<'a>> {
        if depth >= *nearest.0 {
            *nearest.0 = depth;
            *nearest.1 = Some(here);
        }
        if path.is_empty() {
            return Some(here);
        }
        match &self.content {
            Content::Sequence(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                item.follow(Found { position: item.position, node: item }, rest, depth + 1, nearest)
            }
            Content::Mapping(entries) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                entries.iter().find_map(|entry| {
                    let rest = path.strip_prefix(entry.key.as_str())?;
                    if !(rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')) {
                        return None;
                    }
                    let found = Found { position: entry.position, node: &entry.value };
                    entry.value.follow(found, rest, depth + 1, nearest)
                })
            }
            _ => None,
        }
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Where the key or list item begins.
    pub position: Position,
    /// The value.
    pub node: &'a Node,
}
