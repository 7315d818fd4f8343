//! Locks that controllers share: what this driver's holders do about them in the database, and what the database says.
//!
//! Whoever is next here, for all that it waits for, tries to take what is in the database, all of it or nothing. Meanwhile the
//! other locks that it needs are kept for it. What it does not get blocks the lock's line until something changes here, or the
//! driver says that something may have changed there ([`Locks::look_again`]).

use std::collections::BTreeSet;

use super::line::Limit;
use super::news::{LockAnswer, LockNews, LockWait, SharedLock, SharedRequest, SharedState, SharedWork};
use super::{LockHolder, LockName, Locks};

impl Locks {
    /// Whether there is a database for such locks; without one whoever asks for them is refused. At first there is none.
    pub fn set_database(&mut self, has_database: bool) {
        self.has_database = has_database;
    }

    /// A holder has got what it tried to take. What has been overtaken by other events changes nothing.
    pub fn taken(&mut self, holder: &LockHolder, attempt: u64, states: &[SharedState]) -> LockNews {
        let mut news = LockNews::default();
        if self.ends_attempt(holder, attempt) {
            self.note(states);
            let locks = self.grant(holder, &mut news);
            self.settle(locks, &mut news);
            self.tell_new(states, &mut news);
        }
        news
    }

    /// A holder has not got what it tried to take, for at least one of the locks was not free.
    pub fn not_taken(&mut self, holder: &LockHolder, attempt: u64, states: &[SharedState]) -> LockNews {
        let mut news = LockNews::default();
        if !self.ends_attempt(holder, attempt) {
            return news;
        }
        self.note(states);
        for state in states {
            if let Some(shared) = self.lines.get_mut(&state.name).and_then(|line| line.shared.as_mut()) {
                shared.blocked = !state.free;
            }
        }
        let told = self.parties.get(holder).and_then(|party| party.told.clone());
        if told.is_none() || told != self.wait_of(holder) {
            self.tell_wait(holder, &mut news);
        }
        let waited = self.waited_locks(holder);
        self.settle(waited, &mut news);
        self.tell_new(states, &mut news);
        news
    }

    /// How locks are that were looked at.
    pub fn seen(&mut self, states: &[SharedState]) -> LockNews {
        let mut news = LockNews::default();
        self.note(states);
        self.tell_new(states, &mut news);
        news
    }

    /// A holder cannot have what it waits for in the database, now or later.
    pub fn refused(&mut self, holder: &LockHolder, message: &str) -> LockNews {
        let mut news = LockNews::default();
        if self.parties.get(holder).is_some_and(|party| party.waits.is_some()) {
            let touched = self.turn_away(holder, message.to_owned(), &mut news);
            self.settle(touched, &mut news);
        }
        news
    }

    /// A lock that a status holds is not its holder's in the database, and cannot be had again.
    pub fn lost(&mut self, holder: &LockHolder, lock: &LockName, message: &str) -> LockNews {
        let mut news = LockNews::default();
        if self.holds(holder, lock) {
            news.told.push((holder.clone(), LockAnswer::Lost { message: message.to_owned() }));
        }
        news
    }

    /// Whether somebody has a lock, as far as this driver knows.
    pub fn holds(&self, holder: &LockHolder, lock: &LockName) -> bool {
        self.parties.get(holder).is_some_and(|party| party.held.contains(lock))
    }

    /// The database says that somebody of ours has a lock who is not known to have it: it was got or let go of before a
    /// restart, and that was not written. It stays until it is asked for, or the workflow ends.
    pub fn found(&mut self, holder: LockHolder, lock: LockName) -> LockNews {
        let mut news = LockNews::default();
        self.hold(lock, holder, &mut news);
        news
    }

    /// The database cannot be asked, for this reason: everybody who waits for something in it is told.
    pub fn away(&mut self, reason: &str) -> LockNews {
        let mut news = LockNews::default();
        let waiting = self.waiting_for_shared();
        for holder in waiting {
            let waited = self.waited_locks(&holder);
            let (Some(lock), Some(mut wait)) = (waited.into_iter().find(LockName::is_shared), self.wait_of(&holder))
            else {
                continue;
            };
            wait.message = format!("Waiting for {lock} lock ({}): {reason}", lock.database_key());
            self.tell_once(holder, LockWait { lock, ..wait }, &mut news);
        }
        news
    }

    /// It can be asked again.
    pub fn back(&mut self) {
        for holder in self.waiting_for_shared() {
            if let Some(party) = self.parties.get_mut(&holder) {
                party.told = None;
            }
        }
    }

    /// Something may have changed in the database: those whose turn it is try again.
    pub fn look_again(&mut self) -> LockNews {
        let mut news = LockNews::default();
        let waited = self.lines.iter_mut().filter(|(_, line)| line.shared.is_some() && !line.queue.is_empty());
        let waited = waited.map(|(name, line)| {
            line.unblock();
            name.clone()
        });
        let waited = waited.collect();
        self.settle(waited, &mut news);
        news
    }

    /// It is a holder's turn here: it tries to take what is in the database, and keeps the place of the rest.
    pub(super) fn attempt(&mut self, holder: &LockHolder, news: &mut LockNews) {
        let Some(request) = self.shared_request(holder) else { return };
        self.attempts += 1;
        for name in self.waited_locks(holder) {
            if let Some(line) = self.lines.get_mut(&name) {
                line.reserved.insert(holder.clone());
            }
        }
        if let Some(party) = self.parties.get_mut(holder) {
            party.attempt = Some(self.attempts);
        }
        news.shared.push(SharedWork::Take { request, attempt: self.attempts });
    }

    /// Whether this attempt is still under way; it is not from here on.
    fn ends_attempt(&mut self, holder: &LockHolder, attempt: u64) -> bool {
        let Some(party) = self.parties.get_mut(holder).filter(|party| party.attempt == Some(attempt)) else {
            return false;
        };
        party.attempt = None;
        for name in self.waited_locks(holder) {
            if let Some(line) = self.lines.get_mut(&name) {
                line.reserved.remove(holder);
            }
        }
        true
    }

    /// What a holder waits for in the database.
    pub(super) fn shared_request(&self, holder: &LockHolder) -> Option<SharedRequest> {
        let (request, _) = self.parties.get(holder)?.waits.as_ref()?;
        let waited = self.waited_locks(holder);
        let locks = waited.iter().filter(|name| name.is_shared()).map(|name| self.shared_lock(name)).collect();
        let (priority, created) = (request.priority, request.created);
        Some(SharedRequest { holder: holder.clone(), locks, priority, created })
    }

    fn shared_lock(&self, name: &LockName) -> SharedLock {
        let limit = match self.lines.get(name).map(|line| line.limit) {
            Some(Limit::Known(limit)) => Some(limit),
            Some(Limit::Unknown) | None => None,
        };
        SharedLock { name: name.clone(), limit }
    }

    /// Somebody waits who has nothing to tell of locks in the database, and tries nothing that would tell of them.
    pub(super) fn look(&self, holder: &LockHolder, news: &mut LockNews) {
        let unknown = |name: &&LockName| {
            let line = self.lines.get(*name).filter(|line| line.shared.is_some() && line.reserved.is_empty());
            line.is_some_and(|line| line.limit == Limit::Unknown)
        };
        let waited = self.waited_locks(holder);
        let locks: Vec<SharedLock> = waited.iter().filter(unknown).map(|name| self.shared_lock(name)).collect();
        if !locks.is_empty() {
            news.shared.push(SharedWork::Look(locks));
        }
    }

    /// A holder has nothing to do with these any more. Those of them that are in the database are given up there.
    pub(super) fn give_up(&mut self, holder: &LockHolder, locks: &[LockName], news: &mut LockNews) {
        let locks: Vec<LockName> = locks.iter().filter(|name| name.is_shared()).cloned().collect();
        for name in &locks {
            let Some(line) = self.lines.get_mut(name) else { continue };
            line.unblock();
            if let Some(shared) = &mut line.shared {
                shared.holders.retain(|known| known != holder);
            }
        }
        if !locks.is_empty() {
            news.shared.push(SharedWork::GiveUp { holder: holder.clone(), locks });
        }
    }

    fn note(&mut self, states: &[SharedState]) {
        for state in states {
            let Some(line) = self.lines.get_mut(&state.name) else { continue };
            if let Some(shared) = &mut line.shared {
                line.limit = Limit::Known(state.limit);
                shared.holders.clone_from(&state.holders);
            }
        }
    }

    /// Those who wait for these locks and have not been told what for.
    fn tell_new(&mut self, states: &[SharedState], news: &mut LockNews) {
        let lines = states.iter().filter_map(|state| self.lines.get(&state.name));
        let untold = |holder: &&LockHolder| self.parties.get(*holder).is_some_and(|party| party.told.is_none());
        let untold: BTreeSet<LockHolder> = lines.flat_map(|line| line.queue.values()).filter(untold).cloned().collect();
        for holder in untold {
            if self.is_decided(&holder) {
                self.tell_wait(&holder, news);
            }
        }
    }

    fn tell_once(&mut self, holder: LockHolder, wait: LockWait, news: &mut LockNews) {
        let Some(party) = self.parties.get_mut(&holder).filter(|party| party.told.as_ref() != Some(&wait)) else {
            return;
        };
        party.told = Some(wait.clone());
        news.told.push((holder, LockAnswer::Waiting(wait)));
    }

    fn waiting_for_shared(&self) -> BTreeSet<LockHolder> {
        let lines = self.lines.values().filter(|line| line.shared.is_some());
        lines.flat_map(|line| line.queue.values()).cloned().collect()
    }
}
