//! Archived workflows that run once more. argo: server/workflowarchive, ResubmitArchivedWorkflow, RetryArchivedWorkflow.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::Workflow;
use tiphys_engine::{Retried, RetryOptions, retry_workflow};
use tiphys_kubernetes::{Kind, ObjectMeta};

use super::super::submit::tell;
use super::Archived;
use super::chosen::Chosen;
use crate::args::{Afterwards, ArchiveResubmitArgs, ArchiveRetryArgs, Global};
use crate::cluster::Cluster;
use crate::cluster::again::one_to_watch;
use crate::failure::Failure;
use crate::output;

impl Archived {
    pub(super) async fn resubmit(&self, global: &Global, args: ArchiveResubmitArgs) -> Result<(), Failure> {
        let cluster = self.cluster()?;
        let chosen = Chosen::new(args.workflows, args.identified, args.selectors);
        let found = self.some(&chosen, args.afterwards).await?;
        let mut made = Vec::new();
        for old in found {
            let new = cluster.made_again(&old, &args.again).await?;
            tell(&new, args.output, args.afterwards, "submitted", global.quiet);
            made.push(new);
        }
        afterwards(cluster, global, made, args.afterwards).await
    }

    pub(super) async fn retry(&self, global: &Global, args: ArchiveRetryArgs) -> Result<(), Failure> {
        let cluster = self.cluster()?;
        let options = RetryOptions::from(args.rerun);
        let chosen = Chosen::new(args.workflows, args.identified, args.selectors);
        let found = self.some(&chosen, args.afterwards).await?;
        let mut made = Vec::new();
        for old in found {
            let new = cluster.brought_back(old, &options).await?;
            tell(&new, args.output, args.afterwards, "retried", global.quiet);
            made.push(new);
        }
        afterwards(cluster, global, made, args.afterwards).await
    }

    fn cluster(&self) -> Result<&Cluster, Failure> {
        let none = "there is no cluster to run it on: name one with --kubeconfig or --context";
        self.cluster.as_ref().ok_or_else(|| Failure::usage(none))
    }

    /// The workflows that are meant; that there are none is told.
    async fn some(&self, chosen: &Chosen, afterwards: Afterwards) -> Result<Vec<Workflow>, Failure> {
        let found = self.found(chosen).await?;
        if found.is_empty() {
            output::print("no workflows found\n");
        }
        one_to_watch(afterwards.watch, found.len())?;
        Ok(found)
    }
}

impl Cluster {
    /// Puts a workflow that failed back where it was, and deletes Pods that are left of what runs again.
    async fn brought_back(&self, old: Workflow, options: &RetryOptions) -> Result<Workflow, Failure> {
        let (namespace, name) = (old.metadata.namespace.clone(), old.metadata.name.clone());
        match self.api.get::<ObjectMeta>(&Kind::Workflow.within(&namespace).named(&name)).await {
            Ok(_) => {
                let text = format!("the workflow {name} is still in namespace {namespace}: use tiphys retry {name}");
                return Err(Failure::failed(Some(text)));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let retried = retry_workflow(old, options.clone(), Timestamp::now());
        let Retried { mut workflow, pods } =
            retried.map_err(|reason| Failure::failed(Some(format!("{name}: {reason}"))))?;
        for pod in pods {
            let path = Kind::Pod.within(&namespace).named(&pod);
            self.api.delete(&path, &json!({"propagationPolicy": "Background"})).await?;
        }
        workflow.metadata.resource_version.clear();
        workflow.metadata.uid.clear();
        self.create(&workflow, false).await
    }
}

/// Waits for workflows, each in its own namespace, shows them or prints what they write.
async fn afterwards(
    cluster: &Cluster,
    global: &Global,
    made: Vec<Workflow>,
    afterwards: Afterwards,
) -> Result<(), Failure> {
    let mut namespaces: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Workflow { metadata, .. } in made {
        namespaces.entry(metadata.namespace).or_default().push(metadata.name);
    }
    for (namespace, names) in namespaces {
        cluster.of(namespace).afterwards(global, &names, afterwards, None).await?;
    }
    Ok(())
}
