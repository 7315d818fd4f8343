//! Processes: PID namespaces, further processes, terminals, and that none is left behind.

use crate::support::{Place, block_on, lines_from, make_fifo, program, run, start, to_end};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use tiphys_sandbox::{Event, SandboxSpec};

#[test]
fn each_container_has_its_own_process_numbers() {
    let place = Place::new();
    let mut pod = place.pod("p");
    for name in ["a", "b"] {
        pod.containers.push(place.shell(name, "echo $$; cd /proc; echo [0-9]*"));
    }
    run(&pod);
    assert_eq!((place.log("a").as_str(), place.log("b").as_str()), ("1\n1\n", "1\n1\n"));
}

#[test]
fn orphans_end_with_their_container() {
    let place = Place::new();
    let volume = place.volume("volume", "/v");
    make_fifo(&volume.source.join("held"));
    let mut pod = place.pod("p");
    let mut main = place.shell("main", "exec 3> /v/held; echo ready >&3; setsid sleep 1000 & exit 0");
    main.mounts.push(volume);
    pod.containers.push(main);
    let outcome = block_on(async {
        let (_sandbox, events) = start(&pod).await;
        let held = place.path("volume/held");
        // To its end: the orphan holds it open too.
        let text = tokio::task::spawn_blocking(move || fs::read_to_string(held).unwrap()).await.unwrap();
        assert_eq!(text, "ready\n");
        to_end(events).await
    });
    assert_eq!(outcome.exit("main").exit_code, 0);
}

#[test]
fn further_processes_run_in_a_container() {
    let place = Place::new();
    make_fifo(&place.volume("volume", "/v").source.join("ready"));
    let mut pod = place.pod("p");
    for (name, user) in [("main", None), ("user", Some((1000, 1000)))] {
        let mut container = place.shell(name, "echo here > /tmp/it; exec 3> /v/ready; echo ready >&3; sleep 1000");
        container.user = user;
        container.mounts.push(place.volume("volume", "/v"));
        pod.containers.push(container);
    }
    let shell = |script: &str| vec!["sh".to_owned(), "-c".into(), script.into()];
    let path = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
    let codes = block_on(async {
        let (sandbox, mut events) = start(&pod).await;
        lines_from(place.path("volume/ready"), 2).await;
        sandbox.exec(1, "main", shell("test $(cat /tmp/it) = here && exit 5"), path.clone()).unwrap();
        sandbox.exec(2, "user", shell("test $(id -u) = 1000 && test $$ -gt 1 && exit 6"), path.clone()).unwrap();
        sandbox.exec(3, "main", vec!["no-such-command".into()], path.clone()).unwrap();
        sandbox.exec(4, "main", shell("sleep 1000"), path.clone()).unwrap();
        sandbox.exec(5, "absent", shell("true"), path.clone()).unwrap();
        sandbox.kill_exec(4).unwrap();
        let mut codes = std::collections::BTreeMap::new();
        while codes.len() < 5 {
            if let Event::ExecExited { id, exit_code, error } = events.recv().await.unwrap() {
                codes.insert(id, (exit_code, error));
            }
        }
        sandbox.kill().unwrap();
        to_end(events).await;
        codes
    });
    let numbers: Vec<i32> = codes.values().map(|(code, _)| *code).collect();
    assert_eq!(numbers, [5, 6, 127, 137, 126], "{codes:?}");
    assert!(codes[&3].1.as_ref().is_some_and(|error| error.contains("\"no-such-command\" not found")), "{codes:?}");
    assert!(codes[&5].1.as_ref().is_some_and(|error| error.contains("absent: ")), "{codes:?}");
}

#[test]
fn a_terminal_writes_to_the_log() {
    let place = Place::new();
    let mut main =
        place.shell("main", "test -t 0 && test -t 1 && test -t 2 && tty && echo err >&2 && echo x > /dev/tty");
    main.tty = true;
    assert_eq!(place.output_of(main), "/dev/pts/0\r\nerr\r\nx\r\n");
    let mut much = place.shell("much", "seq 100000");
    much.tty = true;
    much.user = Some((1000, 1000));
    assert_eq!(place.output_of(much).lines().count(), 100_000);
}

#[test]
fn a_large_specification_fits_through_the_pipe() {
    let place = Place::new();
    let mut main = place.shell("main", "printenv | grep -c '^BIG'");
    for number in 0..40 {
        main.env.push((format!("BIG{number}"), "x".repeat(20_000)));
    }
    assert_eq!(place.output_of(main), "40\n");
}

/// A Pod in a process of its own, in which two containers and an orphan hold a named pipe open.
fn held_pod(place: &Place) -> (Child, BufReader<fs::File>) {
    let volume = place.volume("volume", "/v");
    make_fifo(&volume.source.join("held"));
    let mut pod: SandboxSpec = place.pod("p");
    for name in ["a", "b"] {
        let mut container = place.shell(name, "exec 3> /v/held; setsid sleep 1000 & echo ready >&3; sleep 1000");
        container.env.push(("PASSWORD".into(), "hunter2".into()));
        container.mounts.push(volume.clone());
        pod.containers.push(container);
    }
    fs::write(place.path("spec.json"), serde_json::to_string(&pod).unwrap()).unwrap();
    let child = Command::new(program()).arg(place.path("spec.json")).stdout(Stdio::null()).spawn().unwrap();
    let mut held = BufReader::new(fs::File::open(place.path("volume/held")).unwrap());
    let mut line = String::new();
    for _ in 0..2 {
        held.read_line(&mut line).unwrap();
    }
    assert_eq!(line, "ready\nready\n");
    (child, held)
}

fn keeper_of(parent: &Child) -> Pid {
    let pid = parent.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap())
}

#[test]
fn nothing_outlives_a_killed_caller() {
    let place = Place::new();
    let (mut caller, mut held) = held_pod(&place);
    let keeper = keeper_of(&caller);
    let keeper_end = fs::File::open(format!("/proc/{keeper}")).unwrap();
    for secret in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{keeper}/{secret}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("hunter2"));
    }
    caller.kill().unwrap();
    caller.wait().unwrap();
    // The end of the pipe is the end of the last process that held it.
    let mut rest = String::new();
    held.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    drop(keeper_end);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*place.path("").to_string_lossy()));
    tiphys_sandbox::remove_scratch(&place.path("scratch-p")).unwrap();
}

#[test]
fn nothing_outlives_a_killed_keeper() {
    let place = Place::new();
    let (mut caller, mut held) = held_pod(&place);
    kill(keeper_of(&caller), Signal::SIGKILL).unwrap();
    let mut rest = String::new();
    held.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    caller.wait().unwrap();
}

#[test]
fn nothing_outlives_a_caller_killed_at_any_moment() {
    for step in 0..30 {
        let place = Place::new();
        let volume = place.volume("volume", "/v");
        let held = volume.source.join("held");
        make_fifo(&held);
        let mut pod = place.pod("p");
        for name in ["a", "b"] {
            let mut container = place.shell(name, "exec 3> /v/held; setsid sleep 1000 & sleep 1000");
            container.mounts.push(volume.clone());
            pod.containers.push(container);
        }
        fs::write(place.path("spec.json"), serde_json::to_string(&pod).unwrap()).unwrap();
        // Descriptor 9 is inherited by every process of the sandbox up to the containers' commands, which open their own.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$1\" 9>\"$2\""]).arg(program()).arg(place.path("spec.json")).arg(&held);
        let mut caller = command.stdout(Stdio::null()).spawn().unwrap();
        let mut pipe = fs::File::open(&held).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_micros(step * 400) {
            std::hint::spin_loop();
        }
        caller.kill().unwrap();
        caller.wait().unwrap();
        let mut rest = Vec::new();
        pipe.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}
