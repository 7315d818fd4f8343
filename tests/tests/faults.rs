//! Whatever goes wrong between a controller and its cluster, the workflow comes out the same: a crash at every moment,
//! actions that are repeated, events that are lost, doubled or late, writes that are refused, and stale reads.

#[path = "faults/script.rs"]
mod script;

use serde_json::Value;
use tiphys_api::Workflow;
use tiphys_sim::{Faults, Script, World, simulate_watched};
use tiphys_tests::corpus;
use tiphys_tests::difference::difference;
use tiphys_tests::normalise::normalise;
use tiphys_tests::recorded::{self, Recording};

/// What comes of these depends on what was seen of Pods while they ran: they survive no loss of events.
const WATCHFUL: [&str; 2] = ["running-hooks", "daemon-fails"];

/// A workflow and what becomes of its Pods.
struct Case<'a> {
    name: String,
    workflow: Workflow,
    world: World,
    script: Box<dyn Script + 'a>,
}

impl Case<'_> {
    /// The outcome under faults, and at how many moments the controller could have been killed.
    fn run(&mut self, faults: &Faults) -> Result<(Value, u64), String> {
        let (workflow, script) = (self.workflow.clone(), &mut *self.script);
        let ending = simulate_watched(workflow, &self.world, script, faults, &mut |_, _| Ok(()))?;
        if !ending.left.is_empty() || !ending.left_tasks.is_empty() {
            return Err(format!("left behind: Pods {:?}, tasks {:?}", ending.left, ending.left_tasks));
        }
        Ok((normalise(&serde_json::to_value(&ending.workflow).unwrap_or_default()), ending.moments))
    }

    /// Runs under faults, and says how the outcome differs from the one without.
    fn same_under(&mut self, expected: &Value, faults: &Faults) -> Result<(), String> {
        let result = self.run(faults).and_then(|(got, _)| difference("", expected, &got).map_or(Ok(()), Err));
        result.map_err(|text| format!("== {} under {faults:?}\n{text}", self.name))
    }

    fn without(&mut self) -> Result<(Value, u64), String> {
        let result = self.run(&Faults::default());
        result.map_err(|error| format!("== {} without faults\n{error}", self.name))
    }
}

fn only() -> Option<String> {
    std::env::var("TIPHYS_CASE").ok()
}

/// The project's own workflows, each made for one thing that must survive.
fn own_cases() -> Vec<Case<'static>> {
    let only = only();
    let cases = script::workflows(include_str!("faults/workflows.yaml")).into_iter().map(|(workflow, world)| Case {
        name: workflow.metadata.name.clone(),
        workflow,
        world,
        script: Box::new(script::Words),
    });
    cases.filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))).collect()
}

/// Of so many differences the first of each case are shown.
fn none(failed: Vec<String>) {
    let mut shown: Vec<&str> = Vec::new();
    let mut text = String::new();
    for failure in &failed {
        let case = failure.split(" under ").next().unwrap_or_default();
        if !shown.contains(&case) {
            shown.push(case);
            text.push_str(failure);
            text.push('\n');
        }
    }
    assert!(failed.is_empty(), "{} runs came out differently\n{text}", failed.len());
}

/// Each case ends the same under every one of the faults, which are made from the number of its moments.
fn same(cases: impl IntoIterator<Item = Case<'static>>, faults: impl Fn(u64) -> Vec<Faults>) {
    let mut failed = Vec::new();
    for mut case in cases {
        match case.without() {
            Err(error) => failed.push(error),
            Ok((expected, moments)) => {
                failed.extend(faults(moments).iter().filter_map(|faults| case.same_under(&expected, faults).err()));
            }
        }
    }
    none(failed);
}

#[test]
fn a_crash_at_every_moment() {
    let crash = |(crash_at, stale)| Faults { crash_at: Some(crash_at), stale, ..Default::default() };
    same(own_cases(), |moments| (0..moments).flat_map(|moment| [(moment, 0), (moment, 100)]).map(crash).collect());
}

#[test]
fn a_crash_at_every_moment_that_takes_the_pods_with_it() {
    let crash = |moment| Faults { crash_at: Some(moment), lose_pods: true, ..Default::default() };
    same(own_cases(), |moments| (0..moments).map(crash).collect());
}

#[test]
fn everything_repeated() {
    same(own_cases(), |_| vec![Faults { repeat_actions: true, double: 100, ..Default::default() }]);
}

#[test]
fn thirty_seeds_of_everything_at_once() {
    let cases = own_cases().into_iter().filter(|case| !WATCHFUL.contains(&case.name.as_str()));
    same(cases, |_| (0..30).map(everything).collect());
}

fn everything(seed: u64) -> Faults {
    let crash = if seed.is_multiple_of(2) { 10 } else { 0 };
    Faults {
        seed,
        crash,
        refuse: 5,
        drop: 15,
        double: 15,
        delay: 30,
        stale: 50,
        repeat_actions: seed.is_multiple_of(3),
        ..Default::default()
    }
}

#[test]
fn recorded_workflows_under_a_sample_of_faults() {
    let Some(folder) = corpus::folder() else {
        eprintln!("no corpus: set TIPHYS_CORPUS to its folder");
        return;
    };
    let world = recorded::world(&folder);
    let (only, mut failed) = (only(), Vec::new());
    let needs = ["kubernetes", "network"];
    for (number, found) in corpus::cases(&folder).into_iter().enumerate() {
        let in_reach = !needs.iter().any(|tag| found.tags.contains(*tag));
        if !in_reach || only.as_ref().is_some_and(|only| !found.name.contains(only.as_str())) {
            continue;
        }
        let workflow = recorded::workflow(&found);
        let (name, expected) = (workflow.metadata.name.clone(), found.expected.first().cloned().unwrap_or_default());
        let script = Box::new(Recording { expected: expected.clone(), workflow: name });
        let mut case = Case { name: found.name.clone(), workflow, world: world.clone(), script };
        let Ok((expected, moments)) = case.without() else { continue };
        let seed = number as u64;
        let crash_at = |part: u64| Faults {
            crash_at: Some((seed * 7 + part * moments / 3) % moments.max(1)),
            ..Default::default()
        };
        for faults in [crash_at(0), crash_at(1), crash_at(2), everything(seed), everything(seed + 1)] {
            failed.extend(case.same_under(&expected, &faults).err());
        }
    }
    none(failed);
}

/// The phases and messages of every node, as they stand in `faults/outcomes.txt`. `TIPHYS_UPDATE=1` writes them anew.
#[test]
fn the_cases_come_out_as_they_were_meant_to() {
    let mut shown = String::new();
    for mut case in own_cases() {
        let (outcome, _) = case.without().unwrap_or_else(|error| panic!("{error}"));
        let mut line = |name: &str, node: &Value| {
            let words = [&node["type"], &node["phase"], &node["message"]].map(|word| word.as_str().unwrap_or_default());
            shown.push_str(format!("{name} {}", words.join(" ").trim()).trim_end());
            shown.push('\n');
        };
        line(&case.name, &outcome);
        for (name, node) in outcome["nodes"].as_object().into_iter().flatten() {
            line(&format!("  {name}"), node);
        }
    }
    let shown: Vec<&str> = shown.lines().collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/outcomes.txt");
    if std::env::var_os("TIPHYS_UPDATE").is_some() {
        std::fs::write(file, shown.join("\n") + "\n").expect("the file can be written");
    }
    let expected = std::fs::read_to_string(file).expect("the outcomes are there");
    if only().is_none() {
        let expected: Vec<&str> = expected.lines().collect();
        let first = shown.iter().zip(&expected).position(|(got, expected)| got != expected);
        assert_eq!(first.map(|line| (shown[line], expected[line])), None);
        assert_eq!(shown.len(), expected.len());
    }
}
