//! The user's containers as `wait` sees them: through their folders in the shared volume.
//!
//! A container tells its own end by its exit code. One that was killed together with its emissary cannot; then the lock
//! that the emissary held is free, and `wait` writes the exit code in its place, for itself and for all who depend on it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use tiphys_contract::exit;
use tiphys_contract::path::ctr;

use super::trace;
use crate::emissary::exit_code_of;
use crate::exit_file;
use crate::mailbox;
use crate::paths::Paths;
use crate::process::Events;
use crate::shared_files::{Context, FileError, create_open_dir};

/// The containers whose end is the step's end.
pub struct Mains<'a> {
    paths: &'a Paths,
    names: Vec<&'a str>,
    guarded: BTreeSet<&'a str>,
}

impl<'a> Mains<'a> {
    /// Starts to watch the containers' folders, which may not have been made yet.
    ///
    /// # Errors
    /// When a folder cannot be made or watched.
    pub fn watch(paths: &'a Paths, names: Vec<&'a str>, events: &mut Events) -> Result<Self, FileError> {
        for name in &names {
            let folder = paths.ctr(name);
            create_open_dir(&folder)?;
            events.watch(&folder).on("watch", &folder)?;
        }
        Ok(Self { paths, names, guarded: BTreeSet::new() })
    }

    /// Whether all have ended. To be asked at each event; takes care of those that cannot tell their end.
    pub fn have_ended(&mut self) -> bool {
        let paths = self.paths;
        for name in self.names.iter().filter(|name| exit_code_of(paths, name).is_none()) {
            let folder = paths.ctr(name);
            if !self.guarded.contains(name) && folder.join(ctr::ALIVE).exists() {
                self.guarded.insert(name);
                // Without a thread to spare only the end of a killed emissary stays unseen.
                let _ = thread::Builder::new().stack_size(64 * 1024).spawn(move || guard(&folder));
            }
        }
        self.names.iter().all(|name| exit_code_of(paths, name).is_some())
    }

    /// Whether any has started and not ended yet.
    pub fn any_runs(&self) -> bool {
        self.names.iter().any(|name| self.guarded.contains(name) && exit_code_of(self.paths, name).is_none())
    }

    /// Sends a signal to all that have not ended, through their emissaries.
    ///
    /// # Errors
    /// When a mailbox cannot be written to.
    pub fn signal(&self, signal: i32) -> Result<(), FileError> {
        for name in self.names.iter().filter(|name| exit_code_of(self.paths, name).is_none()) {
            mailbox::send(&self.paths.ctr(name).join(ctr::SIGNAL), signal)?;
        }
        Ok(())
    }
}

/// Tells the span of a container that has ended: when it did by its exit code, when it began by its lock.
pub fn tell(paths: &Paths, container: &str) {
    let folder = paths.ctr(container);
    let changed = |file: &str| folder.join(file).symlink_metadata().and_then(|meta| meta.modified()).ok();
    if let (Some(code), Some(end)) = (exit_code_of(paths, container), changed(ctr::EXIT_CODE)) {
        trace::main_has_run(container, changed(ctr::ALIVE).unwrap_or(end), end, code);
    }
}

/// Waits until nobody holds the container's lock; then an exit code is there, or there never will be one.
fn guard(folder: &Path) {
    let Ok(file) = File::open(folder.join(ctr::ALIVE)) else {
        return;
    };
    if Flock::lock(file, FlockArg::LockShared).is_ok() && exit_file::read(folder).is_none() {
        // Where even this cannot be written, the empty file that it leaves says enough.
        let _ = exit_file::leave(folder, exit::KILLED);
    }
}
