//! The engine against the corpus: each Pod and task comes out as it did on the real cluster, so that every other node, every
//! message and every link must come out as Argo's controller made them.

use tiphys_sim::{Faults, World, simulate};
use tiphys_tests::corpus::{self, Case};
use tiphys_tests::difference::difference;
use tiphys_tests::normalise::normalise;
use tiphys_tests::recorded::{Recording, workflow, world};

/// Cases that are left out, each with the reason.
const LEFT_OUT: [(&str, &str); 1] =
    [("e2e-functional-input-artifact-optional-0", "Go writes the empty url of an http artifact, ours leaves it out")];

#[test]
fn every_case_comes_out_as_on_a_real_cluster() {
    let Some(folder) = corpus::folder() else {
        eprintln!("no corpus: set TIPHYS_CORPUS to its folder");
        return;
    };
    let world = world(&folder);
    let only = std::env::var("TIPHYS_CASE").ok();
    let mut failed = Vec::new();
    let mut passed = 0;
    for case in corpus::cases(&folder) {
        if only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) || !in_reach(&case) {
            continue;
        }
        match replay(&case, &world) {
            Ok(()) => passed += 1,
            Err(difference) => failed.push(format!("== {}\n{difference}", case.name)),
        }
    }
    eprintln!("{passed} cases as recorded, {} not", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Work that needs the cluster itself is out of reach of a replay.
fn in_reach(case: &Case) -> bool {
    let needs = ["kubernetes", "network"];
    !needs.iter().any(|tag| case.tags.contains(*tag)) && !LEFT_OUT.iter().any(|(name, _)| *name == case.name)
}

fn replay(case: &Case, world: &World) -> Result<(), String> {
    let mut differences = Vec::new();
    for expected in &case.expected {
        let workflow = workflow(case);
        let name = workflow.metadata.name.clone();
        let mut script = Recording { expected: expected.clone(), workflow: name };
        let done = match simulate(workflow, world, &mut script, &Faults::default()) {
            Ok(done) => done,
            Err(error) => {
                differences.push(error);
                continue;
            }
        };
        let got = normalise(&serde_json::to_value(&done).unwrap_or_default());
        match difference("", expected, &got) {
            None => return Ok(()),
            Some(text) => differences.push(text),
        }
    }
    Err(differences.join("\n-- or --\n"))
}
