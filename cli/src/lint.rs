//! `tiphys lint`: mistakes with file, line and column; nothing runs.

use tiphys_api::diagnostic::Diagnostic;
use tiphys_api::document::{Document, Object};
use tiphys_engine::validate::{self, Options};

use crate::args::{Global, LintArgs};
use crate::check::{Known, diagnostics, has_errors};
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::output;

/// Looks at every document of the files; those of `--with` are only referred to.
pub fn lint(global: &Global, args: &LintArgs) -> Result<(), Failure> {
    let input = input::read(&args.manifests)?;
    let documents = input.documents()?;
    let known = Known(&documents);
    let mut found: Vec<Diagnostic> = Vec::new();
    for document in &input.own {
        let warnings = document.warnings();
        found.extend(if args.strict { warnings.into_iter().map(Diagnostic::into_error).collect() } else { warnings });
        found.extend(of_document(document, &known, &input));
    }
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    if has_errors(&found) {
        return Err(input::show(found));
    }
    for warning in &found {
        eprintln!("{warning}");
    }
    if !global.quiet {
        let objects = match input.own.len() {
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

fn of_document(document: &Document, known: &Known<'_>, input: &Input) -> Vec<Diagnostic> {
    let options = Options { lint: true };
    let problems = match &document.object {
        Object::Workflow(workflow) => validate::workflow(workflow, known, options),
        Object::WorkflowTemplate(template) => validate::workflow_template(template, known, options),
        Object::ClusterWorkflowTemplate(template) => validate::cluster_workflow_template(template, known, options),
        Object::CronWorkflow(cron) => validate::cron_workflow(cron, known),
        _ => Vec::new(),
    };
    diagnostics(problems, Some(document), input)
}
