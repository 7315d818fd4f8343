//! The time after the user's containers have ended: without limit, until the Pod is told to end. Then what is under way must
//! be done within the grace period, results last.

use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{Limit, Patience};
use crate::process::{Event, Events};

/// How long transfers and reports may take. Clones share it.
#[derive(Clone)]
pub struct Ending {
    /// For transfers of artifacts.
    pub transfers: Patience,
    /// For removing what arrived of transfers that were given up.
    pub removals: Patience,
    /// For reports, which come after the transfers.
    pub reports: Patience,
    limits: [Limit; 3],
    grace: Duration,
}

impl Ending {
    /// Nobody has told the Pod to end.
    pub fn new(grace: Duration) -> Self {
        let (transfers, of_transfers) = Patience::limited();
        let (removals, of_removals) = Patience::limited();
        let (reports, of_reports) = Patience::limited();
        Self { transfers, removals, reports, limits: [of_transfers, of_removals, of_reports], grace }
    }

    /// The Pod must end now: SIGKILL comes after the grace period. Three quarters of it are for transfers; a tenth is kept
    /// for the way out on a busy node.
    pub fn told(&self) {
        let now = Instant::now();
        let [transfers, removals, reports] = &self.limits;
        transfers.set(now + self.grace.mul_f64(0.75));
        removals.set(now + self.grace.mul_f64(0.8));
        reports.set(now + self.grace.mul_f64(0.9));
    }

    /// Listens for the word from here on. Folders are no longer watched.
    pub fn listen(&self, mut events: Events) {
        let ending = self.clone();
        let listen = move || {
            // The kernel takes some 10 ms to give up the watches; nobody waits for this thread.
            events.forget_files();
            while let Ok(event) = events.next(None) {
                if let Event::Signal(libc::SIGTERM | libc::SIGINT) = event {
                    ending.told();
                }
            }
        };
        // Without a thread to spare the word is not heard, and the work takes the time that it takes.
        let _ = thread::Builder::new().stack_size(64 * 1024).spawn(listen);
    }
}
