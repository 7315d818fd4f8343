//! Parallelism: which calls must wait, and which may go on when there is room. argo: operator.go, checkParallelism.

use std::sync::Arc;

use tiphys_api::{NodePhase, Template};

use crate::frame::{Body, Key};
use crate::run::{Event, Run, Stop};

const FAIL_FAST: &str = "template has failed or errored children and failFast enabled";

impl Run {
    /// Whether a call that has no node yet may begin; otherwise it is put where it waits.
    pub(crate) fn check_room(&mut self, key: Key) -> Result<(), Stop> {
        if self.workflow_is_full() {
            self.held.push_back(key);
            return Err(Stop::Held);
        }
        let Some(boundary) = self.frames[key].boundary else { return Ok(()) };
        if self.fail_fast_now(boundary) || self.boundary_is_full(boundary) {
            self.hold_in(boundary, key);
            return Err(Stop::Held);
        }
        Ok(())
    }

    fn workflow_is_full(&self) -> bool {
        self.spec.parallelism.is_some_and(|limit| self.active_pods >= limit)
    }

    fn boundary_template(&self, boundary: Key) -> Option<&Arc<Template>> {
        match &self.frames[boundary].body {
            Body::Steps(body) => Some(&body.template),
            Body::Dag(body) => Some(&body.template),
            _ => None,
        }
    }

    fn boundary_is_full(&mut self, boundary: Key) -> bool {
        let limit = self.boundary_template(boundary).and_then(|template| template.parallelism);
        let active = self.counts(boundary).map_or(0, |counts| counts.active);
        limit.is_some_and(|limit| active >= limit)
    }

    fn hold_in(&mut self, boundary: Key, key: Key) {
        match &mut self.frames[boundary].body {
            Body::Steps(body) => body.held.push(key),
            Body::Dag(body) => body.held.push(key),
            _ => {}
        }
    }

    fn next_held(&mut self, boundary: Key) -> Option<Key> {
        let held = match &mut self.frames[boundary].body {
            Body::Steps(body) => &mut body.held,
            Body::Dag(body) => &mut body.held,
            _ => return None,
        };
        (!held.is_empty()).then(|| held.remove(0))
    }

    /// Lets held calls go on while there is room.
    pub(crate) fn release_held(&mut self, limit: Option<Key>) {
        let next = match limit {
            None if self.workflow_is_full() => None,
            None => self.held.pop_front(),
            Some(boundary) => {
                if self.fail_fast_now(boundary) || self.boundary_is_full(boundary) {
                    None
                } else {
                    self.next_held(boundary)
                }
            }
        };
        if let Some(key) = next {
            self.begin(key);
            self.push(Event::Room(limit));
        }
    }

    /// With `failFast` a child that failed keeps others from beginning, and once no Pod is active the template fails.
    pub(crate) fn fail_fast_now(&mut self, boundary: Key) -> bool {
        if self.boundary_template(boundary).is_none_or(|template| template.fail_fast != Some(true)) {
            return false;
        }
        let Some(counts) = self.counts(boundary).copied() else { return false };
        if counts.unsuccessful == 0 {
            return false;
        }
        if counts.active_pods == 0 && self.frame_node(boundary).is_some_and(|node| !node.phase.is_fulfilled()) {
            let group = match &self.frames[boundary].body {
                Body::Steps(body) => body.groups.last().copied(),
                _ => None,
            };
            // Argo leaves the task groups of a DAG Running for good; here they end with it.
            let open_groups = self.open_task_groups(boundary);
            for group in group.into_iter().chain(open_groups) {
                self.mark_frame(group, NodePhase::Failed, Some(FAIL_FAST));
            }
            self.mark_frame(boundary, NodePhase::Failed, Some(FAIL_FAST));
        }
        true
    }

    fn open_task_groups(&self, boundary: Key) -> Vec<Key> {
        let Body::Dag(body) = &self.frames[boundary].body else { return Vec::new() };
        let groups = body.slots.iter().filter_map(|slot| slot.frame);
        let groups = groups.filter(|key| matches!(self.frames[*key].body, Body::TaskGroup(_)));
        groups.filter(|key| self.frame_node(*key).is_some_and(|node| !node.phase.is_fulfilled())).collect()
    }

    /// Counts a Pod that was asked for against the limits.
    pub(crate) fn take_place(&mut self, key: Key) {
        let boundary = self.frames[key].boundary;
        if let Body::Pod(body) = &mut self.frames[key].body
            && std::mem::replace(&mut body.active, true)
        {
            return;
        }
        self.active_pods += 1;
        if let Some(counts) = boundary.and_then(|boundary| self.counts(boundary)) {
            counts.active_pods += 1;
        }
    }
}
