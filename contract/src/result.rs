//! What `wait` sends back: the top-level fields of argoexec's WorkflowTaskResult, and what our own controller reads besides.

use serde_json::{Map, Value};
use tiphys_api::Outputs;

use crate::ended::Ended;
use crate::offload::Offloaded;

/// The results of one step, as far as they are known at the time of the report. A later report replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskResult {
    /// Parameters, artifacts, result and exit code. None while the step runs and has only progress to tell.
    pub outputs: Option<Outputs>,
    /// Progress as `N/M`; empty when the step tells none.
    pub progress: String,
    /// What the user should know though nothing failed, for the node's message.
    pub warnings: Vec<String>,
    /// How the user's containers ended that did not succeed.
    pub ends: Vec<Ended>,
    /// Where the outputs are when they were too large for the sink; then there are none in here.
    pub offloaded: Option<Offloaded>,
}

impl TaskResult {
    /// Whether there is nothing to tell, so that no report is needed.
    pub fn is_empty(&self) -> bool {
        let Self { outputs, progress, warnings, ends, offloaded } = self;
        outputs.as_ref().is_none_or(|outputs| *outputs == Outputs::default())
            && progress.is_empty()
            && warnings.is_empty()
            && ends.is_empty()
            && offloaded.is_none()
    }

    /// The body as JSON, in the shape of a WorkflowTaskResult.
    pub fn to_json(&self) -> Value {
        let mut body = self.beside_outputs();
        if let Some(outputs) = &self.outputs {
            body.insert("outputs".to_owned(), json(outputs));
        }
        if !self.progress.is_empty() {
            body.insert("progress".to_owned(), Value::String(self.progress.clone()));
        }
        Value::Object(body)
    }

    /// The fields that a WorkflowTaskResult does not have.
    pub(crate) fn beside_outputs(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if !self.warnings.is_empty() {
            body.insert("warnings".to_owned(), json(&self.warnings));
        }
        if !self.ends.is_empty() {
            body.insert("containers".to_owned(), json(&self.ends));
        }
        if let Some(offloaded) = &self.offloaded {
            body.insert("offloaded".to_owned(), json(offloaded));
        }
        body
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When the text is not JSON, or a field has another type.
    pub fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        let mut body: Map<String, Value> = serde_json::from_slice(text)?;
        Ok(Self {
            outputs: body.remove("outputs").map(serde_json::from_value).transpose()?.flatten(),
            progress: body.remove("progress").map(serde_json::from_value).transpose()?.unwrap_or_default(),
            warnings: body.remove("warnings").map(serde_json::from_value).transpose()?.unwrap_or_default(),
            ends: body.remove("containers").map(serde_json::from_value).transpose()?.unwrap_or_default(),
            offloaded: body.remove("offloaded").map(serde_json::from_value).transpose()?.flatten(),
        })
    }
}

fn json(value: &impl serde::Serialize) -> Value {
    // A map with text keys and values of the API always serialises.
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_survives_its_text() {
        let body = json!({"outputs": {"result": "x", "parameters": [{"name": "p", "value": "1", "newer": true}],
            "artifacts": [{"name": "main-logs", "s3": {"key": "wf/pod/main.log"}}]}, "progress": "1/2",
            "warnings": ["w"], "containers": [{"name": "main", "exitCode": 137, "cause": "OutOfMemory"}],
            "offloaded": {"artifact": {"name": "outputs", "s3": {"key": "k"}}, "sha256": "00", "bytes": 1}});
        let result = TaskResult::from_json(body.to_string().as_bytes()).unwrap();
        assert_eq!(result.to_json(), body);
        assert!(!result.is_empty());
        assert_eq!(TaskResult::from_json(b"{}").unwrap(), TaskResult::default());
        assert_eq!(TaskResult::default().to_json(), json!({}));
        assert!(TaskResult { outputs: Some(Outputs::default()), ..TaskResult::default() }.is_empty());
        assert!(TaskResult::from_json(br#"{"outputs": 1}"#).is_err());
    }
}
