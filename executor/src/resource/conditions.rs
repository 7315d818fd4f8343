//! Waits until an object meets its conditions (argo: workflow/executor/resource.go, WaitResource).
//!
//! Changes are watched. Where the service account may read the object but not watch it, which is all that argoexec needs,
//! it is read again and again instead, as argoexec does.

use std::time::Duration;

use serde_json::Value;

use super::act::Acted;
use super::selector::Selector;
use crate::cluster::{Cluster, ClusterError, Event, ListOptions, Objects};

/// What an object must become, and what it must not.
#[derive(Debug, Clone)]
pub struct Conditions {
    success: Selector,
    failure: Selector,
}

enum Verdict {
    Met,
    Pending,
}

impl Conditions {
    /// Reads the conditions; none when both are empty.
    ///
    /// # Errors
    /// The text for the user, with apimachinery's reason.
    pub fn parse(success: &str, failure: &str) -> Result<Option<Self>, String> {
        if success.is_empty() && failure.is_empty() {
            return Ok(None);
        }
        let read = |which: &str, text: &str| {
            Selector::parse(text).map_err(|reason| format!("{which} condition '{text}' failed to parse: {reason}"))
        };
        Ok(Some(Self { success: read("success", success)?, failure: read("fail", failure)? }))
    }

    fn verdict(&self, object: &Value) -> Result<Verdict, String> {
        if let Some(failed) = self.failure.requirements.iter().find(|one| one.is_met_by(object)) {
            return Err(format!("failure condition '{}' evaluated true", failed.shown()));
        }
        match self.success.requirements.iter().all(|one| one.is_met_by(object)) {
            true => Ok(Verdict::Met),
            false => Ok(Verdict::Pending),
        }
    }

    /// Waits until the object meets the conditions, and returns it as it was then. `interval` is the pause between two
    /// looks where changes cannot be watched.
    ///
    /// # Errors
    /// The text for the user: it failed, or it is gone.
    pub async fn wait(&self, cluster: &Cluster, acted: &Acted, interval: Duration) -> Result<Value, String> {
        if let Verdict::Met = self.verdict(&acted.object)? {
            return Ok(acted.object.clone());
        }
        let objects = cluster.objects(&acted.resource).in_namespace(&acted.namespace);
        let mut watch = objects.clone().watch(ListOptions::named(&acted.name));
        loop {
            let object = match watch.next().await {
                Ok(Event::Listed(items)) => items.into_iter().next().ok_or_else(|| deleted(acted))?,
                Ok(Event::Added(object) | Event::Modified(object)) => object,
                Ok(Event::Deleted(_)) => return Err(deleted(acted)),
                Err(error) if matches!(error.status(), Some(403 | 405)) => {
                    tracing::warn!("{error}; it is read every {interval:?} instead");
                    return self.read_again(objects, acted, interval).await;
                }
                Err(error) => return Err(error.to_string()),
            };
            if let Verdict::Met = self.verdict(&object)? {
                return Ok(object);
            }
        }
    }

    async fn read_again(&self, objects: Objects<'_>, acted: &Acted, interval: Duration) -> Result<Value, String> {
        loop {
            let object = objects.get(&acted.name).await.map_err(|error: ClusterError| match error.is_not_found() {
                true => deleted(acted),
                false => error.to_string(),
            })?;
            if let Verdict::Met = self.verdict(&object)? {
                return Ok(object);
            }
            tokio::time::sleep(interval).await;
        }
    }
}

fn deleted(acted: &Acted) -> String {
    format!(
        "The resource has been deleted while its status was still being checked. Will not be retried: {} {:?} not found",
        acted.resource.shown(),
        acted.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failure_comes_first() {
        let conditions = Conditions::parse("status.ready > 0", "status.phase in (Failed,Error)").unwrap().unwrap();
        let verdict = |object| conditions.verdict(&object).map(|verdict| matches!(verdict, Verdict::Met));
        assert_eq!(verdict(json!({"status": {"ready": 1}})), Ok(true));
        assert_eq!(verdict(json!({"status": {"ready": 0}})), Ok(false));
        let message = "failure condition '{status.phase in [Error Failed]}' evaluated true".to_owned();
        assert_eq!(verdict(json!({"status": {"ready": 1, "phase": "Failed"}})), Err(message));
        assert!(Conditions::parse("", "").unwrap().is_none());
        let error = Conditions::parse("", "a b").unwrap_err();
        assert_eq!(
            error,
            "fail condition 'a b' failed to parse: unable to parse requirement: found 'b', expected: in, notin, =, ==, \
             !=, gt, lt"
        );
    }
}
