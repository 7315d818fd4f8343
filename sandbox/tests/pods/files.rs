//! What containers see of files: each its own, shared volumes, mounts anywhere.

use crate::support::{Place, run};
use std::path::Path;
use tiphys_sandbox::Overlay;

#[test]
fn what_one_pod_writes_another_does_not_see() {
    let place = Place::new();
    let script = "test ! -e /tmp/it && echo x > /tmp/it && echo y > /var/tmp/it && mkdir /it /mnt/it && echo done";
    for name in ["a", "b"] {
        assert_eq!(place.output_of(place.shell(name, script)), "done\n");
    }
    assert!(!Path::new("/it").exists() && !Path::new("/tmp/it").exists() && !Path::new("/var/tmp/it").exists());
}

#[test]
fn containers_of_a_pod_share_volumes_and_shm_but_not_tmp() {
    let place = Place::new();
    let mut pod = place.pod("p");
    for name in ["writer", "reader"] {
        let script = match name {
            "writer" => "echo private > /tmp/it; echo shm > /dev/shm/it; mkfifo /data/fifo; echo shared > /data/fifo",
            _ => "until test -p /data/fifo; do :; done; cat /data/fifo /dev/shm/it; ls /tmp",
        };
        let mut container = place.shell(name, script);
        container.mounts.push(place.volume("volume", "/data"));
        pod.containers.push(container);
    }
    let outcome = run(&pod);
    assert_eq!(outcome.exit("reader").exit_code, 0);
    assert_eq!(place.log("reader"), "shared\nshm\n");
}

#[test]
fn read_only_mounts_refuse_writing() {
    let place = Place::new();
    let mut main = place.shell(
        "main",
        "cat /f /d/x; echo a > /f || echo refused; echo b > /d/x || echo refused; touch /d/new || echo refused",
    );
    let mut file = place.file("file", "file\n", "/f");
    let mut folder = place.volume("folder", "/d");
    place.file("folder/x", "x\n", "/unused");
    file.read_only = true;
    folder.read_only = true;
    main.mounts = vec![file, folder];
    let log = place.output_of(main);
    assert!(log.starts_with("file\nx\n"), "{log}");
    assert_eq!(log.matches("refused").count(), 3, "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 3, "{log}");
    assert_eq!((place.read("file"), place.read("folder/x")), ("file\n".into(), "x\n".into()));
}

/// Places that exist on the machine or not, below folders of root, behind links, in special file systems.
const TARGETS: [&str; 12] = [
    "/new",
    "/new-top/below",
    "/etc/config",
    "/etc/deep/er/config",
    "/mnt/vol",
    "/opt/app/data",
    "/var/run/argo",
    "/var/lib/app/data",
    "/usr/local/share/app/data",
    "/root/.app",
    "/tmp/in-tmp/x",
    "/dev/in-dev",
];

fn mounts_work_at_every_target(overlay: Overlay) {
    let place = Place::new();
    let script: String = TARGETS.iter().map(|it| format!("cat {it}/here && echo {it} >> {it}/here;")).collect();
    let mut main = place.shell("main", &script);
    for (number, target) in TARGETS.iter().enumerate() {
        main.mounts.push(place.volume(&number.to_string(), target));
        place.file(&format!("{number}/here"), &format!("{target}\n"), "/unused");
        let file = place.path(&format!("{number}/here"));
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    }
    let mut pod = place.pod("p");
    pod.overlay = overlay;
    pod.containers.push(main);
    let outcome = run(&pod);
    assert_eq!(outcome.exit("main").exit_code, 0, "{:?}\n{}", outcome.events, place.log("main"));
    let expected: String = TARGETS.iter().map(|it| format!("{it}\n")).collect();
    assert_eq!(place.log("main"), expected);
    for (number, target) in TARGETS.iter().enumerate() {
        assert_eq!(place.read(&format!("{number}/here")), format!("{target}\n{target}\n"));
        assert!(target.starts_with("/tmp") || !Path::new(target).exists() || *target == "/var/run/argo");
    }
}

#[test]
fn mounts_work_anywhere() {
    mounts_work_at_every_target(Overlay::Auto);
}

#[test]
fn mounts_work_anywhere_without_overlays() {
    mounts_work_at_every_target(Overlay::Never);
}

#[test]
fn mounts_lie_in_one_another_whatever_their_order() {
    let place = Place::new();
    let mut main = place.shell("main", "cat /a/b/f; echo new > /a/b/g; ls /a");
    main.mounts = vec![
        place.file("file", "inner file\n", "/a/b/f"),
        place.volume("inner", "/a/b"),
        place.volume("outer", "/a"),
        place.file("outer/o", "", "/a/extra"),
    ];
    let log = place.output_of(main);
    assert_eq!(log, "inner file\nb\nextra\no\n");
    assert_eq!(place.read("inner/g"), "new\n");
}

#[test]
fn the_termination_log_is_a_file_of_the_caller() {
    let place = Place::new();
    let mut main = place.shell("main", "echo last words > /dev/termination-log");
    main.termination_log = Some(place.path("termination-log"));
    place.output_of(main);
    assert_eq!(place.read("termination-log"), "last words\n");
}

#[test]
fn outputs_go_to_their_files_and_input_is_at_its_end() {
    let place = Place::new();
    let mut main = place.shell("main", "cat; echo out; echo err >&2; echo again > /dev/stdout");
    main.stderr = Some(place.path("err.log"));
    assert_eq!(place.output_of(main), "out\nagain\n");
    assert_eq!(place.log("err"), "err\n");
    let mut fed = place.shell("fed", "cat");
    fed.stdin = Some(place.path("err.log"));
    assert_eq!(place.output_of(fed), "err\n");
}

#[test]
fn the_pod_gives_names_and_resolvers() {
    let place = Place::new();
    let mut pod = place.pod("p");
    pod.hostname = "my-pod".into();
    pod.hosts = vec!["10.1.2.3\tdb".into()];
    pod.resolv_conf = Some("nameserver 10.9.9.9\n".into());
    pod.containers.push(place.shell("main", "hostname; cat /etc/hostname /etc/resolv.conf; tail -n 2 /etc/hosts"));
    let outcome = run(&pod);
    assert_eq!(outcome.exit("main").exit_code, 0);
    assert_eq!(place.log("main"), "my-pod\nmy-pod\nnameserver 10.9.9.9\n127.0.0.1\tmy-pod\n10.1.2.3\tdb\n");
}

#[test]
fn a_working_directory_is_made() {
    let place = Place::new();
    let mut main = place.shell("main", "pwd; touch it");
    main.cwd = Some("/work-here/a/b".into());
    assert_eq!(place.output_of(main), "/work-here/a/b\n");
    let mut below_root = place.shell("below-root", "pwd");
    below_root.cwd = Some("/usr/local/lib/app".into());
    assert_eq!(place.output_of(below_root), "/usr/local/lib/app\n");
}
