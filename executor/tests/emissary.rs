//! The emissary as a real process: what it passes on, what it keeps, how it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use pod::{Pod, code, finish, run, signal, text, until};

const TERM: i32 = 15;
const KILL: i32 = 9;

#[test]
fn the_commands_end_is_the_containers() {
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)] {
        let pod = Pod::container();
        let output = run(pod.emissary("main", script));
        assert_eq!(code(&output), expected, "{script}");
        assert_eq!(pod.exit_code("main").as_deref(), Some(expected.to_string().as_str()), "{script}");
        assert_eq!(text(&output.stderr), "", "nothing of ours in the user's log");
        assert_eq!(pod.message(), "");
    }
}

#[test]
fn streams_and_environment_pass_through() {
    let pod = Pod::container();
    let mut command = pod.emissary("main", "cat; echo err >&2; echo $GREETING $ARGO_CONTAINER_NAME");
    let mut child = command.env("GREETING", "hi").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    let output = finish(child);
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("from stdin\nhi main\n".into(), "err\n".into()));
    assert!(pod.read("main", "stdout").is_none() && pod.read("main", "combined").is_none());
}

#[test]
fn a_command_that_is_not_there_is_the_executors_failure() {
    for (command, message) in [
        (&["invalid"][..], "failed to find name in PATH: exec: \"invalid\": executable file not found in $PATH"),
        (
            &["/no/such"][..],
            "failed to find name in PATH: exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        (
            &[][..],
            "no command: the container has neither command nor args and its image names no entrypoint; set \
             container.command in the template",
        ),
    ] {
        let pod = Pod::container();
        let output = run(pod.command("main", command));
        assert_eq!(code(&output), 64);
        assert_eq!(pod.exit_code("main").as_deref(), Some("64"));
        assert_eq!(pod.message(), message);
        assert_eq!(text(&output.stderr), format!("Error: {message}\n"));
    }
}

#[test]
fn a_file_that_is_no_program_is_named() {
    let pod = Pod::container();
    fs::create_dir_all(pod.at("")).unwrap();
    let program = pod.at("garbage");
    fs::write(&program, "\u{1}\u{2}garbage").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // The standard library's execvp may hand it to a shell as POSIX says; either way it fails, and not silently.
    let output = run(pod.command("main", &[&program]));
    assert_ne!(code(&output), 0);
    assert_eq!(pod.exit_code("main"), Some(code(&output).to_string()));
}

#[test]
fn without_a_template_the_reason_is_told() {
    let pod = Pod::container();
    fs::remove_file(pod.paths.template()).unwrap();
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 64);
    let file = pod.paths.template();
    assert_eq!(pod.message(), format!("cannot read {}: No such file or directory (os error 2)", file.display()));
    let mut command = pod.emissary("main", "exit 3");
    command.env("ARGO_TEMPLATE", r#"{"container":{}}"#);
    assert_eq!(code(&run(command)), 3);
    fs::write(&file, "{").unwrap();
    assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 64);
    assert!(pod.message().starts_with("failed to unmarshal template: "), "{}", pod.message());
}

#[test]
fn output_is_kept_when_somebody_wants_it() {
    let script = "echo one; echo two >&2; printf three";
    for (wanted, logs, stdout, combined) in [
        (true, false, Some("one\nthree"), None),
        (false, true, None, Some(["one\n", "two\n", "three"])),
        (true, true, Some("one\nthree"), Some(["one\n", "two\n", "three"])),
    ] {
        let pod = Pod::new(&format!(r#"{{"container":{{}},"archiveLocation":{{"archiveLogs":{logs}}}}}"#));
        let mut command = pod.emissary("main", script);
        command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", wanted.to_string());
        let output = run(command);
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("one\nthree".into(), "two\n".into()));
        assert_eq!(pod.read("main", "stdout").as_deref(), stdout);
        let kept = pod.read("main", "combined");
        assert_eq!(kept.as_ref().map(String::len), combined.map(|parts| parts.concat().len()));
        for part in combined.into_iter().flatten() {
            assert!(kept.as_ref().unwrap().contains(part), "{kept:?}");
        }
    }
}

#[test]
fn much_output_is_kept_whole() {
    let pod = Pod::container();
    let mut command = pod.emissary("main", "head -c 5000000 /dev/zero | tr '\\0' x");
    command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    assert_eq!(run(command).stdout.len(), 5_000_000);
    assert_eq!(fs::metadata(pod.file("main", "stdout")).unwrap().len(), 5_000_000);
}

#[test]
fn a_background_process_does_not_hold_the_container() {
    let pod = Pod::container();
    let mut command = pod.emissary("main", "echo now; sleep 1000 & echo $! >&2; exit 5");
    command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    command.stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut line).unwrap();
    assert_eq!(code(&finish(child)), 5);
    assert_eq!(pod.read("main", "stdout").as_deref(), Some("now\n"));
    tiphys_executor::process::kill(line.trim().parse().unwrap(), KILL).unwrap();
}

#[test]
fn signals_reach_the_whole_group() {
    let pod = Pod::container();
    let script = "trap 'echo parent; wait; exit 3' USR1; (trap 'echo child; exit' USR1; echo; while :; do sleep 0.01; done) & \
                  echo; while :; do sleep 0.01; done";
    let mut child = pod.emissary("main", script).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut [0; 2]).unwrap();
    signal(&child, libc::SIGUSR1);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
    assert_eq!(code(&finish(child)), 3);
    assert!(rest.contains("parent") && rest.contains("child"), "{rest:?}");
}

#[test]
fn mail_is_a_signal() {
    for (number, expected) in [(TERM, 143), (KILL, 137)] {
        let pod = Pod::container();
        let child = pod.emissary("main", "exec sleep 1000").spawn().unwrap();
        until("the container starts", || pod.file("main", "alive").exists());
        fs::write(pod.file("main", "signal"), number.to_string()).unwrap();
        assert_eq!(code(&finish(child)), expected);
    }
}

#[test]
fn killing_pid_1_kills_the_command() {
    let pod = Pod::container();
    let child = pod.emissary("main", "exec sleep 1000").spawn().unwrap();
    until("the container starts", || pod.file("main", "alive").exists());
    let mut kill = pod.executor(&["kill", "9", "1"]);
    kill.env("ARGO_CONTAINER_NAME", "main");
    assert_eq!(code(&run(kill)), 0);
    assert_eq!(code(&finish(child)), 137);
}

#[test]
fn kill_sends_any_signal_to_any_process() {
    let pod = Pod::container();
    let mut child = pod.emissary("main", "trap 'exit 6' USR1; echo; while :; do sleep 0.01; done").spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let pid = child.id().to_string();
    assert_eq!(code(&run(pod.executor(&["kill", &libc::SIGUSR1.to_string(), &pid]))), 0);
    assert_eq!(code(&finish(child)), 6);
    for (words, message) in [
        (&["kill", "x", "1"][..], "signal \"x\" is not a number"),
        (&["kill", "15", ""], "pid \"\" is not a number"),
        (&["kill", "15"], "usage: kill SIGNAL PID"),
        (&["kill", "15", "2147483646"], "cannot send signal 15 to process 2147483646: No such process (os error 3)"),
    ] {
        let output = run(pod.executor(words));
        assert_eq!((code(&output), text(&output.stderr)), (64, format!("Error: {message}\n")));
    }
}

#[test]
fn orphans_are_reaped() {
    let pod = Pod::container();
    // The subshell's child outlives it, comes to the emissary, and ends; then no zombie may be left.
    let script = "(sh -c 'echo $$; exec sleep 0.05' & ) ; while [ ! -e $DONE ]; do sleep 0.01; done";
    let done = pod.root().join("done");
    let mut command = pod.emissary("main", script);
    let mut child = command.env("DONE", &done).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let orphan = std::path::PathBuf::from(format!("/proc/{}", line.trim()));
    until("the orphan is gone", || !orphan.exists());
    fs::write(done, "").unwrap();
    assert_eq!(code(&finish(child)), 0);
}

#[test]
fn outputs_are_handed_over_by_main_only() {
    let pod = Pod::container();
    let (parameter, artifact) = (pod.at("parameter"), pod.at("artifact"));
    let template = format!(
        r#"{{"container":{{}},"outputs":{{"parameters":[{{"name":"p","valueFrom":{{"path":"{parameter}"}}}}],
        "artifacts":[{{"name":"a","path":"{artifact}","archive":{{"none":{{}}}}}}]}}}}"#
    );
    fs::write(pod.paths.template(), template).unwrap();
    let script = format!("mkdir -p {} && echo p > {parameter} && echo a > {artifact}; exit 2", pod.at(""));
    assert_eq!(code(&run(pod.emissary("other", &script))), 2);
    assert!(!pod.paths.staged_parameter(&parameter).exists());
    assert_eq!(code(&run(pod.emissary("main", &script))), 2, "outputs are kept of failures too");
    assert_eq!(fs::read_to_string(pod.paths.staged_parameter(&parameter)).unwrap(), "p\n");
    assert_eq!(fs::read_to_string(pod.paths.staged_artifact("a")).unwrap(), "a\n");
}

#[test]
fn outputs_that_cannot_be_kept_fail_the_container() {
    let pod = Pod::container();
    let parameter = pod.at("parameter");
    let template =
        format!(r#"{{"container":{{}},"outputs":{{"parameters":[{{"valueFrom":{{"path":"{parameter}"}}}}]}}}}"#);
    fs::write(pod.paths.template(), template).unwrap();
    // A folder is no parameter.
    let output = run(pod.emissary("main", &format!("mkdir -p {parameter}; exit 3")));
    assert_eq!(code(&output), 64);
    assert_eq!(pod.exit_code("main").as_deref(), Some("3"), "the command's own code");
    assert!(pod.message().contains(&parameter), "{}", pod.message());
}

#[test]
fn arguments_may_come_from_a_file() {
    let pod = Pod::container();
    let file = pod.root().join("args");
    fs::write(&file, r#"["b","c d"]"#).unwrap();
    let mut command = pod.command("main", &["/bin/echo", "a"]);
    command.env("ARGO_CONTAINER_ARGS_FILE", file);
    assert_eq!(text(&run(command).stdout), "a b c d\n");
}

#[test]
fn pauses_last_until_the_user_ends_them() {
    let pod = Pod::container();
    let parameter = pod.at("parameter");
    let template =
        format!(r#"{{"container":{{}},"outputs":{{"parameters":[{{"valueFrom":{{"path":"{parameter}"}}}}]}}}}"#);
    fs::write(pod.paths.template(), template).unwrap();
    let mut command =
        pod.emissary("main", &format!("mkdir -p {}; echo of the command > {parameter}; exit 5", pod.at("")));
    command.env("ARGO_DEBUG_PAUSE_BEFORE", "true").env("ARGO_DEBUG_PAUSE_AFTER", "true");
    let child = command.spawn().unwrap();
    until("the container starts", || pod.file("main", "alive").exists());
    fs::write(pod.file("main", "before"), "").unwrap();
    until("the command has failed", || pod.file("main", "ended").exists());
    // The pause is for looking at what the command left, and for mending it.
    fs::write(&parameter, "of the user").unwrap();
    assert!(pod.exit_code("main").is_none());
    fs::write(pod.file("main", "after"), "").unwrap();
    assert_eq!(code(&finish(child)), 5);
    assert_eq!(fs::read_to_string(pod.paths.staged_parameter(&parameter)).unwrap(), "of the user");
}

#[test]
fn a_signal_ends_a_pause_and_loses_nothing() {
    let pod = Pod::container();
    let mut command = pod.emissary("main", "exit 5");
    let child = command.env("ARGO_DEBUG_PAUSE_BEFORE", "true").spawn().unwrap();
    until("the container starts", || pod.file("main", "alive").exists());
    signal(&child, TERM);
    assert_eq!(code(&finish(child)), 143);
    assert_eq!(pod.read("main", "ended"), None, "the command was never started");

    let pod = Pod::container();
    let parameter = pod.at("parameter");
    let template =
        format!(r#"{{"container":{{}},"outputs":{{"parameters":[{{"valueFrom":{{"path":"{parameter}"}}}}]}}}}"#);
    fs::write(pod.paths.template(), template).unwrap();
    let mut command = pod.emissary("main", &format!("mkdir -p {}; echo kept > {parameter}; exit 5", pod.at("")));
    let child = command.env("ARGO_DEBUG_PAUSE_AFTER", "true").spawn().unwrap();
    until("the command has failed", || pod.file("main", "ended").exists());
    signal(&child, TERM);
    assert_eq!(code(&finish(child)), 5, "the command's own code");
    assert_eq!(pod.exit_code("main").as_deref(), Some("5"));
    assert_eq!(fs::read_to_string(pod.paths.staged_parameter(&parameter)).unwrap(), "kept\n");
}

#[test]
fn containers_of_other_users_find_everything_open() {
    let pod = Pod::container();
    let parameter = pod.at("deep/parameter");
    let template =
        format!(r#"{{"container":{{}},"outputs":{{"parameters":[{{"valueFrom":{{"path":"{parameter}"}}}}]}}}}"#);
    fs::write(pod.paths.template(), template).unwrap();
    let script = format!("mkdir -p {}; umask 077; echo p > {parameter}", pod.at("deep"));
    let inner = pod.emissary("main", &script);
    // Images may start with any mask.
    let mut main = std::process::Command::new("/bin/sh");
    main.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    main.env_clear().env("PATH", "/usr/bin:/bin").env("ARGO_CONTAINER_NAME", "main");
    main.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true").stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run(main);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pod.paths.ctr("main")), 0o777);
    for name in ["exitcode", "stdout"] {
        assert_eq!(mode(&pod.file("main", name)) & 0o444, 0o444, "{name}");
    }
    let staged = pod.paths.staged_parameter(&parameter);
    assert_eq!((mode(&staged) & 0o444, mode(staged.parent().unwrap()) & 0o555), (0o444, 0o555));
}

#[test]
fn a_template_may_lie_in_a_config_map() {
    let pod = Pod::container();
    fs::remove_file(pod.paths.template()).unwrap();
    fs::create_dir_all(pod.paths.config_template.parent().unwrap()).unwrap();
    let set = r#"{"containerSet":{"retryStrategy":{"retries":2},"containers":[{"name":"main"}]}}"#;
    fs::write(&pod.paths.config_template, set).unwrap();
    let mut main = pod.emissary("main", "echo again; exit 1");
    main.env("ARGO_TEMPLATE", "offloaded");
    assert_eq!(text(&run(main).stdout), "again\nagain\n", "what it says is done");
}

#[test]
fn settings_are_checked_before_anything_runs() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tiphys-emissary"))
        .args(["emissary", "--", "true"])
        .env_clear()
        .env("ARGO_CONTAINER_NAME", "../wait")
        .output()
        .unwrap();
    assert_eq!(code(&output), 64);
    assert_eq!(text(&output.stderr), "Error: ARGO_CONTAINER_NAME is \"../wait\": expected the container's name\n");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tiphys-emissary")).arg("version").output().unwrap();
    assert_eq!(text(&output.stdout), format!("tiphys-emissary {}\n", env!("CARGO_PKG_VERSION")));
}

/// As Argo's controller leaves a container that `podSpecPatch` brings.
#[test]
fn a_container_without_a_name_runs() {
    let pod = Pod::container();
    let unnamed = || {
        let mut command = pod.emissary("main", "echo done; exit 3");
        command.env_remove("ARGO_CONTAINER_NAME");
        run(command)
    };
    let outputs = [unnamed(), unnamed()];
    assert!(outputs.iter().all(|output| code(output) == 3 && text(&output.stdout) == "done\n"), "{outputs:?}");
    let folders = fs::read_dir(pod.paths.ctr("main").parent().unwrap()).unwrap();
    let codes = folders.map(|folder| fs::read_to_string(folder.unwrap().path().join("exitcode")).unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), ["3", "3"], "each has a folder of its own");
}

/// A container whose files cannot grow beyond 50 KiB, as on a full disk.
fn on_full_disk(pod: &Pod, script: &str) -> std::process::Command {
    let inner = pod.emissary("main", script);
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "ulimit -f 50; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("ARGO_CONTAINER_NAME", "main");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_full_disk_is_no_success() {
    let pod = Pod::container();
    let mut command = on_full_disk(&pod, "head -c 200000 /dev/zero");
    command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    let output = run(command);
    assert_eq!((code(&output), output.stdout.len()), (64, 200_000), "the command did not notice");
    assert_eq!(pod.message(), "failed to keep the output of the command: File too large (os error 27)");

    let pod = Pod::container();
    let artifact = pod.at("large");
    fs::create_dir_all(pod.at("")).unwrap();
    fs::write(&artifact, vec![1; 200_000]).unwrap();
    for archive in ["{}", r#"{"none":{}}"#] {
        let output =
            format!(r#"{{"outputs":{{"artifacts":[{{"name":"a","path":"{artifact}","archive":{archive}}}]}}}}"#);
        fs::write(pod.paths.template(), output).unwrap();
        assert_eq!(code(&run(on_full_disk(&pod, "exit 0"))), 64);
        assert_eq!(pod.message(), format!("cannot copy {artifact}: File too large (os error 27)"));
        assert!(!pod.paths.staged_tar("a").exists() && !pod.paths.staged_artifact("a").exists());
    }
}

#[test]
fn the_log_is_the_users_unless_asked_for() {
    for (level, lines) in [("info", 0), ("debug", 2)] {
        let pod = Pod::container();
        let mut main = pod.executor(&["emissary", "--loglevel", level, "--log-format", "json", "--", "true"]);
        main.env("ARGO_CONTAINER_NAME", "main");
        let output = run(main);
        let told = text(&output.stderr);
        assert_eq!((code(&output), told.lines().count()), (0, lines), "{told}");
        assert!(told.lines().all(|line| line.contains(r#""level":"debug","msg":""#)), "{told}");
    }
}

#[test]
fn why_a_command_failed_is_noted() {
    for (script, keep, noted) in [
        ("echo out; exit 0", true, None),
        ("echo last words >&2; exit 3", true, Some("exit\nlast words\n")),
        ("echo last words >&2; exit 3", false, Some("exit\n")),
        ("kill -9 $$", true, Some("signal\n")),
    ] {
        let pod = Pod::container();
        let mut main = pod.emissary("main", script);
        main.env("TIPHYS_KEEP_STDERR", keep.to_string());
        let output = run(main);
        assert_eq!(pod.read("main", "ended").as_deref(), noted, "{script}");
        assert_eq!(text(&output.stderr).contains("last words"), script.contains("last words"));
    }
}

#[test]
fn inputs_become_links_where_nothing_could_be_mounted() {
    let pod = Pod::container();
    let (there, below, volume) = (pod.at("there"), pod.at("deep/below"), pod.at("volume/x"));
    let template = format!(
        r#"{{"container":{{"image":"x","volumeMounts":[{{"name":"v","mountPath":"{}"}}]}},"inputs":{{"artifacts":[
            {{"name":"a","path":"{there}"}},{{"name":"b","path":"{below}"}},{{"name":"c","path":"{volume}"}},
            {{"name":"o","path":"/o","optional":true}}]}}}}"#,
        pod.at("volume")
    );
    fs::write(pod.paths.template(), template).unwrap();
    fs::write(pod.paths.status(), "READY\n").unwrap();
    for name in ["a", "b"] {
        fs::create_dir_all(pod.paths.input_artifacts.join(name)).unwrap();
        fs::write(pod.paths.input_artifacts.join(name).join("f"), name).unwrap();
    }
    // What the image has at the place is hidden, as by a mount; the command even works in there.
    fs::create_dir_all(format!("{there}/of/the/image")).unwrap();
    fs::create_dir_all(&volume).unwrap();
    let main = || {
        let mut main = pod.emissary("main", &format!("cat f {below}/f; pwd"));
        main.env("ARGO_WAIT_FOR_READY", "true").current_dir(&there);
        main
    };
    let output = run(main());
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert!(text(&output.stdout).starts_with("ab"), "{}", text(&output.stdout));

    // What lies on a volume of the user's is never removed.
    fs::create_dir_all(pod.paths.input_artifacts.join("c")).unwrap();
    let output = run(main());
    assert_eq!(code(&output), 65);
    assert!(pod.message().contains("where the volume mount") && Path::new(&volume).is_dir(), "{}", pod.message());
}

#[test]
fn memory_that_ran_out_is_told_apart_from_other_kills() {
    // A group of our own can be made by root, and where version 1 of cgroups has the memory controller.
    let group = Path::new("/sys/fs/cgroup/memory").join(format!("tiphys-emissary-test-{}", std::process::id()));
    if fs::create_dir(&group).is_err() {
        return;
    }
    fs::write(group.join("memory.limit_in_bytes"), (64 << 20).to_string()).unwrap();
    let pod = Pod::container();
    let inner = pod.emissary("main", "head -c 300000000 /dev/zero | tail -n 1 > /dev/null; exit $?");
    let mut main = std::process::Command::new("/bin/sh");
    main.arg("-c").arg("echo $$ > \"$0\" && exec \"$@\"").arg(group.join("cgroup.procs"));
    main.arg(inner.get_program()).args(inner.get_args()).env("ARGO_CONTAINER_NAME", "main");
    main.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run(main);
    until("the group is empty", || fs::remove_dir(&group).is_ok());
    assert_eq!((code(&output), pod.read("main", "ended").as_deref()), (137, Some("oom\n")), "{}", text(&output.stderr));
}
