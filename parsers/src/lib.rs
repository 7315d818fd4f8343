//! Each parser of the executor that reads bytes from outside, with what must hold of it whatever the bytes are.
//!
//! `cargo test -p tiphys-parsers` runs each of them on some thousand mutations of good input, the same ones each time.
//! `cargo xtask fuzz --seconds N` goes on from there with coverage, other ones each time, for as long as one likes.

#![allow(clippy::unwrap_used)] // What does not hold is to end the process: that is how a fuzzer is told.

mod archives;
mod reports;
mod templates;

// The executor keeps these to itself. One of them names a module of its crate.
use tiphys_executor::duration;
#[path = "../../executor/src/agent/progress.rs"]
mod progress;
#[allow(dead_code)]
#[path = "../../executor/src/emissary/template.rs"]
mod template;

/// A parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its fuzz target.
    pub name: &'static str,
    /// Runs it on some bytes; panics when something does not hold.
    pub run: fn(&[u8]),
    /// Good input, from which mutations are made.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations a bounded run makes.
    pub mutations: u32,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "tar", run: archives::tar, seeds: archives::tar_seeds, mutations: 4_000 },
    Target { name: "zip", run: archives::zip, seeds: archives::zip_seeds, mutations: 4_000 },
    Target { name: "template", run: templates::template, seeds: templates::seeds, mutations: 20_000 },
    Target { name: "message", run: reports::message, seeds: reports::message_seeds, mutations: 20_000 },
    Target { name: "annotations", run: reports::annotations, seeds: reports::annotation_seeds, mutations: 20_000 },
    Target { name: "markers", run: reports::markers, seeds: reports::marker_seeds, mutations: 4_000 },
];

/// Runs the target of that name.
///
/// # Panics
/// When something does not hold of it, or there is none of that name.
pub fn run(name: &str, bytes: &[u8]) {
    (target(name).run)(bytes);
}

/// Writes the seeds of the target of that name into the folder that `TIPHYS_FUZZ_SEEDS` names, from where a fuzzer goes on.
///
/// # Panics
/// When they cannot be written, or there is no target of that name.
pub fn begin(name: &str) {
    let Some(folder) = std::env::var_os("TIPHYS_FUZZ_SEEDS") else { return };
    for (number, seed) in (target(name).seeds)().into_iter().enumerate() {
        std::fs::write(std::path::Path::new(&folder).join(format!("seed-{number}")), seed).unwrap();
    }
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target's name")
}
