//! `tiphys list`: the workflows of a namespace, or of all.

use jiff::Timestamp;
use tiphys_api::{Nodes, Workflow};
use tiphys_kubernetes::{Kind, Pages};

use super::filter::{Chosen, sort};
use super::printed::{Columns, table};
use super::{Cluster, within};
use crate::args::{Global, ListArgs, Output};
use crate::failure::Failure;
use crate::output;

/// Lists workflows: those that are not over first, then the latest.
pub fn list(global: &Global, args: &ListArgs) -> Result<(), Failure> {
    within(global, async |cluster| {
        let running = if args.running { "workflows.argoproj.io/completed!=true" } else { "" };
        let more = [&cluster.instance_selector(), running];
        let chosen = Chosen::new(&args.filters, args.since.as_deref(), &more, Timestamp::now())?;
        let whole = matches!(args.output, Some(Output::Json | Output::Yaml));
        let mut found = cluster.list(&chosen, args.filters.all_namespaces, args.chunk_size, whole).await?;
        sort(&mut found);
        found.truncate(args.limit.unwrap_or(usize::MAX));
        if whole {
            for workflow in &mut found {
                *workflow = cluster.whole(std::mem::take(workflow)).await.or_warn();
            }
        }
        output::print(&match args.output {
            Some(Output::Name) => found.iter().map(|workflow| format!("{}\n", workflow.metadata.name)).collect(),
            Some(format @ (Output::Json | Output::Yaml)) => output::list(&found, format),
            _ if found.is_empty() => "no workflows found\n".to_owned(),
            format => {
                let (headers, namespaces) = (!args.no_headers, args.filters.all_namespaces);
                table(&found, Columns { headers, namespaces, parameters: format == Some(Output::Wide), uids: false })
            }
        });
        Ok(())
    })
}

impl Cluster {
    /// The workflows that are meant, a page at a time. Unless they are wanted as a whole, what is large in them is dropped.
    pub(super) async fn list(
        &self,
        chosen: &Chosen,
        all_namespaces: bool,
        page: u32,
        whole: bool,
    ) -> Result<Vec<Workflow>, Failure> {
        let collection = Kind::Workflow.within(if all_namespaces { "" } else { &self.namespace });
        let page = page.to_string();
        let mut found = Vec::new();
        let selected = [("labelSelector", chosen.labels.as_str()), ("fieldSelector", chosen.fields.as_str())];
        let mut pages = Pages::new(&self.api, &collection, &selected).of(&page);
        while let Some(list) = pages.next::<Workflow>().await? {
            for mut workflow in list.items.into_iter().filter(|workflow| chosen.is_meant(workflow)) {
                if !whole {
                    workflow.status.nodes = Nodes::default();
                    workflow.status.compressed_nodes = String::new();
                    workflow.status.stored_templates.clear();
                    workflow.spec.templates = Vec::new();
                }
                found.push(workflow);
            }
        }
        Ok(found)
    }
}
