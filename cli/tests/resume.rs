//! Runs that are interrupted: killed, stopped, suspended; and what is left of them.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use common::{Tiphys, finish, manifest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A workflow whose steps each leave a line in a file of the machine when they run.
fn chain(record: &std::path::Path) -> String {
    let folder = record.display();
    manifest(
        "chain",
        &format!(
            "
spec:
  entrypoint: main
  onExit: last
  volumes: [{{name: record, hostPath: {{path: {folder}}}}}]
  templates:
  - name: main
    dag:
      tasks:
      - {{name: a, template: step, arguments: {{parameters: [{{name: word, value: a}}]}}}}
      - {{name: b, depends: a, template: step, arguments: {{parameters: [{{name: word, value: 'b{{{{item}}}}'}}]}}, withItems: [1, 2, 3]}}
      - {{name: c, depends: b, template: step, arguments: {{parameters: [{{name: word, value: c}}]}}}}
      - {{name: d, depends: c, template: step, arguments: {{parameters: [{{name: word, value: d}}]}}}}
  - name: last
    container: {{image: none, command: ['true']}}
  - name: step
    inputs: {{parameters: [{{name: word}}]}}
    container:
      image: none
      command: [sh, -c, 'echo {{{{inputs.parameters.word}}}} >> /record/done']
      volumeMounts: [{{name: record, mountPath: /record}}]
"
        ),
    )
}

fn kill_hard(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Reads what a process prints until a line holds `text`.
fn wait_for(child: &mut Child, text: &str) -> BufReader<std::process::ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended before it printed {text:?}");
    }
    lines
}

#[test]
fn killed_at_any_moment_it_comes_to_the_same_end() {
    // How long the whole takes, to spread the kills over it.
    let whole = {
        let (tiphys, record) = (Tiphys::new(), tempfile::tempdir().unwrap());
        let begun = std::time::Instant::now();
        let output = tiphys.run(&["run", "-q", "--runtime=host", "--name=chain", "-"], &chain(record.path()));
        assert_eq!(output.code, 0, "{output:?}");
        begun.elapsed()
    };
    const ROUNDS: u32 = 6;
    for round in 0..ROUNDS {
        let (tiphys, record) = (Tiphys::new(), tempfile::tempdir().unwrap());
        let moment = whole * round / ROUNDS + Duration::from_micros(u64::from(std::process::id()) * 7919 % 20_000);
        let mut child = tiphys.start(&["run", "-q", "--runtime=host", "--name=chain", "-"], &chain(record.path()));
        // The kill comes at a moment that nothing else decides: here time is what is tested, not awaited.
        std::thread::sleep(moment);
        kill_hard(&mut child);
        if !tiphys.path().join("runs/chain/workflow.json").exists() {
            continue;
        }
        let before = finished(&tiphys);
        let output = tiphys.run(&["resume", "chain"], "");
        let ended_before = output.err.contains("has ended");
        assert!(output.code == 0 || ended_before, "killed after {moment:?}: {output:?}");
        let object = tiphys.run(&["get", "chain", "-o", "json"], "").out;
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!(object["status"]["phase"], "Succeeded", "killed after {moment:?}");
        let phases: BTreeSet<&str> =
            object["status"]["nodes"].as_object().unwrap().values().map(|n| n["phase"].as_str().unwrap()).collect();
        assert_eq!(phases, BTreeSet::from(["Succeeded"]), "killed after {moment:?}");
        // Each step ran; those that had ended ran once.
        let done = std::fs::read_to_string(record.path().join("done")).unwrap();
        for step in ["a", "b1", "b2", "b3", "c", "d"] {
            let times = done.lines().filter(|line| *line == step).count();
            assert!(times >= 1, "{step} did not run; killed after {moment:?}");
            assert!(times == 1 || !before.contains(step), "{step} ran again; killed after {moment:?}");
        }
        assert!(tiphys.leftovers("chain").is_empty());
    }
}

#[test]
fn what_a_kill_left_of_a_run_that_had_ended_goes() {
    let tiphys = Tiphys::new();
    let spec = "spec: {entrypoint: a, templates: [{name: a, container: {image: busybox, command: [\"true\"]}}]}";
    assert_eq!(tiphys.run(&["run", "-q", "--runtime=host", "--name=over", "-"], &manifest("over", spec)).code, 0);
    std::fs::create_dir_all(tiphys.path().join("runs/over/pods/over/layer")).unwrap();
    let output = tiphys.run(&["resume", "over"], "");
    assert!(output.err.contains("has ended"), "{output:?}");
    assert_eq!(tiphys.leftovers("over"), Vec::<std::path::PathBuf>::new());
}

/// The steps that the record says have succeeded.
fn finished(tiphys: &Tiphys) -> BTreeSet<String> {
    let object: serde_json::Value = serde_json::from_str(&tiphys.run(&["get", "chain", "-o", "json"], "").out).unwrap();
    let nodes = object["status"]["nodes"].as_object().cloned().unwrap_or_default();
    nodes
        .values()
        .filter(|node| node["type"] == "Pod" && node["phase"] == "Succeeded")
        .filter_map(|node| Some(node["inputs"]["parameters"][0]["value"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn nothing_is_left_of_a_killed_run() {
    let tiphys = Tiphys::new();
    let mark = format!("31{}", std::process::id());
    let spec = format!(
        "spec: {{entrypoint: main, templates: [{{name: main, container: {{image: none, command: [sh, -c, \
         'echo up; exec sleep {mark}']}}}}]}}"
    );
    let mut child = tiphys.start(&["run", "--runtime=host", "--name=long", "-"], &manifest("long", &spec));
    drop(wait_for(&mut child, "long: up"));
    // The shell says so before it becomes the process that is looked for.
    assert!(within_seconds(|| !processes(&mark).is_empty()), "no process has the mark");
    kill_hard(&mut child);
    for pid in processes(&mark) {
        // Each is killed by the kernel by now, and gone as soon as that has been done.
        let status = std::path::PathBuf::from(format!("/proc/{pid}"));
        assert!(within_seconds(|| !status.exists()), "process {pid} is left");
    }
}

/// Whether something comes true in a time that even a busy machine needs not.
fn within_seconds(come_true: impl Fn() -> bool) -> bool {
    let patience = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        if come_true() {
            return true;
        }
        if std::time::Instant::now() > patience {
            return false;
        }
        std::thread::yield_now();
    }
}

fn processes(mark: &str) -> Vec<u32> {
    let numbers =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let has_mark = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.contains(&mark.as_bytes()) && words[0] == b"sleep"
        })
    };
    numbers.filter(has_mark).collect()
}

const EXIT_HANDLER: &str = "
spec:
  entrypoint: main
  onExit: bye
  templates:
  - name: main
    container: {image: none, command: [sh, -c, 'echo up; exec sleep 1000']}
  - name: bye
    container: {image: none, command: [echo, goodbye]}
";

#[test]
fn one_interrupt_stops_and_exit_handlers_run() {
    let tiphys = Tiphys::new();
    let mut child = tiphys.start(&["run", "--runtime=host", "--name=int", "-"], &manifest("int", EXIT_HANDLER));
    let mut lines = wait_for(&mut child, "int: up");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    let output = finish(child);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(rest.contains("onExit: goodbye"), "{rest}");
    assert!(rest.contains("Stopped with strategy 'Stop'"), "{rest}");
    assert!(output.err.contains("tiphys: stopping"), "{output:?}");
}

#[test]
fn another_process_terminates_a_run() {
    let tiphys = Tiphys::new();
    let mut child = tiphys.start(&["run", "--runtime=host", "--name=term", "-"], &manifest("term", EXIT_HANDLER));
    let mut lines = wait_for(&mut child, "term: up");
    let twice = tiphys.run(&["run", "--runtime=host", "--name=term", "-"], &manifest("term", EXIT_HANDLER));
    assert_eq!((twice.code, twice.err.as_str()), (64, "tiphys: another process drives the run term\n"));
    let said = tiphys.run(&["terminate", "term"], "");
    assert_eq!((said.code, said.out.as_str()), (0, "term terminating\n"));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert!(!rest.contains("goodbye"), "{rest}");
    assert_eq!(finish(child).code, 1);
}

#[test]
fn a_suspended_run_waits_to_be_resumed() {
    let tiphys = Tiphys::new();
    let mut child = tiphys.start(&["run", "--runtime=host", "--name=wait", &common::example("suspend.yaml")], "");
    let mut lines = wait_for(&mut child, "approval  Running");
    let resumed = tiphys.run(&["resume", "wait", "-p", "approve=YES"], "");
    assert_eq!((resumed.code, resumed.out.as_str()), (0, "wait resumed\n"), "{resumed:?}");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert_eq!(finish(child).code, 0, "{rest}");
    assert!(rest.contains("publish: published"), "{rest}");
}

#[test]
fn logs_are_followed_to_the_end() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: none, command: [sh, -c, 'echo up; read x < /record/go; echo down']}
";
    // The step ends when the test says so, through a named pipe.
    let record = tempfile::tempdir().unwrap();
    let go = record.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let volume = format!("  volumes: [{{name: record, hostPath: {{path: {}}}}}]\n", record.path().display());
    let spec = spec.replace("]}\n", "], volumeMounts: [{name: record, mountPath: /record}]}\n") + &volume;
    let mut run = tiphys.start(&["run", "--runtime=host", "--name=follow", "-"], &manifest("follow", &spec));
    let lines = wait_for(&mut run, "follow: up");
    let mut logs = tiphys.start(&["logs", "-f", "follow"], "");
    let mut followed = wait_for(&mut logs, "follow: up");
    std::fs::write(&go, "go\n").unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut followed, &mut rest).unwrap();
    assert_eq!(rest, "follow: down\n");
    assert_eq!(finish(logs).code, 0);
    drop(lines);
    run.wait().unwrap();
}

#[test]
fn a_failed_run_is_retried_from_where_it_failed() {
    let (tiphys, record) = (Tiphys::new(), tempfile::tempdir().unwrap());
    let folder = record.path().display();
    let spec = format!(
        "
spec:
  entrypoint: main
  volumes: [{{name: record, hostPath: {{path: {folder}}}}}]
  templates:
  - name: main
    steps:
    - - {{name: first, template: step, arguments: {{parameters: [{{name: script, value: 'echo first >> /record/done'}}]}}}}
    - - {{name: second, template: step, arguments: {{parameters: [{{name: script, value: 'test -e /record/go && echo second >> /record/done'}}]}}}}
  - name: step
    inputs: {{parameters: [{{name: script}}]}}
    container:
      image: none
      command: [sh, -c, '{{{{inputs.parameters.script}}}}']
      volumeMounts: [{{name: record, mountPath: /record}}]
"
    );
    let failed = tiphys.run(&["run", "-q", "--runtime=host", "--name=again", "-"], &manifest("again", &spec));
    assert_eq!(failed.code, 1, "{}", failed.err);
    std::fs::write(record.path().join("go"), "").unwrap();
    let retried = tiphys.run(&["retry", "again", "-q", "--output=json"], "");
    assert_eq!(retried.code, 0, "{}", retried.err);
    let workflow: serde_json::Value = serde_json::from_str(&retried.out).unwrap();
    assert_eq!(workflow["status"]["phase"], "Succeeded");
    assert_eq!(std::fs::read_to_string(record.path().join("done")).unwrap(), "first\nsecond\n");
    let once_more = tiphys.run(&["retry", "again"], "");
    assert_eq!(once_more.code, 64);
    assert!(once_more.err.contains("again cannot be retried"), "{}", once_more.err);
}
