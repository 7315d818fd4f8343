//! Kinds of tokens, and which may follow which.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Unknown,
    Prefix,
    Numeric,
    Boolean,
    String,
    Pattern,
    Time,
    Variable,
    Accessor,
    Separator,
    Comparator,
    LogicalOp,
    Modifier,
    Clause,
    ClauseClose,
    Ternary,
}

impl TokenKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Prefix => "PREFIX",
            Self::Numeric => "NUMERIC",
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Pattern => "PATTERN",
            Self::Time => "TIME",
            Self::Variable => "VARIABLE",
            Self::Accessor => "ACCESSOR",
            Self::Separator => "SEPARATOR",
            Self::Comparator => "COMPARATOR",
            Self::LogicalOp => "LOGICALOP",
            Self::Modifier => "MODIFIER",
            Self::Clause => "CLAUSE",
            Self::ClauseClose => "CLAUSE_CLOSE",
            Self::Ternary => "TERNARY",
        }
    }

    /// The kinds that may stand behind this one; and whether an expression may end with it.
    pub fn followers(self) -> (&'static [Self], bool) {
        use TokenKind as K;
        const VALUE: &[K] = &[K::Modifier, K::Comparator, K::LogicalOp, K::ClauseClose, K::Ternary, K::Separator];
        match self {
            K::Unknown => (
                &[
                    K::Prefix,
                    K::Numeric,
                    K::Boolean,
                    K::Variable,
                    K::Pattern,
                    K::Accessor,
                    K::String,
                    K::Time,
                    K::Clause,
                ],
                false,
            ),
            K::Clause => (
                &[
                    K::Prefix,
                    K::Numeric,
                    K::Boolean,
                    K::Variable,
                    K::Pattern,
                    K::Accessor,
                    K::String,
                    K::Time,
                    K::Clause,
                    K::ClauseClose,
                ],
                false,
            ),
            K::ClauseClose => (
                &[
                    K::Comparator,
                    K::Modifier,
                    K::Numeric,
                    K::Boolean,
                    K::Variable,
                    K::String,
                    K::Pattern,
                    K::Time,
                    K::Clause,
                    K::ClauseClose,
                    K::LogicalOp,
                    K::Ternary,
                    K::Separator,
                ],
                true,
            ),
            K::Numeric | K::Boolean | K::String | K::Variable => (VALUE, true),
            K::Time | K::Pattern => (&[K::Modifier, K::Comparator, K::LogicalOp, K::ClauseClose, K::Separator], true),
            K::Accessor => {
                (&[K::Clause, K::Modifier, K::Comparator, K::LogicalOp, K::ClauseClose, K::Ternary, K::Separator], true)
            }
            K::Modifier => (
                &[K::Prefix, K::Numeric, K::Variable, K::Accessor, K::String, K::Boolean, K::Clause, K::ClauseClose],
                false,
            ),
            K::Comparator => (
                &[
                    K::Prefix,
                    K::Numeric,
                    K::Boolean,
                    K::Variable,
                    K::Accessor,
                    K::String,
                    K::Time,
                    K::Clause,
                    K::ClauseClose,
                    K::Pattern,
                ],
                false,
            ),
            K::LogicalOp => (
                &[
                    K::Prefix,
                    K::Numeric,
                    K::Boolean,
                    K::Variable,
                    K::Accessor,
                    K::String,
                    K::Time,
                    K::Clause,
                    K::ClauseClose,
                ],
                false,
            ),
            K::Prefix => (&[K::Numeric, K::Boolean, K::Variable, K::Accessor, K::Clause, K::ClauseClose], false),
            K::Ternary => (
                &[
                    K::Prefix,
                    K::Numeric,
                    K::Boolean,
                    K::String,
                    K::Time,
                    K::Variable,
                    K::Accessor,
                    K::Clause,
                    K::Separator,
                ],
                false,
            ),
            K::Separator => {
                (&[K::Prefix, K::Numeric, K::Boolean, K::String, K::Time, K::Variable, K::Accessor, K::Clause], false)
            }
        }
    }
}
