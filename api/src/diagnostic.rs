//! A mistake in a manifest, shown the way compilers show theirs: file, line, column, the offending line and a caret.

use std::fmt;

use crate::yaml::Position;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It runs, but likely not as meant.
    Warning,
    /// It cannot run.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One mistake, and where it is.
///
/// `Display` gives `file.yaml:12:7: error: message`, then the line with a caret below it, then the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the file or other source, as the user gave it.
    pub file: String,
    /// The line, from 1; 0 where no place is known.
    pub line: u32,
    /// The column in characters, from 1; 0 where no place is known.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// The field, as `spec.templates[0].name`; empty for the whole document.
    pub path: String,
    /// The offending line; None where it is unknown or may hold a secret.
    pub line_text: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Longest part of a line that is shown, in characters.
const SHOWN: usize = 160;

impl Diagnostic {
    /// An error without a place.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            path: String::new(),
            line_text: None,
            hint: None,
        }
    }

    /// A warning without a place.
    pub fn warning(file: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(file, message) }
    }

    /// The same, as an error: what `--strict` makes of warnings.
    pub fn into_error(self) -> Diagnostic {
        Diagnostic { severity: Severity::Error, ..self }
    }

    pub(crate) fn at(self, position: Position, line_text: Option<&str>) -> Diagnostic {
        let line_text = line_text.map(str::to_string);
        Diagnostic { line: position.line, column: position.column, line_text, ..self }
    }

    pub(crate) fn on(self, path: impl Into<String>) -> Diagnostic {
        Diagnostic { path: path.into(), ..self }
    }

    pub(crate) fn hinting(self, hint: Option<String>) -> Diagnostic {
        Diagnostic { hint, ..self }
    }

    /// The part of the line around the column, and the caret's distance from its start.
    fn excerpt(&self) -> Option<(String, usize)> {
        let line = self.line_text.as_deref()?;
        let caret = (self.column as usize).saturating_sub(1);
        let from = if caret < SHOWN { 0 } else { caret - SHOWN / 2 };
        // Control characters, tabs among them, would move the caret or the terminal.
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let shown = line.chars().skip(from).take(SHOWN).map(visible).collect::<String>();
        Some((shown.trim_end().to_string(), caret - from))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}: {}", self.file, self.severity, self.message)?,
            line => write!(f, "{}:{line}:{}: {}: {}", self.file, self.column, self.severity, self.message)?,
        }
        if let Some((shown, caret)) = self.excerpt() {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n{margin} |\n{number} | {shown}\n{margin} | {}^", " ".repeat(caret))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  = help: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}
