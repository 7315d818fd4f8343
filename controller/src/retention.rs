//! Only so many workflows that are over are kept: `retentionPolicy` of the configuration.
//! argo: workflow/gccontroller/gc_controller.go, runGC.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::json;
use tiphys_api::WorkflowPhase;
use tiphys_archive::{ARCHIVING_STATUS, PENDING};
use tiphys_contract::label;
use tiphys_kubernetes::{Event, Kind, METADATA_ALONE, Metadata, ObjectMeta, watch};

use crate::cluster::Cluster;

/// How many are kept of each phase. One that is not named keeps none, as with Argo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Of those that succeeded.
    pub completed: usize,
    /// Of those that failed.
    pub failed: usize,
    /// Of those in error.
    pub errored: usize,
}

impl Policy {
    fn limit(self, phase: WorkflowPhase) -> Option<usize> {
        match phase {
            WorkflowPhase::Succeeded => Some(self.completed),
            WorkflowPhase::Failed => Some(self.failed),
            WorkflowPhase::Error => Some(self.errored),
            _ => None,
        }
    }
}

/// Keeps to the policy for as long as there is one, and to another one as soon as it is in force. `namespace` is the one that is looked
/// at, all where it is empty; `selector` is that of the controller's instance.
pub async fn keep(cluster: Arc<Cluster>, namespace: String, selector: String) {
    let selector = format!("{selector},{}=true", label::COMPLETED);
    let mut configured = cluster.configured();
    loop {
        let policy = configured.borrow_and_update().retention;
        let changed = async {
            while configured.borrow_and_update().retention == policy {
                if configured.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match policy {
            Some(policy) => tokio::select! {
                () = follow(&cluster, &namespace, &selector, policy) => {}
                () = changed => {}
            },
            None => changed.await,
        }
    }
}

async fn follow(cluster: &Arc<Cluster>, namespace: &str, selector: &str, policy: Policy) {
    let workflows = Kind::Workflow.within(namespace);
    let (mut kept, mut listed) = (Kept::default(), Kept::default());
    watch::<ObjectMeta>(&cluster.api, &workflows, selector, Some(METADATA_ALONE), |event| {
        match event {
            Event::Page(page) => page.into_iter().for_each(|one| listed.add(one.metadata)),
            Event::Listed => kept = std::mem::take(&mut listed),
            Event::Applied(one) => kept.add(one.metadata),
            Event::Deleted(one) => kept.remove(&one.metadata.uid),
        }
        if listed.by_uid.is_empty() {
            for one in kept.surplus(policy) {
                tokio::spawn(delete(cluster.clone(), one));
            }
        }
        true
    })
    .await;
}

/// One of them, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Over {
    created: Timestamp,
    namespace: String,
    name: String,
    uid: String,
}

/// Workflows that are over, by phase.
#[derive(Default)]
struct Kept {
    by_phase: FxHashMap<WorkflowPhase, BTreeSet<Over>>,
    by_uid: FxHashMap<String, (WorkflowPhase, Over)>,
}

impl Kept {
    fn add(&mut self, metadata: Metadata) {
        self.remove(&metadata.uid);
        let phase: WorkflowPhase = serde_json::from_value(metadata.label(label::PHASE).into()).unwrap_or_default();
        if metadata.label(ARCHIVING_STATUS) == PENDING {
            return;
        }
        let created = metadata.creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let Metadata { namespace, name, uid, .. } = metadata;
        let over = Over { created, namespace, name, uid: uid.clone() };
        self.by_phase.entry(phase).or_default().insert(over.clone());
        self.by_uid.insert(uid, (phase, over));
    }

    fn remove(&mut self, uid: &str) {
        if let Some((phase, over)) = self.by_uid.remove(uid)
            && let Some(all) = self.by_phase.get_mut(&phase)
        {
            all.remove(&over);
        }
    }

    /// Takes out those that have to go.
    fn surplus(&mut self, policy: Policy) -> Vec<Over> {
        let mut surplus = Vec::new();
        for (phase, all) in &mut self.by_phase {
            let Some(limit) = policy.limit(*phase) else { continue };
            while all.len() > limit {
                surplus.extend(all.pop_first());
            }
        }
        surplus.iter().for_each(|over| drop(self.by_uid.remove(&over.uid)));
        surplus
    }
}

async fn delete(cluster: Arc<Cluster>, over: Over) {
    let Over { namespace, name, uid, .. } = over;
    let path = Kind::Workflow.within(&namespace).named(&name);
    let options = json!({"propagationPolicy": cluster.config().propagation, "preconditions": {"uid": uid}});
    match cluster.remove(&path, &options).await {
        Ok(()) => tracing::info!(namespace, workflow = name, "deleted by the retention policy"),
        // Another one has the name by now.
        Err(error) if error.is_conflict() => {}
        Err(error) => tracing::error!(namespace, workflow = name, %error, "a workflow cannot be deleted"),
    }
}

#[cfg(test)]
mod tests {
    use tiphys_api::Time;

    use super::*;

    #[test]
    fn the_newest_of_each_phase_stay() {
        let mut kept = Kept::default();
        let add = |kept: &mut Kept, name: &str, phase: &str, created: i64, archiving: &str| {
            let labels = [(label::PHASE, phase), (ARCHIVING_STATUS, archiving)]
                .map(|(key, text)| (key.to_owned(), text.to_owned()));
            kept.add(Metadata {
                name: name.into(),
                uid: name.into(),
                labels: labels.into(),
                creation_timestamp: Some(Time::from_second(created)),
                ..Metadata::default()
            });
        };
        for (name, phase, created, archiving) in [
            ("s3", "Succeeded", 3, ""),
            ("s1", "Succeeded", 1, "Archived"),
            ("s2", "Succeeded", 2, ""),
            ("s0", "Succeeded", 0, "Pending"),
            ("f1", "Failed", 1, ""),
            ("e1", "Error", 1, ""),
        ] {
            add(&mut kept, name, phase, created, archiving);
        }
        let names = |kept: &mut Kept, policy| {
            let mut names: Vec<String> = kept.surplus(policy).into_iter().map(|over| over.name).collect();
            names.sort();
            names
        };
        let policy = Policy { completed: 2, failed: 1, errored: 0 };
        assert_eq!(names(&mut kept, policy), ["e1", "s1"]);
        assert_eq!(names(&mut kept, policy), [""; 0]);
        // Retried by hand, and over again in another way.
        add(&mut kept, "f1", "Succeeded", 1, "");
        assert_eq!(names(&mut kept, policy), ["f1"]);
        kept.remove("s2");
        assert_eq!(names(&mut kept, Policy::default()), ["s3"]);
        assert!(kept.by_uid.is_empty());
    }
}
