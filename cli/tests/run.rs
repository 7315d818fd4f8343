//! `tiphys run` as a real process: what it prints, how it ends, and what stays behind.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

mod common;

use std::collections::BTreeSet;

use common::{Tiphys, manifest};

const STEPS: &str = "
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: a, template: say, arguments: {parameters: [{name: text, value: one}]}}
    - - {name: b, template: say, arguments: {parameters: [{name: text, value: '{{workflow.parameters.p}}'}]}}
  - name: say
    inputs: {parameters: [{name: text}]}
    container: {image: none, command: [echo, '{{inputs.parameters.text}}']}
  arguments: {parameters: [{name: p, value: two}]}
";

#[test]
fn a_run_shows_its_nodes_its_logs_and_its_end() {
    let tiphys = Tiphys::new();
    let output = tiphys.run(&["run", "--runtime=host", "--name=hello", "-"], &manifest("hello", STEPS));
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("\na: one\n") && output.out.contains("\nb: two\n"), "{output:?}");
    assert!(output.out.contains("\nhello[0].a  Succeeded "), "{output:?}");
    assert!(output.out.contains("\nhello  Succeeded in "), "{output:?}");
    assert!(output.out.ends_with("\nexit status 0\n"), "{output:?}");
    assert_eq!(output.err, "");
    assert!(tiphys.leftovers("hello").is_empty(), "{:?}", tiphys.leftovers("hello"));

    let logs = tiphys.run(&["logs", "hello", "a"], "");
    assert_eq!((logs.code, logs.out.as_str()), (0, "one\n"));
    let logs = tiphys.run(&["logs", "hello"], "");
    assert_eq!((logs.code, logs.out.as_str()), (0, "a: one\nb: two\n"));
    let names = tiphys.run(&["runs", "-o", "name"], "");
    assert_eq!((names.code, names.out.as_str()), (0, "hello\n"));
    let tree = tiphys.run(&["get", "hello"], "");
    assert!(tree.out.contains("├─ ✔ a") && tree.out.contains("└─ ✔ b"), "{tree:?}");
}

#[test]
fn the_object_alone_goes_to_standard_output() {
    let tiphys = Tiphys::new();
    let args = ["run", "--runtime=host", "--name=hello", "-p", "p=three", "--output=json", "-"];
    let output = tiphys.run(&args, &manifest("hello", STEPS));
    assert_eq!(output.code, 0, "{output:?}");
    let object: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(object["kind"], "Workflow");
    assert_eq!(object["status"]["phase"], "Succeeded");
    assert_eq!(object["metadata"]["labels"]["workflows.argoproj.io/phase"], "Succeeded");
    assert_eq!(object["metadata"]["labels"]["workflows.argoproj.io/completed"], "true");
    assert_eq!(object["spec"]["arguments"]["parameters"][0]["value"], "three");
    let nodes = object["status"]["nodes"].as_object().unwrap();
    let artifacts = |name: &str| {
        let node = nodes.values().find(|node| node["displayName"] == name).unwrap();
        node["outputs"]["artifacts"][0]["s3"]["key"].as_str().unwrap().to_owned()
    };
    let log = tiphys.path().join("runs/hello/artifacts/artifacts").join(artifacts("b"));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "three\n");
    assert!(output.err.contains("b: three\n"), "{output:?}");
    // The same object comes from the record, in each form.
    assert_eq!(tiphys.run(&["get", "hello", "-o", "json"], "").out, output.out);
    assert_eq!(tiphys.run(&["get", "hello", "-o", "name"], "").out, "hello\n");
    let yaml = tiphys.run(&["get", "hello", "-o", "yaml"], "").out;
    assert_eq!(tiphys_api::yaml::to_json(&yaml).unwrap(), object);
}

#[test]
fn a_failed_step_fails_the_run() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: none, command: [sh, -c], args: ['echo sorry >&2; exit 3']}
";
    let output = tiphys.run(&["run", "--runtime=host", "--name=bad", "-"], &manifest("bad", spec));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("\nbad: sorry\n"), "{output:?}");
    assert!(output.out.contains("bad  Failed in "), "{output:?}");
    assert!(output.out.contains("main: Error (exit code 3)"), "{output:?}");
    assert!(output.out.ends_with("\nexit status 1\n"), "{output:?}");
}

#[test]
fn artifacts_and_outputs_pass_from_step_to_step() {
    let tiphys = Tiphys::new();
    let output = tiphys.run(&["run", "--runtime=host", &common::example("artifact-passing.yaml")], "");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("\nread: hello from the first step\n"), "{output:?}");
}

#[test]
fn an_optional_artifact_that_is_not_there_is_an_empty_folder() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    inputs: {artifacts: [{name: x, path: /tmp/x, optional: true, s3: {key: nothing/here}}]}
    container: {image: none, command: [sh, -c, 'test -d /tmp/x && ls -A /tmp/x | wc -l']}
";
    let output = tiphys.run(&["run", "--runtime=host", "--name=opt", "-"], &manifest("opt", spec));
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("\nopt: 0\n"), "{output:?}");
}

#[test]
fn documents_and_files_are_there_for_steps() {
    let tiphys = Tiphys::new();
    let file = tiphys.path().join("token");
    std::fs::write(&file, "from a file").unwrap();
    let spec = "
spec:
  entrypoint: main
  volumes: [{name: given, secret: {secretName: given}}]
  templates:
  - name: main
    container:
      image: none
      command: [sh, -c, 'echo \"$GREETING\"; cat /given/token']
      env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: words, key: greeting}}}]
      volumeMounts: [{name: given, mountPath: /given}]
---
kind: ConfigMap
apiVersion: v1
metadata: {name: words}
data: {greeting: good day}
";
    let given = format!("--from-file=secret/given={}", file.display());
    let args = ["run", "--runtime=host", "--name=docs", given.as_str(), "-"];
    let output = tiphys.run(&args, &manifest("docs", spec));
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("\ndocs: good day\n") && output.out.contains("\ndocs: from a file\n"), "{output:?}");
    let refused = tiphys.run(&["run", "--runtime=host", "--name=none", "-"], &manifest("docs", spec));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("there is no Secret \"given\""), "{refused:?}");
}

#[test]
fn a_name_runs_once() {
    let tiphys = Tiphys::new();
    let run = || tiphys.run(&["run", "--runtime=host", "--name=same", "-"], &manifest("same", STEPS));
    assert_eq!(run().code, 0);
    let again = run();
    assert_eq!(again.code, 64, "{again:?}");
    assert_eq!(
        again.err,
        "tiphys: there is a run same already; choose another name with --name, or go on with it: tiphys resume same\n"
    );
    let resumed = tiphys.run(&["resume", "same"], "");
    assert_eq!(
        (resumed.code, resumed.err.as_str()),
        (64, "tiphys: the run same has ended; `tiphys get same` shows how\n")
    );
}

#[test]
fn a_data_template_lists_what_is_stored_and_transforms_the_list() {
    let tiphys = Tiphys::new();
    let example = include_str!("../../examples/data-filter.yaml");
    let output = tiphys.run(&["run", "--runtime=host", "--name=d", "-"], example);
    assert_eq!(output.code, 0, "{output:?}");
    let found: Vec<&str> =
        output.out.lines().filter_map(|line| line.split_once(": found ")).map(|(_, key)| key).collect();
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["d/files/a.pdf", "d/files/c.pdf"]));
}

#[test]
fn a_command_that_this_machine_lacks_is_explained() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: some/image, command: [no-such-command-here]}
";
    let output = tiphys.run(&["run", "--runtime=host", "-"], &manifest("lacks", spec));
    assert_eq!(output.code, 1, "{output:?}");
    for part in
        ["exec: \"no-such-command-here\": executable file not found", "\"some/image\"", "tiphys image import FILE"]
    {
        assert!(output.out.contains(part), "{part}: {output:?}");
    }
}

#[test]
fn wrong_input_says_what_and_where() {
    let tiphys = Tiphys::new();
    std::fs::write(tiphys.path().join("file"), "").unwrap();
    let file = tiphys.path().join("file");
    let under_a_file = file.join("data");
    let data = under_a_file.to_str().unwrap();
    let good = manifest("good", STEPS);
    let undefined =
        manifest("x", "spec: {entrypoint: nope, templates: [{name: a, container: {image: i, command: [c]}}]}");
    let selfish = manifest(
        "x",
        "spec: {entrypoint: a, templates: [{name: a, steps: [[{name: s, templateRef: {name: none, template: t}}]]}]}",
    );
    for (args, stdin, code, expected) in [
        (vec!["run", "-"], "a: [", 2, "standard input:1:"),
        (vec!["run", "-"], "", 2, "there is no Workflow in what was given"),
        (vec!["run", "-"], &undefined, 2, "template name 'nope' undefined"),
        (vec!["run", "-"], &selfish, 2, "none"),
        (vec!["run", "-p", "x", "-"], &good, 64, "--parameter x: expected NAME=VALUE"),
        (vec!["run", "--timeout=x", "-"], &good, 64, "--timeout x: expected a duration"),
        (vec!["run", "--from=x/y", "-"], &good, 64, "--from x/y: expected workflowtemplate/NAME"),
        (vec!["run", "--from-file=x", "-"], &good, 64, "--from-file x: expected NAME=PATH"),
        (vec!["run", "--name=Bad_Name", "-"], &good, 64, "\"Bad_Name\" cannot be the name of a run"),
        (vec!["run", "--data-dir", data, "-"], &good, 64, "cannot make the folder"),
        (vec!["run", "/nonexistent.yaml"], "", 64, "cannot read /nonexistent.yaml"),
        (vec!["run", "http://127.0.0.1:1/x.yaml"], "", 64, "cannot get the manifest: http://127.0.0.1:1/x.yaml: "),
        (vec!["run", "--parallelism=0", "-"], &good, 64, "invalid value '0'"),
        (vec!["bogus"], "", 64, "unrecognized subcommand"),
        (vec!["get", "none"], "", 64, "there is no run \"none\""),
        (vec!["get", "../x"], "", 64, "cannot be the name of a run"),
        (vec!["stop", "none"], "", 64, "there is no run \"none\""),
        (vec!["lint", "-"], &undefined, 2, "template name 'nope' undefined"),
    ] {
        let output = tiphys.run(&args, stdin);
        assert_eq!(output.code, code, "{args:?}: {output:?}");
        assert!(output.err.contains(expected), "{args:?}: {output:?}");
        assert_eq!(output.out, "", "{args:?}");
    }
}

/// Answers each request with the same document, and ends with the process.
fn serve(document: String) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).unwrap();
            let found = request[..read].starts_with(b"GET /there.yaml?token=t0p HTTP/1.1\r\n");
            let (status, body) = if found { ("200 OK", document.as_str()) } else { ("404 Not Found", "") };
            let length = body.len();
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                .unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn a_manifest_may_be_an_address() {
    let tiphys = Tiphys::new();
    let server = serve(manifest("web", STEPS));
    let url = format!("{server}/there.yaml?token=t0p");
    let output = tiphys.run(&["run", "-q", "--runtime=host", "--name=web", &url], "");
    assert_eq!(output.code, 0, "{output:?}");
    let missing = tiphys.run(&["lint", &format!("{server}/gone.yaml?token=t0p")], "");
    assert_eq!(missing.code, 64, "{missing:?}");
    assert!(missing.err.contains("cannot get the manifest: ") && missing.err.contains("/gone.yaml"), "{missing:?}");
    assert!(!missing.err.contains("t0p"), "{missing:?}");
    let server = serve("spec: {".to_owned());
    let broken = tiphys.run(&["lint", &format!("{server}/there.yaml?token=t0p")], "");
    assert_eq!(broken.code, 2, "{broken:?}");
    assert!(broken.err.contains("/there.yaml:1:") && !broken.err.contains("t0p"), "{broken:?}");
}

/// A server that says hello where it is asked for a greeting, and fails its first request. Gives its address, and the
/// heads of requests as they come.
fn greeter() -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            let mut head = [0; 4096];
            let read = connection.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let status = match number {
                0 => "503 Service Unavailable",
                _ if head.contains("/greeting ") => "200 OK",
                _ => "404 Not Found",
            };
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world")
                .unwrap();
            tell.send(head).unwrap();
        }
    });
    (format!("http://{address}"), told)
}

#[test]
fn http_templates_ask_servers_and_steps_use_their_answers() {
    let tiphys = Tiphys::new();
    let (server, _requests) = greeter();
    let (url, example) = (format!("url={server}"), common::example("http.yaml"));
    let output = tiphys.run(&["run", "--runtime=host", "--name=h", "-p", &url, "--output=json", &example], "");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.err.contains("show: the server says hello world"), "{output:?}");
    let object: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    let nodes = object["status"]["nodes"].as_object().unwrap();
    let node = |name: &str| nodes.values().find(|node| node["name"] == name).unwrap();
    assert_eq!(node("h[0].ask(0)")["type"], "HTTP");
    let condition = "response.statusCode == 200 && response.body contains \"hello\"";
    assert_eq!(node("h[0].ask(0)")["message"], format!("successCondition '{condition}' evaluated false"));
    assert_eq!(node("h[0].ask(1)")["outputs"]["result"], "hello world");
    assert_eq!((&object["status"]["progress"], &node("h[0].ask")["type"]), (&"2/3".into(), &"Retry".into()));
}

#[test]
fn headers_of_http_templates_come_from_secrets() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: first, template: ask, continueOn: {failed: true}}
    - - {name: second, template: ask, arguments: {parameters: [{name: path, value: elsewhere}]}}
  - name: ask
    inputs: {parameters: [{name: path, value: greeting}]}
    http:
      method: POST
      url: 'SERVER/{{inputs.parameters.path}}'
      body: some words
      headers: [{name: Authorization, valueFrom: {secretKeyRef: {name: token, key: word}}}]
";
    let (server, requests) = greeter();
    let workflow = manifest("secret", &spec.replace("SERVER", &server));
    let missing = tiphys.run(&["run", "--runtime=host", "--name=none", "-"], &workflow);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.out.contains("there is no Secret \"token\"; give it with --with"), "{missing:?}");
    assert!(requests.try_recv().is_err(), "nothing is asked without the header");
    let secret = "---\n{kind: Secret, apiVersion: v1, metadata: {name: token}, stringData: {word: xyzzy}}\n";
    let output = tiphys.run(&["run", "--runtime=host", "--name=given", "-"], &format!("{workflow}{secret}"));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("received non-2xx response code: 503"), "{output:?}");
    assert!(output.out.contains("received non-2xx response code: 404"), "{output:?}");
    assert!(!output.out.contains("xyzzy") && !output.err.contains("xyzzy"), "{output:?}");
    let heads = [requests.recv().unwrap(), requests.recv().unwrap()];
    assert!(heads[0].starts_with("POST /greeting ") && heads[1].starts_with("POST /elsewhere "), "{heads:?}");
    assert!(heads.iter().all(|head| head.to_lowercase().contains("authorization: xyzzy")), "{heads:?}");
}

#[test]
fn a_plugin_template_is_refused_by_name() {
    let tiphys = Tiphys::new();
    let workflow = manifest("plugin", "spec: {entrypoint: main, templates: [{name: main, plugin: {own: {}}}]}");
    let output = tiphys.run(&["run", "--runtime=host", "-"], &workflow);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.err.contains("template 'main': plugin templates run on Kubernetes only"), "{output:?}");
}

#[test]
fn locks_keep_steps_apart() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  synchronization: {mutexes: [{name: whole}]}
  volumes: [{name: room, hostPath: {path: ROOM}}]
  templates:
  - name: main
    steps:
    - - {name: alone, template: alone, withSequence: {count: '4'}}
  - name: alone
    synchronization: {mutexes: [{name: room}], semaphores: [{configMapKeyRef: {name: limits, key: rooms}}]}
    container:
      image: none
      command: [sh, -ec, 'mkdir /room/taken; sleep 0.2; rmdir /room/taken']
      volumeMounts: [{name: room, mountPath: /room}]
---
{kind: ConfigMap, apiVersion: v1, metadata: {name: limits}, data: {rooms: '2'}}
";
    let room = tempfile::tempdir().unwrap();
    let spec = spec.replace("ROOM", room.path().to_str().unwrap());
    let output =
        tiphys.run(&["run", "--runtime=host", "--name=locks", "--output=json", "-"], &manifest("locks", &spec));
    assert_eq!(output.code, 0, "{output:?}");
    let object: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert!(object["status"]["synchronization"].is_null(), "{object}");
    // Without a limit there is nothing to wait for.
    let without = spec.replace("rooms: '2'", "other: '2'");
    let output = tiphys.run(&["run", "--runtime=host", "--name=limit", "-"], &manifest("locks", &without));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.out.contains("failed to initialize semaphore default/ConfigMap/limits/rooms with limit"),
        "{output:?}"
    );
}

#[test]
fn a_step_that_waits_for_what_is_around_it_is_told_of() {
    let tiphys = Tiphys::new();
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    synchronization: {mutexes: [{name: m}]}
    steps: [[{name: inside, template: inside}]]
  - name: inside
    synchronization: {mutexes: [{name: m}]}
    container: {image: none, command: ['true']}
";
    let mut child = tiphys.start(&["run", "--runtime=host", "--name=self", "-"], &manifest("self", spec));
    let warning = {
        use std::io::BufRead;
        let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        lines.map(Result::unwrap).find(|line| line.contains("tiphys stop self")).unwrap()
    };
    assert!(warning.contains("what waits for a lock waits for a step that cannot end before it"), "{warning}");
    assert_eq!(tiphys.run(&["stop", "self"], "").code, 0);
    let output = common::finish(child);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("Waiting for default/Mutex/m lock. Lock status: 0/1"), "{output:?}");
    assert!(output.out.contains("Stopped with strategy 'Stop'"), "{output:?}");
}

/// Runs the manifest with the data folder on a disk of that size, in a mount namespace of its own.
fn on_a_small_disk(size: &str, manifest: &str) -> common::Output {
    let tiphys = Tiphys::new();
    let program = tiphys.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("unshare");
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs \"$TIPHYS_DATA\" && exec \"$0\" run --runtime=host --name=full --output=name -"
    );
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(program).env("TIPHYS_DATA", tiphys.path());
    common::finish(common::feed(command, manifest))
}

#[test]
fn a_full_disk_is_named_and_no_success() {
    let spec = "
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: none, command: [sh, -c], args: ['head -c 40000000 /dev/zero > /tmp/out']}
    outputs: {artifacts: [{name: big, path: /tmp/out, archive: {none: {}}}]}
";
    let output = on_a_small_disk("24m", &manifest("full", spec));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.contains("main: Error (exit code 64): ") && output.err.contains("No space left"), "{output:?}");
    // No room even to begin.
    let output = on_a_small_disk("64k", &manifest("full", spec));
    assert_eq!((output.code, output.out.as_str()), (64, ""), "{output:?}");
    assert!(output.err.contains("free some space or choose another place with --data-dir"), "{output:?}");
}

const CLAIMS: &str = "
spec:
  entrypoint: main
  volumeClaimTemplates:
  - metadata: {name: work}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
  templates:
  - name: main
    steps:
    - - {name: write, template: sh, arguments: {parameters: [{name: do, value: 'echo kept > /work/file'}]}}
    - - {name: read, template: sh, arguments: {parameters: [{name: do, value: 'cat /work/file; exit {{workflow.parameters.code}}'}]}}
  - name: sh
    inputs: {parameters: [{name: do}]}
    container:
      {image: none, command: [sh, -c, '{{inputs.parameters.do}}'], volumeMounts: [{name: work, mountPath: /work}]}
  arguments: {parameters: [{name: code, value: '0'}]}
";

#[test]
fn steps_share_the_claims_that_a_workflow_makes() {
    let tiphys = Tiphys::new();
    let ends = |name: &str, code: &str| {
        let (name, code) = (format!("--name={name}"), format!("code={code}"));
        let args = ["run", "--runtime=host", "--output=json", &name, "-p", &code, "-"];
        let output = tiphys.run(&args, &manifest("claims", CLAIMS));
        assert!(output.err.contains("read: kept"), "{output:?}");
        let object: serde_json::Value = serde_json::from_str(&output.out).unwrap();
        object["status"]["persistentVolumeClaims"].clone()
    };
    let file = |run: &str| tiphys.path().join(format!("runs/{run}/claims/{run}-work/file"));
    // By default they go with a workflow that succeeded, and stay for who retries one that failed.
    assert_eq!(ends("good", "0"), serde_json::Value::Null);
    assert!(!file("good").exists());
    let kept = serde_json::json!([{"name": "work", "persistentVolumeClaim": {"claimName": "bad-work"}}]);
    assert_eq!(ends("bad", "3"), kept);
    assert_eq!(std::fs::read_to_string(file("bad")).unwrap(), "kept\n");
}
