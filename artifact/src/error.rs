//! What can go wrong with an artifact, and whether trying again may help.
//!
//! The class of an error is decided where it is raised, by who knows the cause; nobody matches on message text.

use std::io;

/// A boxed cause.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// There is no such object; an optional artifact is then skipped.
    NotFound,
    /// The same request gives the same answer: do not repeat it.
    Permanent,
    /// The other side or the network failed for now: a repeated request may pass.
    Transient,
    /// Bytes arrived that are not the bytes that were stored; a new transfer may be right.
    Corrupt,
}

/// An operation on an artifact that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No object or directory of that name.
    #[error("{what} does not exist")]
    NotFound {
        /// Store and key, or path.
        what: String,
    },
    /// A field, store or operation that Tiphys does not offer, or settings that contradict each other.
    #[error("{0}")]
    Refused(String),
    /// An archive that is not acceptable: broken, or it tries to leave its folder.
    #[error("archive refused: {0}")]
    Archive(String),
    /// A failure that stays when repeated.
    #[error("{doing}: {source}")]
    Permanent {
        /// The operation with its object.
        doing: String,
        /// Why.
        source: Cause,
    },
    /// A failure that may pass.
    #[error("{doing}: {source}")]
    Transient {
        /// The operation with its object.
        doing: String,
        /// Why.
        source: Cause,
    },
    /// A failure that may pass, of a request that was repeated as often and as long as it may be ([`crate::Retry`]). It
    /// tells its class as before.
    #[error("{0}")]
    Exhausted(Box<Error>),
    /// Length or checksum differ from what the store promised.
    #[error("{what} arrived damaged: {why}")]
    Corrupt {
        /// Store and key.
        what: String,
        /// The difference.
        why: String,
    },
    /// The object was replaced while it was loaded: no repeated request helps, a whole new transfer does.
    #[error("{doing}: it was replaced meanwhile ({why})")]
    Changed {
        /// The operation with its object.
        doing: String,
        /// The store's words.
        why: String,
    },
    /// A local file operation failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation with its path.
        doing: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// What a caller may do about it.
    pub fn class(&self) -> Class {
        match self {
            Error::NotFound { .. } => Class::NotFound,
            Error::Transient { .. } => Class::Transient,
            Error::Corrupt { .. } | Error::Changed { .. } => Class::Corrupt,
            Error::Exhausted(last) => last.class(),
            Error::Refused(_) | Error::Archive(_) | Error::Permanent { .. } | Error::Io { .. } => Class::Permanent,
        }
    }

    /// Whether the same operation may succeed when it is repeated, and may be.
    pub fn retry(&self) -> bool {
        matches!(self, Error::Transient { .. } | Error::Corrupt { .. } | Error::Changed { .. })
    }

    /// The same failure, of which nobody further out tries again either.
    pub(crate) fn exhausted(self) -> Self {
        match self.retry() {
            true => Error::Exhausted(Box::new(self)),
            false => self,
        }
    }

    /// Whether the object is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.class() == Class::NotFound
    }

    pub(crate) fn permanent(doing: impl Into<String>, source: impl Into<Cause>) -> Self {
        Error::Permanent { doing: doing.into(), source: source.into() }
    }

    pub(crate) fn transient(doing: impl Into<String>, source: impl Into<Cause>) -> Self {
        Error::Transient { doing: doing.into(), source: source.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Corrupt { what: what.into(), why: why.into() }
    }

    /// A local file operation's failure. An [`Error`] that travelled inside `source` through a `Read` or `Write`
    /// comes out as it was.
    pub(crate) fn io(doing: impl FnOnce() -> String, source: io::Error) -> Self {
        if source.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            let inner = source.into_inner().map(|inner| inner.downcast::<Error>());
            return match inner {
                Some(Ok(error)) => *error,
                Some(Err(other)) => Error::permanent(doing(), other),
                None => Error::permanent(doing(), "unknown cause"),
            };
        }
        Error::Io { doing: doing(), source }
    }

    /// The failure to look at what is to be stored; only here a missing file means a missing artifact.
    pub(crate) fn source(path: &std::path::Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Error::NotFound { what: path.display().to_string() }
            }
            _ => Error::io(|| format!("reading {}", path.display()), source),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_class_through_io() {
        let through = io::Error::from(Error::transient("reading", "reset"));
        assert_eq!(Error::io(|| "unpacking".into(), through).class(), Class::Transient);
        let plain = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Error::io(|| "writing /x".into(), plain).class(), Class::Permanent);
    }
}
