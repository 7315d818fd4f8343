//! Which workflows of a list are meant.

use jiff::Timestamp;
use tiphys_api::Workflow;

use crate::args::Filters;
use crate::duration;
use crate::failure::Failure;

/// Filters with their times worked out.
#[derive(Debug, Clone, Default)]
pub(super) struct Chosen {
    /// What the server selects by.
    pub labels: String,
    /// What else the server selects by.
    pub fields: String,
    prefix: String,
    created_after: Option<Timestamp>,
    finished_before: Option<Timestamp>,
}

/// Parts of a label selector together; empty ones are left out.
pub(super) fn label_selector(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(",")
}

impl Chosen {
    /// From the command line. `more` are further parts of the label selector. argo: commands/list.go, listWorkflows.
    pub fn new(filters: &Filters, since: Option<&str>, more: &[&str], now: Timestamp) -> Result<Chosen, Failure> {
        let ago = |flag: &str, text: &str| {
            let seconds = duration::seconds(text)
                .ok_or_else(|| Failure::usage(format!("--{flag} {text}: expected a duration such as 10m, 3h or 1d")))?;
            Ok::<_, Failure>(now - jiff::SignedDuration::from_secs_f64(seconds))
        };
        let status = match filters.status.join(",") {
            phases if phases.is_empty() => String::new(),
            phases => format!("workflows.argoproj.io/phase in ({phases})"),
        };
        let completed = if filters.completed { "workflows.argoproj.io/completed=true" } else { "" };
        let resubmitted = if filters.resubmitted { "workflows.argoproj.io/resubmitted-from-workflow" } else { "" };
        let own = [filters.selectors.selector.as_str(), &status, completed, resubmitted];
        let parts: Vec<&str> = more.iter().copied().chain(own).collect();
        Ok(Chosen {
            labels: label_selector(&parts),
            fields: filters.selectors.field_selector.clone(),
            prefix: filters.prefix.clone(),
            created_after: since.map(|text| ago("since", text)).transpose()?,
            finished_before: filters.older.as_deref().map(|text| ago("older", text)).transpose()?,
        })
    }

    /// Whether a workflow that the server selected is meant.
    pub fn is_meant(&self, workflow: &Workflow) -> bool {
        let created = workflow.metadata.creation_timestamp.map(|time| time.0);
        let finished = workflow.status.finished_at.map(|time| time.0);
        workflow.metadata.name.starts_with(&self.prefix)
            && self.created_after.is_none_or(|after| created.is_some_and(|created| created > after))
            && self.finished_before.is_none_or(|before| finished.is_some_and(|finished| finished < before))
    }
}

/// Puts those that are not over first, then the latest. argo: workflow_types.go, Workflows.Less.
pub(super) fn sort(workflows: &mut [Workflow]) {
    workflows.sort_by(|a, b| {
        let key = |workflow: &Workflow| {
            let finished = workflow.status.finished_at;
            (finished.is_none(), finished, workflow.metadata.creation_timestamp)
        };
        key(b).cmp(&key(a)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::args::Selectors;

    fn workflow(name: &str, created: i64, finished: Option<i64>) -> Workflow {
        let mut workflow: Workflow = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        workflow.metadata.creation_timestamp = Some(tiphys_api::Time::from_second(created));
        workflow.status.finished_at = finished.map(tiphys_api::Time::from_second);
        workflow
    }

    #[test]
    fn the_server_selects_by_labels() {
        let filters = Filters {
            status: vec!["Failed".into(), "Error".into()],
            completed: true,
            resubmitted: true,
            selectors: Selectors { selector: "a=b".into(), field_selector: "metadata.name=x".into() },
            ..Filters::default()
        };
        let chosen = Chosen::new(&filters, None, &["!i"], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            chosen.labels,
            "!i,a=b,workflows.argoproj.io/phase in (Failed,Error),workflows.argoproj.io/completed=true,\
             workflows.argoproj.io/resubmitted-from-workflow"
        );
        assert_eq!(chosen.fields, "metadata.name=x");
    }

    #[test]
    fn names_and_times_are_looked_at_here() {
        let now = Timestamp::from_second(10_000).unwrap();
        let filters = Filters { prefix: "a".into(), older: Some("1h".into()), ..Filters::default() };
        let chosen = Chosen::new(&filters, Some("2h"), &[], now).unwrap();
        for (workflow, meant) in [
            (workflow("a", 3_000, Some(6_000)), true),
            (workflow("b", 3_000, Some(6_000)), false),
            (workflow("a", 2_000, Some(6_000)), false),
            (workflow("a", 3_000, Some(7_000)), false),
            (workflow("a", 3_000, None), false),
        ] {
            assert_eq!(chosen.is_meant(&workflow), meant, "{workflow:?}");
        }
        let error = Chosen::new(&filters, Some("soon"), &[], now).unwrap_err();
        assert_eq!(error.message(), Some("--since soon: expected a duration such as 10m, 3h or 1d"));
    }

    #[test]
    fn what_runs_comes_first_then_the_latest() {
        let mut all = [
            workflow("old", 1, Some(5)),
            workflow("new", 2, Some(9)),
            workflow("runs", 3, None),
            workflow("runs-too", 4, None),
        ];
        sort(&mut all);
        let names: Vec<&str> = all.iter().map(|workflow| workflow.metadata.name.as_str()).collect();
        assert_eq!(names, ["runs-too", "runs", "new", "old"]);
    }
}
