//! Artifacts on their way through a workflow: what each step is given, and what the workflow gives.

use std::collections::BTreeMap;

use tiphys_api::document::{Object, parse};
use tiphys_api::{Artifact, Outputs, Workflow};
use tiphys_engine::PodRequest;
use tiphys_sim::{Faults, Outcome, World, simulate};

const MANIFEST: &str = r#"
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: wf, namespace: default, uid: 0b5ed5a4-4b4a-4a4b-8f5f-d2b4c0ffee00}
spec:
  entrypoint: main
  arguments: {artifacts: [{name: given, s3: {key: given.txt}}]}
  templates:
    - name: main
      inputs: {artifacts: [{name: given}]}
      steps:
        - - {name: pick, template: pick}
        - - name: use
            template: use
            arguments:
              artifacts:
                - {name: chosen, from: "{{steps.pick.outputs.artifacts.picked}}"}
                - {name: part, from: "{{steps.pick.outputs.artifacts.picked}}", subPath: a/b}
                - {name: given, from: "{{inputs.artifacts.given}}"}
    - name: pick
      steps:
        - - {name: heads, template: make, when: "'SIDE' == 'heads'"}
          - {name: tails, template: make, when: "'SIDE' == 'tails'"}
      outputs:
        artifacts:
          - name: picked
            fromExpression: "steps.heads.status == 'Succeeded' ? steps.heads.outputs.artifacts.made : steps.tails.outputs.artifacts.made"
    - name: make
      container: {image: x, args: ["{{outputs.artifacts.made.path}}"]}
      outputs: {artifacts: [{name: made, path: /tmp/made, globalName: of-all}]}
    - name: use
      inputs: {artifacts: [{name: chosen, path: /in/chosen}, {name: part, path: /in/part}, {name: given, path: /in/given}]}
      container: {image: x, args: ["{{inputs.artifacts.chosen.path}}"]}
"#;

fn workflow(side: &str) -> Workflow {
    read(&MANIFEST.replace("SIDE", side))
}

fn read(manifest: &str) -> Workflow {
    let documents = parse("workflow.yaml", manifest).expect("the workflow can be read");
    match documents.into_iter().next().expect("there is one").object {
        Object::Workflow(workflow) => *workflow,
        other => panic!("{other:?}"),
    }
}

fn key(artifact: &Artifact) -> String {
    artifact.s3.as_ref().map(|s3| s3.key.clone()).unwrap_or_default()
}

/// A step that has made what it declares, below its node's name.
fn made(request: &PodRequest) -> Outcome {
    let artifacts = request.template.outputs.artifacts.iter().map(|declared| {
        let key = serde_json::json!({"key": format!("{}/{}", request.node_name, declared.name)});
        Artifact { s3: serde_json::from_value(key).expect("a location"), ..declared.clone() }
    });
    Outcome::success(Outputs { artifacts: artifacts.collect(), ..Outputs::default() })
}

#[test]
fn artifacts_are_chosen_passed_and_exported() {
    for (side, step) in [("heads", "wf[0].pick[0].heads"), ("tails", "wf[0].pick[0].tails")] {
        let mut given = BTreeMap::new();
        let mut args = BTreeMap::new();
        let mut script = |request: &PodRequest| {
            let template = &request.template;
            given.extend(template.inputs.artifacts.iter().map(|artifact| (artifact.name.clone(), key(artifact))));
            let container = template.container.as_ref().expect("a container");
            args.insert(template.name.clone(), container.args.clone());
            made(request)
        };
        let done = simulate(workflow(side), &World::default(), &mut script, &Faults::default()).expect("it ends");
        assert_eq!(done.status.phase.to_string(), "Succeeded", "{side}: {}", done.status.message);
        let expected = [
            ("chosen", format!("{step}/made")),
            ("given", "given.txt".to_owned()),
            ("part", format!("{step}/made/a/b")),
        ];
        assert_eq!(given, expected.map(|(name, key)| (name.to_owned(), key)).into(), "{side}");
        assert_eq!((&args["make"], &args["use"]), (&vec!["/tmp/made".to_owned()], &vec!["/in/chosen".to_owned()]));
        let outputs = done.status.outputs.as_ref().expect("the workflow's own outputs");
        let exported: Vec<_> =
            outputs.artifacts.iter().map(|artifact| (artifact.name.as_str(), key(artifact))).collect();
        assert_eq!(exported, [("of-all", format!("{step}/made"))], "{side}");
    }
}

#[test]
fn inputs_alone_may_refer_to_inputs() {
    // Nothing else in the template has a tag.
    let manifest = r#"
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: wf, namespace: default}
spec:
  entrypoint: main
  arguments: {parameters: [{name: revision, value: v1.2}]}
  templates:
    - name: main
      inputs:
        parameters: [{name: revision}]
        artifacts: [{name: source, path: /src, git: {repo: "https://h/r.git", revision: "{{inputs.parameters.revision}}"}}]
      container: {image: x}
"#;
    let mut revision = String::new();
    let mut script = |request: &PodRequest| {
        let git = request.template.inputs.artifacts[0].git.as_ref().expect("a repository");
        revision.clone_from(&git.revision);
        Outcome::success(Outputs::default())
    };
    simulate(read(manifest), &World::default(), &mut script, &Faults::default()).expect("it ends");
    assert_eq!(revision, "v1.2");
}
