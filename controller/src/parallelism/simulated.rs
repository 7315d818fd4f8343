//! Admissions in a simulated cluster: what the watch tells comes late, steps are taken in any order, and the first shard's
//! holder may die at any moment.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use proptest::prelude::*;
use tiphys_contract::label;
use tiphys_kubernetes::{Event, Metadata, ObjectMeta};

use super::admissions::{Admissions, Answer, Named, Request, Step};
use super::places::{AllLimits, Limits};

/// A workflow as the API server has it.
#[derive(Clone, Default)]
struct Workflow {
    uid: String,
    version: u64,
    priority: i64,
    phase: &'static str,
    admitted: bool,
    terminated: bool,
}

impl Workflow {
    fn has_place(&self) -> bool {
        self.admitted || self.phase == "Running"
    }

    fn told(&self, name: &str) -> ObjectMeta {
        let mut labels = BTreeMap::new();
        if !self.phase.is_empty() {
            labels.insert(label::PHASE.to_owned(), self.phase.to_owned());
        }
        if self.admitted {
            labels.insert(label::ADMITTED.to_owned(), self.uid.clone());
        }
        let metadata = Metadata {
            name: name.into(),
            namespace: "n".into(),
            uid: self.uid.clone(),
            resource_version: self.version.to_string(),
            labels,
            ..Metadata::default()
        };
        ObjectMeta { metadata }
    }

    fn request(&self) -> Request {
        Request {
            version: self.version.to_string(),
            priority: self.priority,
            created: Timestamp::UNIX_EPOCH,
            goes_on: self.phase == "Running" || self.terminated,
            is_new: self.phase.is_empty(),
        }
    }
}

/// The API server, and the first shard's holder.
struct World {
    workflows: BTreeMap<String, Workflow>,
    version: u64,
    admissions: Admissions,
    untold: VecDeque<Event<ObjectMeta>>,
    steps: Vec<Step>,
    answers: Vec<Answer>,
    limit: usize,
    /// The most that may have a place now: a limit that was lowered ends nobody.
    most: usize,
}

fn limits(total: usize) -> AllLimits {
    AllLimits { configured: Limits { total, namespace: 0 }, are_known: true, ..AllLimits::default() }
}

impl World {
    fn new(limit: usize) -> World {
        let mut world = World {
            workflows: BTreeMap::new(),
            version: 0,
            admissions: Admissions::default(),
            untold: VecDeque::new(),
            steps: Vec::new(),
            answers: Vec::new(),
            limit,
            most: limit,
        };
        world.take_over();
        world
    }

    /// Another one holds the first shard, and knows what it reads.
    fn take_over(&mut self) {
        self.admissions = Admissions::new(limits(self.limit));
        self.steps.clear();
        self.answers.clear();
        let all = self.workflows.iter().map(|(name, one)| one.told(name)).collect();
        self.untold = [Event::Page(all), Event::Listed].into();
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Workflow)) {
        let Some(one) = self.workflows.get_mut(name) else { return };
        self.version += 1;
        change(one);
        one.version = self.version;
        self.untold.push_back(Event::Applied(one.told(name)));
    }

    fn create(&mut self, name: String, priority: i64) {
        if !self.workflows.contains_key(&name) {
            let uid = format!("uid-{}", self.version);
            self.workflows.insert(name.clone(), Workflow { uid, ..Workflow::default() });
            self.change(&name, |one| one.priority = priority);
        }
    }

    /// It is over, or deleted.
    fn leave(&mut self, name: &str) {
        if let Some(one) = self.workflows.remove(name) {
            self.untold.push_back(Event::Deleted(one.told(name)));
        }
    }

    fn hear(&mut self) {
        if let Some(event) = self.untold.pop_front() {
            let steps = self.admissions.observe(event);
            self.steps.extend(steps);
        }
    }

    fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.most = self.most.max(limit);
        let steps = self.admissions.limit(limits(limit));
        self.steps.extend(steps);
    }

    fn find(&self, named: &Named) -> Option<&Workflow> {
        self.workflows.get(&named.key.1).filter(|one| one.uid == named.uid)
    }

    /// Takes one of the steps that are under way.
    fn step(&mut self, chance: usize) {
        if self.steps.is_empty() {
            return;
        }
        match self.steps.swap_remove(chance % self.steps.len()) {
            Step::Read(named) => {
                let request = self.find(&named).map(Workflow::request);
                self.answers.push(Answer::Read(named, request));
            }
            Step::Postpone(named, version) => {
                let is_same = self.find(&named).is_some_and(|one| one.version.to_string() == version);
                let written = is_same.then(|| {
                    self.change(&named.key.1, |one| one.phase = "Pending");
                    self.version.to_string()
                });
                self.answers.push(Answer::Postponed(named, written));
            }
            Step::Admit(named) => {
                if self.find(&named).is_some() {
                    self.change(&named.key.1, |one| one.admitted = true);
                }
            }
        }
    }

    fn answer(&mut self, chance: usize) {
        if !self.answers.is_empty() {
            let answer = self.answers.swap_remove(chance % self.answers.len());
            let steps = self.admissions.answered(answer);
            self.steps.extend(steps);
        }
    }

    /// Whoever drives a workflow begins it or ends it.
    fn drive(&mut self, name: &str) {
        let Some(one) = self.workflows.get(name) else { return };
        if one.phase == "Running" {
            self.leave(name);
        } else if one.admitted {
            self.change(name, |one| one.phase = "Running");
        }
    }

    fn act(&mut self, what: u8, chance: usize) {
        let name = format!("w{}", chance % 7);
        match what {
            0..=2 => self.create(name, (chance % 3) as i64),
            3..=6 => self.hear(),
            7..=10 => self.step(chance),
            11..=14 => self.answer(chance),
            15..=16 => self.drive(&name),
            17 => self.change(&name, |one| one.priority += 1),
            18 => self.leave(&name),
            19 => self.change(&name, |one| one.terminated = true),
            20 => {
                // What was asked for at last may have been done or not.
                let admitted = |step: &Step| matches!(step, Step::Admit(_));
                while let Some(index) = self.steps.iter().position(admitted).filter(|_| chance.is_multiple_of(2)) {
                    self.step(index);
                }
                self.take_over();
            }
            _ => self.set_limit(1 + chance % 4),
        }
    }

    /// How many have a place that needed one.
    fn placed(&self) -> usize {
        self.workflows.values().filter(|one| one.has_place() && !one.terminated).count()
    }

    fn rest(&mut self) {
        for _ in 0..1000 {
            while !(self.untold.is_empty() && self.steps.is_empty() && self.answers.is_empty()) {
                self.hear();
                self.step(0);
                self.answer(0);
            }
            let names: Vec<String> = self.workflows.keys().cloned().collect();
            names.iter().for_each(|name| self.drive(name));
        }
    }
}

fn acts(kinds: std::ops::Range<u8>) -> impl Strategy<Value = Vec<(u8, usize)>> {
    proptest::collection::vec((kinds, 0usize..1000), 1..300)
}

proptest! {
    /// No more are admitted than may be, whoever dies, and all get their turn.
    #[test]
    fn a_limit_holds_and_nobody_is_stuck(limit in 1usize..4, acts in acts(0..21)) {
        let mut world = World::new(limit);
        for (what, chance) in acts {
            world.act(what, chance);
            prop_assert!(world.placed() <= limit, "{} of {limit}", world.placed());
        }
        world.rest();
        prop_assert!(world.workflows.is_empty(), "{:?}", world.workflows.keys());
    }

    /// The same with limits that change: who has a place keeps it.
    #[test]
    fn changed_limits_hold(acts in acts(0..24)) {
        let mut world = World::new(2);
        for (what, chance) in acts {
            world.act(what, chance);
            prop_assert!(world.placed() <= world.most);
        }
        world.rest();
        prop_assert!(world.workflows.is_empty(), "{:?}", world.workflows.keys());
    }
}

/// Those that wait when another one takes over are all asked before the first is admitted.
#[test]
fn who_takes_over_keeps_the_order() {
    let mut world = World::new(1);
    world.create("runs".into(), 0);
    world.change("runs", |one| one.phase = "Running");
    for (name, priority) in [("a", 0), ("b", 5), ("c", 1)] {
        world.create(name.into(), priority);
    }
    world.take_over();
    world.leave("runs");
    while !world.untold.is_empty() {
        world.hear();
    }
    assert_eq!(world.steps.len(), 3);
    for left in [2, 1] {
        world.step(0);
        world.answer(0);
        assert_eq!((world.steps.len(), world.placed()), (left, 0), "one was admitted before all were known");
    }
    world.step(0);
    world.answer(0);
    let named = |step: &Step| match step {
        Step::Admit(named) => format!("admit {}", named.key.1),
        Step::Postpone(named, _) => format!("postpone {}", named.key.1),
        Step::Read(named) => format!("read {}", named.key.1),
    };
    let mut steps: Vec<String> = world.steps.iter().map(named).collect();
    steps.sort();
    assert_eq!(steps, ["admit b", "postpone a", "postpone c"]);
}

/// What no limit concerned is asked for as soon as one does, but for what works.
#[test]
fn a_limit_that_comes_later_concerns_those_that_wait() {
    let mut world = World::new(0);
    for name in ["a", "b", "c"] {
        world.create(name.into(), 0);
    }
    world.change("a", |one| one.phase = "Running");
    while !world.untold.is_empty() {
        world.hear();
    }
    assert_eq!(world.steps, []);
    world.set_limit(2);
    assert_eq!(world.steps.len(), 2);
    while !(world.untold.is_empty() && world.steps.is_empty() && world.answers.is_empty()) {
        world.hear();
        world.step(0);
        world.answer(0);
    }
    assert_eq!(world.placed(), 2);
    world.rest();
    assert!(world.workflows.is_empty());
}
