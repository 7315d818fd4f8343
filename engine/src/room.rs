//! Parallelism: which calls must wait, and which may go on when there is room. argo: operator.go, checkParallelism.

use std::sync::Arc;

use tiphys_api::{NodePhase, Template};

use crate::frame::{Body, Key, Parent};
use crate::id::NodeId;
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

    /// With `failFast` a child that failed keeps others from beginning, and once no child is active the template fails.
    /// A child that waits for locks has not begun.
    ///
    /// Argo looks at active Pods alone, and leaves whatever else is open Running for good: nested templates, retries
    /// between two attempts, task groups. Here nested templates come to their end first, and the rest ends with the
    /// template.
    pub(crate) fn fail_fast_now(&mut self, boundary: Key) -> bool {
        if self.boundary_template(boundary).is_none_or(|template| template.fail_fast != Some(true)) {
            return false;
        }
        let Some(counts) = self.counts(boundary).copied() else { return false };
        if counts.unsuccessful == 0 {
            return false;
        }
        if counts.active == counts.waiting && self.frame_node(boundary).is_some_and(|node| !node.phase.is_fulfilled()) {
            for open in self.open_children(boundary) {
                self.mark(&open, NodePhase::Failed, Some(FAIL_FAST));
            }
            if !matches!(self.frames[boundary].parent, Parent::Entry | Parent::Exit) {
                // Argo writes none, so that what follows hangs under nothing.
                self.mark_outbound(boundary);
            }
            self.mark_frame(boundary, NodePhase::Failed, Some(FAIL_FAST));
        }
        true
    }

    /// A call that has waited for locks does not begin any more where its steps or DAG fails fast.
    pub(crate) fn fails_fast(&mut self, key: Key) -> bool {
        let fails = self.frames[key].boundary.is_some_and(|boundary| self.fail_fast_now(boundary));
        if fails && self.frame_node(key).is_some_and(|node| !node.phase.is_fulfilled()) {
            self.mark_frame(key, NodePhase::Failed, Some(FAIL_FAST));
        }
        fails
    }

    /// The children of steps or a DAG that have begun and are not over, those of groups before the groups.
    fn open_children(&self, boundary: Key) -> Vec<NodeId> {
        let mut open = Vec::new();
        if self.restoring {
            // Not all of them may have been come to again.
            let id = self.frames[boundary].id.as_str();
            let inside = self.wf.status.nodes.values().filter(|node| node.boundary_id == id);
            let inside = inside.filter(|node| !node.phase.is_fulfilled());
            return inside.map(|node| NodeId::from(node.id.as_str())).collect();
        }
        match &self.frames[boundary].body {
            Body::Steps(body) => body.groups.iter().for_each(|group| self.open_in_group(*group, &mut open)),
            Body::Dag(body) => {
                body.slots.iter().filter_map(|slot| slot.frame).for_each(|key| self.open_in_group(key, &mut open));
            }
            _ => {}
        }
        open
    }

    fn open_in_group(&self, key: Key, open: &mut Vec<NodeId>) {
        if let Body::Group(body) | Body::TaskGroup(body) = &self.frames[key].body {
            body.slots.iter().filter_map(|slot| slot.frame).for_each(|key| self.open_in_group(key, open));
        }
        if self.frame_node(key).is_some_and(|node| !node.phase.is_fulfilled()) {
            open.push(self.frames[key].id.clone());
        }
    }

    /// Calls that were held back in steps or a DAG that is over find that they come too late, and let go of their locks.
    pub(crate) fn let_held_go(&mut self, boundary: Key) {
        while let Some(key) = self.next_held(boundary) {
            self.push(Event::Begin(key));
        }
    }

    /// Counts a Pod that was asked for against the limits.
    pub(crate) fn take_place(&mut self, key: Key) {
        let boundary = self.frames[key].boundary;
        let counted = self.adopted_places.remove(&self.frames[key].id);
        if let Body::Pod(body) = &mut self.frames[key].body
            && std::mem::replace(&mut body.active, true)
        {
            return;
        }
        if counted {
            return;
        }
        self.active_pods += 1;
        if let Some(counts) = boundary.and_then(|boundary| self.counts(boundary)) {
            counts.active_pods += 1;
        }
    }
}
