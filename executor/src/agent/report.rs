//! Delivers results to where the driver reads them.

use tiphys_contract::{ResultSink, TaskResult};

use crate::shared_files::replace;

/// Replaces what was reported before.
///
/// # Errors
/// The text for the user when the results could not be delivered.
pub fn deliver(sink: &ResultSink, result: &TaskResult) -> Result<(), String> {
    match sink {
        ResultSink::File(path) => {
            let body = result.to_json().to_string();
            replace(path, body.as_bytes(), 0o644).map_err(|error| format!("cannot deliver the results: {error}"))
        }
    }
}
