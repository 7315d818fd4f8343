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

mod line;
mod name;
mod news;
mod status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tiphys_api::Workflow;

pub(crate) use name::locks_of;
pub use name::{LockHolder, LockKind, LockName};
pub use news::{LockAnswer, LockNews, LockRequest, LockState, LockWait};
pub(crate) use status::{acquired, held_by, is_holding, released, waits, waits_no_longer};

use line::{Limit, Line, Place};

/// Somebody who holds locks or waits for some.
#[derive(Debug, Default)]
struct Party {
    held: BTreeSet<LockName>,
    waits: Option<(LockRequest, Place)>,
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
}

impl Locks {
    /// Takes the holder's place in line, and the locks themselves if it is its turn. Asking again gives the same answer
    /// again, by a new priority where that has changed. The answer comes in the news, or with those of a later call.
    pub fn acquire(&mut self, request: LockRequest) -> LockNews {
        let mut news = LockNews::default();
        let holder = request.holder.clone();
        let mut touched = self.waited_locks(&holder);
        let known = self.leave_lines(&holder);
        if let Some(name) = request.locks.iter().find(|name| matches!(name, LockName::Database { .. })) {
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
        let has_all = needed.is_empty();
        for name in needed {
            let line = self.lines.entry(name.clone()).or_insert_with(|| {
                news.limits.extend(config_map_of(name));
                Line::new(name)
            });
            line.queue.insert(place, holder.clone());
        }
        party.waits = Some((request, place));
        if has_all {
            self.grant(&holder, &mut news);
        }
        self.settle(touched, &mut news);
        if self.is_decided(&holder) {
            self.tell_wait(&holder, &mut news);
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
        self.settle(touched, &mut news);
        news
    }

    /// Gives up everything of a workflow that has ended or is gone. `workflow` is `<namespace>/<name>`.
    pub fn forget(&mut self, workflow: &str) -> LockNews {
        let mut news = LockNews::default();
        for holder in self.workflows.get(workflow).cloned().unwrap_or_default() {
            let of_one = self.release(&holder);
            news.told.extend(of_one.told.into_iter().filter(|(told, _)| &*told.workflow != workflow));
            news.taken.extend(of_one.taken);
            news.limits.extend(of_one.limits);
        }
        news
    }

    /// Gives back what a workflow's status says that it holds, whatever the limits are now. A driver does so for every
    /// workflow that is not over, before any of them asks for a lock. argo: sync_manager.go, Initialize.
    pub fn restore(&mut self, workflow: &Workflow) -> LockNews {
        let mut news = LockNews::default();
        for (name, holder) in status::holdings(workflow) {
            let line = self.lines.entry(name.clone()).or_insert_with(|| {
                news.limits.extend(config_map_of(&name));
                Line::new(&name)
            });
            line.holders.insert(holder.clone());
            self.workflows.entry(holder.workflow.clone()).or_default().insert(holder.clone());
            self.parties.entry(holder).or_default().held.insert(name);
        }
        news
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
            touched.extend(self.waited_locks(&holder));
            self.leave_lines(&holder);
            self.tidy(&holder);
            let message = format!("failed to initialize semaphore {lock} with limit");
            news.told.push((holder, LockAnswer::Refused { message }));
        }
        touched.push(lock.clone());
        self.settle(touched, news);
    }

    /// Grants what can be, once something has changed about these locks.
    fn settle(&mut self, touched: Vec<LockName>, news: &mut LockNews) {
        let mut open: BTreeSet<LockName> = touched.into_iter().collect();
        open.extend(self.stalled.iter().cloned());
        while let Some(name) = open.pop_first() {
            while let Some(holder) = self.next_for(&name) {
                open.extend(self.grant(&holder, news));
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
        let (request, place) = self.parties.get_mut(holder)?.waits.take()?;
        for name in &request.locks {
            if let Some(line) = self.lines.get_mut(name) {
                line.queue.remove(&place);
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
        let locks = self.waited_locks(holder);
        let known = |name: &LockName| self.lines.get(name).is_some_and(|line| line.limit != Limit::Unknown);
        !locks.is_empty() && locks.iter().all(known)
    }

    /// Tells a holder what it waits for. argo: semaphore.go, checkAcquire; sync_manager.go, tryAcquireImpl.
    fn tell_wait(&self, holder: &LockHolder, news: &mut LockNews) {
        let Some((request, _)) = self.parties.get(holder).and_then(|party| party.waits.as_ref()) else { return };
        let waited = self.waited_locks(holder);
        let lines = || waited.iter().filter_map(|name| Some((name, self.lines.get(name)?)));
        let Some((lock, line)) = lines().find(|(_, line)| !self.is_turn_of(holder, line)).or_else(|| lines().next())
        else {
            return;
        };
        let message = line.message(lock);
        let holders = |name: &LockName| self.lines.get(name).map(|line| line.holders.iter().cloned().collect());
        let held_by = request.locks.iter().map(|name| (name.clone(), holders(name).unwrap_or_default())).collect();
        news.told.push((holder.clone(), LockAnswer::Waiting(LockWait { lock: lock.clone(), message, held_by })));
    }
}

/// The ConfigMap in which a lock's limit is.
fn config_map_of(name: &LockName) -> Option<(String, String)> {
    match name {
        LockName::ConfigMap { namespace, name, .. } => Some((namespace.clone(), name.clone())),
        _ => None,
    }
}
