//! A profile of this very test: what the whole chain makes of a function that is at work.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

use std::hint::black_box;
use std::io::Read as _;

use flate2::read::GzDecoder;
use prost::Message as _;
use tiphys_profiler::{Profile, ProfileError, Recording};

/// Some tenths of a second of work. It calls nothing, so that samples are in it whether there are frame pointers or not.
#[inline(never)]
fn burns_processor_time(mut number: u64) -> u64 {
    let mut left = 60_000_000_u64;
    while left > 0 {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        left -= 1;
    }
    number
}

fn decoded(bytes: &[u8]) -> Profile {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    Profile::decode(plain.as_slice()).unwrap()
}

/// Samples whose innermost function has such a name, and all samples.
fn samples(profile: &Profile, name: &str) -> (i64, i64) {
    let text = |place: i64| profile.string_table[place as usize].as_str();
    let is_named = |id: &u64| {
        let function = |id: u64| text(profile.function[id as usize - 1].name);
        profile.location[*id as usize - 1].line.iter().any(|line| function(line.function_id).ends_with(name))
    };
    let named = profile.sample.iter().filter(|sample| sample.location_id.first().is_some_and(is_named));
    (named.map(|sample| sample.value[0]).sum(), profile.sample.iter().map(|sample| sample.value[0]).sum())
}

#[test]
fn a_function_at_work_is_found_by_its_name() {
    for round in 0..2 {
        let mut recording = Recording::begin().unwrap();
        assert!(matches!(Recording::begin(), Err(ProfileError::Busy)), "one at a time");
        // Work in another thread counts as well.
        let other = std::thread::spawn(|| black_box(burns_processor_time(black_box(7))));
        black_box(burns_processor_time(black_box(9)));
        recording.collect();
        other.join().unwrap();
        let profile = decoded(&recording.finish().unwrap());

        let (burning, all) = samples(&profile, "profile::burns_processor_time");
        assert!(burning >= 10 && burning * 2 > all, "round {round}: {burning} of {all} samples");
        let text = |place: i64| profile.string_table[place as usize].as_str();
        let types: Vec<_> = profile.sample_type.iter().map(|kind| (text(kind.r#type), text(kind.unit))).collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert!(profile.sample.iter().all(|sample| sample.value[1] == sample.value[0] * profile.period));
        assert_eq!((profile.period, profile.period_type), (10_000_000, Some(profile.sample_type[1])));
        assert!(profile.time_nanos > 0 && profile.duration_nanos > 0);
        let own = std::env::current_exe().unwrap();
        assert_eq!(
            (text(profile.mapping[0].filename), profile.mapping[0].has_functions),
            (own.to_str().unwrap(), true)
        );
    }
    // One that is given up makes room for the next.
    drop(Recording::begin().unwrap());
    let recording = Recording::begin().unwrap();
    let (burning, all) = samples(&decoded(&recording.finish().unwrap()), "burns_processor_time");
    assert!(burning == 0 && all <= 5, "nothing of earlier profiles is in a new one: {burning} of {all}");
}
