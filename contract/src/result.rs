//! What `wait` sends back: the top-level fields of argoexec's WorkflowTaskResult.

use serde_json::{Map, Value};
use tiphys_api::Outputs;

/// The results of one step, as far as they are known at the time of the report. A later report replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskResult {
    /// Parameters, artifacts, result and exit code. None while the step runs and has only progress to tell.
    pub outputs: Option<Outputs>,
    /// Progress as `N/M`; empty when the step tells none.
    pub progress: String,
}

impl TaskResult {
    /// The body as JSON, in the shape of a WorkflowTaskResult.
    pub fn to_json(&self) -> Value {
        let mut body = Map::new();
        if let Some(outputs) = &self.outputs {
            // A map with text keys and values of the API always serialises.
            body.insert("outputs".to_owned(), serde_json::to_value(outputs).unwrap_or_default());
        }
        if !self.progress.is_empty() {
            body.insert("progress".to_owned(), Value::String(self.progress.clone()));
        }
        Value::Object(body)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When the text is not JSON, or outputs or progress have another type.
    pub fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        let mut body: Map<String, Value> = serde_json::from_slice(text)?;
        Ok(Self {
            outputs: body.remove("outputs").map(serde_json::from_value).transpose()?.flatten(),
            progress: body.remove("progress").map(serde_json::from_value).transpose()?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_survives_its_text() {
        let body = json!({"outputs": {"result": "x", "parameters": [{"name": "p", "value": "1", "newer": true}],
            "artifacts": [{"name": "main-logs", "s3": {"key": "wf/pod/main.log"}}]}, "progress": "1/2"});
        let result = TaskResult::from_json(body.to_string().as_bytes()).unwrap();
        assert_eq!(result.to_json(), body);
        assert_eq!(TaskResult::from_json(b"{}").unwrap(), TaskResult::default());
        assert_eq!(TaskResult::default().to_json(), json!({}));
        assert!(TaskResult::from_json(br#"{"outputs": 1}"#).is_err());
    }
}
