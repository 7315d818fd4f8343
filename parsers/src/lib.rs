//! Each parser of the executor that reads bytes from outside, with what must hold of it whatever the bytes are.
//!
//! `cargo test -p tiphys-parsers` runs each of them on some thousand mutations of good input, the same ones each time.
//! `cargo +nightly fuzz run NAME` in the project's root goes on from there with coverage, for as long as one likes.

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
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target's name");
    (target.run)(bytes);
}
