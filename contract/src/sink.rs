//! Where `wait` delivers a step's results, chosen by the driver through one environment variable.

use std::path::PathBuf;

use thiserror::Error;

/// Destination of a step's results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultSink {
    /// The termination message when they fit, else the Pod's annotations, else the artifact repository.
    Auto,
    /// Annotations of the Pod, by one PATCH.
    Annotations,
    /// The termination message of `wait`: no API call, no token, no rights.
    TerminationMessage,
    /// A WorkflowTaskResult, as argoexec writes it, for Argo's own controller.
    TaskResult,
    /// A JSON file, replaced by rename with every report, so that a reader never sees half of one.
    File(PathBuf),
}

/// Why a sink was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SinkError {
    /// The variable is absent and no API server is known: nobody would read the results.
    #[error(
        "no destination for results: the Pod has no access to the Kubernetes API, so set {variable} to \
         termination-message or file:<absolute path>",
        variable = crate::env::RESULT_SINK
    )]
    Missing,
    /// The sink needs the Kubernetes API, and none is known.
    #[error(
        "{variable} is {0:?}, but the Pod has no access to the Kubernetes API: give it a service account with a token, \
         or use termination-message",
        variable = crate::env::RESULT_SINK
    )]
    NeedsKubernetes(String),
    /// Anything else.
    #[error(
        "{variable} is {0:?}: expected auto, annotations, termination-message, taskresult or file:<absolute path>",
        variable = crate::env::RESULT_SINK
    )]
    Unknown(String),
}

impl ResultSink {
    /// Reads the value of [`RESULT_SINK`](crate::env::RESULT_SINK); none when it is absent.
    ///
    /// # Errors
    /// [`SinkError::Unknown`] when the value names no sink.
    pub fn parse(value: Option<&str>) -> Result<Option<Self>, SinkError> {
        match value {
            None | Some("") => Ok(None),
            Some("auto") => Ok(Some(Self::Auto)),
            Some("annotations") => Ok(Some(Self::Annotations)),
            Some("termination-message") => Ok(Some(Self::TerminationMessage)),
            Some("taskresult") => Ok(Some(Self::TaskResult)),
            Some(value) => match value.strip_prefix("file:") {
                Some(path) if path.starts_with('/') => Ok(Some(Self::File(PathBuf::from(path)))),
                _ => Err(SinkError::Unknown(value.to_owned())),
            },
        }
    }
}

impl std::fmt::Display for ResultSink {
    /// The text that [`ResultSink::parse`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Annotations => f.write_str("annotations"),
            Self::TerminationMessage => f.write_str("termination-message"),
            Self::TaskResult => f.write_str("taskresult"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_survives_its_text() {
        use ResultSink::{Annotations, Auto, File, TaskResult, TerminationMessage};
        for sink in [Auto, Annotations, TerminationMessage, TaskResult, File("/run/result.json".into())] {
            assert_eq!(ResultSink::parse(Some(&sink.to_string())), Ok(Some(sink)));
        }
        assert_eq!(ResultSink::parse(Some("")), Ok(None));
    }

    #[test]
    fn what_is_no_sink_is_refused() {
        for value in ["file:x", "mail"] {
            assert_eq!(
                ResultSink::parse(Some(value)).unwrap_err().to_string(),
                format!(
                    "TIPHYS_RESULT_SINK is {value:?}: expected auto, annotations, termination-message, taskresult or \
                     file:<absolute path>"
                )
            );
        }
    }
}
