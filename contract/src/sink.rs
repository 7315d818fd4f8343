//! Where `wait` delivers a step's results, chosen by the driver through one environment variable.

use std::path::PathBuf;

use thiserror::Error;

/// Destination of a [`TaskResult`](crate::path).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultSink {
    /// A JSON file, replaced by rename with every report, so that a reader never sees half of one.
    File(PathBuf),
}

/// Why a sink was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SinkError {
    /// The variable is absent: nobody would read the results.
    #[error("no destination for results: set {variable} to file:<absolute path>", variable = crate::env::RESULT_SINK)]
    Missing,
    /// A destination that needs the Kubernetes API, which this executor does not speak.
    #[error(
        "result sink {0:?} needs the Kubernetes API, which this executor does not use: set {variable} to \
         file:<absolute path>",
        variable = crate::env::RESULT_SINK
    )]
    NeedsKubernetes(String),
    /// Anything else.
    #[error(
        "{variable} is {0:?}: expected file:<absolute path>",
        variable = crate::env::RESULT_SINK
    )]
    Unknown(String),
}

impl ResultSink {
    /// Reads the value of [`RESULT_SINK`](crate::env::RESULT_SINK).
    ///
    /// # Errors
    /// [`SinkError`] when the value is absent or names no sink that this executor has.
    pub fn parse(value: Option<&str>) -> Result<Self, SinkError> {
        match value {
            None | Some("") => Err(SinkError::Missing),
            Some(kind @ ("annotations" | "termination-message" | "taskresult" | "auto")) => {
                Err(SinkError::NeedsKubernetes(kind.to_owned()))
            }
            Some(value) => match value.strip_prefix("file:") {
                Some(path) if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
                _ => Err(SinkError::Unknown(value.to_owned())),
            },
        }
    }
}

impl std::fmt::Display for ResultSink {
    /// The text that [`ResultSink::parse`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_sink_survives_its_text() {
        let sink = ResultSink::File("/run/result.json".into());
        assert_eq!(ResultSink::parse(Some(&sink.to_string())), Ok(sink));
    }

    #[test]
    fn what_cannot_be_delivered_is_refused_by_name() {
        for (value, expected) in [
            (None, "no destination for results: set TIPHYS_RESULT_SINK to file:<absolute path>"),
            (
                Some("annotations"),
                "result sink \"annotations\" needs the Kubernetes API, which this executor does not use: set \
                 TIPHYS_RESULT_SINK to file:<absolute path>",
            ),
            (Some("file:x"), "TIPHYS_RESULT_SINK is \"file:x\": expected file:<absolute path>"),
            (Some("mail"), "TIPHYS_RESULT_SINK is \"mail\": expected file:<absolute path>"),
        ] {
            assert_eq!(ResultSink::parse(value).unwrap_err().to_string(), expected);
        }
    }
}
