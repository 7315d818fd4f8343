//! Why tags could not be substituted.

use crate::lang::{Diagnostic, Error};

/// A text whose tags could not be substituted. Messages are Argo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is not JSON.
    #[error("cannot do template replacements with invalid JSON")]
    InvalidJson,
    /// The text is no JSON any more: a value holds characters that `strconv.Quote` writes in a form JSON does not have.
    #[error("cannot finish template replacement because the result was invalid JSON")]
    InvalidResult,
    /// A `{{` without `}}`.
    #[error("Cannot find end tag=\"}}}}\" in the template starting from {}", crate::go::quote(.0))]
    UnclosedTag(String),
    /// A name that is not known where everything must be (see [`TemplateError::is_missing_variable`]).
    #[error("{}", missing(.name, .tag, *.in_expression))]
    Unresolved {
        /// The name.
        name: String,
        /// The tag as it stands in the text.
        tag: String,
        /// It is part of an expression.
        in_expression: bool,
    },
    /// A name below a strict prefix that is not known yet: to be asked again.
    #[error("{}", missing(.name, .tag, *.in_expression))]
    StrictMissing {
        /// The name.
        name: String,
        /// The tag as it stands in the text.
        tag: String,
        /// It is part of an expression.
        in_expression: bool,
    },
    /// The output of a skipped or omitted producer, without a default: final.
    #[error("{}", absent(.tag, .nested.as_deref()))]
    AbsentOptional {
        /// The tag as it stands in the text.
        tag: String,
        /// The name of the absent value, where it stands in a tag inside the tag.
        nested: Option<String>,
    },
    /// The text of an expression is not the inside of a JSON string.
    #[error("failed to unmarshall JSON expression: {0}")]
    ExpressionJson(String),
    /// An expression that does not compile.
    #[error("failed to evaluate expression: {diagnostic}")]
    Compile {
        /// The expression.
        expression: String,
        /// What is wrong.
        diagnostic: Box<Diagnostic>,
    },
    /// An expression that fails.
    #[error("failed to evaluate expression: {diagnostic}")]
    Run {
        /// The expression.
        expression: String,
        /// What failed.
        diagnostic: Box<Diagnostic>,
    },
    /// An expression that gives nil.
    #[error("failed to evaluate expression {}", crate::go::quote(.0))]
    NilResult(String),
    /// An expression whose result has no JSON form.
    #[error("failed to marshal evaluated expression: {0}")]
    Marshal(crate::go::MarshalError),
}

fn missing(name: &str, tag: &str, in_expression: bool) -> String {
    if in_expression {
        format!("failed to evaluate expression: {name} is missing")
    } else {
        format!("failed to resolve {{{{{tag}}}}}")
    }
}

fn absent(tag: &str, nested: Option<&str>) -> String {
    match nested {
        Some(nested) => {
            let nested = crate::go::quote(nested);
            format!("unable to substitute nested tag {{{{{tag}}}}}: {nested} is an absent optional")
        }
        None => format!(
            "unable to substitute {{{{{tag}}}}}: output is an absent optional (skipped/omitted node with no default)"
        ),
    }
}

impl TemplateError {
    /// The name may become known later (`argo: IsMissingVariableErr`): the node is asked for again.
    pub fn is_missing_variable(&self) -> bool {
        matches!(self, Self::Unresolved { .. } | Self::StrictMissing { .. })
    }

    pub(super) fn of_expression(expression: &str, error: Error) -> Self {
        let expression = expression.to_owned();
        match error {
            Error::Compile(diagnostic) => Self::Compile { expression, diagnostic },
            Error::Run(diagnostic) => Self::Run { expression, diagnostic },
        }
    }
}
