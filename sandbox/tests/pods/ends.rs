//! How containers end, and what the caller is told.

use crate::support::{Place, block_on, lines_from, make_fifo, program, run, start, to_end};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tiphys_sandbox::{Event, FailureKind, Sandbox};

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.containers = vec![place.shell("three", "exit 3"), place.shell("child", "(kill -KILL $(sh -c 'echo $PPID'))")];
    pod.containers.push(place.shell("ok", "true"));
    let outcome = run(&pod);
    assert_eq!((outcome.exit("three").exit_code, outcome.exit("three").signal), (3, None));
    assert_eq!((outcome.exit("child").exit_code, outcome.exit("child").signal), (137, None));
    assert_eq!(outcome.exit("ok").exit_code, 0);
    assert!(outcome.exit("ok").started_at <= outcome.exit("ok").finished_at);
}

#[test]
fn started_comes_before_exited_and_finished_last() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.containers = vec![place.shell("main", "true")];
    let kinds: Vec<&str> = run(&pod)
        .events
        .iter()
        .map(|event| match event {
            Event::Started { .. } => "started",
            Event::Exited { .. } => "exited",
            Event::Finished => "finished",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["started", "exited", "finished"]);
}

#[test]
fn a_failed_init_container_is_the_last() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.init = vec![place.shell("first", "true"), place.shell("second", "exit 9"), place.shell("third", "true")];
    pod.containers = vec![place.shell("main", "true")];
    let outcome = run(&pod);
    assert_eq!(outcome.exit("first").exit_code, 0);
    assert_eq!(outcome.exit("second").exit_code, 9);
    assert!(!outcome.exits.contains_key("third") && !outcome.exits.contains_key("main"));
}

#[test]
fn init_containers_end_before_the_others_start() {
    let place = Place::new();
    let volume = place.volume("volume", "/data");
    let mut pod = place.pod("p");
    for (name, script) in [("one", "echo 1 >> /data/order"), ("two", "echo 2 >> /data/order")] {
        let mut container = place.shell(name, script);
        container.mounts.push(volume.clone());
        pod.init.push(container);
    }
    let mut main = place.shell("main", "cat /data/order");
    main.mounts.push(volume);
    pod.containers.push(main);
    run(&pod);
    assert_eq!(place.log("main"), "1\n2\n");
}

#[test]
fn commands_that_cannot_run_say_why() {
    let place = Place::new();
    fs::write(place.path("text"), "no program").unwrap();
    fs::write(place.path("script"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(place.path("text"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut pod = place.pod("p");
    let mut add = |name: &str, argv: &[&str]| {
        let mut container = place.shell(name, "");
        container.argv = argv.iter().map(|it| (*it).to_owned()).collect();
        let mut bin = place.volume("unused", "/b");
        bin.source = place.path("");
        container.mounts.push(bin);
        pod.containers.push(container);
    };
    add("absent", &["no-such-command", "x"]);
    add("absent-path", &["/no/such/command"]);
    add("text", &["/b/text"]);
    add("script", &["/b/script"]);
    add("folder", &["/etc"]);
    add("nothing", &[]);
    let outcome = run(&pod);
    let check = |name: &str, code: i32, kind: FailureKind, text: &str| {
        let error = outcome.error(name);
        assert_eq!((outcome.exit(name).exit_code, error.kind), (code, kind), "{error}");
        assert!(error.message.contains(text) && error.message.contains(name), "{error}");
    };
    check("absent", 127, FailureKind::CommandNotFound, "\"no-such-command\" not found in PATH (");
    check("absent-path", 127, FailureKind::CommandNotFound, "no such file in the container");
    check("text", 126, FailureKind::CommandNotExecutable, "begins with #!");
    check("script", 126, FailureKind::CommandNotExecutable, "interpreter");
    check("folder", 126, FailureKind::CommandNotExecutable, "\"/etc\"");
    check("nothing", 128, FailureKind::InvalidSpec, "no command");
    assert!(!outcome.events.iter().any(|event| matches!(event, Event::Started { .. })));
}

#[test]
fn a_container_that_cannot_start_leaves_the_others_be() {
    let place = Place::new();
    let mut pod = place.pod("p");
    let mut broken = place.shell("broken", "true");
    let mut gone = place.volume("volume", "/data");
    gone.source = place.path("no-such-folder");
    broken.mounts.push(gone);
    pod.containers = vec![broken, place.shell("whole", "echo fine")];
    let outcome = run(&pod);
    let error = outcome.error("broken");
    assert_eq!(error.kind, FailureKind::MountSource);
    assert!(error.message.contains("no-such-folder") && error.message.contains("/data"), "{error}");
    assert_eq!(place.log("whole"), "fine\n");
}

#[test]
fn a_spec_that_cannot_be_is_refused_by_name() {
    let place = Place::new();
    let mut twice = place.pod("p");
    twice.containers = vec![place.shell("main", "true"), place.shell("main", "true")];
    let events = run(&twice).events;
    assert!(
        matches!(&events[0], Event::Failed(failure)
            if failure.kind == FailureKind::InvalidSpec && failure.message.contains("two containers are named \"main\"")),
        "{events:?}"
    );
    for target in ["relative", "/a/../b", "/"] {
        let mut pod = place.pod("q");
        let mut main = place.shell("main", "true");
        main.mounts.push(place.volume("volume", target));
        pod.containers.push(main);
        let outcome = run(&pod);
        assert_eq!(outcome.error("main").kind, FailureKind::InvalidSpec, "{target}");
        assert!(outcome.error("main").message.contains(target));
    }
}

#[test]
fn a_signal_reaches_the_container() {
    let place = Place::new();
    make_fifo(&place.volume("volume", "/v").source.join("ready"));
    let mut pod = place.pod("p");
    let mut main = place.shell("main", "trap 'exit 7' TERM; sleep 1000 & echo ready > /v/ready; wait");
    main.mounts.push(place.volume("volume", "/v"));
    pod.containers.push(main);
    let outcome = block_on(async {
        let (sandbox, events) = start(&pod).await;
        lines_from(place.path("volume/ready"), 1).await;
        sandbox.signal("no-such-container", libc::SIGTERM).unwrap();
        sandbox.signal("main", libc::SIGTERM).unwrap();
        to_end(events).await
    });
    assert_eq!(outcome.exit("main").exit_code, 7);
}

#[test]
fn kill_ends_all_and_starts_nothing_more() {
    let place = Place::new();
    make_fifo(&place.volume("volume", "/v").source.join("ready"));
    let mut pod = place.pod("p");
    let mut first = place.shell("first", "trap '' TERM; echo ready > /v/ready; sleep 1000 & wait; wait");
    first.mounts.push(place.volume("volume", "/v"));
    pod.init = vec![first];
    pod.containers = vec![place.shell("main", "true")];
    let (outcome, gone) = block_on(async {
        let (sandbox, events) = start(&pod).await;
        lines_from(place.path("volume/ready"), 1).await;
        sandbox.kill().unwrap();
        let outcome = to_end(events).await;
        (outcome, sandbox.kill())
    });
    assert_eq!(outcome.exit("first").signal, Some(libc::SIGKILL));
    assert!(!outcome.exits.contains_key("main"));
    assert!(gone.is_err());
}

#[test]
fn a_program_that_is_no_sandbox_is_told_of() {
    let place = Place::new();
    block_on(async {
        let pod = place.pod("p");
        let missing = Sandbox::start(&pod, &place.path("no-such-program")).await;
        assert!(missing.is_err_and(|error| error.to_string().contains("no-such-program")));
        let (_sandbox, events) = Sandbox::start(&pod, "/bin/false".as_ref()).await.unwrap();
        let outcome = to_end(events).await;
        assert!(
            matches!(&outcome.events[0], Event::Failed(failure) if failure.message.contains("exit status: 1")),
            "{:?}",
            outcome.events
        );
    });
}

#[test]
fn dropping_the_handle_ends_the_pod() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.containers = vec![place.shell("main", "sleep 1000")];
    block_on(async {
        let (sandbox, events) = start(&pod).await;
        drop(sandbox);
        to_end(events).await;
    });
}

#[test]
fn a_machine_without_namespaces_says_which_setting_is_in_the_way() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.containers = vec![place.shell("main", "true")];
    let spec = place.file("spec.json", &serde_json::to_string(&pod).unwrap(), "/unused").source;
    // A user namespace has limits of its own, for what is made in it.
    let script = "echo 0 > /proc/sys/user/max_mnt_namespaces && exec \"$0\" \"$1\"";
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .args([program(), spec])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("NamespacesRefused") && text.contains("sysctl user.max_mnt_namespaces="), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}
