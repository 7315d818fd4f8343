//! What a workflow's status says of its locks. argo: workflow_types.go, SemaphoreStatus and MutexStatus.
//!
//! As there, a semaphore that was let go of stays with an empty list until the workflow ends. What is waited for leaves the
//! status when it is had; Argo leaves it until the workflow ends.

use tiphys_api::{MutexHolding, SemaphoreHolding, SynchronizationStatus, Workflow};

use super::name::{LockHolder, LockKind, LockName, locks_of};
use crate::id::NodeId;

/// The locks that a workflow's status holds, and for whom.
pub(super) fn holdings(workflow: &Workflow) -> Vec<(LockName, LockHolder)> {
    let Some(status) = workflow.status.synchronization.as_deref() else { return Vec::new() };
    let semaphores = status.semaphore.iter().flat_map(|semaphore| &semaphore.holding).flat_map(|holding| {
        holding.holders.iter().map(|holder| (holding.semaphore.as_str(), LockKind::Semaphore, holder.as_str()))
    });
    let mutexes = status.mutex.iter().flat_map(|mutex| &mutex.holding);
    let mutexes = mutexes.map(|holding| (holding.mutex.as_str(), LockKind::Mutex, holding.holder.as_str()));
    let read = |(name, kind, holder)| {
        let name = LockName::parse(name, kind)?;
        let holder = holder_of(workflow, &name, holder)?;
        Some((name, holder))
    };
    semaphores.chain(mutexes).filter(|(_, _, holder)| !holder.is_empty()).filter_map(read).collect()
}

/// Old versions of Argo wrote the workflow's name or the node's id alone. argo: sync_manager.go, getUpgradedKey.
fn holder_of(workflow: &Workflow, lock: &LockName, text: &str) -> Option<LockHolder> {
    if text.contains('/') {
        return LockHolder::parse(text);
    }
    let namespace = workflow.metadata.namespace.as_str();
    let stored = workflow.status.stored_workflow_template_spec.as_deref();
    let mut blocks =
        [Some(&workflow.spec), stored].into_iter().flatten().filter_map(|spec| spec.synchronization.as_ref());
    let of_workflow = blocks.any(|block| locks_of(block, namespace).is_ok_and(|locks| locks.contains(lock)));
    let node = (!of_workflow).then(|| NodeId::from(text));
    Some(LockHolder { workflow: format!("{namespace}/{}", workflow.metadata.name).into(), node })
}

/// Whether a holder has a lock.
pub(crate) fn is_holding(status: &SynchronizationStatus, lock: &LockName, holder: &LockHolder) -> bool {
    let (lock_key, holder_key) = (lock.to_string(), holder.to_string());
    match lock.kind() {
        LockKind::Semaphore => {
            let mut holding = status.semaphore.iter().flat_map(|semaphore| &semaphore.holding);
            holding.any(|holding| holding.semaphore == lock_key && holding.holders.contains(&holder_key))
        }
        LockKind::Mutex => {
            let mut holding = status.mutex.iter().flat_map(|mutex| &mutex.holding);
            holding.any(|holding| holding.mutex == lock_key && holding.holder == holder_key)
        }
    }
}

/// The locks that a holder has.
pub(crate) fn held_by(status: &SynchronizationStatus, holder: &LockHolder) -> Vec<LockName> {
    let holder = holder.to_string();
    let semaphores = status.semaphore.iter().flat_map(|semaphore| &semaphore.holding);
    let semaphores = semaphores
        .filter(|holding| holding.holders.contains(&holder))
        .map(|holding| (holding.semaphore.as_str(), LockKind::Semaphore));
    let mutexes = status.mutex.iter().flat_map(|mutex| &mutex.holding);
    let mutexes =
        mutexes.filter(|holding| holding.holder == holder).map(|holding| (holding.mutex.as_str(), LockKind::Mutex));
    semaphores.chain(mutexes).filter_map(|(name, kind)| LockName::parse(name, kind)).collect()
}

/// A holder has got a lock.
pub(crate) fn acquired(status: &mut SynchronizationStatus, lock: &LockName, holder: &LockHolder) {
    let (lock_key, holder_key) = (lock.to_string(), holder.to_string());
    match lock.kind() {
        LockKind::Semaphore => {
            let holding = &mut status.semaphore.get_or_insert_default().holding;
            match holding.iter_mut().find(|holding| holding.semaphore == lock_key) {
                Some(known) if known.holders.contains(&holder_key) => {}
                Some(known) => known.holders.push(holder_key),
                None => holding.push(SemaphoreHolding {
                    semaphore: lock_key,
                    holders: vec![holder_key],
                    ..SemaphoreHolding::default()
                }),
            }
        }
        LockKind::Mutex => {
            let holding = &mut status.mutex.get_or_insert_default().holding;
            match holding.iter_mut().find(|holding| holding.mutex == lock_key) {
                Some(known) => known.holder = holder_key,
                None => {
                    holding.push(MutexHolding { mutex: lock_key, holder: holder_key, ..MutexHolding::default() });
                }
            }
        }
    }
}

/// A holder waits for a lock that these hold.
pub(crate) fn waits(status: &mut SynchronizationStatus, lock: &LockName, held_by: &[LockHolder]) {
    let lock_key = lock.to_string();
    match lock.kind() {
        LockKind::Semaphore => {
            let waiting = &mut status.semaphore.get_or_insert_default().waiting;
            let holders = held_by.iter().map(LockHolder::to_string).collect();
            match waiting.iter_mut().find(|waiting| waiting.semaphore == lock_key) {
                Some(known) => known.holders = holders,
                None => {
                    waiting.push(SemaphoreHolding { semaphore: lock_key, holders, ..SemaphoreHolding::default() });
                }
            }
        }
        LockKind::Mutex => {
            let waiting = &mut status.mutex.get_or_insert_default().waiting;
            let Some(holder) = held_by.first().map(LockHolder::to_string) else { return };
            match waiting.iter_mut().find(|waiting| waiting.mutex == lock_key) {
                Some(known) => known.holder = holder,
                None => waiting.push(MutexHolding { mutex: lock_key, holder, ..MutexHolding::default() }),
            }
        }
    }
}

/// Nobody waits for a lock any more.
pub(crate) fn waits_no_longer(status: &mut SynchronizationStatus, lock: &LockName) {
    let lock_key = lock.to_string();
    if let Some(semaphore) = &mut status.semaphore {
        semaphore.waiting.retain(|waiting| waiting.semaphore != lock_key);
    }
    if let Some(mutex) = &mut status.mutex {
        mutex.waiting.retain(|waiting| waiting.mutex != lock_key);
    }
}

/// A holder has let go of a lock.
pub(crate) fn released(status: &mut SynchronizationStatus, lock: &LockName, holder: &LockHolder) {
    let (lock_key, holder_key) = (lock.to_string(), holder.to_string());
    if let Some(semaphore) = &mut status.semaphore {
        for holding in semaphore.holding.iter_mut().filter(|holding| holding.semaphore == lock_key) {
            holding.holders.retain(|holder| *holder != holder_key);
        }
    }
    if let Some(mutex) = &mut status.mutex {
        mutex.holding.retain(|holding| holding.mutex != lock_key || holding.holder != holder_key);
    }
}
