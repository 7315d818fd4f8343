//! The locks that workflows share: who holds them, who waits, and whose turn it is.
//!
//! One table serves all workflows of a driver. It does nothing by itself: each call gives the [`LockNews`] that follow
//! from it, also for other workflows than the one that called, and the driver passes them on. Nobody ever asks again
//! whether a lock has become free.
//!
//! argo: workflow/sync. As there, the locks of one request are taken together or not at all; whoever is first in line for
//! a lock is not passed by others, by priority and then by the workflow's age; a limit that shrinks evicts nobody. There a
//! workflow that holds one lock and needs another may stand in line for ever behind somebody who waits for the first;
//! here it passes.
//!
//! Locks that controllers share are in a database, which this table knows by what it is told of it. Who is next among this
//! driver's own is decided here, as for any other lock; whether that is before those of other controllers, there
//! ([`SharedWork`]).

mod line;
mod name;
mod news;
mod shared;
mod status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tiphys_api::Workflow;

pub(crate) use name::locks_of;
pub use name::{LockHolder, LockKind, LockName};
pub use news::{
    LockAnswer, LockNews, LockRequest, LockState, LockWait, SharedLock, SharedRequest, SharedState, SharedWork,
};
pub(crate) use status::{acquired, held_by, is_holding, released, waits, waits_no_longer};

use line::{Limit, Line, Place};

/// Somebody who holds locks or waits for some.
#[derive(Debug, Default)]
struct Party {
    held: BTreeSet<LockName>,
    waits: Option<(LockRequest, Place)>,
    /// The attempt that is being made in the database.
    attempt: Option<u64>,
    /// What it was told last of what it waits for.
    told: Option<LockWait>,
}

/// The locks of all workflows of a driver.
#[derive(Debug, Default)]
pub struct Locks {
    lines: BTreeMap<LockName, Line>,
    parties: HashMap<LockHolder, Party>,
    workflows: HashMap<Arc<str>, BTreeSet<LockHolder>>,
    /// Locks with free places for which somebody waits: whoever is first in line waits for another lock as well.
    stalled: BTreeSet<LockName>,
    /// How many requests there were: it breaks ties.
    requests: u64,
    /// Whether there is a database for the locks that controllers share, and how often it was tried to take some.
    has_database: bool,
    attempts: u64,
}

impl Locks {
    /// Takes the holder's place in line, and the locks themselves if it is its turn. Asking again gives the same answer
    /// again, by a new priority where that has changed. The answer comes in the news, or with those of a later call.
    pub fn acquire(&mut self, request: LockRequest) -> LockNews {
        let mut news = LockNews::default();
        let holder = request.holder.clone();
        let mut touched = self.waited_locks(&holder);
        let known = self.leave_lines(&holder);
        let left: Vec<LockName> = touched.iter().filter(|name| !request.locks.contains(name)).cloned().collect();
        self.give_up(&holder, &left, &mut news);
        if !self.has_database
            && let Some(name) = request.locks.iter().find(|name| name.is_shared())
        {
            let kind = if name.kind() == LockKind::Mutex { "mutex" } else { "semaphore" };
            let message = format!("database session is not available for {kind} {name}");
            news.told.push((holder.clone(), LockAnswer::Refused { message }));
            self.tidy(&holder);
            self.settle(touched, &mut news);
            return news;
        }
        let number = known.unwrap_or_else(|| {
            self.requests += 1;
            self.requests
        });
        let place = Place::new(request.priority, request.created, number);
        touched.extend(request.locks.iter().cloned());
        self.workflows.entry(holder.workflow.clone()).or_default().insert(holder.clone());
        let party = self.parties.entry(holder.clone()).or_default();
        let needed: Vec<&LockName> = request.locks.iter().filter(|name| !party.held.contains(*name)).collect();
        let (has_all, has_shared) = (needed.is_empty(), needed.iter().any(|name| name.is_shared()));
        for name in needed {
            let line = self.lines.entry(name.clone()).or_insert_with(|| {
                news.limits.extend(config_map_of(name));
                Line::new(name)
            });
            line.queue.insert(place, holder.clone());
            if line.first() == Some(&holder) {
                line.unblock();
            }
        }
        party.waits = Some((request, place));
        party.told = None;
        if has_all {
            self.grant(&holder, &mut news);
        } else if has_shared {
            news.shared.extend(self.shared_request(&holder).map(SharedWork::Queue));
        }
        self.settle(touched, &mut news);
        if self.is_decided(&holder) {
            self.tell_wait(&holder, &mut news);
        } else {
            self.look(&holder, &mut news);
        }
        news
    }

    /// Gives up what the holder has, and its place in line. One that has nothing is fine.
    pub fn release(&mut self, holder: &LockHolder) -> LockNews {
        let mut news = LockNews::default();
        let Some(party) = self.parties.get_mut(holder) else { return news };
        let mut touched: Vec<LockName> = std::mem::take(&mut party.held).into_iter().collect();
        for name in &touched {
            if let Some(line) = self.lines.get_mut(name) {
                line.holders.remove(holder);
            }
        }
        touched.extend(self.waited_locks(holder));
        self.leave_lines(holder);
        self.tidy(holder);
        self.give_up(holder, &touched, &mut news);
        self.settle(touched, &mut news);
        news
    }

    /// Gives up everything of a workflow that has ended or is gone. `workflow` is `<namespace>/<name>`.
    pub fn forget(&mut self, workflow: &str) -> LockNews {
        let mut news = LockNews::default();
        for holder in self.workflows.get(workflow).cloned().unwrap_or_default() {
            let mut of_one = self.release(&holder);
            of_one.told.retain(|(told, _)| &*told.workflow != workflow);
            news.add(of_one);
        }
        news
    }

    /// Gives back what a workflow's status says that it holds, whatever the limits are now. A driver does so for every
    /// workflow that is not over, before any of them asks for a lock. argo: sync_manager.go, Initialize.
    pub fn restore(&mut self, workflow: &Workflow) -> LockNews {
        let mut news = LockNews::default();
        for (name, holder) in status::holdings(workflow) {
            if name.is_shared() {
                news.shared.push(SharedWork::Keep { holder: holder.clone(), lock: name.clone() });
            }
            self.hold(name, holder, &mut news);
        }
        news
    }

    fn hold(&mut self, name: LockName, holder: LockHolder, news: &mut LockNews) {
        let line = self.lines.entry(name.clone()).or_insert_with(|| {
            news.limits.extend(config_map_of(&name));
            Line::new(&name)
        });
        line.holders.insert(holder.clone());
        self.workflows.entry(holder.workflow.clone()).or_default().insert(holder.clone());
        self.parties.entry(holder).or_default().held.insert(name);
    }

    /// The data of a ConfigMap that holds limits, as it is now; None where there is no such ConfigMap. To be called when
    /// the news ask for it, and whenever a ConfigMap changes that [`Locks::reads`] says yes to.
    pub fn config_map(&mut self, namespace: &str, name: &str, data: Option<&BTreeMap<String, String>>) -> LockNews {
        let mut news = LockNews::default();
        let first = LockName::ConfigMap { namespace: namespace.into(), name: name.into(), key: String::new() };
        let after = self.lines.range(first..).map(|(name, _)| name);
        let own = after.take_while(|lock| config_map_of(lock).is_some_and(|(a, b)| a == namespace && b == name));
        let locks: Vec<LockName> = own.cloned().collect();
        let mut changed = Vec::new();
        for lock in locks {
            let LockName::ConfigMap { key, .. } = &lock else { continue };
            // As Go's Atoi.
            let limit = data.and_then(|data| data.get(key)).and_then(|text| text.parse::<i64>().ok());
            let Some(line) = self.lines.get_mut(&lock) else { continue };
            match (limit.filter(|limit| *limit != 0), line.limit) {
                (None, Limit::Unknown) if line.holders.is_empty() => self.refuse_all(&lock, &mut news),
                (None, Limit::Known(_)) if limit.is_none() => {}
                (limit, known) => {
                    line.limit = Limit::Known(limit.unwrap_or(0));
                    if line.limit != known {
                        changed.push(lock);
                    }
                }
            }
        }
        self.settle(changed.clone(), &mut news);
        let waiting = changed.iter().filter_map(|lock| self.lines.get(lock)).flat_map(|line| line.queue.values());
        for holder in waiting.cloned().collect::<BTreeSet<_>>() {
            if self.is_decided(&holder) {
                self.tell_wait(&holder, &mut news);
            }
        }
        news
    }

    /// Whether a lock's limit is in that ConfigMap.
    pub fn reads(&self, namespace: &str, name: &str) -> bool {
        let first = LockName::ConfigMap { namespace: namespace.into(), name: name.into(), key: String::new() };
        let next = self.lines.range(first..).next().and_then(|(lock, _)| config_map_of(lock));
        next.is_some_and(|(a, b)| a == namespace && b == name)
    }

    /// Every lock that somebody holds or waits for.
    pub fn states(&self) -> impl Iterator<Item = LockState> {
        self.lines.iter().map(|(name, line)| LockState {
            name: name.clone(),
            limit: match line.limit {
                Limit::Unknown => None,
                Limit::Known(limit) => Some(limit),
            },
            holders: line.holders.iter().cloned().collect(),
            waiting: line.queue.values().cloned().collect(),
        })
    }

    /// The limit of a lock cannot be had: nobody can wait for it. argo: semaphore.go, newInternalSemaphore.
    fn refuse_all(&mut self, lock: &LockName, news: &mut LockNews) {
        let waiting: Vec<LockHolder> =
            self.lines.get(lock).map(|line| line.queue.values().cloned().collect()).unwrap_or_default();
        let mut touched = Vec::new();
        for holder in waiting {
            let message = format!("failed to initialize semaphore {lock} with limit");
            touched.extend(self.turn_away(&holder, message, news));
        }
        touched.push(lock.clone());
        self.settle(touched, news);
    }

    /// Takes a holder out of every line. Returns the locks that it waited for.
    fn turn_away(&mut self, holder: &LockHolder, message: String, news: &mut LockNews) -> Vec<LockName> {
        let waited = self.waited_locks(holder);
        self.leave_lines(holder);
        self.tidy(holder);
        self.give_up(holder, &waited, news);
        news.told.push((holder.clone(), LockAnswer::Refused { message }));
        waited
    }

    /// Grants what can be, once something has changed about these locks.
    fn settle(&mut self, touched: Vec<LockName>, news: &mut LockNews) {
        let mut open: BTreeSet<LockName> = touched.into_iter().collect();
        open.extend(self.stalled.iter().cloned());
        while let Some(name) = open.pop_first() {
            while let Some(holder) = self.next_for(&name) {
                open.extend(self.give(&holder, news));
                // Others of its workflow may pass now whoever waits for it.
                open.extend(self.stalled.iter().cloned());
            }
            open.remove(&name);
            let Some(line) = self.lines.get(&name) else {
                self.stalled.remove(&name);
                continue;
            };
            if line.is_idle() {
                self.lines.remove(&name);
                self.stalled.remove(&name);
            } else if line.has_room() && !line.queue.is_empty() {
                self.stalled.insert(name);
            } else {
                self.stalled.remove(&name);
            }
        }
    }

    /// Who can have a lock now, together with all others that it needs.
    fn next_for(&self, name: &LockName) -> Option<LockHolder> {
        let line = self.lines.get(name).filter(|line| line.has_room())?;
        let first = line.first()?;
        if self.may_take(first) {
            return Some(first.clone());
        }
        let ahead = self.awaited_by(first);
        let mut others = line.queue.values().skip(1);
        others.find(|holder| ahead.contains(&holder.workflow) && self.may_take(holder)).cloned()
    }

    /// Whether it is a holder's turn for every lock that it waits for.
    fn may_take(&self, holder: &LockHolder) -> bool {
        self.waited_locks(holder)
            .iter()
            .all(|name| self.lines.get(name).is_some_and(|line| self.is_turn_of(holder, line)))
    }

    /// Whether a waiting holder may have this lock, others aside.
    fn is_turn_of(&self, holder: &LockHolder, line: &Line) -> bool {
        let passes = |first: &LockHolder| first == holder || self.awaited_by(first).contains(&holder.workflow);
        line.has_room() && line.first().is_some_and(passes)
    }

    /// The workflows that must go on before a waiting holder can: its own, those that hold what it waits for, and in turn
    /// those that these wait for. They may pass it, or none of them would ever go on.
    fn awaited_by(&self, holder: &LockHolder) -> BTreeSet<Arc<str>> {
        let mut found = BTreeSet::from([holder.workflow.clone()]);
        let mut seen = BTreeSet::from([holder.clone()]);
        let mut open = vec![holder.clone()];
        while let Some(waiting) = open.pop() {
            for line in self.waited_locks(&waiting).iter().filter_map(|name| self.lines.get(name)) {
                let mut next: Vec<LockHolder> = line.first().into_iter().cloned().collect();
                if !line.has_room() {
                    for other in &line.holders {
                        found.insert(other.workflow.clone());
                        next.extend(self.workflows.get(&other.workflow).into_iter().flatten().cloned());
                    }
                }
                open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
            }
        }
        found
    }

    /// Gives a holder whose turn it is what it waits for, or asks the database first. Returns the locks whose lines it left.
    fn give(&mut self, holder: &LockHolder, news: &mut LockNews) -> Vec<LockName> {
        if self.waited_locks(holder).iter().any(LockName::is_shared) {
            self.attempt(holder, news);
            return Vec::new();
        }
        self.grant(holder, news)
    }

    /// Gives a holder what it waits for. Returns the locks whose lines it left.
    fn grant(&mut self, holder: &LockHolder, news: &mut LockNews) -> Vec<LockName> {
        let locks = self.waited_locks(holder);
        self.leave_lines(holder);
        for name in &locks {
            if let Some(line) = self.lines.get_mut(name) {
                line.holders.insert(holder.clone());
            }
        }
        if let Some(party) = self.parties.get_mut(holder) {
            party.held.extend(locks.iter().cloned());
        }
        news.taken.extend(locks.iter().cloned());
        news.told.push((holder.clone(), LockAnswer::Granted));
        locks
    }

    /// The locks that a holder waits for and does not have.
    fn waited_locks(&self, holder: &LockHolder) -> Vec<LockName> {
        let Some(party) = self.parties.get(holder) else { return Vec::new() };
        let locks = party.waits.iter().flat_map(|(request, _)| &request.locks);
        locks.filter(|name| !party.held.contains(name)).cloned().collect()
    }

    /// Takes a holder out of every line. Returns the number of the request that it had there.
    fn leave_lines(&mut self, holder: &LockHolder) -> Option<u64> {
        let party = self.parties.get_mut(holder)?;
        party.attempt = None;
        let (request, place) = party.waits.take()?;
        for name in &request.locks {
            if let Some(line) = self.lines.get_mut(name) {
                line.queue.remove(&place);
                line.reserved.remove(holder);
            }
        }
        Some(place.number())
    }

    /// Forgets a holder that has nothing and waits for nothing.
    fn tidy(&mut self, holder: &LockHolder) {
        if self.parties.get(holder).is_some_and(|party| !party.held.is_empty() || party.waits.is_some()) {
            return;
        }
        self.parties.remove(holder);
        if let Some(of_workflow) = self.workflows.get_mut(&holder.workflow) {
            of_workflow.remove(holder);
            if of_workflow.is_empty() {
                self.workflows.remove(&holder.workflow);
            }
        }
    }

    /// Whether a holder waits, and all is known that an answer needs.
    fn is_decided(&self, holder: &LockHolder) -> bool {
        if self.parties.get(holder).is_some_and(|party| party.attempt.is_some()) {
            return false;
        }
        let locks = self.waited_locks(holder);
        let known = |name: &LockName| self.lines.get(name).is_some_and(|line| line.limit != Limit::Unknown);
        !locks.is_empty() && locks.iter().all(known)
    }

    /// Tells a holder what it waits for. argo: semaphore.go, checkAcquire; sync_manager.go, tryAcquireImpl.
    fn tell_wait(&mut self, holder: &LockHolder, news: &mut LockNews) {
        let Some(wait) = self.wait_of(holder) else { return };
        if let Some(party) = self.parties.get_mut(holder) {
            party.told = Some(wait.clone());
        }
        news.told.push((holder.clone(), LockAnswer::Waiting(wait)));
    }

    fn wait_of(&self, holder: &LockHolder) -> Option<LockWait> {
        let (request, _) = self.parties.get(holder)?.waits.as_ref()?;
        let waited = self.waited_locks(holder);
        let lines = || waited.iter().filter_map(|name| Some((name, self.lines.get(name)?)));
        let (lock, line) = lines().find(|(_, line)| !self.is_turn_of(holder, line)).or_else(|| lines().next())?;
        let message = line.message(lock);
        let holders = |name: &LockName| self.lines.get(name).map(Line::shown_holders).unwrap_or_default();
        let held_by = request.locks.iter().map(|name| (name.clone(), holders(name))).collect();
        Some(LockWait { lock: lock.clone(), message, held_by })
    }
}

/// The ConfigMap in which a lock's limit is.
fn config_map_of(name: &LockName) -> Option<(String, String)> {
    match name {
        LockName::ConfigMap { namespace, name, .. } => Some((namespace.clone(), name.clone())),
        _ => None,
    }
}
