//! What goes wrong, decided by a seed.

/// The faults of a run. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Seed of every choice below.
    pub seed: u64,
    /// Kill the controller at that moment and restore it from what was stored. Moments are counted from 0: one before
    /// each write of the status, and one after each action; [`crate::Ending::moments`] says how many a run has.
    pub crash_at: Option<u64>,
    /// Of 100 moments, at how many the controller is killed.
    pub crash: u64,
    /// Of 100 writes of the status, how many are refused, so that the controller must start from what is stored.
    pub refuse: u64,
    /// Carry out every action twice.
    pub repeat_actions: bool,
    /// Of 100 events, how many are lost until everything is listed again.
    pub drop: u64,
    /// Of 100 events, how many come twice.
    pub double: u64,
    /// Of 100 events, how many come late, behind younger ones.
    pub delay: u64,
    /// Whether the Pods die with the controller, as on one machine: those that were not over are run again.
    pub lose_pods: bool,
    /// Of 100 restored controllers, how many see the cluster as it was before until everything is listed again.
    pub stale: u64,
}

/// A small generator (xorshift64*): the same seed gives the same faults on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        chance > 0 && self.below(100) < chance
    }
}
