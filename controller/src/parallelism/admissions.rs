//! Which workflows of all shards have a place, which wait for one, and what is to be done so that they know.
//!
//! It is put together from what is observed: whoever has a place by its labels has one, and the others ask. What is to be done
//! comes out as [`Step`]s; what came of them is told as [`Answer`]s.

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_kubernetes::{Event, Metadata, ObjectMeta};

use super::has_place;
use super::places::{AllLimits, Key, Places};
use crate::workflow::is_newer;

/// A workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub key: Key,
    pub uid: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read what a workflow asks with.
    Read(Named),
    /// Say in its status that it waits, unless it no longer has this version.
    Postpone(Named, String),
    /// Label it as admitted, however often that has to be tried.
    Admit(Named),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// A workflow was read; None: it is gone.
    Read(Named, Option<Request>),
    /// It says that it waits since this version; None: it does not.
    Postponed(Named, Option<String>),
}

/// What a workflow asks with.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub version: String,
    pub priority: i64,
    pub created: Timestamp,
    /// It goes on whatever the limits say: it has begun, or is to end.
    pub goes_on: bool,
    /// Its status says nothing yet.
    pub is_new: bool,
}

struct Known {
    uid: String,
    /// The last version that was seen.
    version: String,
    stage: Stage,
}

/// How far a workflow is on its way to a place.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// No limit concerns it, and nobody asked for a place. That changes with the limits.
    Free,
    /// It is being read.
    Read,
    /// It waits for a place, as it was in this version.
    Waits(String, Word),
    /// A place is its, until it is gone.
    Placed,
}

/// What the status of a workflow says of its waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing yet.
    Due,
    /// It is being written.
    Written,
    /// Whatever it can.
    Said,
}

/// The table.
#[derive(Default)]
pub(super) struct Admissions {
    places: Places,
    known: FxHashMap<Key, Known>,
    /// Names in the list that is being read.
    listed: FxHashSet<Key>,
    /// Those of the first list that were not read yet: the first place is given when all have been. None before that list is whole.
    awaited: Option<FxHashSet<Key>>,
    is_open: bool,
    steps: Vec<Step>,
}

impl Admissions {
    /// With the limits in force.
    pub fn new(limits: AllLimits) -> Admissions {
        let mut admissions = Admissions::default();
        admissions.places.limit(limits);
        admissions
    }

    /// The watch of workflows that are not over tells something.
    pub fn observe(&mut self, event: Event<ObjectMeta>) -> Vec<Step> {
        match event {
            Event::Page(all) => {
                for one in all {
                    self.listed.insert(key(&one.metadata));
                    self.applied(one.metadata);
                }
            }
            Event::Applied(one) => self.applied(one.metadata),
            Event::Deleted(one) => {
                let key = key(&one.metadata);
                if self.known.get(&key).is_some_and(|known| known.uid == one.metadata.uid) {
                    self.gone(&key);
                }
            }
            Event::Listed => self.all_listed(),
        }
        std::mem::take(&mut self.steps)
    }

    /// A step is done.
    pub fn answered(&mut self, answer: Answer) -> Vec<Step> {
        match answer {
            Answer::Read(named, request) => self.read(named, request),
            Answer::Postponed(named, version) => self.postponed(named, version),
        }
        std::mem::take(&mut self.steps)
    }

    /// Other limits are in force.
    pub fn limit(&mut self, limits: AllLimits) -> Vec<Step> {
        let given = self.places.limit(limits);
        self.give(given);
        let limits = self.places.limits();
        for (key, known) in &mut self.known {
            if known.stage == Stage::Free && limits.concern(&key.0) {
                known.stage = Stage::Read;
                self.steps.push(Step::Read(Named { key: key.clone(), uid: known.uid.clone() }));
            }
        }
        std::mem::take(&mut self.steps)
    }

    fn all_listed(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        let gone: Vec<Key> = self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.gone(key));
        if self.awaited.is_none() {
            let read = self.known.iter().filter(|(_, known)| known.stage == Stage::Read);
            self.awaited = Some(read.map(|(key, _)| key.clone()).collect());
            self.open();
        }
    }

    fn applied(&mut self, metadata: Metadata) {
        let key = key(&metadata);
        if self.known.get(&key).is_some_and(|known| known.uid != metadata.uid) {
            self.gone(&key);
        }
        // One that is being deleted is ended by whoever drives it, and needs no place for that.
        let placed = has_place(&metadata) || metadata.deletion_timestamp.is_some();
        let Metadata { uid, resource_version: version, .. } = metadata;
        let known =
            self.known.entry(key.clone()).or_insert_with(|| Known { uid, version: String::new(), stage: Stage::Free });
        known.version = version;
        if placed {
            known.stage = Stage::Placed;
            self.places.works(&key);
            return self.is_awaited_no_longer(&key);
        }
        let reads = match &known.stage {
            Stage::Free => self.places.limits().concern(&key.0),
            // What it asks with may be something else now.
            Stage::Waits(version, word) => *word != Word::Written && is_newer(&known.version, version),
            Stage::Read | Stage::Placed => false,
        };
        if reads {
            known.stage = Stage::Read;
            self.steps.push(Step::Read(Named { uid: known.uid.clone(), key }));
        }
    }

    fn gone(&mut self, key: &Key) {
        self.known.remove(key);
        let given = self.places.leave(key);
        self.give(given);
        self.is_awaited_no_longer(key);
    }

    fn read(&mut self, named: Named, request: Option<Request>) {
        let key = named.key.clone();
        let known = self.known.get_mut(&key).filter(|known| known.uid == named.uid && known.stage == Stage::Read);
        // Where it is gone, the watch tells.
        let (Some(known), Some(request)) = (known, request) else { return };
        if request.goes_on {
            known.stage = Stage::Placed;
            self.places.works(&key);
            self.steps.push(Step::Admit(named));
        } else if is_newer(&known.version, &request.version) {
            return self.steps.push(Step::Read(named));
        } else {
            let word = if request.is_new { Word::Due } else { Word::Said };
            known.stage = Stage::Waits(request.version, word);
            let given = self.places.ask(&key, request.priority, request.created);
            self.give(given);
        }
        self.is_awaited_no_longer(&key);
        if self.is_open {
            self.postpone(&key);
        }
    }

    fn postponed(&mut self, named: Named, version: Option<String>) {
        let Some(known) = self.known.get_mut(&named.key).filter(|known| known.uid == named.uid) else { return };
        let Stage::Waits(read, word) = &mut known.stage else { return };
        *word = Word::Said;
        if let Some(version) = version {
            *read = version;
        }
        if is_newer(&known.version, read) {
            known.stage = Stage::Read;
            self.steps.push(Step::Read(named));
        }
    }

    fn is_awaited_no_longer(&mut self, key: &Key) {
        if let Some(awaited) = &mut self.awaited {
            awaited.remove(key);
            self.open();
        }
    }

    /// Gives places from now on, if everybody has asked who was there at the start.
    fn open(&mut self) {
        if self.is_open || self.awaited.as_ref().is_none_or(|awaited| !awaited.is_empty()) {
            return;
        }
        self.is_open = true;
        let given = self.places.open();
        self.give(given);
        let waiting: Vec<Key> = self.known.keys().cloned().collect();
        waiting.iter().for_each(|key| self.postpone(key));
    }

    fn give(&mut self, given: Vec<Key>) {
        for key in given {
            let Some(known) = self.known.get_mut(&key) else { continue };
            known.stage = Stage::Placed;
            self.steps.push(Step::Admit(Named { uid: known.uid.clone(), key }));
        }
    }

    /// Lets a workflow say that it waits, if it does and has not said so.
    fn postpone(&mut self, key: &Key) {
        let Some(Known { uid, stage: Stage::Waits(version, word @ Word::Due), .. }) = self.known.get_mut(key) else {
            return;
        };
        *word = Word::Written;
        let named = Named { key: key.clone(), uid: uid.clone() };
        self.steps.push(Step::Postpone(named, version.clone()));
    }
}

fn key(metadata: &Metadata) -> Key {
    (metadata.namespace.clone(), metadata.name.clone())
}
