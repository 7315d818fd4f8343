//! Each parser on mutations of good input: a number of them that is fixed, the same ones each time.

use std::panic;

use tiphys_parsers::{TARGETS, Target};

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// Bytes on which parsers decide.
const TELLING: [&[u8]; 14] = [
    b"\0",
    b"\xff",
    b"/",
    b"..",
    b"../",
    b"\n",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"-1",
    b"99999999999999999999",
    b"\xff\xff\xff\xff",
    b"77777777777\0",
];

/// Changes some bytes, cuts some out, doubles some, or puts in some on which parsers decide.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(16)).min(bytes.len());
        match numbers.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let again = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            _ => {
                let telling = TELLING[numbers.below(TELLING.len())];
                let end = (at + telling.len() * numbers.below(2)).min(bytes.len());
                bytes.splice(at..end, telling.iter().copied());
            }
        }
    }
}

fn check(name: &str) {
    let target: &Target = TARGETS.iter().find(|target| target.name == name).expect("there is one");
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| (target.run)(seed));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut failing: Option<Vec<u8>> = None;
    for _ in 0..target.mutations {
        let mut bytes = seeds[numbers.below(seeds.len())].clone();
        mutate(&mut bytes, &mut numbers);
        if panic::catch_unwind(|| (target.run)(&bytes)).is_err() {
            failing = Some(bytes);
            break;
        }
    }
    if let Some(bytes) = failing {
        panic!("{name} fails on these bytes: {}", bytes.escape_ascii());
    }
}

#[test]
fn tar() {
    check("tar");
}

#[test]
fn zip() {
    check("zip");
}

#[test]
fn template() {
    check("template");
}

#[test]
fn message() {
    check("message");
}

#[test]
fn annotations() {
    check("annotations");
}

#[test]
fn markers() {
    check("markers");
}
