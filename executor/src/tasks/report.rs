//! Results on their way into the WorkflowTaskSet's status: at most one patch at a time, with all that has come meanwhile.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError, Patch, Resource};

/// A patch holds no more than this many bytes of results, unless a single one is longer.
const LARGEST_PATCH: usize = 1 << 20;

/// Results by node, not yet told. A later one of the same node replaces the earlier.
#[derive(Debug, Default)]
pub struct Pending {
    results: BTreeMap<String, Value>,
}

impl Pending {
    /// Adds a node's result.
    pub fn add(&mut self, node: String, result: Value) {
        self.results.insert(node, result);
    }

    /// As much as goes into one patch; none when there is nothing to tell.
    pub fn take(&mut self) -> Option<BTreeMap<String, Value>> {
        let mut taken = BTreeMap::new();
        let mut size = 0;
        while let Some(entry) = self.results.first_entry() {
            size += entry.get().to_string().len();
            if size > LARGEST_PATCH && !taken.is_empty() {
                break;
            }
            let (node, result) = entry.remove_entry();
            taken.insert(node, result);
        }
        (!taken.is_empty()).then_some(taken)
    }
}

/// Tells results. What the API server will not take is told as an error of its node, so that the workflow does not wait for
/// it for ever.
///
/// # Errors
/// When the WorkflowTaskSet cannot be written at all.
pub async fn tell(cluster: &Cluster, name: &str, results: BTreeMap<String, Value>) -> Result<(), ClusterError> {
    let refused = match patch(cluster, name, &results).await {
        Err(error) if matches!(error.status(), Some(400 | 413 | 422 | 500)) => error,
        told => return told,
    };
    if results.len() == 1 {
        let message =
            format!("HTTP request completed successfully but an error occurred when patching its result: {refused}");
        let error = |(node, _)| (node, json!({"phase": "Error", "message": message, "outputs": null}));
        return patch(cluster, name, &results.into_iter().map(error).collect()).await;
    }
    // One of them is not taken; the others must not suffer from it.
    for (node, result) in results {
        Box::pin(tell(cluster, name, BTreeMap::from([(node, result)]))).await?;
    }
    Ok(())
}

async fn patch(cluster: &Cluster, name: &str, results: &BTreeMap<String, Value>) -> Result<(), ClusterError> {
    let status = Patch::Merge(json!({"status": {"nodes": results}}));
    cluster.objects(&Resource::TASK_SET).status().patch(name, &status, &[]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_gather_up_to_a_size() {
        let mut pending = Pending::default();
        assert!(pending.take().is_none());
        for node in ["a", "b", "c"] {
            pending.add(node.into(), json!("x".repeat(LARGEST_PATCH / 2 - 100)));
        }
        pending.add("a".into(), json!(1));
        let keys = |taken: Option<BTreeMap<String, Value>>| taken.unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(keys(pending.take()), ["a", "b", "c"]);
        pending.add("d".into(), json!("x".repeat(LARGEST_PATCH * 2)));
        pending.add("e".into(), json!(1));
        assert_eq!(keys(pending.take()), ["d"], "a result alone may be larger");
        assert_eq!(keys(pending.take()), ["e"]);
    }
}
