//! Several containers of one Pod: order, retries, sidecars, the supervisor.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::fs;

use pod::{Pod, code, finish, run, signal, text, until};

const SET: &str =
    r#"{"containerSet":{"containers":[{"name":"a"},{"name":"b"},{"name":"main","dependencies":["a","b"]}]}}"#;

#[test]
fn a_container_waits_for_those_it_depends_on() {
    let pod = Pod::new(SET);
    let log = pod.root().join("log");
    let say = |word: &str| format!("echo {word} >> {}", log.display());
    let main = pod.emissary("main", &say("main")).spawn().unwrap();
    until("main starts", || pod.file("main", "alive").exists());
    assert_eq!(code(&run(pod.emissary("a", &say("a")))), 0);
    assert_eq!(code(&run(pod.emissary("b", &say("b")))), 0);
    assert_eq!(code(&finish(main)), 0);
    assert_eq!(fs::read_to_string(log).unwrap(), "a\nb\nmain\n");
}

#[test]
fn a_failed_dependency_is_handed_on() {
    let pod = Pod::new(SET);
    assert_eq!(code(&run(pod.emissary("a", "exit 9"))), 9);
    let output = run(pod.emissary("main", "echo ran"));
    assert_eq!((code(&output), text(&output.stdout)), (64, String::new()));
    assert_eq!(pod.exit_code("main").as_deref(), Some("9"));
    assert_eq!(pod.message(), "dependency \"a\" exited with non-zero code: 9");
}

#[test]
fn a_wait_ends_with_a_signal() {
    let pod = Pod::new(SET);
    let child = pod.emissary("main", "echo ran").spawn().unwrap();
    until("main starts", || pod.file("main", "alive").exists());
    signal(&child, 15);
    let output = finish(child);
    assert_eq!((code(&output), text(&output.stdout), pod.message()), (143, String::new(), String::new()));
    assert_eq!(pod.exit_code("main").as_deref(), Some("143"));
}

#[test]
fn a_set_starts_its_containers_again() {
    let template =
        r#"{"containerSet":{"retryStrategy":{"retries":3,"duration":"1ms"},"containers":[{"name":"main"}]}}"#;
    for (script, expected, starts) in [("exit 1", 1, 3), ("[ $(wc -l < $LOG) = 2 ]", 0, 2)] {
        let pod = Pod::new(template);
        let log = pod.root().join("log");
        let mut command = pod.emissary("main", &format!("echo >> $LOG; {script}"));
        assert_eq!(
            code(&run({
                command.env("LOG", &log);
                command
            })),
            expected
        );
        assert_eq!(fs::read_to_string(&log).unwrap().len(), starts, "{script}");
    }
}

#[test]
fn who_was_asked_to_end_is_not_started_again() {
    let pod = Pod::new(r#"{"containerSet":{"retryStrategy":{"retries":9},"containers":[{"name":"main"}]}}"#);
    let mut child = pod.emissary("main", "echo; exec sleep 1000").spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    signal(&child, 15);
    assert_eq!(code(&finish(child)), 143);
}

#[test]
fn a_sidecar_ends_when_main_has() {
    let pod = Pod::new(r#"{"container":{},"sidecars":[{"name":"side"}]}"#);
    let polite = pod.emissary("side", "exec sleep 1000").spawn().unwrap();
    until("the sidecar starts", || pod.file("side", "alive").exists());
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 0);
    assert_eq!(code(&finish(polite)), 143);
}

#[test]
fn a_sidecar_that_stays_is_killed_after_its_grace() {
    let pod = Pod::new(r#"{"container":{},"sidecars":[{"name":"side"}]}"#);
    let mut stubborn = pod.emissary("side", "trap '' TERM; echo; while :; do sleep 0.01; done");
    let mut side = stubborn.env("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "1").spawn().unwrap();
    std::io::Read::read_exact(side.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 0);
    assert_eq!(code(&finish(side)), 137);
}

#[test]
fn main_waits_for_the_supervisor() {
    let pod = Pod::container();
    let ready = |script| {
        let mut command = pod.emissary("main", script);
        command.env("ARGO_WAIT_FOR_READY", "true");
        command
    };
    fs::write(pod.paths.status(), "RUNNING\n").unwrap();
    let child = ready("exit 4").spawn().unwrap();
    until("main starts", || pod.file("main", "alive").exists());
    fs::write(pod.paths.status(), "READY\n").unwrap();
    assert_eq!(code(&finish(child)), 4);
    fs::write(pod.paths.status(), "FAILED\nno such bucket\n").unwrap();
    assert_eq!(code(&run(ready("exit 4"))), 65);
    assert_eq!(pod.exit_code("main").as_deref(), Some("65"));
    assert_eq!(pod.message(), "supervisor reported pre-main failure: no such bucket");
}
