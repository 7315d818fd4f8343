//! Pods that are let go of: deleted, or labelled as done with, and in any case without the finalizer that kept them until their
//! end was seen. argo: workflow/controller/pod/queue.go.

use std::time::{Duration, Instant};

use serde_json::json;
use tiphys_contract::label;
use tiphys_kubernetes::{Backoff, Kind, Metadata};

use super::pods::Workplace;
use super::release::Release;

/// Takes values out of an object's finalizers, by a strategic merge patch.
const UNGUARD: &str = "$deleteFromPrimitiveList/finalizers";

/// How many times as long as the last label took the next one waits where Pods are in line to be created.
const REST: u32 = 8;

/// A Pod that is let go of.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub name: String,
    pub uid: String,
    /// Whether it has the finalizer that keeps it until its end was seen.
    pub guarded: bool,
}

impl From<Metadata> for Leaving {
    fn from(metadata: Metadata) -> Leaving {
        Leaving { guarded: is_guarded(&metadata), name: metadata.name, uid: metadata.uid }
    }
}

/// Whether a Pod stays until its end was seen, whoever deletes it.
pub(crate) fn is_guarded(metadata: &Metadata) -> bool {
    metadata.finalizers.iter().any(|one| one == label::STATUS_FINALIZER)
}

impl Workplace {
    /// Deletes a Pod.
    pub async fn delete(self, pod: Leaving, grace: Option<i64>) {
        if pod.guarded {
            self.unguard(&pod).await;
        }
        let Leaving { name, uid, .. } = pod;
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let mut options = json!({"propagationPolicy": "Background"});
        if !uid.is_empty() {
            options["preconditions"] = json!({"uid": uid});
        }
        if let Some(seconds) = grace {
            options["gracePeriodSeconds"] = seconds.into();
        }
        match self.cluster.remove(&path, &options).await {
            // With another uid, another Pod has the name by now.
            Err(error) if !error.is_conflict() => {
                tracing::error!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be deleted");
            }
            _ => {}
        }
    }

    /// Lets go of a Pod.
    pub async fn release(self, release: Release, pod: Leaving) {
        match release {
            Release::Later if pod.guarded => self.unguard(&pod).await,
            Release::Later => {}
            Release::Label => self.label_completed(pod).await,
            Release::Delete(delay) => {
                tokio::time::sleep(delay).await;
                let grace = self.cluster.config().pod_gc_grace;
                self.delete(pod, grace).await;
            }
        }
    }

    /// Takes the finalizer off a Pod of which everything is known, or nothing is wanted, when it is time. argo:
    /// workflow/controller/pod/queue.go, removeFinalizer.
    pub async fn unguard_after(self, wait: Duration, pod: Leaving) {
        tokio::time::sleep(wait).await;
        self.unguard(&pod).await;
    }

    async fn unguard(&self, pod: &Leaving) {
        let path = Kind::Pod.within(&self.namespace).named(&pod.name);
        let patch = json!({"metadata": {"uid": pod.uid, UNGUARD: [label::STATUS_FINALIZER]}});
        match self.cluster.retried(|| self.cluster.api.patch_strategically(&path, &patch)).await {
            // With another uid, another Pod has the name by now.
            Err(error) if !error.is_not_found() && !error.is_conflict() => {
                tracing::error!(namespace = %self.namespace, pod = %pod.name, %error, "a Pod keeps its finalizer");
            }
            _ => {}
        }
    }

    /// Labels a Pod as one from which nothing more is wanted. argo: labelPodCompleted.
    async fn label_completed(self, pod: Leaving) {
        let Leaving { name, guarded, .. } = pod;
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let mut patch = json!({"metadata": {"labels": {label::COMPLETED: "true"}}});
        if guarded {
            patch["metadata"][UNGUARD] = json!([label::STATUS_FINALIZER]);
        }
        let mut backoff = Backoff::default();
        let _turn = self.cluster.labelling.acquire().await;
        let mut begun = Instant::now();
        loop {
            match self.cluster.api.patch_strategically(&path, &patch).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                Err(error) if !error.is_not_found() => {
                    return tracing::error!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be labelled");
                }
                _ => break,
            }
            begun = Instant::now();
        }
        // Nobody waits for a label, and whoever waits for a Pod waits longer for each.
        self.cluster.creating.until_idle(begun.elapsed() * REST).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    /// What is asked of Pods, by verb and body.
    async fn asked(doing: impl AsyncFnOnce(Workplace)) -> Vec<(String, Value)> {
        let server = ApiServer::default().with("/api/v1/namespaces/team/pods/p", json!({}));
        let (place, _inbox) = place(server.cluster(Config::default()));
        doing(place).await;
        server.changes().into_iter().map(|(method, _, body)| (method.to_string(), body)).collect()
    }

    #[tokio::test]
    async fn a_pod_that_is_let_go_of_keeps_no_finalizer() {
        let pod = |finalizers: &[&str]| {
            Leaving::from(Metadata {
                name: "p".into(),
                uid: "1".into(),
                finalizers: finalizers.iter().map(|&one| one.to_owned()).collect(),
                ..Metadata::default()
            })
        };
        let (free, guarded) = (pod(&["other"]), pod(&["other", "workflows.argoproj.io/status"]));
        let off = json!(["workflows.argoproj.io/status"]);
        let unguard = ("PATCH".to_owned(), json!({"metadata": {"uid": "1", UNGUARD: off}}));
        let label = |more: Value| {
            let mut metadata = json!({"labels": {"workflows.argoproj.io/completed": "true"}});
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("PATCH".to_owned(), json!({"metadata": metadata}))
        };
        let delete = json!({"propagationPolicy": "Background", "preconditions": {"uid": "1"}});
        let delete = ("DELETE".to_owned(), delete);
        let now = Release::Delete(Duration::ZERO);
        for (release, pod, expected) in [
            (Release::Label, free.clone(), vec![label(json!({}))]),
            (Release::Label, guarded.clone(), vec![label(json!({UNGUARD: off}))]),
            (Release::Later, free.clone(), vec![]),
            (Release::Later, guarded.clone(), vec![unguard.clone()]),
            (now, free, vec![delete.clone()]),
            (now, guarded, vec![unguard, delete]),
        ] {
            let words = format!("{release:?} {pod:?}");
            assert_eq!(asked(async |place| place.release(release, pod).await).await, expected, "{words}");
        }
    }
}
