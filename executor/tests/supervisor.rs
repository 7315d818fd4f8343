//! `supervisor` as a real process, with the emissaries that wait for its word.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use pod::gate::{Fate, Gate};
use pod::{Pod, code, finish, run, signal, text, until};
use serde_json::{Value, json};
use tiphys_contract::carry;

const TERM: i32 = 15;

struct Step {
    pod: Pod,
    template: String,
}

impl Step {
    fn new(template: impl Fn(&Pod) -> Value) -> Self {
        let pod = Pod::container();
        fs::remove_file(pod.paths.template()).unwrap();
        fs::create_dir_all(pod.root().join("own")).unwrap();
        let template = template(&pod).to_string();
        Self { pod, template }
    }

    fn supervisor(&self) -> Command {
        let mut supervisor = self.pod.executor(&["supervisor"]);
        supervisor.env("ARGO_TEMPLATE", &self.template).env("TIPHYS_RESULT_SINK", "termination-message");
        supervisor.env("ARGO_INITLESS_POD", "true").env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
        supervisor
    }

    fn main(&self, script: &str) -> Command {
        let mut main = self.pod.emissary("main", script);
        main.env("ARGO_WAIT_FOR_READY", "true").env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
        main
    }
}

/// A template with an input that comes from there.
fn with_input(url: &str) -> impl Fn(&Pod) -> Value {
    move |pod: &Pod| {
        json!({"script": {"image": "x", "source": "echo $(cat \"$1\")"},
            "inputs": {"artifacts": [{"name": "in", "path": pod.at("in"), "http": {"url": url}}]}})
    }
}

/// A server with one file.
fn server() -> Gate {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndata");
        }
    });
    Gate::before(&address, |line| match line {
        _ if line.contains("/slow") => Fate::Stall,
        _ if line.contains("/missing") => Fate::Answer(404),
        _ => Fate::Pass,
    })
}

#[test]
fn the_pod_is_prepared_and_its_results_come_back() {
    let server = server();
    let step = Step::new(with_input(&format!("http://{}/slow", server.address())));
    let supervisor = step.supervisor().spawn().unwrap();
    let script = format!("sh {} {}", step.pod.paths.script.display(), step.pod.at("in"));
    let main = step.main(&script).spawn().unwrap();
    server.until("/slow");
    until("the emissary waits", || step.pod.file("main", "alive").exists());
    assert!(fs::read_to_string(step.pod.paths.status()).unwrap().starts_with("RUNNING\n"));
    server.open();
    assert_eq!(text(&finish(main).stdout), "data\n");
    let output = finish(supervisor);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let told = carry::from_message(&step.pod.message()).unwrap();
    assert_eq!(told.result.unwrap().outputs.unwrap().result.as_deref(), Some("data"));
    assert_eq!(fs::read_to_string(step.pod.paths.status()).unwrap(), "READY\n");
    assert!(fs::symlink_metadata(step.pod.at("in")).unwrap().is_symlink());
}

#[test]
fn an_output_where_an_input_is_comes_from_behind_its_link() {
    let step = Step::new(|pod: &Pod| {
        json!({"container": {"image": "x"},
            "inputs": {"artifacts": [{"name": "in", "path": pod.at("in"), "raw": {"data": "given"}}]},
            "outputs": {"parameters": [{"name": "out", "valueFrom": {"path": pod.at("in")}}]}})
    });
    let supervisor = step.supervisor().spawn().unwrap();
    assert_eq!(code(&run(step.main("true"))), 0);
    let output = finish(supervisor);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let told = carry::from_message(&step.pod.message()).unwrap();
    assert_eq!(json!(told.result.unwrap().outputs)["parameters"][0]["value"], "given");
}

#[test]
fn a_pod_that_cannot_be_prepared_fails_on_both_sides() {
    let server = server();
    let step = Step::new(with_input(&format!("http://{}/missing", server.address())));
    let supervisor = step.supervisor().spawn().unwrap();
    let output = run(step.main("echo never"));
    assert_eq!((code(&output), text(&output.stdout)), (65, String::new()));
    let failure = format!("artifact in failed to load: http://{}/missing does not exist", server.address());
    let expected = format!("supervisor reported pre-main failure: {failure}");
    assert!(text(&output.stderr).contains(&expected), "{}", text(&output.stderr));
    assert_eq!(code(&finish(supervisor)), 64);
    // Both share the file here; in a Pod each has its own.
    let told = carry::from_message(&step.pod.message()).unwrap();
    assert_eq!(told.message, failure);
    assert_eq!(told.result.unwrap().ends[0].exit_code, 65);
}

#[test]
fn a_supervisor_that_loads_shows_that_it_lives_and_ends_when_told() {
    let server = server();
    let step = Step::new(with_input(&format!("http://{}/slow", server.address())));
    let supervisor = step.supervisor().spawn().unwrap();
    until("the marker", || step.pod.paths.status().exists());
    let inode = || fs::metadata(step.pod.paths.status()).map_or(0, |meta| meta.ino());
    let (first, begin) = (inode(), std::time::Instant::now());
    until("a heartbeat", || inode() != first);
    assert!(begin.elapsed().as_secs() < 7, "{:?}", begin.elapsed());
    signal(&supervisor, TERM);
    assert_eq!(code(&finish(supervisor)), 143);
}

#[test]
fn a_supervisor_started_again_leaves_what_the_containers_read() {
    let server = server();
    let step = Step::new(with_input(&format!("http://{}/file", server.address())));
    let supervisor = step.supervisor().spawn().unwrap();
    let status = step.pod.paths.status();
    until("the Pod is prepared", || fs::read_to_string(&status).is_ok_and(|marker| marker == "READY\n"));
    signal(&supervisor, 9);
    finish(supervisor);
    // As if it had been killed a moment earlier.
    fs::write(&status, "RUNNING\n").unwrap();
    let input = step.pod.paths.input_artifacts.join("in");
    fs::write(&input, "changed by main").unwrap();
    let supervisor = step.supervisor().spawn().unwrap();
    assert_eq!(code(&run(step.main(&format!("cat {}", step.pod.at("in"))))), 0);
    assert_eq!(code(&finish(supervisor)), 0);
    let told = carry::from_message(&step.pod.message()).unwrap();
    assert_eq!(told.result.unwrap().outputs.unwrap().result.as_deref(), Some("changed by main"));
    assert_eq!(server.count("/file"), 1);
}
