//! Only one controller of several works: the one that holds the Lease. It is client-go's protocol, so that Argo's own
//! controllers understand it (argo: cmd/workflow-controller/main.go; k8s.io/client-go/tools/leaderelection).
//!
//! Who waits is told of changes by a watch and needs a timer only for the moment at which the holder's time is up. Clocks of
//! different machines are not compared: a holder is dead when the Lease has not changed for its duration by our own clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use tiphys_kubernetes::Backoff;
use tiphys_kubernetes::{Api, ApiError, Kind, Metadata, changed};

/// For so long a Lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew it for so long gives up, before others may take it.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// The Lease's name. argo: common.go.
const NAME: &str = "workflow-controller";

/// The Lease, and who we are.
pub struct Lease {
    api: Api,
    namespace: String,
    name: String,
    identity: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<i64>,
}

/// What a Lease says, and since when it has said so.
#[derive(Debug)]
struct Seen {
    spec: Spec,
    since: Instant,
}

impl Seen {
    /// Takes in what was read; the time starts anew when something changed.
    fn update(seen: Option<Seen>, spec: Spec, now: Instant) -> Seen {
        match seen {
            Some(seen) if seen.spec == spec => seen,
            _ => Seen { spec, since: now },
        }
    }

    /// How long the holder still has; None when it is nobody, or us.
    fn left(&self, identity: &str, now: Instant) -> Option<Duration> {
        let holder = self.spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == identity {
            return None;
        }
        let duration = self.spec.lease_duration_seconds.map_or(DURATION, Duration::from_secs);
        (self.since + duration).checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

impl Lease {
    /// The Lease of a controller instance. `identity` tells replicas apart: in a Pod its name.
    pub fn new(api: Api, namespace: &str, instance: &str, identity: String) -> Lease {
        let name = match instance {
            "" => NAME.to_owned(),
            instance => format!("{NAME}-{instance}"),
        };
        Lease { api, namespace: namespace.to_owned(), name, identity }
    }

    /// Waits until the Lease is ours.
    ///
    /// # Errors
    /// The API server refuses, so that waiting is of no use.
    pub async fn acquire(&self) -> Result<(), ApiError> {
        let mut seen: Option<Seen> = None;
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let outcome = self.look(&mut seen).await;
            let (version, left) = match outcome {
                Ok(Look::Ours) => return Ok(()),
                Ok(Look::Others(version, left)) => (version, left),
                // Somebody was faster: look again.
                Err(error) if error.is_conflict() || error.is_already_there() => continue,
                Err(error) if error.is_transient() => {
                    error.wait(&mut backoff).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            backoff.reset();
            let holder = seen.as_ref().and_then(|seen| seen.spec.holder_identity.clone()).unwrap_or_default();
            if holder != told {
                tracing::info!(lease = self.name, holder, "waiting: another controller works");
                told = holder;
            }
            let leases = Kind::Lease.within(&self.namespace);
            changed(&self.api, &leases, &self.name, &version, left).await;
        }
    }

    async fn look(&self, seen: &mut Option<Seen>) -> Result<Look, ApiError> {
        let leases = Kind::Lease.within(&self.namespace);
        let object = match self.api.get::<Object>(&leases.named(&self.name)).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => {
                let object = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.name}, "spec": self.spec(0),
                });
                return self.api.create(leases.path(), &object).await.map(|_| Look::Ours);
            }
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let current = Seen::update(seen.take(), object.spec, now);
        let left = current.left(&self.identity, now);
        let transitions = current.spec.lease_transitions.unwrap_or_default();
        let ours = current.spec.holder_identity.as_deref() == Some(&self.identity);
        *seen = Some(current);
        match left {
            Some(left) => Ok(Look::Others(object.metadata.resource_version, left)),
            None => {
                let spec = self.spec(transitions + i64::from(!ours));
                self.write(&object.metadata.resource_version, spec).await.map(|_| Look::Ours)
            }
        }
    }

    /// Renews the Lease for as long as that goes well; ends when it is lost, with the reason.
    pub async fn keep(&self) -> String {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.renew().await {
                Ok(()) => renewed = Instant::now(),
                Err(error) if error.is_conflict() => return format!("the Lease {} was taken: {error}", self.name),
                Err(error) if renewed.elapsed() + RENEW_EVERY > RENEW_WITHIN => {
                    return format!("the Lease {} could not be renewed: {error}", self.name);
                }
                Err(error) => tracing::warn!(lease = self.name, %error, "not renewed yet"),
            }
        }
    }

    async fn renew(&self) -> Result<(), ApiError> {
        let object: Object = self.api.get(&Kind::Lease.within(&self.namespace).named(&self.name)).await?;
        if object.spec.holder_identity.as_deref() != Some(&self.identity) {
            let holder = object.spec.holder_identity.unwrap_or_default();
            let message = format!("{holder} holds it");
            return Err(ApiError::Refused { code: 409, reason: "Conflict".into(), message, retry_after: None });
        }
        let spec = json!({"renewTime": now()});
        self.write(&object.metadata.resource_version, spec).await
    }

    /// Gives the Lease back, so that nobody has to wait for its end.
    pub async fn release(&self) {
        let path = Kind::Lease.within(&self.namespace).named(&self.name);
        let Ok(object) = self.api.get::<Object>(&path).await else { return };
        if object.spec.holder_identity.as_deref() == Some(&self.identity) {
            let spec = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now()});
            if let Err(error) = self.write(&object.metadata.resource_version, spec).await {
                tracing::debug!(lease = self.name, %error, "not given back");
            }
        }
    }

    async fn write(&self, version: &str, spec: Value) -> Result<(), ApiError> {
        let path = Kind::Lease.within(&self.namespace).named(&self.name);
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        self.api.patch(&path, &patch).await.map(|_| ())
    }

    fn spec(&self, transitions: i64) -> Value {
        let now = now();
        json!({
            "holderIdentity": self.identity, "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": now, "renewTime": now, "leaseTransitions": transitions,
        })
    }
}

enum Look {
    /// It is ours.
    Ours,
    /// Somebody has it: the version that was read, and how long it holds if nothing changes.
    Others(String, Duration),
}

/// The time as `v1` MicroTime.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_dead_when_nothing_changed_for_its_time() {
        let spec = |renewed: &str| Spec {
            holder_identity: Some("other".into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(renewed.into()),
            ..Spec::default()
        };
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let seen = Seen::update(None, spec("1"), start);
        assert_eq!(seen.left("me", after(5)), Some(Duration::from_secs(10)));
        // It is renewed: its time starts anew, whatever its clock says.
        let seen = Seen::update(Some(seen), spec("2"), after(10));
        assert_eq!(seen.left("me", after(20)), Some(Duration::from_secs(5)));
        let seen = Seen::update(Some(seen), spec("2"), after(20));
        assert_eq!(seen.left("me", after(25)), None);
        assert_eq!(seen.left("other", after(20)), None);
        assert_eq!(Seen::update(None, Spec::default(), start).left("me", start), None);
    }

    #[test]
    fn times_are_micro_times() {
        let text = now();
        assert!(text.len() == "2026-01-01T00:00:00.000000Z".len() && text.ends_with('Z'), "{text}");
    }
}
