//! `tiphys lint`: mistakes with file, line and column; nothing runs.

use tiphys_api::WorkflowSpec;
use tiphys_api::diagnostic::Diagnostic;
use tiphys_api::document::Document;
use tiphys_engine::validate::{Options, Templates};

use crate::args::{Global, LintArgs, LintKind, ObjectLintArgs};
use crate::check::{Known, diagnostics, has_errors};
use crate::cluster::{self, Fetched, problems};
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::output;

/// Looks at the documents of the files that are of the wanted kinds; others, and those of `--with`, are only referred to.
pub fn lint(global: &Global, args: &LintArgs) -> Result<(), Failure> {
    let input = input::read(&args.manifests)?;
    let looked_at: Vec<&Document> = input.own.iter().filter(|document| is_wanted(document, &args.kinds)).collect();
    let documents = input.documents()?;
    let mut lookup = Lookup { given: Known(&documents), fetched: Fetched::default() };
    let found = if args.offline || global.place.given().is_none() {
        mistakes(&looked_at, &lookup, &input)
    } else {
        cluster::within(global, async |cluster| {
            loop {
                let found = mistakes(&looked_at, &lookup, &input);
                if !lookup.fetched.fetch(&cluster, "").await? {
                    return Ok(found);
                }
            }
        })?
    };
    report(global, args.strict, &looked_at, found)
}

/// The same for one kind alone.
pub fn lint_kind(global: &Global, args: &ObjectLintArgs, kind: LintKind) -> Result<(), Failure> {
    let ObjectLintArgs { manifests, strict } = args;
    lint(global, &LintArgs { manifests: manifests.clone(), strict: *strict, kinds: vec![kind], offline: false })
}

/// Templates among the documents, then those of a cluster.
struct Lookup<'a> {
    given: Known<'a>,
    fetched: Fetched,
}

impl Templates for Lookup<'_> {
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec> {
        self.given.get(cluster_scope, name).or_else(|| self.fetched.get(cluster_scope, name))
    }
}

fn is_wanted(document: &Document, kinds: &[LintKind]) -> bool {
    let kind = match document.object.kind() {
        "Workflow" => LintKind::Workflows,
        "WorkflowTemplate" => LintKind::Workflowtemplates,
        "ClusterWorkflowTemplate" => LintKind::Clusterworkflowtemplates,
        "CronWorkflow" => LintKind::Cronworkflows,
        _ => LintKind::All,
    };
    kinds.contains(&LintKind::All) || kinds.contains(&kind)
}

fn mistakes(documents: &[&Document], lookup: &Lookup<'_>, input: &Input) -> Vec<Diagnostic> {
    let options = Options { lint: true };
    let found = documents
        .iter()
        .map(|document| diagnostics(problems(&document.object, lookup, options), Some(document), input));
    found.flatten().collect()
}

fn report(global: &Global, strict: bool, documents: &[&Document], mut found: Vec<Diagnostic>) -> Result<(), Failure> {
    for document in documents {
        let warnings = document.warnings().into_iter();
        found.extend(warnings.map(|warning| if strict { warning.into_error() } else { warning }));
    }
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    if has_errors(&found) {
        return Err(input::show(found));
    }
    for warning in &found {
        eprintln!("{warning}");
    }
    if !global.quiet {
        let objects = match documents.len() {
            1 => "1 object".to_owned(),
            count => format!("{count} objects"),
        };
        let warnings = match found.len() {
            0 => String::new(),
            1 => ", 1 warning".to_owned(),
            count => format!(", {count} warnings"),
        };
        output::print(&format!("no mistakes found in {objects}{warnings}\n"));
    }
    Ok(())
}
