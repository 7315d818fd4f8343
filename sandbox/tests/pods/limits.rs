//! Memory limits.

use crate::support::{Place, run};
use tiphys_sandbox::Event;

#[test]
fn a_memory_limit_is_enforced_or_a_warning_given() {
    let place = Place::new();
    let mut pod = place.pod("p");
    // `tail` keeps what has no line end.
    let mut main = place.shell("main", "head -c 200000000 /dev/zero | tail -n 1 | wc -c");
    main.argv = ["sh", "-c", "head -c 200000000 /dev/zero | tail -n 1 > /dev/null"].map(String::from).into();
    main.memory_limit_bytes = Some(32 << 20);
    let mut modest = place.shell("modest", "head -c 1000000 /dev/zero | tail -n 1 > /dev/null");
    modest.memory_limit_bytes = Some(32 << 20);
    pod.containers = vec![main, modest];
    let outcome = run(&pod);
    let warned = outcome.events.iter().any(
        |event| matches!(event, Event::Warning { container, message } if container == "main" && message.contains("33554432")),
    );
    let exit = outcome.exit("main");
    assert!(warned == (exit.exit_code == 0) && exit.oom != warned, "{:?}", outcome.events);
    assert!(outcome.exit("modest").exit_code == 0 && !outcome.exit("modest").oom);
    let left = std::fs::read_dir("/sys/fs/cgroup/memory").into_iter().flatten().filter_map(Result::ok);
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("tiphys-")));
}
