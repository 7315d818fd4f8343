//! Validation against what Argo's own validation said of the same manifests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tiphys_api::WorkflowSpec;
use tiphys_api::diagnostic::Severity;
use tiphys_api::document::{self, Document, Object};
use tiphys_engine::validate::{self, Options, Origin, Problem, Templates};

/// Templates by scope and name.
#[derive(Clone, Default)]
struct Known(BTreeMap<(bool, String), WorkflowSpec>);

impl Templates for Known {
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec> {
        self.0.get(&(cluster_scope, name.to_string()))
    }
}

impl Known {
    fn add(&mut self, documents: &[Document]) {
        for document in documents {
            let (scope, spec) = match &document.object {
                Object::WorkflowTemplate(template) => (false, &template.spec),
                Object::ClusterWorkflowTemplate(template) => (true, &template.spec),
                _ => continue,
            };
            self.0.insert((scope, document.name().to_string()), spec.clone());
        }
    }
}

fn read(path: &Path) -> Vec<Document> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    document::parse(&path.display().to_string(), &text).unwrap_or_else(|mistakes| panic!("{}", mistakes[0]))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn first(object: &Object, known: &Known) -> String {
    let problem = match object {
        Object::Workflow(workflow) => validate::first_problem(workflow, known, None),
        Object::WorkflowTemplate(template) => validate::first_problem_of_template(Ok(template), known),
        Object::ClusterWorkflowTemplate(template) => validate::first_problem_of_template(Err(template), known),
        Object::CronWorkflow(cron) => validate::first_problem_of_cron_workflow(cron, known),
        other => panic!("unexpected kind {}", other.kind()),
    };
    problem.map(|problem| problem.message).unwrap_or_default()
}

fn all(object: &Object, known: &Known, options: Options) -> Vec<Problem> {
    match object {
        Object::Workflow(workflow) => validate::workflow(workflow, known, options),
        Object::WorkflowTemplate(template) => validate::workflow_template(template, known, options),
        Object::ClusterWorkflowTemplate(template) => validate::cluster_workflow_template(template, known, options),
        Object::CronWorkflow(cron) => validate::cron_workflow(cron, known),
        other => panic!("unexpected kind {}", other.kind()),
    }
}

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("TIPHYS_CORPUS").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// Each file holds what Argo said, the manifest, and the templates that it refers to.
#[test]
fn first_problems_are_argos() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate");
    let mut wrong = Vec::new();
    for path in files(&folder, "yaml") {
        let documents = read(&path);
        let mut known = Known::default();
        known.add(&documents);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# argo: ")).unwrap_or_default();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let found = first(&documents[0].object, &known);
        if found != expected {
            wrong.push(format!("{name}\n  expected {expected}\n  found    {found}"));
        }
        let everything = all(&documents[0].object, &known, Options::default());
        if !everything.iter().any(|problem| problem.message == found) && !found.is_empty() {
            wrong.push(format!("{name}: the first problem is not among all of them: {everything:#?}"));
        }
        for problem in everything.iter().filter(|problem| problem.origin == Origin::Here) {
            let diagnostic = documents[0].diagnostic(problem.severity, &problem.path, &problem.message);
            if diagnostic.line == 0 {
                wrong.push(format!("{name}: {problem:?} has no place"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corpus_is_judged_as_argo_judged_it() {
    let Some(corpus) = corpus() else { return };
    let mut known = Known::default();
    let common: Vec<Document> = files(&corpus.join("common"), "yaml").iter().flat_map(|path| read(path)).collect();
    known.add(&common);
    let (mut judged, mut wrong) = (0, Vec::new());
    for case in std::fs::read_dir(corpus.join("cases")).unwrap() {
        let folder = case.unwrap().path();
        let outcome = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let outcome: serde_json::Value = serde_json::from_str(&outcome).unwrap();
        let message = outcome["message"].as_str().or(outcome["status"]["message"].as_str()).unwrap_or_default();
        // A missing template is met before validation, and said without the prefix.
        let expected = message
            .strip_prefix("invalid spec: ")
            .or_else(|| Some(message).filter(|m| m.contains("workflowtemplates.argoproj.io")));
        let expected = expected.unwrap_or_default();
        let documents = read(&folder.join("workflow.yaml"));
        let object = &documents[0].object;
        let found = first(object, &known);
        judged += 1;
        if found != expected {
            wrong.push(format!("{}\n  expected {expected}\n  found    {found}", folder.display()));
        }
        let mut everything = all(object, &known, Options::default());
        if expected.is_empty() {
            everything.retain(|problem| problem.severity == Severity::Error);
            wrong.extend(everything.iter().map(|problem| format!("{}: {problem:?}", folder.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 0);
}
