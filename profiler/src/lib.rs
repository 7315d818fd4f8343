//! Where this process spends its processor time: a profile in the form that `go tool pprof` reads.
//!
//! A timer of the process's processor time raises SIGPROF a hundred times a second of it, in the thread that is at work.
//! The handler notes where that thread is and, by frame pointers, who called it; it takes no lock that somebody else could hold,
//! allocates nothing and asks no unwinder. Everything else happens outside of it: equal stacks are counted, and functions get
//! their names from the symbols in the program's own file.
//!
//! A program that was built without `-Cforce-frame-pointers=yes` has stacks that end early, one without symbols has
//! addresses in place of names; for those `go tool pprof PROGRAM PROFILE` knows names where PROGRAM has symbols.

mod encode;
mod mappings;
mod message;
mod sampler;
mod stack;
mod symbols;

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant, SystemTime};

pub use message::{Function, Line, Location, Mapping, Profile, Sample, ValueType};
use sampler::Sampling;

/// Samples for a second of processor time, as Go's profiles have.
pub const FREQUENCY: u32 = 100;
/// [`Recording::collect`] has to be called as often, or samples are missed.
pub const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// One at a time.
    #[error("a profile is being taken already")]
    Busy,
    /// Registers are known of two kinds of processors.
    #[error("profiles are taken on x86-64 and arm64 only")]
    Processor,
    /// The timer, the signal or the pipe is not to be had.
    #[error("the process cannot be sampled: {0}")]
    Sample(#[source] io::Error),
    /// What is loaded where.
    #[error("/proc/self/maps cannot be read: {0}")]
    Mappings(#[source] io::Error),
    /// Only if memory is short.
    #[error("the profile cannot be compressed: {0}")]
    Compress(#[source] io::Error),
}

/// A profile that is being taken; dropped, it ends without a result.
pub struct Recording {
    sampling: Sampling,
    began: SystemTime,
    since: Instant,
    stacks: HashMap<Vec<u64>, u64>,
}

impl Recording {
    /// Begins to sample the whole process.
    ///
    /// # Errors
    /// Another one is under way, or the process cannot be sampled.
    pub fn begin() -> Result<Recording, ProfileError> {
        let sampling = Sampling::begin()?;
        Ok(Recording { sampling, began: SystemTime::now(), since: Instant::now(), stacks: HashMap::new() })
    }

    /// Takes over what was sampled until now. There is room for some seconds: see [`COLLECT_EVERY`].
    pub fn collect(&mut self) {
        let words = self.sampling.take();
        for stack in sampler::stacks(&words) {
            match self.stacks.get_mut(stack) {
                Some(count) => *count += 1,
                None => {
                    self.stacks.insert(stack.to_vec(), 1);
                }
            }
        }
    }

    /// Ends it: the profile as protobuf, compressed by gzip. Reads the program's file, which takes some milliseconds.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn finish(mut self) -> Result<Vec<u8>, ProfileError> {
        let lasted = self.since.elapsed();
        self.collect();
        let missed = self.sampling.missed();
        drop(self.sampling);
        let taken = encode::Taken { began: self.began, lasted, missed };
        let mappings = mappings::own().map_err(ProfileError::Mappings)?;
        let stacks = mappings::within(self.stacks, &mappings);
        let symbols = symbols::read(&mappings, &stacks);
        let profile = encode::profile(&taken, &stacks, &mappings, &symbols);
        encode::compressed(&profile).map_err(ProfileError::Compress)
    }
}
