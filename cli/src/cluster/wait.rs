//! `tiphys wait`: until workflows on a cluster are over.

use futures_util::{StreamExt as _, stream};

use super::follow::Ended;
use super::{Cluster, none_local, within};
use crate::args::{Global, WaitArgs};
use crate::failure::Failure;
use crate::output;

/// Workflows that are watched at a time.
const WATCHES: usize = 50;

/// Waits until all of them are over.
pub fn wait(global: &Global, args: &WaitArgs) -> Result<(), Failure> {
    none_local(global, "wait", &args.workflows)?;
    within(global, async |cluster| {
        let mut names = Vec::new();
        for name in &args.workflows {
            names.push(cluster.name(name).await?);
        }
        cluster.wait(global, &names, args.ignore_not_found).await
    })
}

impl Cluster {
    /// Waits until workflows are over; it fails when one of them did.
    pub(super) async fn wait(&self, global: &Global, names: &[String], ignore_missing: bool) -> Result<(), Failure> {
        let waits = names.iter().map(|name| async move { (name, self.follow(name, async |workflow| workflow).await) });
        let mut over = stream::iter(waits).buffer_unordered(WATCHES);
        let mut outcome = Ok(());
        while let Some((name, ended)) = over.next().await {
            let ended = ended?;
            if ignore_missing && matches!(ended, Ended::Missing) {
                continue;
            }
            let one = ended.workflow(name, &self.namespace).and_then(|workflow| {
                let status = &workflow.status;
                let at = status.finished_at.map(|time| format!(" at {time}")).unwrap_or_default();
                if !global.quiet {
                    output::print(&format!("{name} {}{at}\n", status.phase));
                }
                super::watch::outcome(&workflow, global.quiet)
            });
            match (one, &outcome) {
                (Err(failure), Ok(())) => outcome = Err(failure),
                (Err(failure), Err(_)) => failure.message().into_iter().for_each(|text| eprintln!("tiphys: {text}")),
                (Ok(()), _) => {}
            }
        }
        outcome
    }
}
