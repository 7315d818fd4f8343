//! `tiphys delete`: workflows on a cluster.

use jiff::Timestamp;
use serde_json::json;
use tiphys_kubernetes::Kind;

use super::filter::Chosen;
use super::{none_local, within};
use crate::args::{DeleteArgs, Global};
use crate::failure::Failure;
use crate::output;

/// Deletes workflows that are named, and those that are meant by filters.
pub fn delete(global: &Global, args: &DeleteArgs) -> Result<(), Failure> {
    none_local(global, "delete", &args.workflows)?;
    let filters = &args.filters;
    let selected = args.all
        || filters.all_namespaces
        || filters.completed
        || filters.resubmitted
        || !filters.prefix.is_empty()
        || !filters.status.is_empty()
        || filters.older.is_some()
        || filters.selectors.is_given();
    within(global, async |cluster| {
        let mut doomed: Vec<(String, String)> = Vec::new();
        for name in &args.workflows {
            doomed.push((cluster.namespace.clone(), cluster.name(name).await?));
        }
        if selected {
            let chosen = Chosen::new(filters, None, &[&cluster.instance_selector()], Timestamp::now())?;
            let found = cluster.list(&chosen, filters.all_namespaces, args.query_chunk_size, false).await?;
            let found = found.into_iter().map(|workflow| (workflow.metadata.namespace, workflow.metadata.name));
            doomed.extend(found);
        }
        if doomed.is_empty() {
            output::print("no workflows found\n");
        }
        for (namespace, name) in doomed {
            let path = Kind::Workflow.within(&namespace).named(&name);
            let done = if args.dry_run {
                "would be deleted"
            } else {
                if args.force {
                    match cluster.api.patch(&path, &json!({"metadata": {"finalizers": null}})).await {
                        Err(error) if !error.is_not_found() => return Err(error.into()),
                        _ => {}
                    }
                }
                let options = json!({"propagationPolicy": "Background"});
                if cluster.api.delete_if_there(&path, &options).await? { "deleted" } else { "not found" }
            };
            output::print(&format!("workflow {name} {done}\n"));
        }
        Ok(())
    })
}
