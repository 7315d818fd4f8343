//! Logs of containers whose Pods are gone: what was archived in the artifact repository.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use tiphys_api::{Artifact, NodeStatus, Workflow};
use tiphys_artifact::Error;
use tiphys_contract::{container, key};
use tiphys_local::LogLine;

use super::Cluster;
use super::container_log::{Lines, Source, Wanted};
use super::location::{key_of, located};
use super::secrets::Fetched;
use crate::failure::Failure;

/// The archived log of a container.
#[derive(Debug, PartialEq)]
pub(super) struct Kept {
    source: Source,
    artifact: Artifact,
}

impl Kept {
    /// The archived logs of a node; `wanted` is a container, the user's by default.
    pub fn of(workflow: &Workflow, node: &NodeStatus, wanted: Option<&str>) -> Vec<Kept> {
        let artifacts = node.outputs.iter().flat_map(|outputs| &outputs.artifacts);
        let named = artifacts.filter_map(|artifact| Some((artifact, artifact.name.strip_suffix("-logs")?)));
        let logs = named.filter(|(artifact, name)| {
            // A user's artifact may have such a name, too.
            let is_log =
                key::log_artifact_name(name) == artifact.name && key_of(artifact).ends_with(&key::log_file_name(name));
            is_log && wanted.map_or(container::is_user(name), |wanted| wanted == *name)
        });
        let kept = logs.map(|(artifact, name)| Kept {
            source: Source { pod: node.id.clone(), container: name.to_owned(), node: node.display_name.clone() },
            artifact: located(workflow, artifact),
        });
        kept.collect()
    }
}

impl Cluster {
    /// Gives the lines of an archived log, as far as they are wanted, until `print` answers that nobody reads them.
    pub(super) async fn read_kept(
        &self,
        kept: &Kept,
        wanted: &Wanted,
        mut print: impl FnMut(&LogLine) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let because = |why: &str| {
            let Source { container, node, .. } = &kept.source;
            Failure::failed(Some(format!("the archived log of {container} of {node}: {why}")))
        };
        let failed = |error: Error| because(&error.to_string());
        let place = self.place(&self.namespace, &kept.artifact, &mut Fetched::default()).await;
        let place = place.map_err(|failure| because(failure.message().unwrap_or_default()))?;
        let mut stream = place.store.open(&place.key).await.map_err(failed)?.stream;
        let mut lines = Lines::default();
        // With a limit, the last lines that were seen.
        let limit: Option<usize> = wanted.tail.as_ref().and_then(|tail| tail.parse().ok());
        let mut last: VecDeque<LogLine> = VecDeque::new();
        loop {
            let (texts, over) = match stream.next().await {
                Some(piece) => (lines.take(&piece.map_err(failed)?), false),
                None => (lines.rest().into_iter().collect(), true),
            };
            for line in texts.into_iter().filter_map(|text| wanted.line(&kept.source, text)) {
                match limit {
                    None if !print(&line)? => return Ok(false),
                    None => {}
                    Some(limit) => {
                        last.push_back(line);
                        last.drain(..last.len().saturating_sub(limit));
                    }
                }
            }
            if over {
                break;
            }
        }
        for line in &last {
            if !print(line)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_archived_log_is_found_in_its_repository() {
        let workflow: Workflow = serde_json::from_value(json!({"status": {
            "artifactRepositoryRef": {"artifactRepository": {"archiveLogs": true, "s3": {
                "bucket": "b", "endpoint": "e:9000", "keyFormat": "x", "accessKeySecret": {"name": "n", "key": "k"}}}},
            "nodes": {"w": {"id": "w", "displayName": "step", "outputs": {"artifacts": [
                {"name": "main-logs", "s3": {"key": "w/w/main.log"}},
                {"name": "wait-logs", "s3": {"key": "w/w/wait.log"}},
                {"name": "my-logs", "s3": {"key": "mine.tgz"}},
                {"name": "other", "s3": {"key": "other"}}]}}},
        }}))
        .unwrap();
        let node = workflow.status.nodes.get("w").unwrap();
        let kept = Kept::of(&workflow, node, None);
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].source.container.as_str(), kept[0].source.node.as_str()), ("main", "step"));
        let expected = json!({"name": "main-logs", "s3": {"key": "w/w/main.log", "bucket": "b", "endpoint": "e:9000",
            "accessKeySecret": {"name": "n", "key": "k"}}});
        assert_eq!(serde_json::to_value(&kept[0].artifact).unwrap(), expected);
        assert_eq!(Kept::of(&workflow, node, Some("wait"))[0].source.container, "wait");
        assert_eq!(Kept::of(&workflow, node, Some("other")), []);
    }
}
