//! `tiphys lint`: mistakes with file, line and column; nothing runs.

use tiphys_api::WorkflowSpec;
use tiphys_api::diagnostic::Diagnostic;
use tiphys_api::document::Document;
use tiphys_engine::validate::{Options, Templates};

use crate::args::{Global, LintArgs, LintKind, LintOutput, ObjectLintArgs};
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
    report(global, args, &looked_at, found)
}

/// The same for one kind alone.
pub fn lint_kind(global: &Global, args: &ObjectLintArgs, kind: LintKind) -> Result<(), Failure> {
    let ObjectLintArgs { manifests, strict, output } = args;
    let (manifests, kinds) = (manifests.clone(), vec![kind]);
    lint(global, &LintArgs { manifests, strict: *strict, output: *output, kinds, offline: false })
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

/// A mistake without what stands around it.
fn in_a_line(mistake: &Diagnostic) -> String {
    let Diagnostic { file, line, column, severity, message, .. } = mistake;
    let place = if *line == 0 { file.clone() } else { format!("{file}:{line}:{column}") };
    format!("{place}: {severity}: {}", message.replace('\n', " "))
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

fn report(
    global: &Global,
    args: &LintArgs,
    documents: &[&Document],
    mut found: Vec<Diagnostic>,
) -> Result<(), Failure> {
    for document in documents {
        let warnings = document.warnings().into_iter();
        found.extend(warnings.map(|warning| if args.strict { warning.into_error() } else { warning }));
    }
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    for mistake in &found {
        match args.output {
            LintOutput::Pretty => eprintln!("{mistake}"),
            LintOutput::Simple => eprintln!("{}", in_a_line(mistake)),
        }
    }
    if has_errors(&found) {
        return Err(Failure::invalid(None));
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
