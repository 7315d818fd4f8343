//! Workflows that are over and still in the cluster: their artifacts may have to be deleted, they count in the gauges, and
//! durations are estimated by them. Of each, its uid and phase are kept, some 50 bytes, and of those that are estimated by
//! the name.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tiphys_contract::label;
use tiphys_kubernetes::{Event, Kind, METADATA_ALONE, ObjectMeta, watch};

use crate::baselines::There;
use crate::cluster::Cluster;
use crate::metrics::Held;
use crate::workflow::Collector;

/// What is kept of one, for as long as it is there.
type Ended = ([Held; 2], Option<There>);

/// Follows them for as long as the controller works.
pub async fn follow(cluster: Arc<Cluster>, namespace: String, instance: String) {
    let selector = format!("{instance},{}=true", label::COMPLETED);
    let workflows = Kind::Workflow.within(&namespace);
    let collector = Arc::new(Collector::default());
    let mut ended: FxHashMap<u128, Ended> = FxHashMap::default();
    let mut listed: Option<FxHashMap<u128, Ended>> = None;
    let look = |one: &ObjectMeta| {
        collector.look(&cluster, &one.metadata);
        let metrics = &cluster.metrics;
        let counted = [metrics.workflow(one.metadata.label(label::PHASE)), metrics.condition("Completed", "True")];
        (counted, cluster.baselines.see(&one.metadata))
    };
    watch::<ObjectMeta>(&cluster.api, &workflows, &selector, Some(METADATA_ALONE), |event| {
        match event {
            Event::Page(page) => {
                listed.get_or_insert_default().extend(page.iter().map(|one| (number(&one.metadata.uid), look(one))));
            }
            // What is not in the list has gone.
            Event::Listed => {
                ended = listed.take().unwrap_or_default();
                cluster.baselines.all_seen();
            }
            Event::Applied(one) => drop(ended.insert(number(&one.metadata.uid), look(&one))),
            Event::Deleted(one) => {
                ended.remove(&number(&one.metadata.uid));
                cluster.metrics.custom.forget(&one.metadata.uid);
            }
        }
        true
    })
    .await;
}

/// A uid, which is 32 digits and hyphens (RFC 9562, section 4), as a number.
fn number(uid: &str) -> u128 {
    uid.chars().filter_map(|digit| digit.to_digit(16)).fold(0, |number, digit| number << 4 | u128::from(digit))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_uid_is_a_number() {
        assert_eq!(super::number("00000000-0000-0000-0000-0000000000ff"), 255);
        assert_ne!(
            super::number("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            super::number("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
        );
    }
}
