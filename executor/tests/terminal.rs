//! A container with a terminal (`tty: true`): the command must find one, be its foreground, and read from it, whether its
//! output is kept or not. `script` of util-linux provides the terminal.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use pod::{Pod, code, finish};

fn on_terminal(pod: &Pod, script: &str, keeps_output: bool) -> Command {
    prepared(pod, "", script, keeps_output)
}

/// As [`on_terminal`], after what `before` does to the terminal.
fn prepared(pod: &Pod, before: &str, script: &str, keeps_output: bool) -> Command {
    let emissary = pod.emissary("main", script);
    let quoted: Vec<_> = std::iter::once(emissary.get_program())
        .chain(emissary.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''")))
        .collect();
    // Whoever runs the tests may ignore the interrupt key, as a shell does for what it runs in the background.
    let mut command = Command::new("env");
    command
        .args([
            "--default-signal=INT,QUIT",
            "script",
            "-qefc",
            &format!("{before} exec {}", quoted.join(" ")),
            "/dev/null",
        ])
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command.env("ARGO_CONTAINER_NAME", "main").env("ARGO_INCLUDE_SCRIPT_OUTPUT", keeps_output.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn until_printed(child: &mut std::process::Child, word: &str) {
    let mut seen = String::new();
    while !seen.contains(word) {
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        seen.push(byte[0] as char);
    }
}

#[test]
fn the_command_reads_and_writes_its_terminal() {
    for keeps_output in [false, true] {
        let pod = Pod::container();
        let script =
            "test -t 0 && test -t 1 && test -t 2 && stty size && echo ready && read line && echo \"<$line>\"; exit 7";
        let mut child = on_terminal(&pod, script, keeps_output).spawn().unwrap();
        until_printed(&mut child, "ready");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"hello\n").unwrap();
        until_printed(&mut child, "<hello>");
        drop(stdin);
        assert_eq!(code(&finish(child)), 7, "output kept: {keeps_output}");
        assert_eq!(pod.exit_code("main").as_deref(), Some("7"));
        let kept = pod.read("main", "stdout");
        assert_eq!(kept.is_some_and(|kept| kept.contains("<hello>")), keeps_output);
    }
}

#[test]
fn the_interrupt_key_reaches_the_command() {
    for keeps_output in [false, true] {
        let pod = Pod::container();
        let mut child = on_terminal(&pod, "trap 'exit 9' INT; echo ready; while :; do sleep 0.01; done", keeps_output)
            .spawn()
            .unwrap();
        until_printed(&mut child, "ready");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"\x03").unwrap();
        assert_eq!(code(&finish(child)), 9, "output kept: {keeps_output}");
        drop(stdin);
    }
}

#[test]
fn the_terminals_size_reaches_the_command() {
    for keeps_output in [false, true] {
        let pod = Pod::container();
        std::fs::create_dir_all(pod.root().join("own")).unwrap();
        nix::unistd::mkfifo(&*pod.root().join("own/larger"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let larger = pod.at("larger");
        let before = format!("stty rows 33 cols 99; (read x < {larger}; stty -F /dev/tty rows 44 cols 88) &");
        let script = "trap 'stty size; exit 0' WINCH; stty size; for i in $(seq 2000); do sleep 0.01; done; exit 1";
        let mut child = prepared(&pod, &before, script, keeps_output).spawn().unwrap();
        until_printed(&mut child, "33 99");
        std::fs::write(&larger, "\n").unwrap();
        until_printed(&mut child, "44 88");
        assert_eq!(code(&finish(child)), 0, "output kept: {keeps_output}");
    }
}
