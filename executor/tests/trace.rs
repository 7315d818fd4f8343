//! What a step's processes tell a collector: one trace, from `init` over the user's container to `wait`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use pod::store::Store;
use pod::{Pod, code, run, text};
use serde_json::{Value, json};
use tiphys_contract::TraceParent;
use tiphys_otlp::receiver::{Received, Receiver};

const ABOVE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced(mut command: Command, receiver: &Receiver) -> Command {
    command.env("TRACEPARENT", ABOVE).env("TRACESTATE", "workflow=ns/wf").env("ARGO_WORKFLOW_NAME", "wf");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", receiver.address));
    command
}

fn wait(pod: &Pod) -> Command {
    let mut command = pod.executor(&["wait"]);
    command.env("TIPHYS_RESULT_SINK", format!("file:{}", pod.root().join("result.json").display()));
    command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    command
}

/// Name, and the name of what it is part of.
fn tree(spans: &[Received]) -> Vec<(&str, &str)> {
    let name = |id: &str| spans.iter().find(|span| span.id == id).map_or("", |span| span.name.as_str());
    let mut tree: Vec<_> = spans.iter().map(|span| (span.name.as_str(), name(&span.parent))).collect();
    tree.sort_unstable();
    tree
}

fn named<'a>(spans: &'a [Received], name: &str) -> &'a Received {
    spans.iter().find(|span| span.name == name).unwrap()
}

#[test]
fn a_step_is_one_trace() {
    let (pod, store, receiver) = (Pod::container(), Store::start(), Receiver::grpc().unwrap());
    store.put("in", b"input");
    let out = pod.at("out");
    let template = json!({"name": "t", "container": {"image": "x"}, "archiveLocation": store.location(&pod, true),
        "inputs": {"artifacts": [{"name": "in", "path": "/in", "s3": {"key": "in"}, "archive": {"none": {}}}]},
        "outputs": {"artifacts": [{"name": "out", "path": out, "archive": {"none": {}}}],
            "parameters": [{"name": "p", "valueFrom": {"path": out}}]}});
    fs::remove_file(pod.paths.template()).unwrap();
    let mut init = pod.executor(&["init"]);
    init.env("ARGO_TEMPLATE", template.to_string()).env("TIPHYS_EMISSARY", "/bin/true");
    let output = run(traced(init, &receiver));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let script = format!("mkdir -p {}; printf $TRACEPARENT > {out}; printf $TRACESTATE", pod.at(""));
    let mut main = traced(pod.emissary("main", &script), &receiver);
    main.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
    assert_eq!(code(&run(main)), 0);
    let output = run(traced(wait(&pod), &receiver));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));

    let spans = receiver.until(|spans| spans.iter().any(|span| span.name == "runWaitContainer"));
    assert_eq!(
        tree(&spans),
        [
            ("captureScriptResult", "runWaitContainer"),
            ("createTaskResult", "runWaitContainer"),
            ("loadArtifact", "loadArtifacts"),
            ("loadArtifacts", "runInitContainer"),
            ("runInitContainer", ""),
            ("runMainContainer", ""),
            ("runWaitContainer", ""),
            ("saveArtifact", "saveArtifacts"),
            ("saveArtifacts", "runWaitContainer"),
            ("saveContainerLogs", "saveLogs"),
            ("saveLogs", "runWaitContainer"),
            ("saveParameters", "runWaitContainer"),
            ("stageFiles", "runInitContainer"),
            ("waitWorkload", "runWaitContainer"),
        ]
    );
    let above = TraceParent::parse(ABOVE).unwrap();
    for span in &spans {
        assert_eq!((span.trace.clone(), span.state.as_str()), (above.trace.to_string(), "workflow=ns/wf"));
        assert!(span.start <= span.end && span.service == "argoexec", "{span:?}");
    }
    let main = named(&spans, "runMainContainer");
    assert_eq!((&main.parent, main.status), (&above.span.to_string(), 1));
    assert_eq!(named(&spans, "runInitContainer").attributes["name"], "wf");
    assert_eq!(named(&spans, "loadArtifact").attributes["path"], "/in");
    assert_eq!(named(&spans, "saveContainerLogs").attributes["container_name"], "main");
    // What the user's process would tell comes below the container's span.
    let seen = fs::read_to_string(pod.root().join("result.json")).unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let expected = format!("00-{}-{}-01", main.trace, main.id);
    assert_eq!(seen["outputs"]["parameters"][0]["value"], expected.as_str());
    assert_eq!(seen["outputs"]["result"], "workflow=ns/wf");
}

#[test]
fn what_failed_says_so() {
    let (pod, store, receiver) = (Pod::container(), Store::start(), Receiver::http().unwrap());
    let template = json!({"name": "t", "container": {"image": "x"}, "archiveLocation": store.location(&pod, false),
        "inputs": {"artifacts": [{"name": "in", "path": "/in", "s3": {"key": "nowhere"}}]}});
    fs::remove_file(pod.paths.template()).unwrap();
    let mut init = traced(pod.executor(&["init"]), &receiver);
    init.env("ARGO_TEMPLATE", template.to_string()).env("TIPHYS_EMISSARY", "/bin/true");
    init.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    assert_eq!(code(&run(init)), 64);
    let spans = receiver.until(|spans| spans.iter().any(|span| span.name == "runInitContainer"));
    for name in ["runInitContainer", "loadArtifacts", "loadArtifact"] {
        let span = named(&spans, name);
        assert!(span.status == 2 && span.message.contains("artifact in failed to load"), "{span:?}");
    }
    // A container that fails.
    assert_eq!(code(&run(traced(pod.emissary("main", "exit 3"), &receiver))), 3);
    let mut waiting = traced(wait(&pod), &receiver);
    waiting.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    run(waiting);
    let spans = receiver.until(|spans| spans.iter().any(|span| span.name == "runMainContainer"));
    assert_eq!(named(&spans, "runMainContainer").message, "exit code 3");
}

#[test]
fn a_step_that_the_executor_runs_itself_has_its_container_too() {
    let (pod, store, receiver) = (Pod::new(""), Store::start(), Receiver::grpc().unwrap());
    store.put("data/a.txt", b"x");
    let location = store.location(&pod, false);
    let mut source = location["s3"].clone();
    source["key"] = json!("data");
    let template = json!({"name": "t", "archiveLocation": location,
        "data": {"source": {"artifactPaths": {"name": "data", "s3": source}}, "transformation": [{"expression": "data"}]}});
    fs::write(pod.paths.template(), template.to_string()).unwrap();
    let executor = pod.root().join("argoexec");
    std::os::unix::fs::symlink(pod.executor(&[]).get_program(), &executor).unwrap();
    let words = [executor.to_str().unwrap(), pod.root().to_str().unwrap(), "data", "--loglevel", "warn", "{}"];
    let mut main = traced(pod.command("main", &words), &receiver);
    main.env("TIPHYS_RESULT_SINK", format!("file:{}", pod.root().join("result.json").display()));
    let output = run(main);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let spans = receiver.until(|spans| spans.iter().any(|span| span.name == "runMainContainer"));
    let main = named(&spans, "runMainContainer");
    let above = TraceParent::parse(ABOVE).unwrap();
    assert_eq!(
        (main.id.clone(), main.parent.clone()),
        (above.of_main("main").span.to_string(), above.span.to_string())
    );
    assert_eq!(named(&spans, "processDataTemplate").parent, main.id);
}

#[test]
fn without_a_collector_or_a_trace_nothing_is_told_and_nothing_waits() {
    let receiver = Receiver::grpc().unwrap();
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    // Empty variables are as good as none.
    let step = |name: &str, value: &str| {
        let pod = Pod::container();
        assert_eq!(code(&run(pod.emissary("main", "exit 0"))), 0);
        let mut waiting = traced(wait(&pod), &receiver);
        waiting.env(name, value);
        let begun = Instant::now();
        let output = run(waiting);
        assert_eq!(code(&output), 0);
        (text(&output.stderr), begun.elapsed())
    };
    assert_eq!(step("TRACEPARENT", "").0, "");
    assert_eq!(step("TRACEPARENT", &ABOVE.replace("-01", "-00")).0, "");
    assert_eq!(step(endpoint, "").0, "");
    let (told, _) = step("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    assert!(told.contains("nothing is traced: OTEL_EXPORTER_OTLP_PROTOCOL is "), "{told}");
    assert_eq!(receiver.requests(), 0);
    // A collector that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (told, took) = step(endpoint, &format!("http://{}", silent.local_addr().unwrap()));
    assert!(told.contains("has not answered within 2s"), "{told}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
