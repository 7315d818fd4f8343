//! The command `tiphys` on the cluster, with our controller: what it prints, and how it ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Outcome;
use super::cluster::Cluster;
use crate::shell::build;

/// A step that uses what the one before printed, and fails until it is told otherwise.
const FAILING: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: failing-}
spec:
  entrypoint: main
  arguments: {parameters: [{name: code, value: '3'}]}
  templates:
  - name: main
    steps:
    - - {name: make, template: make}
    - - {name: use, template: use, arguments: {parameters: [{name: text, value: '{{steps.make.outputs.result}}'}]}}
  - name: make
    script: {image: busybox, command: [sh], source: echo made}
  - name: use
    inputs: {parameters: [{name: text}]}
    container:
      image: busybox
      command: [sh, -c, 'echo use {{inputs.parameters.text}}; exit {{workflow.parameters.code}}']
";
/// Pauses that wait for a user, and a step that prints what the user gave.
const ASKING: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: asking-, labels: {asks: 'yes'}}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: approve, template: ask}
      - {name: other, template: ask}
    - - {name: tell, template: tell, arguments: {parameters: [{name: who, value: '{{steps.approve.outputs.parameters.who}}'}]}}
  - name: ask
    suspend: {}
    outputs: {parameters: [{name: who, valueFrom: {supplied: {}, default: nobody}}]}
  - name: tell
    inputs: {parameters: [{name: who}]}
    container: {image: busybox, command: [echo, 'told by {{inputs.parameters.who}}']}
";
/// So many pauses that their nodes go out compressed.
const LARGE: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: many}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: pause, template: pause, withSequence: {count: '3000'}}]]
  - name: pause
    suspend: {}
";
/// How long the controller may take to archive what is over.
const ARCHIVING: Duration = Duration::from_secs(60);
const TEMPLATE: &str = "
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: greet}
spec:
  entrypoint: say
  arguments: {parameters: [{name: text, value: hello}]}
  templates:
  - name: say
    inputs: {parameters: [{name: text}]}
    container: {image: busybox, command: [echo, 'says {{inputs.parameters.text}}']}
";
const CRON: &str = "
apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: nightly}
spec:
  schedules: ['0 3 * * *']
  suspend: true
  workflowSpec: {workflowTemplateRef: {name: greet}}
";

/// The program, for one namespace.
struct Commands {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
}

/// How the program ended, and what it printed on standard output.
#[derive(Debug)]
struct Printed {
    code: i32,
    out: String,
    err: String,
}

impl Printed {
    fn is(self, code: i32) -> Result<String> {
        ensure!(self.code == code, "exit status {} instead of {code}: {}{}", self.code, self.out, self.err);
        Ok(self.out)
    }
}

type Test = fn(&Commands) -> Result<()>;

/// What is shown, each by itself.
const TESTS: [(&str, Test); 7] = [
    ("submit, wait, get, logs, retry, resubmit", again),
    ("suspend, node set, resume, stop, terminate, list, delete", orders),
    ("compressed nodes", large),
    ("archive list, get, resubmit, retry, delete", archive),
    ("cp", copy),
    ("template, cron, backfill, submit --from, lint", templates),
    ("what is not there", missing),
];

/// Builds the program and runs what is wanted of the tests; tells of each when it is over.
///
/// # Errors
/// When the program cannot be built.
pub fn test(
    cluster: &Cluster,
    namespace: &str,
    wanted: impl Fn(&str) -> bool,
    mut tell: impl FnMut(&str, Instant, &Outcome),
) -> Result<()> {
    let tests = TESTS.iter().map(|(name, test)| (format!("tiphys: {name}"), test));
    let tests: Vec<_> = tests.filter(|(name, _)| wanted(name)).collect();
    if tests.is_empty() {
        return Ok(());
    }
    let program = build("tiphys")?;
    let tiphys = Commands { program, kubeconfig: cluster.kubeconfig.clone(), namespace: namespace.to_owned() };
    for (name, test) in tests {
        let begun = Instant::now();
        let outcome = test(&tiphys).err().map_or(Outcome::Passed, |error| Outcome::Failed(format!("{error:#}")));
        tell(&name, begun, &outcome);
    }
    Ok(())
}

impl Commands {
    fn run(&self, args: &[&str], stdin: &str) -> Result<Printed> {
        let mut command = Command::new(&self.program);
        command.args(["--namespace", &self.namespace]).args(args).env("KUBECONFIG", &self.kubeconfig);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("tiphys cannot be started")?;
        let mut pipe = child.stdin.take().context("tiphys has no standard input")?;
        // One that does not read it may have closed it.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        let output = child.wait_with_output()?;
        Ok(Printed {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Submits a workflow; gives its name.
    fn submit(&self, manifest: &str) -> Result<String> {
        Ok(self.run(&["submit", "-", "--output", "name"], manifest)?.is(0)?.trim().to_owned())
    }

    fn object(&self, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&["get", name, "--output", "json"], "")?.is(0)?)?)
    }

    /// Asks until the answer is yes: what is asked for happens behind the workflow's end, which no watch tells.
    fn until(&self, args: &[&str]) -> Result<String> {
        let begun = Instant::now();
        loop {
            let printed = self.run(args, "")?;
            if printed.code == 0 || begun.elapsed() > ARCHIVING {
                return printed.is(0);
            }
        }
    }

    /// Watches a workflow until a line of what is shown has a text.
    fn watch_for(&self, name: &str, text: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["--namespace", &self.namespace, "watch", name]).env("KUBECONFIG", &self.kubeconfig);
        let mut child = command.stdout(Stdio::piped()).spawn().context("tiphys cannot be started")?;
        let lines = BufReader::new(child.stdout.take().context("tiphys has no standard output")?).lines();
        let found = lines.map_while(Result::ok).any(|line| line.contains(text));
        // It only looks; the workflow goes on.
        let _ = child.kill();
        child.wait()?;
        ensure!(found, "the watch of {name} ended without {text:?}");
        Ok(())
    }
}

fn contains(text: &str, part: &str) -> Result<()> {
    ensure!(text.contains(part), "{part:?} is not in {text:?}");
    Ok(())
}

/// A node of a workflow by its short name.
fn node<'a>(workflow: &'a Value, display_name: &str) -> Result<&'a Value> {
    let mut nodes = workflow["status"]["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
    nodes.find(|node| node["displayName"] == display_name).with_context(|| format!("there is no node {display_name}"))
}

fn again(tiphys: &Commands) -> Result<()> {
    let printed = tiphys.run(&["submit", "-", "--log", "--output", "name"], FAILING)?;
    let out = printed.is(1)?;
    contains(&out, "\nmake: made\nuse: use made\n")?;
    let name = out.lines().next().unwrap_or_default();
    contains(&tiphys.run(&["wait", name], "")?.is(1)?, &format!("{name} Failed at "))?;
    contains(&tiphys.run(&["get", name], "")?.is(0)?, "└─ ✖ use")?;
    let short = tiphys.run(&["get", name, "--status", "Failed", "--output", "short"], "")?.is(0)?;
    ensure!(!short.contains("make"), "a node that succeeded is shown: {short}");
    ensure!(
        tiphys.run(&["logs", name, "use"], "")?.is(0)? == "use made\n",
        "the log of a node is not as it was written"
    );
    let before = tiphys.object(name)?;
    // A new workflow takes over what went well.
    let out = tiphys.run(&["resubmit", name, "--memoized", "-p", "code=0", "--wait", "-o", "name"], "")?.is(0)?;
    let new = tiphys.object(out.lines().next().unwrap_or_default())?;
    contains(node(&new, "make")?["message"].as_str().unwrap_or_default(), "original pod: ")?;
    ensure!(node(&new, "use")?["phase"] == "Succeeded", "the memoized workflow: {}", new["status"]);
    // The same one goes on from where it failed.
    contains(&tiphys.run(&["retry", name, "-p", "code=0", "--watch"], "")?.is(0)?, "Succeeded in ")?;
    let after = tiphys.object(name)?;
    ensure!(node(&before, "make")? == node(&after, "make")?, "what went well was run again");
    ensure!(node(&after, "use")?["phase"] == "Succeeded", "retried: {}", after["status"]);
    tiphys.run(&["retry", name], "")?.is(1).map(|_| ())
}

fn orders(tiphys: &Commands) -> Result<()> {
    let name = tiphys.submit(ASKING)?;
    tiphys.watch_for(&name, "other  Running")?;
    tiphys.run(&["suspend", &name], "")?.is(0)?;
    contains(&tiphys.run(&["list", "--running"], "")?.is(0)?, "Running (Suspended)")?;
    let approve = ["--node-field-selector", "displayName=approve"];
    let set = [&["node", "set", name.as_str(), "-p", "who=alice", "-m", "seen"], &approve[..]].concat();
    tiphys.run(&set, "")?.is(0)?;
    tiphys.run(&["resume", &name, "--node", "approve"], "")?.is(0)?;
    tiphys.run(&["resume", &name], "")?.is(0)?;
    contains(&tiphys.run(&["wait", &name], "")?.is(0)?, "Succeeded")?;
    ensure!(
        tiphys.run(&["logs", &name], "")?.is(0)? == "tell: told by alice\n",
        "the value that was set did not arrive"
    );
    ensure!(node(&tiphys.object(&name)?, "approve")?["message"] == "seen", "the message that was set is not there");
    for order in ["stop", "terminate"] {
        let name = tiphys.submit(ASKING)?;
        tiphys.watch_for(&name, "other  Running")?;
        tiphys.run(&[order, &name], "")?.is(0)?;
        tiphys.run(&["wait", &name], "")?.is(1)?;
        let strategy = if order == "stop" { "Stop" } else { "Terminate" };
        ensure!(tiphys.object(&name)?["spec"]["shutdown"] == strategy, "{order} did not ask for {strategy}");
        tiphys.run(&[order, &name], "")?.is(1)?;
    }
    let failed = tiphys.run(&["list", "-l", "asks=yes", "--status", "Failed", "-o", "name"], "")?.is(0)?;
    ensure!(failed.lines().count() == 2, "two workflows failed, listed are {failed:?}");
    tiphys.run(&["delete", "-l", "asks=yes"], "")?.is(0)?;
    ensure!(tiphys.run(&["list", "-l", "asks=yes"], "")?.is(0)? == "no workflows found\n", "workflows are left");
    Ok(())
}

fn large(tiphys: &Commands) -> Result<()> {
    let name = tiphys.submit(LARGE)?;
    tiphys.watch_for(&name, "pause(2999:2999)  Running")?;
    tiphys.run(&["resume", &name, "--node", "pause(7:7)"], "")?.is(0)?;
    let nodes = tiphys.object(&name)?;
    ensure!(node(&nodes, "pause(7:7)")?["phase"] == "Succeeded", "the node was not resumed");
    ensure!(node(&nodes, "pause(8:8)")?["phase"] == "Running", "another node was resumed");
    tiphys.run(&["resume", &name], "")?.is(0)?;
    tiphys.run(&["wait", &name], "")?.is(0)?;
    tiphys.run(&["delete", &name], "")?.is(0).map(|_| ())
}

fn archive(tiphys: &Commands) -> Result<()> {
    let name = tiphys.submit(FAILING)?;
    tiphys.run(&["wait", &name], "")?.is(1)?;
    let kept: Value = serde_json::from_str(&tiphys.until(&["archive", "get", &name, "-o", "json"])?)?;
    ensure!(node(&kept, "use")?["phase"] == "Failed", "archived: {}", kept["status"]);
    contains(&tiphys.run(&["archive", "list", "-o", "name"], "")?.is(0)?, &format!("{name}\n"))?;
    let phases = ["archive", "list-label-values", "-l", "workflows.argoproj.io/phase"];
    contains(&tiphys.run(&phases, "")?.is(0)?, "Failed\n")?;
    let again = ["archive", "resubmit", name.as_str(), "--memoized", "-p", "code=0", "--wait", "-o", "name"];
    let out = tiphys.run(&again, "")?.is(0)?;
    let new = tiphys.object(out.lines().next().unwrap_or_default())?;
    contains(node(&new, "make")?["message"].as_str().unwrap_or_default(), "original pod: ")?;
    // It is still there, and then it is not.
    tiphys.run(&["archive", "retry", &name], "")?.is(1)?;
    tiphys.run(&["delete", &name], "")?.is(0)?;
    let uid = kept["metadata"]["uid"].as_str().unwrap_or_default();
    tiphys.run(&["archive", "retry", uid, "-p", "code=0", "--wait"], "")?.is(0)?;
    let after = tiphys.object(&name)?;
    ensure!(node(&kept, "make")? == node(&after, "make")?, "what went well was run again");
    ensure!(node(&after, "use")?["phase"] == "Succeeded", "retried: {}", after["status"]);
    tiphys.run(&["archive", "delete", uid], "")?.is(0)?;
    tiphys.run(&["archive", "get", uid], "")?.is(1).map(|_| ())
}

fn copy(tiphys: &Commands) -> Result<()> {
    let name = tiphys.submit(FAILING)?;
    tiphys.run(&["wait", &name], "")?.is(1)?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let target = folder.path().to_str().context("the folder's path is no text")?;
    let wanted = ["--artifact-name", "main-logs", "--path", "{templateName}"];
    let out = tiphys.run(&[&["cp", name.as_str(), target], &wanted[..]].concat(), "")?.is(0)?;
    ensure!(out.lines().count() == 2, "two steps have a log, copied are {out:?}");
    let text = std::fs::read_to_string(folder.path().join("make/main.log"))?;
    ensure!(text == "made\n", "the log of a step is {text:?}");
    Ok(())
}

fn templates(tiphys: &Commands) -> Result<()> {
    tiphys.run(&["template", "create", "-"], TEMPLATE)?.is(0)?;
    tiphys.run(&["template", "create", "-"], TEMPLATE)?.is(1)?;
    tiphys.run(&["template", "update", "-"], TEMPLATE)?.is(0)?;
    contains(&tiphys.run(&["template", "list", "-o", "name"], "")?.is(0)?, "greet\n")?;
    contains(&tiphys.run(&["submit", "--from", "wftmpl/greet", "-p", "text=hi", "--log"], "")?.is(0)?, "says hi\n")?;
    tiphys.run(&["cron", "create", "-"], CRON)?.is(0)?;
    contains(&tiphys.run(&["submit", "--from", "cronwf/nightly", "--log"], "")?.is(0)?, "says hello\n")?;
    tiphys.run(&["cron", "resume", "nightly"], "")?.is(0)?;
    let cron: Value = serde_json::from_str(&tiphys.run(&["cron", "get", "nightly", "-o", "json"], "")?.is(0)?)?;
    ensure!(cron["spec"]["suspend"] == false, "the cron workflow was not resumed: {}", cron["spec"]);
    tiphys.run(&["cron", "suspend", "nightly"], "")?.is(0)?;
    contains(&tiphys.run(&["cron", "list"], "")?.is(0)?, "0 3 * * *")?;
    let (start, end) = ("2026-01-01T00:00:00Z", "2026-01-02T12:00:00Z");
    let backfill =
        ["cron", "backfill", "nightly", "--name", "past", "--argname", "text", "--start", start, "--end", end];
    let told = tiphys.run(&backfill, "")?.is(0)?;
    contains(&told, "for 2 times")?;
    tiphys.run(&["wait", told.split(' ').next().unwrap_or_default()], "")?.is(0)?;
    let past =
        tiphys.run(&["list", "--prefix", "nightly-backfill-past-", "--status", "Succeeded", "-o", "name"], "")?;
    ensure!(past.is(0)?.lines().count() == 2, "two workflows are to be run for times that have passed");
    // What a manifest refers to is looked for on the cluster.
    tiphys.run(&["lint", "--kinds", "cronworkflows", "-"], CRON)?.is(0)?;
    tiphys.run(&["lint", "--offline", "-"], CRON)?.is(2)?;
    tiphys.run(&["cron", "delete", "nightly"], "")?.is(0)?;
    tiphys.run(&["template", "delete", "greet"], "")?.is(0)?;
    let printed = tiphys.run(&["submit", "-"], &CRON.replace("CronWorkflow", "Workflow"))?;
    tiphys.run(&["submit", "--from", "wftmpl/greet"], "")?.is(1)?;
    printed.is(2).map(|_| ())
}

fn missing(tiphys: &Commands) -> Result<()> {
    for command in [&["get"][..], &["stop"], &["logs"], &["retry"], &["watch"], &["wait"], &["resubmit"]] {
        let printed = tiphys.run(&[command, &["not-there"]].concat(), "")?;
        contains(&printed.err, "not-there")?;
        printed.is(1).with_context(|| command.join(" "))?;
    }
    tiphys.run(&["wait", "--ignore-not-found", "not-there"], "")?.is(0)?;
    contains(&tiphys.run(&["delete", "not-there"], "")?.is(0)?, "workflow not-there not found")
}
