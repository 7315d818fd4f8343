//! Who is there, and which shards are ours because of that.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_kubernetes::{ApiError, Backoff, Event, watch};
use tokio::sync::{mpsc, watch as latest};
use tokio::time::Instant;

use super::lease::{Lease, Object, Seen};
use super::names::{Names, Role};
use super::share;

/// The shards that a replica should hold.
pub(super) type Wanted = BTreeSet<u32>;

/// Says that we are there, and tells which shards are ours whenever that changes, until `stop` is done; then none is.
///
/// # Errors
/// The API server refuses, so that it is of no use to try again.
pub(super) async fn follow(
    lease: Lease,
    wanted: &latest::Sender<Wanted>,
    stop: impl Future<Output = ()>,
) -> Result<(), ApiError> {
    let ended = tokio::select! {
        error = stay(&lease) => Err(error),
        () = look(&lease, wanted) => Ok(()),
        () = stop => Ok(()),
    };
    wanted.send_replace(Wanted::new());
    lease.remove().await;
    ended
}

/// Keeps our own Lease. Somebody who takes us for dead may delete it; then it is made anew.
async fn stay(lease: &Lease) -> ApiError {
    loop {
        match lease.acquire().await {
            Ok(held) => {
                // What is logged is worked out only where the log takes it.
                let reason = lease.keep(held).await;
                tracing::warn!("{reason}");
            }
            Err(error) => return error,
        }
    }
}

async fn look(lease: &Lease, wanted: &latest::Sender<Wanted>) {
    let (to, mut told) = mpsc::unbounded_channel();
    let watched = watch::<Object>(&lease.api, &lease.leases, "", None, |event| to.send(event).is_ok());
    let counted = async {
        let mut roll = Roll::new(lease.names.clone(), lease.identity.clone());
        let mut next = None;
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    Some(event) => roll.take(event, Instant::now()),
                    None => return,
                },
                () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() => {}
            }
            let Now { mine, dead, left } = roll.now(Instant::now());
            next = left;
            lease.known.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&roll.seen);
            for name in dead {
                tokio::spawn(forget(lease.clone(), name));
            }
            wanted.send_if_modified(|wanted| {
                let other = *wanted != mine;
                if other {
                    tracing::info!(shards = ?mine, "these shards are this replica's");
                    *wanted = mine;
                }
                other
            });
        }
    };
    tokio::join!(watched, counted);
}

/// Takes the Lease of a dead member away.
async fn forget(lease: Lease, (name, version): (String, String)) {
    let only = serde_json::json!({"preconditions": {"resourceVersion": version}});
    let mut backoff = Backoff::default();
    while let Err(error) = lease.api.delete(&lease.leases.named(&name), &only).await {
        if !error.is_transient() {
            // It lives after all.
            return tracing::debug!(lease = name, %error, "not taken away");
        }
        error.wait(&mut backoff).await;
    }
}

/// The Leases as they were last seen.
struct Roll {
    names: Names,
    me: String,
    seen: FxHashMap<String, Seen>,
    /// Names in the list that is being read.
    listed: FxHashSet<String>,
    /// Whether all has been told once.
    complete: bool,
    /// Dead members whose Leases are being taken away.
    forgotten: FxHashSet<String>,
}

/// What follows from them.
struct Now {
    mine: Wanted,
    /// Names and versions of dead members' Leases, each once.
    dead: Vec<(String, String)>,
    /// Until somebody's time is up, unless that one gives a sign of life.
    left: Option<Duration>,
}

impl Roll {
    fn new(names: Names, me: String) -> Roll {
        let (seen, listed, forgotten) = Default::default();
        Roll { names, me, seen, listed, complete: false, forgotten }
    }

    fn take(&mut self, event: Event<Object>, now: Instant) {
        match event {
            Event::Page(all) => all.into_iter().for_each(|one| {
                self.listed.insert(one.metadata.name.clone());
                self.applied(one, now);
            }),
            Event::Applied(one) => self.applied(one, now),
            Event::Deleted(one) => self.gone(&one.metadata.name),
            Event::Listed => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<String> = self.seen.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.gone(name));
                self.complete = true;
            }
        }
    }

    fn applied(&mut self, one: Object, now: Instant) {
        let name = one.metadata.name.clone();
        if self.names.role(&name).is_some() {
            let seen = Seen::update(self.seen.remove(&name), one, now);
            self.seen.insert(name, seen);
        }
    }

    fn gone(&mut self, name: &str) {
        self.seen.remove(name);
        self.forgotten.remove(name);
    }

    fn now(&mut self, now: Instant) -> Now {
        let mut members = BTreeSet::from([self.me.as_str()]);
        let mut dead = Vec::new();
        let mut left: Option<Duration> = None;
        let mut others_rule = false;
        for (name, seen) in &self.seen {
            let lives = seen.left(now);
            left = left.into_iter().chain(lives).min();
            match (self.names.role(name), lives.is_some()) {
                (Some(Role::Member), true) if seen.object.shards() == self.names.shards => {
                    members.insert(seen.object.holder());
                }
                (Some(Role::Member), false) if self.forgotten.insert(name.clone()) => {
                    dead.push((name.clone(), seen.object.metadata.resource_version.clone()));
                }
                // A controller that knows of no shards has taken over: it looks at this Lease alone.
                (Some(Role::Shard(_)), true) => others_rule |= seen.object.shards() == 1,
                _ => {}
            }
        }
        let holder = |shard| self.seen.get(&self.names.shard(shard)).map(|seen| seen.object.holder());
        let holders: Vec<Option<&str>> =
            (0..self.names.shards).map(|shard| holder(shard).filter(|holder| members.contains(holder))).collect();
        let mut mine = Wanted::new();
        if self.complete && !others_rule {
            let share = share(&holders, &members).remove(self.me.as_str()).unwrap_or_default();
            mine.extend(share.into_iter().filter_map(|shard| u32::try_from(shard).ok()));
        }
        Now { mine, dead, left }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lease(name: &str, holder: &str, shards: Option<u32>, renewed: u32) -> Object {
        let labels = shards
            .map_or_else(|| json!({}), |shards| json!({"workflows.argoproj.io/tiphys-shards": shards.to_string()}));
        let spec: Value =
            json!({"holderIdentity": holder, "leaseDurationSeconds": 12, "renewTime": renewed.to_string()});
        let object = json!({"metadata": {"name": name, "resourceVersion": "7", "labels": labels}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn mine(roll: &mut Roll, now: Instant) -> Vec<u32> {
        roll.now(now).mine.into_iter().collect()
    }

    #[test]
    fn the_dead_leave_their_shards() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut roll = Roll::new(Names::new("", 4), "a".into());
        let page = vec![
            lease("workflow-controller.member-a", "a", Some(4), 0),
            lease("workflow-controller.member-b", "b", Some(4), 0),
            // It will divide the workflows otherwise, once it may.
            lease("workflow-controller.member-c", "c", Some(8), 0),
            lease("workflow-controller", "a", Some(4), 0),
            lease("workflow-controller.shard-1", "b", Some(4), 0),
            lease("workflow-controller.shard-2", "b", Some(4), 0),
            lease("kube-scheduler", "x", None, 0),
        ];
        roll.take(Event::Page(page), start);
        // More may come that is not told yet.
        assert_eq!(mine(&mut roll, start), [0; 0]);
        roll.take(Event::Listed, start);
        assert_eq!(mine(&mut roll, start), [0, 3]);
        roll.take(Event::Applied(lease("workflow-controller.member-a", "a", Some(4), 1)), after(6));
        roll.take(Event::Applied(lease("workflow-controller", "a", Some(4), 1)), after(6));
        let Now { left, dead, .. } = roll.now(after(6));
        assert_eq!((left, dead.len()), (Some(Duration::from_secs(6)), 0));
        let Now { mine, mut dead, .. } = roll.now(after(12));
        assert_eq!(mine.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        dead.sort();
        let names: Vec<&str> = dead.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["workflow-controller.member-b", "workflow-controller.member-c"]);
        assert_eq!(roll.now(after(13)).dead, []);
    }

    #[test]
    fn what_is_given_back_is_taken_and_a_newcomer_gets_its_share() {
        let now = Instant::now();
        let mut roll = Roll::new(Names::new("", 2), "b".into());
        roll.take(Event::Page(vec![lease("workflow-controller.member-a", "a", Some(2), 0)]), now);
        roll.take(Event::Page(vec![lease("workflow-controller", "a", Some(2), 0)]), now);
        roll.take(Event::Page(vec![lease("workflow-controller.shard-1", "a", Some(2), 0)]), now);
        roll.take(Event::Listed, now);
        assert_eq!(mine(&mut roll, now), [1]);
        roll.take(Event::Deleted(lease("workflow-controller.member-a", "a", Some(2), 0)), now);
        assert_eq!(mine(&mut roll, now), [0, 1]);
    }

    #[test]
    fn a_controller_without_shards_has_all() {
        let now = Instant::now();
        let mut roll = Roll::new(Names::new("", 2), "b".into());
        roll.take(Event::Page(vec![lease("workflow-controller", "argo", None, 0)]), now);
        roll.take(Event::Listed, now);
        assert_eq!(mine(&mut roll, now), [0; 0]);
        roll.take(Event::Applied(lease("workflow-controller", "", None, 1)), now);
        assert_eq!(mine(&mut roll, now), [0, 1]);
    }
}
