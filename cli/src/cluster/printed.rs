//! Workflows as lines.

use tiphys_api::{Workflow, WorkflowPhase};

use crate::display::style::{age, duration};
use crate::output::{self, parameters, shortened};

/// What a list tells beside what it always tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Columns {
    pub headers: bool,
    pub namespaces: bool,
    /// Parameters, and messages as long as they are.
    pub parameters: bool,
    pub uids: bool,
}

/// Workflows in columns. argo: util/printer, printTable.
pub(super) fn table(found: &[Workflow], Columns { headers, namespaces, parameters, uids }: Columns) -> String {
    let mut columns = vec!["NAMESPACE", "NAME", "STATUS", "AGE", "DURATION", "PROGRESS", "PRIORITY", "MESSAGE"];
    columns.extend(parameters.then_some("PARAMETERS"));
    columns.extend(uids.then_some("UID"));
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(found.len() + 1);
    rows.extend(headers.then(|| columns.iter().map(|name| (*name).to_owned()).collect()));
    rows.extend(found.iter().map(|workflow| {
        let mut row = row(workflow, parameters);
        row.extend(uids.then(|| workflow.metadata.uid.clone()));
        row
    }));
    if !namespaces {
        rows.iter_mut().for_each(|row| drop(row.remove(0)));
    }
    output::table(&rows)
}

fn row(workflow: &Workflow, wide: bool) -> Vec<String> {
    let status = &workflow.status;
    let mut row = vec![
        workflow.metadata.namespace.clone(),
        workflow.metadata.name.clone(),
        status_words(workflow),
        age(workflow.metadata.creation_timestamp),
        duration(status.started_at, status.finished_at),
        status.progress.clone(),
        workflow.spec.priority.unwrap_or_default().to_string(),
        if wide { status.message.replace('\n', " ") } else { shortened(&status.message) },
    ];
    row.extend(wide.then(|| parameters(workflow)));
    row
}

/// argo: util/printer, WorkflowStatus.
fn status_words(workflow: &Workflow) -> String {
    match workflow.status.phase {
        WorkflowPhase::Running if workflow.spec.suspend == Some(true) => "Running (Suspended)".to_owned(),
        WorkflowPhase::Failed if !workflow.spec.shutdown.is_empty() => "Failed (Terminated)".to_owned(),
        WorkflowPhase::Unknown => "Pending".to_owned(),
        phase => phase.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workflow(value: Value) -> Workflow {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn workflows_stand_in_columns() {
        let all = [
            workflow(json!({"metadata": {"name": "one", "namespace": "a"}, "spec": {"suspend": true, "priority": 5},
                "status": {"phase": "Running", "progress": "1/2"}})),
            workflow(json!({"metadata": {"name": "second", "namespace": "b", "uid": "u"},
                "spec": {"shutdown": "Stop", "arguments": {"parameters": [{"name": "p", "value": "1"}, {"name": "q"}]}},
                "status": {"phase": "Failed", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:09Z",
                    "message": "Stopped with strategy 'Stop'"}})),
        ];
        let expected = "\
NAME     STATUS                AGE   DURATION   PROGRESS   PRIORITY   MESSAGE
one      Running (Suspended)                    1/2        5
second   Failed (Terminated)         9s                    0          Stopped with strategy 'Stop'
";
        assert_eq!(table(&all, Columns { headers: true, ..Columns::default() }), expected);
        let wide = table(&all[1..], Columns { namespaces: true, parameters: true, uids: true, headers: false });
        assert_eq!(
            wide,
            "b   second   Failed (Terminated)      9s      0   Stopped with strategy 'Stop'   p=1,q=   u\n"
        );
    }
}
