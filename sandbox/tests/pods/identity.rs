//! Who a container is: users, capabilities, environment.

use crate::support::{Place, program, run};
use std::os::unix::fs::MetadataExt;

#[test]
fn a_container_is_root_unless_it_asks_for_a_user() {
    let place = Place::new();
    assert_eq!(place.output_of(place.shell("root", "id -u; id -g")), "0\n0\n");
    let mut user =
        place.shell("user", "id -u; id -g; id -G; touch /data/it /tmp/it; echo > /dev/stdout; stat -c %u /data/it");
    user.user = Some((1000, 2000));
    user.mounts.push(place.volume("volume", "/data"));
    assert_eq!(place.output_of(user), "1000\n2000\n2000\n\n1000\n");
    let owner = std::fs::metadata(place.path("volume/it")).unwrap().uid();
    let me = nix::unistd::geteuid();
    assert_eq!(owner, if me.is_root() { 1000 } else { me.as_raw() });
}

#[test]
fn capabilities_are_few_and_cannot_grow() {
    let place = Place::new();
    let script = "grep -E '^(CapEff|CapBnd|CapInh|NoNewPrivs)' /proc/self/status | tr -s '\\t' ' '";
    let log = place.output_of(place.shell("root", script));
    let few = "00000000a00425fb";
    assert_eq!(log, format!("CapInh: 0000000000000000\nCapEff: {few}\nCapBnd: {few}\nNoNewPrivs: 1\n"));
    let mut user = place.shell("user", script);
    user.user = Some((1000, 1000));
    let log = place.output_of(user);
    assert_eq!(log, format!("CapInh: 0000000000000000\nCapEff: 0000000000000000\nCapBnd: {few}\nNoNewPrivs: 1\n"));
}

#[test]
fn nothing_of_the_callers_environment_gets_in() {
    let place = Place::new();
    let mut main = place.shell("main", "/usr/bin/env | sort");
    main.env = vec![("SECRET".into(), "a=b c".into()), ("HOME".into(), "/nowhere".into())];
    main.argv = vec!["env".into()];
    let log = place.output_of(main);
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["HOME=/nowhere", "HOSTNAME=main", "SECRET=a=b c"]);
}

#[test]
fn the_machines_settings_are_out_of_reach() {
    let place = Place::new();
    let script = "cat /proc/sys/kernel/panic > /tmp/panic; (cat /tmp/panic > /proc/sys/kernel/panic) 2>/dev/null \
                  && echo open; (echo h > /proc/sysrq-trigger) 2>/dev/null && echo open; \
                  touch /sys/it 2>/dev/null && echo open; mount -t tmpfs x /mnt 2>/dev/null && echo open; echo done";
    assert_eq!(place.output_of(place.shell("main", script)), "done\n");
}

#[test]
fn devices_are_the_harmless_ones() {
    let place = Place::new();
    let script = "cd /dev; for it in [!s]*; do test -c $it -o -b $it && printf '%s ' $it; done; \
                  head -c 3 /dev/zero | wc -c; echo x > /dev/null; test -p /dev/stdin -o -c /dev/stdin";
    let log = place.output_of(place.shell("main", script));
    assert_eq!(log, "full null ptmx random tty urandom zero 3\n");
}

#[test]
fn a_pod_runs_within_a_pod() {
    let place = Place::new();
    let mut inner = place.pod("inner");
    inner.scratch = "/tmp/inner".into();
    let mut container = place.shell("main", "echo inner; id -u");
    container.stdout = Some("/tmp/inner.log".into());
    container.stderr = Some("/tmp/inner.log".into());
    inner.containers.push(container);
    let mut outer = place.shell("outer", "/program/tiphys-sandbox /spec.json; cat /tmp/inner.log");
    outer.mounts.push(place.file("spec", &serde_json::to_string(&inner).unwrap(), "/spec.json"));
    let mut bin = place.volume("program", "/program");
    std::fs::copy(program(), bin.source.join("tiphys-sandbox")).unwrap();
    bin.read_only = true;
    outer.mounts.push(bin);
    let mut pod = place.pod("p");
    pod.containers.push(outer);
    run(&pod);
    let log = place.log("outer");
    assert!(log.ends_with("inner\n0\n"), "{log}");
}
