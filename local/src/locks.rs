//! The locks of a run: the table is the run's own, so that its steps exclude each other and no other run's. Limits of
//! semaphores are in ConfigMaps among its documents.

use tiphys_api::Workflow;
use tiphys_engine::{Fact, LockHolder, LockNews, LockRequest, Locks};

use crate::documents::{Documents, engine_data};

/// The table of locks, as the driver uses it: what follows comes as facts for the engine.
pub(crate) struct RunLocks {
    table: Locks,
}

impl RunLocks {
    /// The table as a run's status left it.
    pub fn of(workflow: &Workflow, documents: &Documents) -> RunLocks {
        let mut locks = RunLocks { table: Locks::default() };
        let news = locks.table.restore(workflow);
        // Nobody has asked for anything yet, so that nobody is told anything.
        locks.facts(news, documents);
        locks
    }

    pub fn acquire(&mut self, request: LockRequest, documents: &Documents) -> Vec<Fact> {
        let news = self.table.acquire(request);
        self.facts(news, documents)
    }

    pub fn release(&mut self, holder: &LockHolder, documents: &Documents) -> Vec<Fact> {
        let news = self.table.release(holder);
        self.facts(news, documents)
    }

    fn facts(&mut self, news: LockNews, documents: &Documents) -> Vec<Fact> {
        let of_one = |(holder, answer)| Fact::Locks { holder, answer };
        let mut facts: Vec<Fact> = news.told.into_iter().map(of_one).collect();
        let mut limits = news.limits;
        while let Some((namespace, name)) = limits.pop() {
            let data = documents.config_map(&name).map(engine_data).map(|map| map.data);
            let news = self.table.config_map(&namespace, &name, data.as_ref());
            facts.extend(news.told.into_iter().map(of_one));
            limits.extend(news.limits);
        }
        facts
    }
}
