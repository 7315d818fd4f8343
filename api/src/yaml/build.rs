//! From the parser's events to a tree: anchors, merge keys, duplicates, limits.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Number;

use super::scalar::{self, Scalar};
use super::{Content, Duplicate, Entry, MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, Position, Tree, YamlError};

/// Reads every document of a text whose first line is `first_line` of its file.
pub(super) fn parse(text: &str, first_line: u32) -> Result<Vec<Tree>, YamlError> {
    let start = Position { line: first_line, column: 1 };
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(YamlError { position: start, message });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options()),
        first_line,
        anchors: HashMap::new(),
        duplicates: Vec::new(),
        nodes: 0,
        aliased: 0,
        kept: 0,
    };
    let mut trees = Vec::new();
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => return Ok(trees),
            Event::DocumentStart(..) => {
                builder.anchors.clear();
                (builder.nodes, builder.aliased, builder.kept) = (0, 0, 0);
                let (event, span) = builder.next()?;
                let root = value(builder.node(event, span, 0)?)?;
                let duplicates = std::mem::take(&mut builder.duplicates);
                if root.content != Content::Null {
                    trees.push(Tree { root, duplicates });
                }
            }
            Event::StreamStart | Event::DocumentEnd => {}
            _ => return Err(builder.error(span, "a document was expected here")),
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    first_line: u32,
    /// Finished nodes that have an anchor, with the number of nodes in each.
    anchors: HashMap<usize, (Parsed, usize)>,
    duplicates: Vec<Duplicate>,
    nodes: usize,
    /// How many of `nodes` came from aliases.
    aliased: usize,
    /// Values held by anchors.
    kept: usize,
}

/// A node before its parent has decided whether it is a key or a value.
#[derive(Clone)]
struct Parsed {
    position: Position,
    content: Raw,
}

#[derive(Clone)]
enum Raw {
    Scalar(Scalar),
    /// A plain `<<`.
    Merge,
    Collection(Content),
}

const MERGE: &str = "tag:yaml.org,2002:merge";

/// Comments are passed over, also where another crate of the program wants to hear of them.
fn options() -> Options {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        self.error(Span::empty(*error.marker()), error.info())
    }

    fn error(&self, span: Span, message: impl Into<String>) -> YamlError {
        YamlError { position: self.position(span), message: message.into() }
    }

    fn position(&self, span: Span) -> Position {
        let line = (span.start.line() as u32).max(1) - 1 + self.first_line;
        Position { line, column: span.start.col() as u32 + 1 }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Parsed, YamlError> {
        if depth > MAX_DEPTH {
            return Err(self.error(span, format!("lists and mappings are nested more than {MAX_DEPTH} deep")));
        }
        let before = self.nodes;
        self.count(1, span)?;
        let position = self.position(span);
        let (content, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                // The parser writes `~` where nothing was written.
                let text = if plain && span.is_empty() { "".into() } else { text };
                let tag = tag.as_deref().map(full_tag);
                if text == "<<" && (plain && tag.is_none() || tag.as_deref() == Some(MERGE)) {
                    (Raw::Merge, anchor)
                } else {
                    let scalar = scalar::resolve(&text, plain, tag.as_deref());
                    (Raw::Scalar(scalar.map_err(|error| self.error(span, error))?), anchor)
                }
            }
            Event::SequenceStart(_, anchor, _) => (Raw::Collection(self.sequence(depth)?), anchor),
            Event::MappingStart(_, anchor, _) => (Raw::Collection(self.mapping(depth)?), anchor),
            _ => return Err(self.error(span, "a value was expected here")),
        };
        let parsed = Parsed { position, content };
        if anchor != 0 {
            let size = self.nodes - before;
            self.kept += size;
            if self.kept > MAX_NODES {
                return Err(self.error(span, format!("the anchors of the document hold more than {MAX_NODES} values")));
            }
            self.anchors.insert(anchor, (parsed.clone(), size));
        }
        Ok(parsed)
    }

    fn sequence(&mut self, depth: usize) -> Result<Content, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Content::Sequence(items));
            }
            let item = self.node(event, span, depth + 1)?;
            items.push(value(item)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Content, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Content::Mapping(self.without_duplicates(entries, &merged)));
            }
            let key = self.node(event, span, depth + 1)?;
            let position = key.position;
            let key = match key.content {
                Raw::Merge => None,
                Raw::Scalar(scalar) => Some(scalar.into_key().map_err(|message| YamlError { position, message })?),
                Raw::Collection(_) => {
                    let message = "a list or mapping cannot be a key; a text that begins with `{` needs quotes".into();
                    return Err(YamlError { position, message });
                }
            };
            let (event, span) = self.next()?;
            let absent = matches!(event, Event::Scalar(..)) && span.is_empty();
            let mut value = value(self.node(event, span, depth + 1)?)?;
            if absent {
                value.position = position;
            }
            match key {
                Some(key) => entries.push(Entry { key, position, value }),
                None => {
                    let from = entries.len();
                    self.merge(&mut entries, value)?;
                    merged.push(from..entries.len());
                }
            }
        }
    }

    /// The last of equal keys wins, be it given or merged; only keys given twice are reported.
    fn without_duplicates(&mut self, entries: Vec<Entry>, merged: &[std::ops::Range<usize>]) -> Vec<Entry> {
        let is_merged = |index: usize| merged.iter().any(|range| range.contains(&index));
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        let mut lost = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(earlier) = last.insert(&entry.key, index) {
                lost.push(earlier);
                if !is_merged(index) && !is_merged(earlier) {
                    self.duplicates.push(Duplicate { key: entry.key.clone(), position: entry.position });
                }
            }
        }
        if lost.is_empty() {
            return entries;
        }
        lost.sort_unstable();
        let keep = |(index, entry)| lost.binary_search(&index).is_err().then_some(entry);
        entries.into_iter().enumerate().filter_map(keep).collect()
    }

    fn merge(&mut self, entries: &mut Vec<Entry>, value: Node) -> Result<(), YamlError> {
        match value.content {
            Content::Mapping(more) => entries.extend(more),
            // Of several, the first has precedence.
            Content::Sequence(items) if items.iter().all(|item| matches!(item.content, Content::Mapping(_))) => {
                for item in items.into_iter().rev() {
                    self.merge(entries, item)?;
                }
            }
            _ => {
                let message = "`<<` takes a mapping or a list of mappings".to_string();
                return Err(YamlError { position: value.position, message });
            }
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Parsed, YamlError> {
        let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
            return Err(self.error(span, "an anchor's value contains itself"));
        };
        self.aliased += size;
        self.count(size, span)?;
        match self.anchors.get(&anchor) {
            Some((parsed, _)) => Ok(parsed.clone()),
            None => Err(self.error(span, "the anchor is unknown")),
        }
    }

    /// Counts values, and refuses a document that grows out of proportion by aliases. argo: go-yaml's `allowedAliasRatio`.
    fn count(&mut self, more: usize, span: Span) -> Result<(), YamlError> {
        self.nodes += more;
        let scale = (self.nodes.clamp(400_000, 4_000_000) - 400_000) as f64 / 3_600_000.0;
        let allowed = 0.99 - 0.89 * scale;
        if self.aliased > 100 && self.nodes > 1000 && self.aliased as f64 / self.nodes as f64 > allowed {
            return Err(self.error(span, "the document contains excessive aliasing"));
        }
        if self.nodes > MAX_NODES {
            return Err(self.error(span, format!("the document has more than {MAX_NODES} values")));
        }
        Ok(())
    }
}

fn full_tag(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

fn value(parsed: Parsed) -> Result<Node, YamlError> {
    let position = parsed.position;
    let content = match parsed.content {
        Raw::Collection(content) => content,
        Raw::Merge => Content::Text("<<".to_string()),
        Raw::Scalar(Scalar::Null) => Content::Null,
        Raw::Scalar(Scalar::Bool(value)) => Content::Bool(value),
        Raw::Scalar(Scalar::Int(value)) => Content::Number(value.into()),
        Raw::Scalar(Scalar::Unsigned(value)) => Content::Number(value.into()),
        Raw::Scalar(Scalar::Text(text)) => Content::Text(text),
        Raw::Scalar(Scalar::Float(value)) => {
            let unsupported = || YamlError { position, message: format!("JSON has no such number: {value}") };
            Content::Number(number(value).ok_or_else(unsupported)?)
        }
    };
    Ok(Node { position, content })
}

/// A number as Go's JSON prints it: without a fraction where it is whole.
fn number(value: f64) -> Option<Number> {
    const INTEGERS: f64 = 9_007_199_254_740_992.0 * 1024.0; // 2^63
    if value.fract() == 0.0 && (-INTEGERS..INTEGERS).contains(&value) {
        return Some(Number::from(value as i64));
    }
    if value.fract() == 0.0 && (0.0..2.0 * INTEGERS).contains(&value) {
        return Some(Number::from(value as u64));
    }
    Number::from_f64(value)
}
