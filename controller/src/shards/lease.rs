//! A Lease: one of several replicas has it, and may do what it stands for. It is client-go's protocol, so that Argo's own
//! controllers understand it (argo: cmd/workflow-controller/main.go; k8s.io/client-go/tools/leaderelection).
//!
//! Who waits is told of changes by a watch and needs a timer only for the moment at which the holder's time is up. Clocks of
//! different machines are not compared: a holder is dead when the Lease has not changed for its duration by our own clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tiphys_contract::label;
use tiphys_kubernetes::{Api, ApiError, Backoff, Collection, Kind, List, Metadata, changed};
use tokio::time::Instant;

use super::names::{Names, Role};
use super::terms::Terms;

/// For so long a Lease holds that does not say so.
const DURATION: Duration = Duration::from_secs(15);

/// A Lease, and who we are.
#[derive(Clone)]
pub(super) struct Lease {
    pub api: Api,
    pub leases: Collection,
    pub names: Names,
    pub name: String,
    pub identity: String,
    pub terms: Terms,
    /// All Leases as they were seen by whoever follows them.
    pub known: Known,
}

/// Leases by name.
pub(super) type Known = Arc<Mutex<FxHashMap<String, Seen>>>;

/// A Lease that is ours: the version we wrote, and when we set out to write it.
#[derive(Debug)]
pub(super) struct Held {
    version: String,
    pub since: Instant,
}

/// A Lease as the server has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    pub metadata: Metadata,
    pub spec: Spec,
}

/// Its spec.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<i64>,
}

impl Object {
    /// Who holds it, or held it last; empty where it was given back.
    pub fn holder(&self) -> &str {
        self.spec.holder_identity.as_deref().unwrap_or_default()
    }

    /// Into how many shards its holder divides the workflows. Controllers that know of none leave the label out.
    pub fn shards(&self) -> u32 {
        self.metadata.label(label::SHARDS).parse().unwrap_or(1)
    }
}

/// A Lease as it was last seen, and since when it has been so.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub object: Object,
    since: Instant,
}

impl Seen {
    /// Takes in what was read; the time starts anew when something changed.
    pub fn update(seen: Option<Seen>, object: Object, now: Instant) -> Seen {
        match seen {
            Some(seen) if seen.object.spec == object.spec => Seen { object, since: seen.since },
            _ => Seen { object, since: now },
        }
    }

    /// How long the holder still has; None when it is nobody.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        if self.object.holder().is_empty() {
            return None;
        }
        let duration = self.object.spec.lease_duration_seconds.map_or(DURATION, Duration::from_secs);
        (self.since + duration).checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// Somebody who divides the workflows into another number of shards, and may be at work on any of them.
#[derive(Debug)]
pub(super) struct Rival {
    pub lease: String,
    pub holder: String,
    pub shards: u32,
    version: String,
    left: Duration,
}

impl Lease {
    /// Waits until the Lease is ours.
    ///
    /// # Errors
    /// The API server refuses, so that waiting is of no use.
    pub async fn acquire(&self) -> Result<Held, ApiError> {
        // A holder's time runs from when it was last seen to live, and not from when somebody asks.
        let mut seen = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&self.name).cloned();
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let (version, left) = match self.look(&mut seen).await {
                Ok(Look::Ours(held)) => return Ok(held),
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
            let holder = seen.as_ref().map(|seen| seen.object.holder().to_owned()).unwrap_or_default();
            if holder != told {
                tracing::info!(lease = self.name, holder, "waiting: another controller works");
                told = holder;
            }
            changed(&self.api, &self.leases, &self.name, &version, left).await;
        }
    }

    async fn look(&self, seen: &mut Option<Seen>) -> Result<Look, ApiError> {
        let since = Instant::now();
        let object = match self.api.get::<Object>(&self.path()).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => {
                let object = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.name, "labels": self.labels()}, "spec": self.spec(0),
                });
                let made: Object = serde_json::from_value(self.api.create(self.leases.path(), &object).await?)?;
                return Ok(Look::Ours(Held { version: made.metadata.resource_version, since }));
            }
            Err(error) => return Err(error),
        };
        let (version, ours) = (object.metadata.resource_version.clone(), object.holder() == self.identity);
        let transitions = object.spec.lease_transitions.unwrap_or_default();
        let current = Seen::update(seen.take(), object, since);
        let left = current.left(since).filter(|_| !ours);
        *seen = Some(current);
        match left {
            Some(left) => Ok(Look::Others(version, left)),
            None => {
                let change = json!({"labels": self.labels()});
                let version = self.write(&version, change, self.spec(transitions + i64::from(!ours))).await?;
                Ok(Look::Ours(Held { version, since }))
            }
        }
    }

    /// Renews the Lease for as long as that goes well; ends when it is lost, or may be, with the reason.
    pub async fn keep(&self, held: Held) -> String {
        let Held { mut version, since: mut renewed } = held;
        loop {
            let renewal = async {
                tokio::time::sleep(self.terms.renew_every).await;
                self.renew(&mut version).await
            };
            // However long the server thinks about it: after this moment it may be somebody else's.
            match tokio::time::timeout_at(renewed + self.terms.renew_within, renewal).await {
                Ok(Ok(at)) => renewed = at,
                Ok(Err(error)) => return format!("the Lease {} was taken: {error}", self.name),
                Err(_) => {
                    return format!(
                        "the Lease {} could not be renewed within {:?}",
                        self.name, self.terms.renew_within
                    );
                }
            }
        }
    }

    /// Renews it, however often that has to be tried; tells when it set out to. An error is that it is no longer ours.
    async fn renew(&self, version: &mut String) -> Result<Instant, ApiError> {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let error = match self.write(version, json!({}), json!({"renewTime": now()})).await {
                Ok(written) => {
                    *version = written;
                    return Ok(began);
                }
                Err(error) if error.is_not_found() => return Err(error),
                Err(error) if error.is_conflict() => match self.api.get::<Object>(&self.path()).await {
                    // Somebody has labelled it, or our own renewal was lost on its way back.
                    Ok(object) if object.holder() == self.identity => {
                        *version = object.metadata.resource_version;
                        continue;
                    }
                    Ok(_) => return Err(error),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            tracing::warn!(lease = self.name, %error, "not renewed yet");
            error.wait(&mut backoff).await;
        }
    }

    /// Gives the Lease back, so that nobody has to wait for its end.
    pub async fn release(&self) {
        let Ok(object) = self.api.get::<Object>(&self.path()).await else { return };
        if object.holder() == self.identity {
            let spec = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now()});
            if let Err(error) = self.write(&object.metadata.resource_version, json!({}), spec).await {
                tracing::debug!(lease = self.name, %error, "not given back");
            }
        }
    }

    /// Takes the Lease away, as it is one that nobody else waits for.
    pub async fn remove(&self) {
        if let Err(error) = self.api.delete(&self.path(), &json!({})).await {
            tracing::debug!(lease = self.name, %error, "not taken away");
        }
    }

    /// Somebody who divides the workflows into another number of shards. `seen` is what was read before.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn rival(&self, seen: &mut FxHashMap<String, Seen>) -> Result<Option<Rival>, ApiError> {
        let list = match self.api.get::<List<Object>>(self.leases.path()).await {
            Ok(list) => list,
            // Argo's controllers are installed without this right, and know of no shards.
            Err(error) if error.code() == 403 && self.names.shards == 1 => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let mut before = std::mem::take(seen);
        let mut rival = None;
        for object in list.items {
            let name = object.metadata.name.clone();
            if !matches!(self.names.role(&name), Some(Role::Shard(_))) || object.shards() == self.names.shards {
                continue;
            }
            let current = Seen::update(before.remove(&name), object, now);
            if let Some(left) = current.left(now).filter(|_| current.object.holder() != self.identity) {
                let object = &current.object;
                let (holder, shards) = (object.holder().to_owned(), object.shards());
                let version = object.metadata.resource_version.clone();
                rival = Some(Rival { lease: name.clone(), holder, shards, version, left });
            }
            seen.insert(name, current);
        }
        Ok(rival)
    }

    /// Waits until something has changed about a rival, or its time is up.
    pub async fn watch_rival(&self, rival: &Rival) {
        changed(&self.api, &self.leases, &rival.lease, &rival.version, rival.left).await;
    }

    fn path(&self) -> String {
        self.leases.named(&self.name)
    }

    async fn write(&self, version: &str, mut metadata: Value, spec: Value) -> Result<String, ApiError> {
        metadata["resourceVersion"] = version.into();
        self.api.patch(&self.path(), &json!({"metadata": metadata, "spec": spec})).await
    }

    fn labels(&self) -> Value {
        match self.names.shards {
            1 => json!({label::SHARDS: null}),
            shards => json!({label::SHARDS: shards.to_string()}),
        }
    }

    fn spec(&self, transitions: i64) -> Value {
        let now = now();
        json!({
            "holderIdentity": self.identity, "leaseDurationSeconds": self.terms.duration.as_secs(),
            "acquireTime": now, "renewTime": now, "leaseTransitions": transitions,
        })
    }
}

enum Look {
    /// It is ours.
    Ours(Held),
    /// Somebody has it: the version that was read, and how long it holds if nothing changes.
    Others(String, Duration),
}

/// The Leases of a namespace, where a controller is.
pub(super) fn leases(namespace: &str) -> Collection {
    Kind::Lease.within(namespace)
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
        let object = |renewed: &str| {
            let spec = Spec {
                holder_identity: Some("other".into()),
                lease_duration_seconds: Some(15),
                renew_time: Some(renewed.into()),
                ..Spec::default()
            };
            Object { spec, ..Object::default() }
        };
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let seen = Seen::update(None, object("1"), start);
        assert_eq!(seen.left(after(5)), Some(Duration::from_secs(10)));
        // It is renewed: its time starts anew, whatever its clock says.
        let seen = Seen::update(Some(seen), object("2"), after(10));
        assert_eq!(seen.left(after(20)), Some(Duration::from_secs(5)));
        let seen = Seen::update(Some(seen), object("2"), after(20));
        assert_eq!(seen.left(after(25)), None);
        assert_eq!(Seen::update(None, Object::default(), start).left(start), None);
    }

    #[test]
    fn times_are_micro_times() {
        let text = now();
        assert!(text.len() == "2026-01-01T00:00:00.000000Z".len() && text.ends_with('Z'), "{text}");
    }
}
