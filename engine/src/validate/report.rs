//! Where problems are collected: all of them for lint, or only the first, where Argo's controller stops.

use std::collections::HashSet;
use std::fmt;

use tiphys_api::diagnostic::Severity;

/// The manifest that a problem is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The object that was validated.
    #[default]
    Here,
    /// A template that it refers to.
    Template {
        /// Whether it is a ClusterWorkflowTemplate.
        cluster_scope: bool,
        /// Its name.
        name: String,
    },
}

/// Something wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the workflow could run all the same.
    pub severity: Severity,
    /// The manifest.
    pub origin: Origin,
    /// The field of that manifest, as `spec.templates[0].steps[1][0].arguments`.
    pub path: String,
    /// What is wrong, in Argo's words where Argo finds it too.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The first problem was found, and it is the only one that was asked for.
#[derive(Debug)]
pub(super) struct Stop;

pub(super) type Outcome<T = ()> = Result<T, Stop>;

/// A field of a manifest.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) path: String,
}

impl Place {
    /// A field below; `suffix` begins with a dot or bracket.
    pub(super) fn below(&self, suffix: impl fmt::Display) -> Place {
        Place { origin: self.origin.clone(), path: format!("{}{suffix}", self.path) }
    }
}

/// The problems so far.
pub(super) struct Report {
    first_only: bool,
    problems: Vec<Problem>,
    /// Argo's messages name the templates on the way to the problem.
    prefixes: Vec<String>,
    seen: HashSet<(Place0, String)>,
}

type Place0 = (Origin, String);

impl Report {
    pub(super) fn new(first_only: bool) -> Report {
        Report { first_only, problems: Vec::new(), prefixes: Vec::new(), seen: HashSet::new() }
    }

    /// Whether more than the first problem, and more than Argo finds, is asked for.
    pub(super) fn is_thorough(&self) -> bool {
        !self.first_only
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) -> Outcome {
        self.add(Severity::Error, place, message.into(), None)
    }

    pub(super) fn error_with_hint(&mut self, place: &Place, message: impl Into<String>, hint: String) -> Outcome {
        self.add(Severity::Error, place, message.into(), Some(hint))
    }

    /// Something that Argo does not find; only told where all problems are asked for.
    pub(super) fn warning(&mut self, place: &Place, message: impl Into<String>) -> Outcome {
        if self.first_only { Ok(()) } else { self.add(Severity::Warning, place, message.into(), None) }
    }

    /// Runs `check` with a prefix before the messages of the problems that it finds.
    pub(super) fn enter(&mut self, prefix: String) {
        self.prefixes.push(prefix);
    }

    pub(super) fn leave(&mut self) {
        self.prefixes.pop();
    }

    fn add(&mut self, severity: Severity, place: &Place, message: String, hint: Option<String>) -> Outcome {
        // The same problem is met again on each way that leads to its template.
        if self.seen.insert(((place.origin.clone(), place.path.clone()), message.clone())) {
            let words: Vec<&str> = self.prefixes.iter().map(String::as_str).chain([message.as_str()]).collect();
            let problem = Problem {
                severity,
                origin: place.origin.clone(),
                path: place.path.clone(),
                message: words.join(" "),
                hint,
            };
            self.problems.push(problem);
        }
        if self.first_only { Err(Stop) } else { Ok(()) }
    }
}
