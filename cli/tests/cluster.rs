//! Which cluster is meant, or none: what commands say before they have spoken to an API server. With one, `cargo xtask e2e`
//! shows them.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

mod common;

use std::net::TcpListener;

use common::{Tiphys, manifest};

const SPEC: &str = "
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: none, command: ['true']}
";

/// A kubeconfig of a cluster that nobody answers for.
fn kubeconfig(tiphys: &Tiphys) -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts: [{{name: here, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://{free}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    let path = tiphys.path().join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn without_a_cluster_a_name_is_a_runs() {
    let tiphys = Tiphys::new();
    for command in ["get", "logs", "stop", "suspend", "resume", "terminate", "retry"] {
        let output = tiphys.run(&[command, "nothing"], "");
        assert_eq!(output.code, 64, "{command}: {output:?}");
        let expected = "tiphys: there is no run \"nothing\" on this machine (`tiphys runs` lists what there is), and no Kubernetes \
                        API is known: there is no kubeconfig, and this is no Pod with a service account\n";
        assert_eq!(output.err, expected, "{command}");
    }
    let output = tiphys.run(&["list"], "");
    assert_eq!(output.code, 64, "{output:?}");
    assert!(output.err.starts_with("tiphys: no Kubernetes API is known: "), "{output:?}");
}

#[test]
fn a_run_of_this_machine_comes_before_a_cluster() {
    let tiphys = Tiphys::new();
    let kubeconfig = kubeconfig(&tiphys);
    let output = tiphys.run(&["run", "-q", "--runtime=host", "--name=mine", "-"], &manifest("mine", SPEC));
    assert_eq!(output.code, 0, "{output:?}");
    let with = |args: &[&str]| {
        let mut command = tiphys.command(args);
        command.env("KUBECONFIG", &kubeconfig);
        common::finish(common::feed(command, ""))
    };
    let output = with(&["get", "mine", "-o", "name"]);
    assert_eq!((output.code, output.out.as_str()), (0, "mine\n"), "{output:?}");
    // Flags that name a cluster come before it, and so does a name that no run has.
    for args in [&["get", "mine", "--context", "here"][..], &["get", "mine", "-n", "argo"], &["get", "other"]] {
        let output = with(args);
        assert_eq!(output.code, 1, "{args:?}: {output:?}");
        assert!(output.err.starts_with("tiphys: the API server cannot be reached: "), "{args:?}: {output:?}");
    }
    // Commands that a cluster alone understands say so.
    for command in ["watch", "wait", "delete", "resubmit"] {
        let output = with(&[command, "mine"]);
        assert_eq!(output.code, 64, "{output:?}");
        assert!(output.err.starts_with("tiphys: mine is a run on this machine"), "{output:?}");
    }
    let output = with(&["logs", "mine", "--tail", "3"]);
    assert_eq!(output.code, 64, "{output:?}");
    assert!(output.err.starts_with("tiphys: --tail is for workflows on a cluster"), "{output:?}");
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let tiphys = Tiphys::new();
    let kubeconfig = kubeconfig(&tiphys);
    for (args, code, words) in [
        (&["run", "-n", "argo", "x.yaml"][..], 64, "tiphys: --namespace: `tiphys run` is about this machine alone"),
        (&["list", "--kubeconfig", "/nowhere"], 64, "tiphys: the kubeconfig cannot be used: "),
        (&["list", "--kubeconfig", &kubeconfig, "--context", "other"], 64, "tiphys: the kubeconfig cannot be used: "),
        (&["list", "--kubeconfig", &kubeconfig, "--since", "soon"], 64, "tiphys: --since soon: expected a duration"),
        (
            &["list", "--running", "--completed"],
            64,
            "error: the argument '--running' cannot be used with '--completed'",
        ),
        (&["list", "--archived"], 64, "error: unexpected argument '--archived' found"),
        (&["delete"], 64, "error: the following required arguments were not provided"),
        (&["submit", "--dry-run", "-"], 64, "error: the following required arguments were not provided"),
        (&["submit", "--kubeconfig", &kubeconfig, "--from", "workflow/x"], 64, "tiphys: --from workflow/x: expected"),
        (&["submit", "--kubeconfig", &kubeconfig, "-"], 2, "standard input:1:1: error: "),
    ] {
        let output = tiphys.run(args, "[]: [");
        assert_eq!(output.code, code, "{args:?}: {output:?}");
        assert!(output.err.starts_with(words), "{args:?}: {output:?}");
    }
}

#[test]
fn lint_looks_at_the_kinds_that_are_wanted() {
    let tiphys = Tiphys::new();
    let template =
        manifest("b", SPEC).replace("kind: Workflow", "kind: WorkflowTemplate").replace("generateName: b-", "name: b");
    let documents = format!("{}---\n{template}", manifest("a", "spec: {}"));
    let output = tiphys.run(&["lint", "-"], &documents);
    assert_eq!(output.code, 2, "{output:?}");
    let output = tiphys.run(&["lint", "--kinds=workflowtemplates,cronworkflows", "-"], &documents);
    assert_eq!((output.code, output.out.as_str()), (0, "no mistakes found in 1 object\n"), "{output:?}");
    let output = tiphys.run(&["template", "lint", "-"], &documents);
    assert_eq!((output.code, output.out.as_str()), (0, "no mistakes found in 1 object\n"), "{output:?}");
}

#[test]
fn shells_complete_every_command() {
    let tiphys = Tiphys::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = tiphys.run(&["completions", shell], "");
        assert_eq!(output.code, 0, "{output:?}");
        for word in ["submit", "cluster-template", "resubmit", "node-field-selector"] {
            assert!(output.out.contains(word), "{shell}: {word}");
        }
    }
}
