//! A run that is asked what follows until it needs to know nothing more.

use jiff::Timestamp;
use tiphys_engine::{Fact, Need, Plan, Run};

/// Plans at a moment, tells what the engine needs to know, and plans again, until it needs nothing. Gives the last plan, with the
/// actions of all.
pub fn settle(run: &mut Run, now: Timestamp, mut answer: impl FnMut(Need) -> Fact) -> Plan {
    let mut actions = Vec::new();
    loop {
        let mut plan = run.plan(now);
        actions.append(&mut plan.actions);
        if plan.needs.is_empty() {
            return Plan { actions, ..plan };
        }
        for need in plan.needs {
            run.observe(answer(need), now);
        }
    }
}

/// Where there is no ConfigMap, and nothing else is asked for.
///
/// # Panics
/// When something else is.
pub fn no_config_map(need: Need) -> Fact {
    let Need::ConfigMap { namespace, name } = need else { panic!("{need:?}") };
    Fact::ConfigMap { namespace, name, found: Ok(None) }
}
