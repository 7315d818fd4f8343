//! The time and the chance that expressions see (`now()`, `sprig.uuidv4()`): the machine's, unless a caller sets them. And
//! whether there are expressions at all.
//!
//! The engine decides with a given time and must come to the same end when it decides again, so it wraps evaluation
//! into [`with`].

use jiff::Timestamp;
use std::cell::Cell;

thread_local! {
    static FIXED: Cell<Option<(Timestamp, u64)>> = const { Cell::new(None) };
    static WITHOUT_EXPRESSIONS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; where `off` says so, `{{=…}}` is no expression in it, but a tag like any other, of a name that nothing has
/// (`argo: EXPRESSION_TEMPLATES=false`). Whoever is inside stays inside.
pub fn without_expressions<R>(off: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            WITHOUT_EXPRESSIONS.set(self.0);
        }
    }
    let before = WITHOUT_EXPRESSIONS.get();
    let _restore = Restore(WITHOUT_EXPRESSIONS.replace(before || off));
    f()
}

/// Whether `{{=…}}` is evaluated.
pub(crate) fn has_expressions() -> bool {
    !WITHOUT_EXPRESSIONS.get()
}

/// Runs `f` with `now()` fixed and random functions drawn from `seed`, on this thread.
pub fn with<R>(now: Timestamp, seed: u64, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<(Timestamp, u64)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FIXED.set(self.0);
        }
    }
    let _restore = Restore(FIXED.replace(Some((now, seed))));
    f()
}

/// The current time.
pub(crate) fn now() -> Timestamp {
    FIXED.get().map_or_else(Timestamp::now, |(now, _)| now)
}

/// The next random number: of the given seed, or of the process's hash keys (unpredictable, not for secrets).
pub(crate) fn random() -> u64 {
    let Some((now, seed)) = FIXED.get() else {
        use std::hash::{BuildHasher, RandomState};
        return RandomState::new().hash_one(Timestamp::now().as_nanosecond());
    };
    let state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    FIXED.set(Some((now, state)));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_scope_repeats_itself() {
        let time = Timestamp::UNIX_EPOCH;
        let draw = || with(time, 7, || (now(), random(), random()));
        assert_eq!(draw(), draw());
        assert_ne!(draw().1, draw().2);
        assert_ne!(now(), time);
    }

    #[test]
    fn there_are_no_expressions_inside() {
        assert!(has_expressions());
        without_expressions(true, || without_expressions(false, || assert!(!has_expressions())));
        without_expressions(false, || assert!(has_expressions()));
    }
}
