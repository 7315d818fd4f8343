//! The table of locks: never more holders than a limit allows, nobody forgotten, each in turn, and the same after a restart.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tiphys_api::Workflow;
use tiphys_engine::{
    LockAnswer, LockHolder, LockKind, LockName, LockNews, LockRequest, LockState, Locks, NodeId, SharedState,
    SharedWork,
};

fn mutex(name: &str) -> LockName {
    LockName::Mutex { namespace: "ns".into(), name: name.into() }
}

fn semaphore(key: &str) -> LockName {
    LockName::ConfigMap { namespace: "ns".into(), name: "limits".into(), key: key.into() }
}

fn holder(workflow: &str, node: &str) -> LockHolder {
    let node = (!node.is_empty()).then(|| NodeId::from(node));
    LockHolder { workflow: format!("ns/{workflow}").into(), node }
}

fn request(holder: LockHolder, locks: &[LockName], priority: i64, created: i64) -> LockRequest {
    let created = Timestamp::from_second(created).expect("a time");
    LockRequest { holder, locks: locks.to_vec(), priority, created }
}

fn limits(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
}

/// What was told, in words.
fn told(news: LockNews) -> Vec<String> {
    let words = |(holder, answer): (LockHolder, LockAnswer)| match answer {
        LockAnswer::Granted => format!("{holder} granted"),
        LockAnswer::Waiting(wait) => format!("{holder} {}", wait.message),
        LockAnswer::Refused { message } => format!("{holder} refused: {message}"),
        LockAnswer::Lost { message } => format!("{holder} lost: {message}"),
    };
    news.told.into_iter().map(words).collect()
}

fn acquire(locks: &mut Locks, workflow: &str, names: &[LockName], priority: i64, created: i64) -> Vec<String> {
    told(locks.acquire(request(holder(workflow, ""), names, priority, created)))
}

#[test]
fn whoever_has_the_higher_priority_or_is_older_comes_first() {
    let (mut locks, m) = (Locks::default(), [mutex("m")]);
    const WAIT: &str = "Waiting for ns/Mutex/m lock. Lock status: 0/1";
    assert_eq!(acquire(&mut locks, "a", &m, 0, 9), ["ns/a granted"]);
    assert_eq!(acquire(&mut locks, "young", &m, 0, 8), [format!("ns/young {WAIT}")]);
    assert_eq!(acquire(&mut locks, "old", &m, 0, 2), [format!("ns/old {WAIT}")]);
    assert_eq!(acquire(&mut locks, "important", &m, 1, 9), [format!("ns/important {WAIT}")]);
    // Asking again changes nothing.
    assert_eq!(acquire(&mut locks, "a", &m, 0, 9), ["ns/a granted"]);
    assert_eq!(acquire(&mut locks, "old", &m, 0, 2), [format!("ns/old {WAIT}")]);
    assert_eq!(told(locks.release(&holder("a", ""))), ["ns/important granted"]);
    // Whoever gives up his place is not told.
    assert_eq!(told(locks.release(&holder("old", ""))), [""; 0]);
    // A priority may change while one waits.
    assert_eq!(acquire(&mut locks, "later", &m, 0, 3), [format!("ns/later {WAIT}")]);
    assert_eq!(acquire(&mut locks, "young", &m, 2, 8), [format!("ns/young {WAIT}")]);
    assert_eq!(told(locks.forget("ns/important")), ["ns/young granted"]);
    assert_eq!(told(locks.forget("ns/young")), ["ns/later granted"]);
    assert_eq!(told(locks.forget("ns/later")), [""; 0]);
    assert_eq!(locks.states().count(), 0);
}

#[test]
fn several_locks_are_had_together_or_not_at_all() {
    let mut locks = Locks::default();
    assert_eq!(acquire(&mut locks, "one", &[mutex("a")], 0, 1), ["ns/one granted"]);
    let waits = "ns/both Waiting for ns/Mutex/a lock. Lock status: 0/1";
    assert_eq!(acquire(&mut locks, "both", &[mutex("b"), mutex("a")], 0, 2), [waits]);
    // It has not got the one that is free, but is first in line for it.
    let behind = "ns/late Waiting for ns/Mutex/b lock. Lock status: 1/1";
    assert_eq!(acquire(&mut locks, "late", &[mutex("b")], 0, 3), [behind]);
    assert_eq!(told(locks.release(&holder("one", ""))), ["ns/both granted"]);
    assert_eq!(told(locks.release(&holder("both", ""))), ["ns/late granted"]);
}

#[test]
fn nobody_stands_behind_somebody_who_waits_for_him() {
    let mut locks = Locks::default();
    assert_eq!(told(locks.acquire(request(holder("x", "outside"), &[mutex("outer")], 0, 5))), ["ns/x/outside granted"]);
    assert_eq!(acquire(&mut locks, "y", &[mutex("outer"), mutex("inner")], 9, 1).len(), 1);
    // It is y's turn for `inner`; but y waits for what x holds, and x cannot let go of it without `inner`.
    assert_eq!(told(locks.acquire(request(holder("x", "inside"), &[mutex("inner")], 0, 5))), ["ns/x/inside granted"]);
    assert_eq!(told(locks.release(&holder("x", "inside"))), [""; 0]);
    assert_eq!(told(locks.release(&holder("x", "outside"))), ["ns/y granted"]);
}

#[test]
fn limits_are_read_once_and_may_change() {
    let mut locks = Locks::default();
    let names = [semaphore("k")];
    let first = locks.acquire(request(holder("a", ""), &names, 0, 1));
    assert_eq!(first.limits, [("ns".to_string(), "limits".to_string())]);
    assert!(first.told.is_empty());
    let second = locks.acquire(request(holder("b", ""), &names, 0, 2));
    assert!(second.limits.is_empty() && second.told.is_empty());
    assert!(locks.reads("ns", "limits") && !locks.reads("ns", "limit") && !locks.reads("other", "limits"));
    let wait =
        |who: &str, status: &str| format!("ns/{who} Waiting for ns/ConfigMap/limits/k lock. Lock status: {status}");
    let set = |locks: &mut Locks, value: &str| told(locks.config_map("ns", "limits", Some(&limits(&[("k", value)]))));
    assert_eq!(set(&mut locks, "1"), ["ns/a granted".to_string(), wait("b", "0/1")]);
    assert_eq!(acquire(&mut locks, "c", &names, 0, 3), [wait("c", "0/1")]);
    assert_eq!(set(&mut locks, "1"), [""; 0]);
    assert_eq!(set(&mut locks, "2"), ["ns/b granted".to_string(), wait("c", "0/2")]);
    // Nobody is evicted, and nobody comes in until there is room again.
    assert_eq!(set(&mut locks, "1"), [wait("c", "-1/1")]);
    assert_eq!(told(locks.release(&holder("a", ""))), [""; 0]);
    // What cannot be read leaves the limit as it was; 0 does not.
    assert_eq!(set(&mut locks, "many"), [""; 0]);
    assert_eq!(told(locks.config_map("ns", "limits", None)), [""; 0]);
    assert_eq!(set(&mut locks, "0"), ["ns/c Failed to get semaphore limit for ns/ConfigMap/limits/k"]);
    assert_eq!(told(locks.release(&holder("b", ""))), [""; 0]);
    assert_eq!(set(&mut locks, "+3"), ["ns/c granted"]);
}

#[test]
fn a_lock_that_cannot_be_is_refused() {
    let names = [mutex("m"), semaphore("k")];
    const REFUSED: &str = "refused: failed to initialize semaphore ns/ConfigMap/limits/k with limit";
    for data in [None, Some(limits(&[])), Some(limits(&[("k", "x")])), Some(limits(&[("k", "0")]))] {
        let mut locks = Locks::default();
        assert!(locks.acquire(request(holder("a", ""), &names, 0, 1)).told.is_empty());
        assert!(locks.acquire(request(holder("b", ""), &names[..1], 0, 2)).told.len() == 1);
        // Whoever stood behind it for another lock goes on.
        let news = told(locks.config_map("ns", "limits", data.as_ref()));
        assert_eq!(news, [format!("ns/a {REFUSED}"), "ns/b granted".to_string()]);
    }
    // Whoever gives up before the limit is known leaves nothing.
    let mut locks = Locks::default();
    assert_eq!(locks.acquire(request(holder("a", ""), &names, 0, 1)).limits.len(), 1);
    assert_eq!(told(locks.release(&holder("a", ""))), [""; 0]);
    assert_eq!(locks.states().count(), 0);
    assert_eq!(told(locks.config_map("ns", "limits", None)), [""; 0]);
    let database = [LockName::parse("ns/Database/d", LockKind::Semaphore).expect("a name")];
    let refused = "ns/a refused: database session is not available for semaphore ns/Database/d";
    assert_eq!(acquire(&mut locks, "a", &database, 0, 1), [refused]);
    assert_eq!(locks.states().count(), 0);
}

fn shared(key: &str) -> LockName {
    LockName::Database { namespace: "ns".into(), key: key.into(), kind: LockKind::Mutex }
}

fn with_database() -> Locks {
    let mut locks = Locks::default();
    locks.set_database(true);
    locks
}

/// What is wanted of the database, in words; and the last attempt.
fn wanted(news: &LockNews) -> (Vec<String>, u64) {
    let names = |locks: &[LockName]| locks.iter().map(LockName::database_key).collect::<Vec<_>>().join(" ");
    let mut last = 0;
    let words = news.shared.iter().map(|work| match work {
        SharedWork::Queue(request) => format!("queue {}", request.holder),
        SharedWork::Take { request, attempt } => {
            last = *attempt;
            format!("take {}", request.holder)
        }
        SharedWork::Look(locks) => format!("look {}", locks[0].name.database_key()),
        SharedWork::GiveUp { holder, locks } => format!("give up {holder} {}", names(locks)),
        SharedWork::Keep { holder, lock } => format!("keep {holder} {}", lock.database_key()),
    });
    (words.collect(), last)
}

fn state_of(name: &LockName, holders: &[&str], free: bool) -> SharedState {
    let holders = holders.iter().map(|text| LockHolder::parse(text).expect("a holder")).collect();
    SharedState { name: name.clone(), limit: 1, holders, free }
}

#[test]
fn whoever_is_next_here_tries_the_database_and_passes_on_what_it_lets_go_of() {
    let (mut locks, d) = (with_database(), shared("d"));
    let news = locks.acquire(request(holder("a", ""), std::slice::from_ref(&d), 0, 1));
    let (words, attempt) = wanted(&news);
    assert_eq!(words, ["queue ns/a", "take ns/a"]);
    // Somebody who comes meanwhile stands in line there as well; nothing is told before it is known.
    let news = locks.acquire(request(holder("b", ""), std::slice::from_ref(&d), 0, 2));
    assert_eq!((wanted(&news).0, told(news)), (vec!["queue ns/b".to_string()], vec![]));
    let news = locks.taken(&holder("a", ""), attempt, &[state_of(&d, &["ns/a"], true)]);
    let (_, next) = wanted(&news);
    assert_eq!((wanted(&news).0, told(news)), (vec!["take ns/b".to_string()], vec!["ns/a granted".to_string()]));
    const WAIT: &str = "ns/b Waiting for ns/Database/d lock (mtx/ns/d). Lock status: 1/1";
    let full = [state_of(&d, &["ns/a"], false)];
    assert_eq!(told(locks.not_taken(&holder("b", ""), next, &full)), [WAIT]);
    // It is tried again when something may have changed there, and the same is not told twice.
    let news = locks.look_again();
    let (words, next) = wanted(&news);
    assert_eq!(words, ["take ns/b"]);
    assert_eq!(told(locks.not_taken(&holder("b", ""), next, &full)), [""; 0]);
    // What is let go of here is tried at once, behind letting go of it.
    let news = locks.release(&holder("a", ""));
    let (words, next) = wanted(&news);
    assert_eq!(words, ["give up ns/a mtx/ns/d", "take ns/b"]);
    // An answer to what is no longer asked changes nothing.
    assert_eq!(told(locks.taken(&holder("b", ""), next - 1, &[])), [""; 0]);
    assert_eq!(told(locks.taken(&holder("b", ""), next, &[state_of(&d, &["ns/b"], true)])), ["ns/b granted"]);
    assert_eq!(wanted(&locks.forget("ns/b")).0, ["give up ns/b mtx/ns/d"]);
    assert_eq!(locks.states().count(), 0);
}

#[test]
fn what_is_here_is_kept_while_the_database_is_asked_and_not_longer() {
    let (mut locks, d, m) = (with_database(), shared("d"), mutex("m"));
    let both = [d.clone(), m.clone()];
    let (_, attempt) = wanted(&locks.acquire(request(holder("both", ""), &both, 0, 1)));
    let wait = "Waiting for ns/Mutex/m lock. Lock status: 0/1";
    assert_eq!(acquire(&mut locks, "own", &[mutex("m")], 0, 2), [format!("ns/own {wait}")]);
    let busy = [state_of(&d, &["other/x"], false)];
    let news = told(locks.not_taken(&holder("both", ""), attempt, &busy));
    assert_eq!(news, ["ns/both Waiting for ns/Database/d lock (mtx/ns/d). Lock status: 1/1"]);
    // It does not hold the other one meanwhile, but is first in line for it.
    let held: usize = locks.states().map(|state| state.holders.len()).sum();
    assert_eq!(held, 0);
    // Who goes away while the database is asked leaves nothing, whatever the answer is.
    let (_, attempt) = wanted(&locks.look_again());
    let news = locks.release(&holder("both", ""));
    assert_eq!((wanted(&news).0, told(news)), (vec!["give up ns/both mtx/ns/d".into()], vec!["ns/own granted".into()]));
    assert_eq!(told(locks.taken(&holder("both", ""), attempt, &busy)), [""; 0]);
    // Who waits for something here is told what it waits for when the database's part is known.
    let news = locks.acquire(request(holder("both", ""), &both, 0, 3));
    assert_eq!(wanted(&news).0, ["queue ns/both", "look mtx/ns/d"]);
    assert_eq!(told(locks.seen(&busy)), [format!("ns/both {wait}")]);
    let (words, attempt) = wanted(&locks.release(&holder("own", "")));
    assert_eq!(words, ["take ns/both"]);
    assert_eq!(told(locks.taken(&holder("both", ""), attempt, &busy)), ["ns/both granted"]);
    assert!(both.iter().all(|lock| locks.holds(&holder("both", ""), lock)));
}

#[test]
fn a_database_that_is_away_keeps_everybody_waiting() {
    let (mut locks, d) = (with_database(), shared("d"));
    let (_, attempt) = wanted(&locks.acquire(request(holder("a", ""), std::slice::from_ref(&d), 0, 1)));
    drop(locks.acquire(request(holder("b", ""), std::slice::from_ref(&d), 0, 2)));
    let words = |name: &str| format!("ns/{name} Waiting for ns/Database/d lock (mtx/ns/d): it is away");
    assert_eq!(told(locks.away("it is away")), [words("a"), words("b")]);
    assert_eq!(told(locks.away("it is away")), [""; 0]);
    locks.back();
    let news = told(locks.not_taken(&holder("a", ""), attempt, &[state_of(&d, &["other/x"], false)]));
    let waits = |name: &str| format!("ns/{name} Waiting for ns/Database/d lock (mtx/ns/d). Lock status: 1/1");
    assert_eq!(news, [waits("a"), waits("b")]);
    assert_eq!(told(locks.refused(&holder("a", ""), "no")), ["ns/a refused: no"]);
    assert_eq!(told(locks.refused(&holder("a", ""), "no")), [""; 0]);
}

#[test]
fn what_a_status_holds_in_the_database_is_asked_of_it() {
    let (mut locks, news) =
        restored(&json!({"mutex": {"holding": [{"mutex": "ns/Database/d", "holder": "ns/wf/n1"}]}}));
    locks.set_database(true);
    assert_eq!(wanted(&news).0, ["keep ns/wf/n1 mtx/ns/d"]);
    let n1 = holder("wf", "n1");
    assert_eq!(told(locks.lost(&n1, &shared("d"), "gone")), ["ns/wf/n1 lost: gone"]);
    assert_eq!(wanted(&locks.forget("ns/wf")).0, ["give up ns/wf/n1 mtx/ns/d"]);
    assert_eq!(told(locks.lost(&n1, &shared("d"), "gone")), [""; 0]);
    // What the database has of somebody who asks for it again is his.
    drop(locks.found(n1.clone(), shared("d")));
    assert_eq!(told(locks.acquire(request(n1, &[shared("d")], 0, 1))), ["ns/wf/n1 granted"]);
}

fn restored(status: &Value) -> (Locks, LockNews) {
    let object = json!({"metadata": {"name": "wf", "namespace": "ns"},
        "spec": {"synchronization": {"mutexes": [{"name": "own"}]}}, "status": {"synchronization": status}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let mut locks = Locks::default();
    let news = locks.restore(&workflow);
    (locks, news)
}

#[test]
fn what_a_status_holds_is_held_whatever_the_limits_are() {
    let status = json!({
        "mutex": {"holding": [{"mutex": "ns/Mutex/m", "holder": "ns/wf/n1"}, {"mutex": "ns/Mutex/own", "holder": "wf"},
            {"mutex": "ns/Mutex/old", "holder": "wf-7"}, {"mutex": "what?", "holder": "ns/wf"}]},
        "semaphore": {"holding": [{"semaphore": "ns/ConfigMap/limits/k", "holders": ["ns/wf/n1", "ns/wf/n2"]}],
            "waiting": [{"semaphore": "ns/ConfigMap/limits/w", "holders": ["ns/other"]}]}});
    let (mut locks, news) = restored(&status);
    assert_eq!(news.limits, [("ns".to_string(), "limits".to_string())]);
    let shown: Vec<String> = locks
        .states()
        .map(|state| {
            format!("{} {}", state.name, state.holders.iter().map(LockHolder::to_string).collect::<Vec<_>>().join(","))
        })
        .collect();
    // The old short holders of Argo are a workflow where the workflow needs the lock, else a node.
    let expected = [
        "ns/Mutex/m ns/wf/n1",
        "ns/Mutex/old ns/wf/wf-7",
        "ns/Mutex/own ns/wf",
        "ns/ConfigMap/limits/k ns/wf/n1,ns/wf/n2",
    ];
    assert_eq!(shown, expected);
    let wait = "Waiting for ns/ConfigMap/limits/k lock. Lock status: 0/1";
    assert!(acquire(&mut locks, "other", &[semaphore("k")], 0, 1).is_empty());
    assert_eq!(
        told(locks.config_map("ns", "limits", Some(&limits(&[("k", "1")])))),
        [format!("ns/other {}", wait.replace("0/1", "-1/1"))]
    );
    // Asking again for what one has is granted at once.
    let again = request(holder("wf", "n1"), &[semaphore("k"), mutex("m")], 0, 1);
    assert_eq!(told(locks.acquire(again)), ["ns/wf/n1 granted"]);
    assert_eq!(told(locks.release(&holder("wf", "n1"))), [""; 0]);
    assert_eq!(told(locks.forget("ns/wf")), ["ns/other granted"]);
}

#[test]
fn a_limit_that_is_gone_keeps_others_waiting_while_somebody_holds_the_lock() {
    let held = json!({"semaphore": {"holding": [{"semaphore": "ns/ConfigMap/limits/k", "holders": ["ns/wf"]}]}});
    let (mut locks, _) = restored(&held);
    assert!(acquire(&mut locks, "other", &[semaphore("k")], 0, 1).is_empty());
    assert_eq!(
        told(locks.config_map("ns", "limits", None)),
        ["ns/other Failed to get semaphore limit for ns/ConfigMap/limits/k"]
    );
    assert_eq!(told(locks.forget("ns/wf")), [""; 0]);
    assert_eq!(told(locks.config_map("ns", "limits", Some(&limits(&[("k", "1")])))), ["ns/other granted"]);
}

/// Something that happens to the table.
#[derive(Clone, Debug)]
enum Step {
    Acquire { workflow: u8, node: u8, locks: Vec<u8>, priority: u8 },
    Release { workflow: u8, node: u8 },
    Forget { workflow: u8 },
    Limit { key: u8, limit: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8, 0..3_u8, vec(0..5_u8, 1..4), 0..3_u8)
            .prop_map(|(workflow, node, locks, priority)| Step::Acquire { workflow, node, locks, priority }),
        5 => (0..4_u8, 0..3_u8).prop_map(|(workflow, node)| Step::Release { workflow, node }),
        1 => (0..4_u8).prop_map(|workflow| Step::Forget { workflow }),
        1 => (0..2_u8, 1..4_u8).prop_map(|(key, limit)| Step::Limit { key, limit }),
    ]
}

/// The table, and what its workflows believe.
#[derive(Default)]
struct Driver {
    locks: Locks,
    data: BTreeMap<String, String>,
    granted: BTreeMap<LockHolder, Vec<LockName>>,
    waiting: BTreeMap<LockHolder, LockRequest>,
}

impl Driver {
    fn new() -> Driver {
        Driver { data: limits(&[("0", "1"), ("1", "2")]), ..Driver::default() }
    }

    fn name(number: u8) -> LockName {
        if number < 3 { mutex(&number.to_string()) } else { semaphore(&(number - 3).to_string()) }
    }

    /// Where the ids are numbers: an id for each, the workflow's age being its number.
    fn holder(workflow: u8, node: u8) -> LockHolder {
        holder(&format!("w{workflow}"), &if node == 0 { String::new() } else { format!("n{node}") })
    }

    fn take(&mut self, news: LockNews) {
        for (holder, answer) in news.told {
            match answer {
                LockAnswer::Granted => {
                    // Nobody is granted what he does not wait for, but for those who ask again.
                    if let Some(request) = self.waiting.remove(&holder) {
                        self.granted.insert(holder, request.locks);
                    } else {
                        assert!(self.granted.contains_key(&holder), "{holder} was granted what it did not ask for");
                    }
                }
                LockAnswer::Waiting(_) => assert!(self.waiting.contains_key(&holder), "{holder} does not wait"),
                LockAnswer::Refused { message } | LockAnswer::Lost { message } => panic!("{holder}: {message}"),
            }
        }
        for (namespace, name) in news.limits {
            let news = self.locks.config_map(&namespace, &name, Some(&self.data));
            self.take(news);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Acquire { workflow, node, locks, priority } => {
                let holder = Driver::holder(*workflow, *node);
                let mut names: Vec<LockName> = Vec::new();
                for name in locks.iter().map(|number| Driver::name(*number)) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                // A holder asks again for what it has, or waits for: its locks do not change on the way.
                let known = self.granted.get(&holder).cloned();
                let known = known.or_else(|| self.waiting.get(&holder).map(|request| request.locks.clone()));
                let request =
                    request(holder.clone(), &known.unwrap_or(names), i64::from(*priority), i64::from(*workflow));
                if !self.granted.contains_key(&holder) {
                    self.waiting.insert(holder, request.clone());
                }
                let news = self.locks.acquire(request);
                self.take(news);
            }
            Step::Release { workflow, node } => self.release(&Driver::holder(*workflow, *node)),
            Step::Forget { workflow } => {
                for node in 0..3 {
                    let holder = Driver::holder(*workflow, node);
                    self.granted.remove(&holder);
                    self.waiting.remove(&holder);
                }
                let news = self.locks.forget(&format!("ns/w{workflow}"));
                self.take(news);
            }
            Step::Limit { key, limit } => {
                self.data.insert(key.to_string(), limit.to_string());
                if self.locks.reads("ns", "limits") {
                    let news = self.locks.config_map("ns", "limits", Some(&self.data));
                    self.take(news);
                }
            }
        }
    }

    fn release(&mut self, holder: &LockHolder) {
        self.granted.remove(holder);
        self.waiting.remove(holder);
        let news = self.locks.release(holder);
        self.take(news);
    }

    fn states(&self) -> Vec<LockState> {
        self.locks.states().collect()
    }

    /// Whether workflows wait in a circle for locks that others of them hold.
    fn has_circle(&self) -> bool {
        let states = self.states();
        let is_full = |state: &LockState| state.limit.is_none_or(|limit| state.holders.len() as i64 >= limit);
        let mut waits_for: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (holder, request) in &self.waiting {
            let full = states.iter().filter(|state| request.locks.contains(&state.name) && is_full(state));
            let holders = full.flat_map(|state| &state.holders).map(|holder| &*holder.workflow);
            waits_for.entry(&*holder.workflow).or_default().extend(holders);
        }
        // Whoever waits for nobody who waits goes on; what is left over is in a circle, or behind one.
        loop {
            let waiting: BTreeSet<&str> = waits_for.keys().copied().collect();
            let before = waits_for.len();
            waits_for.retain(|_, others| !others.is_disjoint(&waiting));
            if waits_for.len() == before {
                return before > 0;
            }
        }
    }

    /// The table and its workflows agree; limits hold; nobody waits who could go on.
    fn check(&self, shrunk: bool) -> Result<(), TestCaseError> {
        let states = self.states();
        let mut held: BTreeMap<LockHolder, BTreeSet<LockName>> = BTreeMap::new();
        for state in &states {
            let count = i64::try_from(state.holders.len()).unwrap_or(i64::MAX);
            prop_assert!(shrunk || state.limit.is_some_and(|limit| count <= limit), "{state:?}");
            for holder in &state.holders {
                held.entry(holder.clone()).or_default().insert(state.name.clone());
            }
        }
        let granted: BTreeMap<LockHolder, BTreeSet<LockName>> =
            self.granted.iter().map(|(holder, locks)| (holder.clone(), locks.iter().cloned().collect())).collect();
        prop_assert_eq!(&held, &granted);
        let free = |name: &LockName| {
            let state = states.iter().find(|state| state.name == *name);
            state.is_none_or(|state| state.limit.is_some_and(|limit| (state.holders.len() as i64) < limit))
        };
        let first = |name: &LockName, holder: &LockHolder| {
            let state = states.iter().find(|state| state.name == *name);
            state.is_none_or(|state| state.waiting.first() == Some(holder))
        };
        for (holder, request) in &self.waiting {
            let could = request.locks.iter().all(|name| free(name) && first(name, holder));
            prop_assert!(!could, "{holder} waits although it is its turn and everything is free: {states:?}");
        }
        Ok(())
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn limits_hold_and_nobody_is_forgotten(steps in vec(step(), 1..60)) {
        let mut driver = Driver::new();
        let mut shrunk = false;
        for step in &steps {
            shrunk |= matches!(step, Step::Limit { .. });
            driver.step(step);
            driver.check(shrunk)?;
        }
        // Whoever holds something lets go of it in the end: then everybody gets his turn.
        while let Some(holder) = driver.granted.keys().next().cloned() {
            driver.release(&holder);
            driver.check(shrunk)?;
        }
        prop_assert!(driver.waiting.is_empty(), "{:?}", driver.waiting);
        prop_assert!(driver.states().is_empty());
    }

    #[test]
    fn nobody_waits_for_ever_unless_workflows_hold_what_each_other_need(steps in vec(step(), 1..60)) {
        let mut driver = Driver::new();
        steps.iter().filter(|step| !matches!(step, Step::Limit { .. })).for_each(|step| driver.step(step));
        // A workflow lets go of what it has once none of its holders waits.
        loop {
            let waits = |holder: &LockHolder| driver.waiting.keys().any(|waiting| waiting.workflow == holder.workflow);
            let Some(done) = driver.granted.keys().find(|holder| !waits(holder)).cloned() else { break };
            driver.release(&done);
        }
        prop_assert!(driver.waiting.is_empty() || driver.has_circle(), "{:?} in {:?}", driver.waiting, driver.states());
    }

    #[test]
    fn a_restart_changes_nothing(steps in vec(step(), 1..60)) {
        let mut driver = Driver::new();
        steps.iter().for_each(|step| driver.step(step));
        let before = driver.states();
        // Statuses hold what is held; who waits asks again, in whatever order.
        let mut again = Driver { data: driver.data.clone(), granted: driver.granted.clone(), ..Driver::default() };
        for number in 0..4 {
            let workflow = status_of(&format!("w{number}"), &driver.granted);
            let news = again.locks.restore(&workflow);
            again.take(news);
        }
        let mut waiting: Vec<(LockHolder, LockRequest)> = driver.waiting.clone().into_iter().collect();
        let turn = |holder: &LockHolder| {
            before.iter().find_map(|state| state.waiting.iter().position(|waiting| waiting == holder))
        };
        waiting.sort_by_key(|(holder, request)| (std::cmp::Reverse(request.priority), request.created, turn(holder)));
        for (holder, request) in waiting {
            again.waiting.insert(holder, request.clone());
            let news = again.locks.acquire(request);
            again.take(news);
        }
        prop_assert_eq!(&again.granted, &driver.granted);
        let holders = |states: Vec<LockState>| -> Vec<(LockName, Vec<LockHolder>, BTreeSet<LockHolder>)> {
            states.into_iter().map(|one| (one.name, one.holders, one.waiting.into_iter().collect())).collect()
        };
        prop_assert_eq!(holders(again.states()), holders(before));
        again.check(true)?;
    }
}

/// Found by [`a_restart_changes_nothing`]: who waits elsewhere behind somebody that waits for him was not looked at again.
#[test]
fn who_gets_a_lock_passes_those_that_now_wait_for_him() {
    let mut driver = Driver::new();
    let acquire =
        |workflow, node, locks: &[u8], priority| Step::Acquire { workflow, node, locks: locks.to_vec(), priority };
    for step in [
        acquire(0, 0, &[1, 0], 0),
        acquire(2, 2, &[0], 0),
        acquire(2, 0, &[1], 1),
        acquire(0, 1, &[1, 0], 0),
        Step::Release { workflow: 0, node: 0 },
    ] {
        driver.step(&step);
    }
    let granted: Vec<&LockHolder> = driver.granted.keys().collect();
    assert_eq!(granted, [&Driver::holder(2, 0), &Driver::holder(2, 2)]);
}

/// A workflow whose status holds what the engine would have written.
fn status_of(name: &str, granted: &BTreeMap<LockHolder, Vec<LockName>>) -> Workflow {
    let own = granted.iter().filter(|(holder, _)| *holder.workflow == format!("ns/{name}"));
    let mut mutexes = Vec::new();
    let mut semaphores: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (holder, locks) in own {
        for lock in locks {
            match lock {
                LockName::Mutex { .. } => {
                    mutexes.push(json!({"mutex": lock.to_string(), "holder": holder.to_string()}));
                }
                _ => semaphores.entry(lock.to_string()).or_default().push(holder.to_string()),
            }
        }
    }
    let semaphores: Vec<Value> =
        semaphores.iter().map(|(name, holders)| json!({"semaphore": name, "holders": holders})).collect();
    let object = json!({"metadata": {"name": name, "namespace": "ns"}, "status": {"synchronization":
        {"mutex": {"holding": mutexes}, "semaphore": {"holding": semaphores}}}});
    serde_json::from_value(object).expect("a workflow")
}
