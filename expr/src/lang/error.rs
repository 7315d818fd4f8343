//! Mistakes in expressions, told apart by when they are found.

use super::ast::Span;

/// What is wrong with an expression and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, without the place.
    pub message: String,
    /// 1-based line; 0 when there is no place.
    pub line: usize,
    /// 1-based column in characters.
    pub column: usize,
    /// The line itself, with a mark under the column.
    snippet: String,
}

impl Diagnostic {
    pub(crate) fn at(message: impl Into<String>, span: Span, source: &str) -> Self {
        let (mut line, mut column, mut start) = (1, 0, 0);
        for (count, (at, c)) in source.char_indices().enumerate() {
            if count == span.from as usize {
                break;
            }
            if c == '\n' {
                (line, column, start) = (line + 1, 0, at + 1);
            } else {
                column += 1;
            }
        }
        let text = source[start..].split('\n').next().unwrap_or("");
        if text.is_empty() {
            return Self { message: message.into(), line: 0, column: 0, snippet: String::new() };
        }
        let snippet = format!("\n | {}\n | {}^", text.replace('\t', " "), ".".repeat(column));
        Self { message: message.into(), line, column: column + 1, snippet }
    }
}

/// As expr-lang prints it: `message (line:column)`, the line and a mark.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.snippet.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{} ({}:{}){}", self.message, self.line, self.column, self.snippet)
    }
}

/// An expression that gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be parsed, or names and types do not fit the environment. The same text and environment fail always.
    #[error("{0}")]
    Compile(Box<Diagnostic>),
    /// It failed while running, or used more steps or memory than it may.
    #[error("{0}")]
    Run(Box<Diagnostic>),
}

impl Error {
    pub(crate) fn compile(message: impl Into<String>, span: Span, source: &str) -> Self {
        Self::Compile(Box::new(Diagnostic::at(message, span, source)))
    }

    pub(crate) fn run(message: impl Into<String>, span: Span, source: &str) -> Self {
        Self::Run(Box::new(Diagnostic::at(message, span, source)))
    }

    /// What is wrong and where.
    pub fn diagnostic(&self) -> &Diagnostic {
        match self {
            Self::Compile(diagnostic) | Self::Run(diagnostic) => diagnostic,
        }
    }
}
