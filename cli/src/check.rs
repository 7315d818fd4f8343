//! What is wrong with manifests, each mistake where it was written.

use tiphys_api::WorkflowSpec;
use tiphys_api::diagnostic::{Diagnostic, Severity};
use tiphys_api::document::{Document, Object};
use tiphys_engine::validate::{Origin, Problem, Templates};
use tiphys_local::documents::Documents;

use crate::failure::Failure;
use crate::input::{self, Input};

/// The templates among the documents.
pub struct Known<'a>(pub &'a Documents);

impl Templates for Known<'_> {
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec> {
        if cluster_scope {
            self.0.cluster_template(name).map(|template| &template.spec)
        } else {
            self.0.template(name).map(|template| &template.spec)
        }
    }
}

/// Problems as diagnostics: in `document`, or in the template that they come from.
pub fn diagnostics(problems: Vec<Problem>, document: Option<&Document>, input: &Input) -> Vec<Diagnostic> {
    problems.into_iter().map(|problem| diagnostic(problem, document, input)).collect()
}

fn diagnostic(problem: Problem, document: Option<&Document>, input: &Input) -> Diagnostic {
    let Problem { severity, origin, path, message, hint } = problem;
    let place = match &origin {
        Origin::Here => document,
        Origin::Template { cluster_scope, name } => input.all().find(|document| {
            document.name() == name
                && match &document.object {
                    Object::WorkflowTemplate(_) => !cluster_scope,
                    Object::ClusterWorkflowTemplate(_) => *cluster_scope,
                    _ => false,
                }
        }),
    };
    let mut diagnostic = match (place, severity) {
        (Some(document), _) => document.diagnostic(severity, &path, message),
        (None, Severity::Error) => Diagnostic::error("command line", message),
        (None, Severity::Warning) => Diagnostic::warning("command line", message),
    };
    diagnostic.hint = hint.or(diagnostic.hint);
    diagnostic
}

/// Whether one of them is more than a warning.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// Shows what is wrong with a document, and what is odd in it; under `strict` that is wrong, too.
///
/// # Errors
/// Anything that is wrong.
pub fn report(mut found: Vec<Diagnostic>, document: Option<&Document>, strict: bool) -> Result<(), Failure> {
    let warnings = document.map(Document::warnings).unwrap_or_default();
    found.extend(warnings.into_iter().map(|warning| if strict { warning.into_error() } else { warning }));
    if has_errors(&found) {
        return Err(input::show(found));
    }
    found.iter().for_each(|warning| eprintln!("{warning}"));
    Ok(())
}
