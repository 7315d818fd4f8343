//! By which workflow durations are estimated: the newest one that succeeded and came from the same template or schedule, of those
//! that the cluster still has, else of those that are archived. argo: workflow/controller/estimation/estimator_factory.go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tiphys_api::Workflow;
use tiphys_archive::{Filter, Operator, Requirement};
use tiphys_contract::label;
use tiphys_engine::{Baseline, ORIGINS};
use tiphys_kubernetes::{ApiError, Kind, METADATA_ALONE, Metadata, ObjectMeta, Pages};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::persistence::PersistenceError;
use crate::workflow::{NodesError, make_whole};

/// Phase of workflows that others are estimated by.
const SUCCEEDED: &str = "Succeeded";

/// Why nothing is estimated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaselineError {
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Its nodes are elsewhere.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] PersistenceError),
}

/// Namespace, label and its value.
type Origin = (String, &'static str, String);
/// When it was made, and its name.
type Made = (Option<Timestamp>, String);

/// The workflows that succeeded and are still there, by where they came from. Each takes some 100 bytes.
#[derive(Clone)]
pub struct Baselines {
    /// How often each was told: when all are listed anew, they are told before those of the list before are let go of.
    there: Arc<Mutex<FxHashMap<Origin, BTreeMap<Made, u32>>>>,
    listed: watch::Sender<bool>,
}

impl Default for Baselines {
    fn default() -> Self {
        Baselines { there: Arc::default(), listed: watch::Sender::new(false) }
    }
}

/// One that is there, until it is dropped.
pub struct There {
    baselines: Baselines,
    made: Made,
    origins: Vec<Origin>,
}

impl Drop for There {
    fn drop(&mut self) {
        let mut there = self.baselines.there.lock().unwrap_or_else(PoisonError::into_inner);
        for origin in &self.origins {
            let Some(of_origin) = there.get_mut(origin) else { continue };
            if let Some(times) = of_origin.get_mut(&self.made) {
                *times -= 1;
                if *times == 0 {
                    of_origin.remove(&self.made);
                }
            }
            if of_origin.is_empty() {
                there.remove(origin);
            }
        }
    }
}

impl Baselines {
    /// A workflow that is over was seen; None where nothing is estimated by it.
    pub fn see(&self, metadata: &Metadata) -> Option<There> {
        if metadata.label(label::PHASE) != SUCCEEDED {
            return None;
        }
        let of = |label: &'static str| {
            let value = metadata.labels.get(label)?;
            Some((metadata.namespace.clone(), label, value.clone()))
        };
        let origins: Vec<Origin> = ORIGINS.into_iter().filter_map(of).collect();
        if origins.is_empty() {
            return None;
        }
        let made = (metadata.creation_timestamp.map(|time| time.0), metadata.name.clone());
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        for origin in &origins {
            *there.entry(origin.clone()).or_default().entry(made.clone()).or_default() += 1;
        }
        Some(There { baselines: self.clone(), made, origins })
    }

    /// All that are there have been seen.
    pub fn all_seen(&self) {
        self.listed.send_replace(true);
    }

    /// The name of the newest, as soon as all have been seen.
    async fn newest(&self, namespace: &str, origin: (&'static str, &str)) -> Option<String> {
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let of_origin = there.get(&(namespace.to_owned(), origin.0, origin.1.to_owned()))?;
        of_origin.last_key_value().map(|((_, name), _)| name.clone())
    }
}

/// What the durations of a workflow of this origin are estimated by; None where nothing is there to go by.
///
/// # Errors
/// See [`BaselineError`].
pub(crate) async fn find(
    cluster: &Cluster,
    namespace: &str,
    origin: (&'static str, &str),
) -> Result<Option<Baseline>, BaselineError> {
    let newest = match cluster.is_first {
        true => cluster.baselines.newest(namespace, origin).await,
        // Only the first shard's holder follows those that are over.
        false => newest_of_list(cluster, namespace, origin).await?,
    };
    if let Some(name) = newest {
        let path = Kind::Workflow.within(namespace).named(&name);
        match cluster.other.send(cluster.api.get::<Workflow>(&path)).await {
            Ok(mut workflow) => {
                make_whole(cluster, &mut workflow, "").await?;
                return Ok(Some(Baseline::of(&workflow)));
            }
            // It has gone since.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    match cluster.config().persistence.as_ref().is_some_and(|persistence| persistence.archive) {
        true => of_archive(cluster, namespace, origin).await,
        false => Ok(None),
    }
}

async fn newest_of_list(
    cluster: &Cluster,
    namespace: &str,
    (label, value): (&str, &str),
) -> Result<Option<String>, ApiError> {
    let selector = format!("{}={SUCCEEDED},{label}={value}", label::PHASE);
    let workflows = Kind::Workflow.within(namespace);
    // Of any moment: that is what the server has in memory, and an older one will do.
    let query = [("labelSelector", selector.as_str()), ("resourceVersion", "0")];
    let mut pages = Pages::new(&cluster.api, &workflows, &query).read_as(METADATA_ALONE.1);
    let mut newest: Option<Made> = None;
    loop {
        let _turn = cluster.other.acquire().await;
        let Some(page) = pages.next::<ObjectMeta>().await? else { break };
        let made =
            page.items.into_iter().map(|one| (one.metadata.creation_timestamp.map(|time| time.0), one.metadata.name));
        newest = made.chain(newest).max();
    }
    Ok(newest.map(|(_, name)| name))
}

async fn of_archive(
    cluster: &Cluster,
    namespace: &str,
    (label, value): (&str, &str),
) -> Result<Option<Baseline>, BaselineError> {
    let wanted = Requirement { key: label.to_owned(), operator: Operator::In, values: vec![value.to_owned()] };
    let filter = Filter {
        namespace: namespace.to_owned(),
        phase: SUCCEEDED.to_owned(),
        labels: vec![wanted],
        limit: 1,
        ..Filter::default()
    };
    let found = async {
        let archive = cluster.database.archive(cluster).await?;
        let Some(newest) = archive.list(&filter).await?.into_iter().next() else { return Ok(None) };
        Ok(archive.by_uid(&newest.metadata.uid).await?)
    };
    let found: Result<Option<Workflow>, PersistenceError> = found.await;
    cluster.database.note(&found).await;
    Ok(found?.as_ref().map(Baseline::of))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::simulated_api::{SimulatedApi, cluster};

    fn workflow(name: &str, created: &str, labels: &[(&str, &str)]) -> Metadata {
        let labels = labels.iter().map(|(key, value)| (format!("workflows.argoproj.io/{key}"), (*value).to_owned()));
        Metadata {
            name: name.into(),
            namespace: "n".into(),
            creation_timestamp: Some(tiphys_api::Time(created.parse().unwrap())),
            labels: labels.collect(),
            ..Metadata::default()
        }
    }

    #[tokio::test]
    async fn the_newest_of_a_list() {
        let server = SimulatedApi::default();
        let cluster = cluster(server.line().1, Config::default());
        let origin = (ORIGINS[0], "t");
        assert_eq!(newest_of_list(&cluster, "n", origin).await.unwrap(), None);
        for (name, phase, of, created) in [
            ("a", SUCCEEDED, "t", "2024-01-01T00:00:00Z"),
            ("b", SUCCEEDED, "t", "2024-01-03T00:00:00Z"),
            ("c", SUCCEEDED, "t", "2024-01-02T00:00:00Z"),
            ("d", "Failed", "t", "2024-01-04T00:00:00Z"),
            ("e", SUCCEEDED, "other", "2024-01-04T00:00:00Z"),
        ] {
            let workflows = Kind::Workflow.within("n");
            let labels = json!({label::PHASE: phase, ORIGINS[0]: of});
            server.create(workflows.path(), json!({"metadata": {"name": name, "labels": labels}}));
            server.patch(&workflows.named(name), json!({"metadata": {"creationTimestamp": created}}));
        }
        assert_eq!(newest_of_list(&cluster, "n", origin).await.unwrap().as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn the_newest_that_is_there_and_succeeded() {
        let baselines = Baselines::default();
        let of = |phase: &'static str| [("workflow-template", "t"), ("cron-workflow", "c"), ("phase", phase)];
        let see = |name, created, phase| baselines.see(&workflow(name, created, &of(phase)));
        let first = see("a", "2024-01-01T00:00:00Z", "Succeeded");
        let second = see("b", "2024-01-02T00:00:00Z", "Succeeded");
        let _failed = see("c", "2024-01-03T00:00:00Z", "Failed");
        assert!(baselines.see(&workflow("d", "2024-01-04T00:00:00Z", &[("phase", "Succeeded")])).is_none());
        baselines.all_seen();
        let newest = async || {
            let [template, cron] = [("workflow-template", "t"), ("cron-workflow", "c")].map(|(key, value)| {
                let label = ORIGINS.into_iter().find(|label| label.ends_with(&format!("/{key}"))).unwrap();
                (label, value)
            });
            assert_eq!(baselines.newest("n", template).await, baselines.newest("n", cron).await);
            assert_eq!(baselines.newest("other", template).await, None);
            baselines.newest("n", template).await
        };
        assert_eq!(newest().await.as_deref(), Some("b"));
        // All are listed anew: told again before they are let go of.
        let again = see("b", "2024-01-02T00:00:00Z", "Succeeded");
        drop(second);
        assert_eq!(newest().await.as_deref(), Some("b"));
        drop(again);
        assert_eq!(newest().await.as_deref(), Some("a"));
        drop(first);
        assert_eq!(newest().await, None);
        assert!(baselines.there.lock().unwrap().is_empty());
    }
}
