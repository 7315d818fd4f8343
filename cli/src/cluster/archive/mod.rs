//! `tiphys archive`: finished workflows in the controller's database, which is asked directly; Argo's CLI asks Argo's server.

mod again;
mod chosen;

use tiphys_archive::{Archive, Filter, Operator, Requirement};

use self::chosen::Chosen;
use super::database::{Database, Source};
use super::filter::sort;
use super::printed::{Columns, table};
use super::{Cluster, running};
use crate::args::{
    ArchiveCommand, ArchiveDeleteArgs, ArchiveGetArgs, ArchiveListArgs, GetArgs, Global, LabelValuesArgs, Output,
};
use crate::display::style::Style;
use crate::display::whole::Whole;
use crate::failure::Failure;
use crate::{output, settings};

/// Asks the archive, or does something with what it holds.
pub fn archive(global: &Global, command: ArchiveCommand) -> Result<(), Failure> {
    running(async || {
        let archived = Archived::open(global).await?;
        match command {
            ArchiveCommand::List(args) => archived.list(&args).await,
            ArchiveCommand::Get(args) => archived.get(global, args).await,
            ArchiveCommand::Delete(args) => archived.delete(global, &args).await,
            ArchiveCommand::Resubmit(args) => archived.resubmit(global, args).await,
            ArchiveCommand::Retry(args) => archived.retry(global, args).await,
            ArchiveCommand::ListLabelKeys => archived.label_keys().await,
            ArchiveCommand::ListLabelValues(args) => archived.label_values(&args).await,
        }
    })
}

impl From<tiphys_archive::Error> for Failure {
    fn from(error: tiphys_archive::Error) -> Failure {
        Failure::failed(Some(error.to_string()))
    }
}

/// The archive, and the cluster whose controller it belongs to.
struct Archived {
    /// Of all namespaces.
    archive: Archive,
    /// The namespace that is meant; empty for all.
    namespace: String,
    /// None where the user names a database, and there is no cluster.
    cluster: Option<Cluster>,
}

impl Archived {
    async fn open(global: &Global) -> Result<Archived, Failure> {
        let cluster = match (Cluster::connect(global).await, Source::of(global)?) {
            (Err(failure), Source::Named(address)) if failure.is_nowhere() => {
                let database = Database::named(&address, &settings::instance_id(global)).await?;
                let namespace = settings::namespace(global).unwrap_or_default();
                return Ok(Archived { archive: database.archive(""), namespace, cluster: None });
            }
            (cluster, _) => cluster?,
        };
        let archive = cluster.database().await?.archive("");
        Ok(Archived { archive, namespace: cluster.namespace.clone(), cluster: Some(cluster) })
    }

    /// argo: commands/archive/list.go
    async fn list(&self, args: &ArchiveListArgs) -> Result<(), Failure> {
        let namespace = if args.all_namespaces { String::new() } else { self.namespace.clone() };
        let labels = Requirement::parse(&args.selector).map_err(Failure::usage)?;
        let mut filter = Filter { namespace, labels, limit: args.chunk_size, ..Filter::default() };
        let mut found = self.archive.list(&filter).await?;
        let mut last = found.len();
        // A page that is not full is the last one; without a limit there is but one.
        while filter.limit > 0 && last == usize::try_from(filter.limit).unwrap_or(usize::MAX) {
            filter.offset += filter.limit;
            let page = self.archive.list(&filter).await?;
            last = page.len();
            found.extend(page);
        }
        sort(&mut found);
        output::print(&match args.output {
            Some(Output::Name) => found.iter().map(|workflow| format!("{}\n", workflow.metadata.name)).collect(),
            Some(format @ (Output::Json | Output::Yaml)) => output::list(&found, format),
            _ if found.is_empty() => "no workflows found\n".to_owned(),
            // argo: the archive's list is wide by default.
            Some(Output::Wide) | None => {
                table(&found, Columns { namespaces: true, headers: true, parameters: true, uids: true })
            }
        });
        Ok(())
    }

    /// argo: commands/archive/get.go
    async fn get(&self, global: &Global, args: ArchiveGetArgs) -> Result<(), Failure> {
        let shown = GetArgs { output: args.output, ..GetArgs::default() };
        let whole = Whole::new(&shown, Style::of_stdout(global))?;
        for workflow in self.found(&Chosen::named(args.workflows, args.identified)).await? {
            output::print(&whole.text(&workflow, None));
        }
        Ok(())
    }

    /// argo: commands/archive/delete.go
    async fn delete(&self, global: &Global, args: &ArchiveDeleteArgs) -> Result<(), Failure> {
        let chosen = Chosen::named(args.workflows.clone(), args.identified);
        for name in &args.workflows {
            let uid = self.uid(name, &chosen).await?;
            if !self.archive.delete(&uid).await? {
                return Err(chosen::missing(name));
            }
            if !global.quiet {
                output::print(&format!("Archived workflow '{name}' deleted\n"));
            }
        }
        Ok(())
    }

    async fn label_keys(&self) -> Result<(), Failure> {
        output::print(&lines(self.archive.label_keys().await?));
        Ok(())
    }

    /// argo: server/workflowarchive, ListArchivedWorkflowLabelValues
    async fn label_values(&self, args: &LabelValuesArgs) -> Result<(), Failure> {
        let wanted = Requirement::parse(&args.selector).map_err(Failure::usage)?;
        let [Requirement { key, operator: Operator::Exists, .. }] = &wanted[..] else {
            return Err(Failure::usage(format!("--selector {}: expected the name of one label", args.selector)));
        };
        output::print(&lines(self.archive.label_values(key).await?));
        Ok(())
    }
}

fn lines(texts: Vec<String>) -> String {
    texts.into_iter().map(|text| text + "\n").collect()
}
