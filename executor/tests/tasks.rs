//! `agent init` and `agent main` as real processes, against an API server and HTTP servers on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use apiserver::{ApiServer, Call, Fate};
use pod::{Pod, code, finish, run, signal};
use serde_json::{Value, json};

const SETS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtasksets";
const SET: &str = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtasksets/wf";

/// A request that came to a server of a test: its first line, its headers in lower case, its body.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// An HTTP server whose answers a test decides.
struct Target {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Target {
    /// `answer` gives status and body, or nothing when there is to be no answer at all.
    fn start(answer: impl Fn(&Request) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &*answer, &seen));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> Option<(u16, String)>, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim() {
            "" => break,
            header => headers.push(header.to_ascii_lowercase()),
        }
    }
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let request = Request { line: line.trim().to_owned(), headers, body };
    seen.lock().unwrap().push(request.clone());
    match answer(&request) {
        None => std::thread::park(),
        Some((status, body)) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nx-kind: test\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // A client that goes away is part of the tests.
            let _ = { &stream }.write_all(head.as_bytes()).and_then(|()| { &stream }.write_all(body.as_bytes()));
        }
    }
}

/// The agent of the workflow `wf` whose tasks these are.
struct Agent {
    server: ApiServer,
    pod: Pod,
    plugins: Vec<(String, String)>,
}

impl Agent {
    fn new(tasks: Value) -> Self {
        let server = ApiServer::start();
        let set = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskSet", "metadata": {"name": "wf"},
            "spec": {"tasks": tasks}});
        server.put(SETS, set);
        Self { server, pod: Pod::new("{}"), plugins: Vec::new() }
    }

    fn command(&self, word: &str) -> Command {
        let server = self.server.url();
        let mut command = self.pod.executor(&["agent", word, "--loglevel", "info", "--server", &server, "-n", "argo"]);
        let (names, addresses): (Vec<_>, Vec<_>) = self.plugins.iter().cloned().unzip();
        command.env("ARGO_WORKFLOW_NAME", "wf").env("ARGO_WORKFLOW_UID", "uid");
        command.env("ARGO_PLUGIN_NAMES", json!(names).to_string());
        command.env("ARGO_PLUGIN_ADDRESSES", json!(addresses).to_string());
        command
    }

    fn start(&self) -> Child {
        self.command("main").spawn().unwrap()
    }

    /// Waits for the results of so many nodes.
    fn results(&self, count: usize) -> Value {
        let told = |calls: &[Call]| {
            let patches = calls.iter().filter(|call| call.method == "PATCH");
            let nodes = patches.filter_map(|call| call.body["status"]["nodes"].as_object());
            nodes.flat_map(|nodes| nodes.keys()).collect::<std::collections::BTreeSet<_>>().len() >= count
        };
        self.server.until("the results are told", told);
        pod::until("the results are stored", || {
            let set = self.server.object(SET).unwrap();
            set["status"]["nodes"].as_object().is_some_and(|nodes| nodes.len() >= count)
        });
        self.server.object(SET).unwrap()["status"]["nodes"].take()
    }

    fn complete(&self, child: Child) {
        let mut set = self.server.object(SET).unwrap();
        set["metadata"]["labels"] = json!({"workflows.argoproj.io/completed": "true"});
        self.server.put(SETS, set);
        assert_eq!(code(&finish(child)), 0, "{}", self.pod.message());
    }

    /// Runs the tasks; gives their results.
    fn run(tasks: Value) -> Value {
        let count = tasks.as_object().unwrap().len();
        let agent = Self::new(tasks);
        let child = agent.start();
        let results = agent.results(count);
        agent.complete(child);
        results
    }
}

fn http(fields: Value) -> Value {
    json!({"name": "t", "http": fields})
}

#[test]
fn requests_carry_what_the_template_says() {
    let target = Target::start(|_| Some((200, "hello\u{fc}".to_owned())));
    let url = format!("{}/path?q=1", target.address);
    let agent = Agent::new(json!({"n1": http(json!({"method": "PUT", "url": url, "body": "data", "headers": [
            {"name": "X-Plain", "value": "1"}, {"name": "X-Plain", "value": "2"}, {"name": "Host", "value": "other"},
            {"name": "Authorization", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}))}));
    let secret = json!({"metadata": {"name": "s"}, "data": {"k": "QmVhcmVyIHNlY3JldA=="}});
    agent.server.put("/api/v1/namespaces/argo/secrets", secret);
    let child = agent.start();
    assert_eq!(agent.results(1)["n1"], json!({"phase": "Succeeded", "outputs": {"result": "hello\u{fc}"}}));
    agent.complete(child);
    let request = target.requests().remove(0);
    assert_eq!((request.line.as_str(), request.body.as_slice()), ("PUT /path?q=1 HTTP/1.1", &b"data"[..]));
    for header in ["x-plain: 1", "x-plain: 2", "host: other", "authorization: bearer secret"] {
        assert!(request.headers.iter().any(|found| found == header), "{header}: {:?}", request.headers);
    }
}

#[test]
fn answers_are_judged() {
    let target = Target::start(|request| match request.line.split(' ').nth(1).unwrap() {
        "/404" => Some((404, "none".to_owned())),
        "/large" => Some((200, "x".repeat((1 << 20) + 1))),
        "/never" => None,
        _ => Some((200, "{\"ok\": true}".to_owned())),
    });
    let at = |path: &str| format!("{}{path}", target.address);
    let results = Agent::run(json!({
        "missing": http(json!({"url": at("/404")})),
        "wanted": http(json!({"url": at("/404"), "successCondition": "response.statusCode == 404"})),
        "body": http(json!({"url": at("/"), "successCondition": "response.body contains 'false'"})),
        "all": http(json!({"method": "POST", "url": at("/"), "bodyFrom": {"bytes": "YWJj"},
            "headers": [{"name": "x-a", "value": "b"}], "successCondition":
            "response.headers['X-Kind'][0] == 'test' && request.headers['X-A'][0] == 'b' && len(request.bodyBytes) == 3"})),
        "wrong": http(json!({"url": at("/"), "successCondition": "nope"})),
        "late": http(json!({"url": at("/never"), "timeoutSeconds": 1})),
        "large": http(json!({"url": at("/large")})),
        "refused": http(json!({"url": "http://127.0.0.1:1/"})),
        "secret": http(json!({"url": at("/"), "headers": [
            {"name": "a", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]})),
        "other": {"name": "t", "container": {"image": "x"}},
    }));
    let failed = |message: &str| json!({"phase": "Failed", "message": message, "outputs": {"result": "none"}});
    assert_eq!(results["missing"], failed("received non-2xx response code: 404"));
    assert_eq!(results["wanted"]["phase"], "Succeeded");
    assert_eq!(results["body"]["message"], "successCondition 'response.body contains 'false'' evaluated false");
    assert_eq!(results["all"]["phase"], "Succeeded");
    let message = |node: &str| results[node]["message"].as_str().unwrap().to_owned();
    assert!(message("wrong").starts_with("unknown name nope"), "{}", message("wrong"));
    let late = format!("Get \"{}\": no whole answer within 1 s (timeoutSeconds)", at("/never"));
    assert_eq!(message("late"), late);
    assert!(message("large").starts_with("the response is longer than 1048576 bytes"));
    assert!(
        message("refused").starts_with("Get \"http://127.0.0.1:1/\": error sending request"),
        "{}",
        message("refused")
    );
    assert_eq!(message("secret"), "cannot get secrets/s: s not found (HTTP 404, NotFound)");
    let other = json!({"phase": "Error",
        "message": "error processing task: agent cannot execute: unknown task type: Container"});
    assert_eq!(results["other"], other);
}

#[test]
fn a_task_that_never_ends_holds_up_nobody() {
    let target = Target::start(|request| match request.line.contains("/never") {
        true => None,
        false => Some((200, "x".to_owned())),
    });
    let never = http(json!({"url": format!("{}/never", target.address)}));
    let agent = Agent::new((0..3).map(|number| (format!("never-{number}"), never.clone())).collect());
    let mut command = agent.command("main");
    command.env("ARGO_AGENT_TASK_WORKERS", "4");
    let child = command.spawn().unwrap();
    pod::until("all but one worker are busy", || target.requests().len() == 3);
    for number in 0..5 {
        let mut set = agent.server.object(SET).unwrap();
        set["spec"]["tasks"][format!("n{number}")] = http(json!({"url": target.address}));
        agent.server.put(SETS, set);
    }
    assert_eq!(agent.results(5).as_object().unwrap().len(), 5);
    assert_eq!(target.requests().len(), 8, "no task is carried out twice");
    agent.complete(child);
}

#[test]
fn results_gather_while_a_report_is_under_way() {
    let target = Target::start(|_| Some((200, "x".to_owned())));
    let tasks = (0..40).map(|number| (format!("n{number}"), http(json!({"url": target.address}))));
    let agent = Agent::new(tasks.collect());
    let refused = Mutex::new(false);
    agent.server.plan(move |_, call| match call.method.as_str() {
        // The first report has to be repeated after a second; everything else has come by then.
        "PATCH" if !std::mem::replace(&mut *refused.lock().unwrap(), true) => Fate::Refuse(503, "Unavailable", "away"),
        _ => Fate::Pass,
    });
    let child = agent.start();
    assert_eq!(agent.results(40).as_object().unwrap().len(), 40);
    let patches = agent.server.calls().iter().filter(|call| call.method == "PATCH").count();
    assert!(patches <= 4, "{patches} reports");
    agent.complete(child);
}

#[test]
fn a_result_that_is_not_taken_is_an_error_of_its_node() {
    let target = Target::start(|request| Some((200, request.line.clone())));
    let tasks = json!({"good": http(json!({"url": target.address})),
        "bad": http(json!({"url": format!("{}/bad", target.address)}))});
    let agent = Agent::new(tasks);
    agent.server.plan(|_, call| match call.body.to_string().contains("/bad HTTP") {
        true => Fate::Refuse(422, "Invalid", "too strange"),
        false => Fate::Pass,
    });
    let child = agent.start();
    let results = agent.results(2);
    assert_eq!(results["good"]["phase"], "Succeeded");
    assert_eq!(results["bad"]["phase"], "Error");
    assert_eq!(
        results["bad"]["message"],
        "HTTP request completed successfully but an error occurred when patching its result: cannot patch \
         workflowtasksets.argoproj.io/wf: too strange (HTTP 422, Invalid)"
    );
    agent.complete(child);
}

#[test]
fn plugins_are_asked_one_after_the_other() {
    let skips = Target::start(|_| Some((200, "{}".to_owned())));
    let knows_nothing = Target::start(|_| Some((404, "no such method".to_owned())));
    let times = Mutex::new(0);
    let works = Target::start(move |request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let mut times = times.lock().unwrap();
        let answer = match asked["template"]["plugin"]["mine"].as_str().unwrap() {
            "again" => {
                *times += 1;
                match *times {
                    1 => json!({"node": {"phase": "Running", "message": "not yet"}, "requeue": "10ms"}),
                    _ => {
                        json!({"node": {"phase": "Succeeded", "outputs": {"parameters": [{"name": "p", "value": "1"}]}}})
                    }
                }
            }
            "fails" => return Some((500, "broken".to_owned())),
            _ => json!({}),
        };
        Some((200, answer.to_string()))
    });
    let task = |word: &str| json!({"name": "t", "plugin": {"mine": word}, "extra": {"kept": true}});
    let mut agent = Agent::new(json!({"again": task("again"), "fails": task("fails"), "other": task("x")}));
    let address = |target: &Target| target.address.clone();
    agent.plugins = vec![
        ("skips".into(), address(&skips)),
        ("nothing".into(), address(&knows_nothing)),
        ("works".into(), address(&works)),
    ];
    assert_eq!(code(&run(agent.command("init"))), 0, "{}", agent.pod.message());
    let token_file = agent.pod.paths.shared.join("works/token");
    assert_eq!(token_file.metadata().unwrap().permissions().mode() & 0o777, 0o444);
    let token = std::fs::read_to_string(&token_file).unwrap();
    assert_eq!(token.len(), 32);
    let child = agent.start();
    agent.results(3);
    let mut results = Value::Null;
    pod::until("the task that was given again succeeds", || {
        results = agent.server.object(SET).unwrap()["status"]["nodes"].take();
        results["again"]["phase"] == "Succeeded"
    });
    assert_eq!(results["again"]["outputs"]["parameters"][0]["value"], "1");
    assert_eq!(results["fails"]["phase"], "Failed");
    let message = results["fails"]["message"].as_str().unwrap();
    assert_eq!(message, "plugin \"works\": 500 Internal Server Error: broken");
    assert_eq!(results["other"]["message"], "no plugin executed the template");
    agent.complete(child);
    let request = works.requests().remove(0);
    assert_eq!(request.line, "POST /api/v1/template.execute HTTP/1.1");
    assert!(request.headers.contains(&format!("authorization: bearer {token}")), "{:?}", request.headers);
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(asked["workflow"]["metadata"], json!({"name": "wf", "namespace": "argo", "uid": "uid"}));
    assert_eq!(asked["template"]["extra"], json!({"kept": true}));
    assert!(knows_nothing.requests().len() < 4, "who knows nothing is not asked for each task again");
}

#[test]
fn a_plugin_that_is_busy_is_asked_again() {
    let times = Mutex::new(0);
    let busy = Target::start(move |_| {
        let mut times = times.lock().unwrap();
        *times += 1;
        Some(match *times {
            1 => (503, "later".to_owned()),
            _ => (200, r#"{"node": {"phase": "Succeeded"}}"#.to_owned()),
        })
    });
    let mut agent = Agent::new(json!({"n": {"name": "t", "plugin": {"p": {}}}}));
    agent.plugins = vec![("busy".into(), busy.address.clone())];
    assert_eq!(code(&run(agent.command("init"))), 0);
    let child = agent.start();
    assert_eq!(agent.results(1)["n"], json!({"phase": "Succeeded"}));
    agent.complete(child);
}

#[test]
fn the_agent_ends_with_its_task_set() {
    let agent = Agent::new(json!({}));
    let child = agent.start();
    let watched = |call: &Call| call.query.contains_key("watch");
    agent.server.until("the set is watched", |calls| calls.iter().any(watched));
    agent.server.remove(SET);
    assert_eq!(code(&finish(child)), 0, "{}", agent.pod.message());
    assert_eq!(agent.server.calls()[0].query["fieldSelector"], "metadata.name=wf");
}

#[test]
fn the_agent_ends_when_told() {
    let agent = Agent::new(json!({}));
    let child = agent.start();
    agent.server.until("the set is watched", |calls| calls.iter().any(|call| call.query.contains_key("watch")));
    signal(&child, 15);
    assert_eq!(code(&finish(child)), 143);
}
