//! Uploads in parts that this process has begun or goes on with. What is still here when nobody works on it any more was
//! given up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Protocol, Upload};

/// The uploads, by what they are of.
pub(super) struct Unfinished<P: Protocol>(Mutex<BTreeMap<String, Begun<P>>>);

/// What it takes to give an upload up.
pub(super) struct Begun<P: Protocol> {
    pub(super) target: Arc<P::Target>,
    pub(super) upload: Upload,
}

impl<P: Protocol> Unfinished<P> {
    /// Remembers an upload; gives the one of the same object that it takes the place of.
    pub(super) fn add(&self, what: &str, begun: Begun<P>) -> Option<Begun<P>> {
        let id = begun.upload.id.clone();
        self.all().insert(what.to_owned(), begun).filter(|before| before.upload.id != id)
    }

    pub(super) fn remove(&self, what: &str) {
        self.all().remove(what);
    }

    pub(super) fn take(&self) -> BTreeMap<String, Begun<P>> {
        std::mem::take(&mut *self.all())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Begun<P>>> {
        // A map is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Protocol> Default for Unfinished<P> {
    fn default() -> Self {
        Unfinished(Mutex::default())
    }
}

impl<P: Protocol> fmt::Debug for Unfinished<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all().keys()).finish()
    }
}
