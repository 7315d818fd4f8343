//! The workflow is over: what still differs is told.

use std::time::Duration;

use super::divergence::{Divergence, Kind};
use super::{Instant, Shadow, nodes};

/// How long after a workflow's end what belongs to it may still be told: the watches bring the last of its Pods and results
/// when they do.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Shadow {
    /// Whether the workflow is over, and for our engine too, as far as that can be waited for.
    pub(super) fn has_settled(&self) -> bool {
        let Some((_, end)) = &self.over else { return false };
        let quiet = self.run.is_finished() && self.comparing.is_empty() && !self.reading;
        quiet || *end <= Instant::now()
    }

    /// Tells what is different in the end, and in one line what came of the workflow.
    pub(super) fn tell_end(&mut self) {
        let Some((theirs, _)) = self.over.take() else { return };
        for (_, node, pod) in self.pods.missing() {
            self.tell(&Divergence {
                kind: Kind::PodMissing,
                node,
                at: String::new(),
                difference: format!("the Pod {pod} would have been made"),
            });
        }
        let unexpected = self.pods.theirs().filter(|(node, _, _)| self.run.node(node.as_str()).is_none());
        let unexpected = unexpected.map(|(node, pod, _)| Divergence {
            kind: Kind::PodUnexpected,
            node: theirs.status.nodes.get(node.as_str()).map_or_else(|| node.to_string(), |node| node.name.clone()),
            at: String::new(),
            difference: format!("the Pod {pod} would not have been made"),
        });
        let mut unexpected: Vec<Divergence> = unexpected.collect();
        unexpected.sort_by(|one, other| one.node.cmp(&other.node));
        let found = nodes::compare(&theirs, self.run.workflow(), &self.report);
        unexpected.iter().chain(&found).for_each(|one| self.tell(one));
        let (namespace, workflow) = (&self.place.namespace, &self.place.workflow);
        let (pods, gone, count) = (self.pods.compared, self.pods.gone, self.report.count);
        self.place.cluster.metrics.shadowed(count == 0);
        if count == 0 {
            tracing::info!(%namespace, %workflow, pods, gone, "workflow {namespace}/{workflow}: equal");
            return;
        }
        let mut list = self.report.lines.join("; ");
        if self.report.is_full() {
            list.push_str("; …");
        }
        tracing::warn!(
            %namespace, %workflow, pods, gone, divergences = count,
            "workflow {namespace}/{workflow}: {count} divergences: {list}"
        );
    }

    pub(super) fn tell_gone(&self) {
        let (namespace, workflow, count) = (&self.place.namespace, &self.place.workflow, self.report.count);
        tracing::warn!(
            %namespace, %workflow, divergences = count,
            "workflow {namespace}/{workflow}: gone before its end was seen, {count} divergences until then"
        );
    }
}
