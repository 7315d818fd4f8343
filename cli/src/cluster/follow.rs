//! A workflow until it is over, by a watch.

use tiphys_api::Workflow;
use tiphys_kubernetes::{Event, Kind, watch_for};

use super::Cluster;
use super::workflow::unpack;
use crate::failure::Failure;

/// How following a workflow ended.
pub(super) enum Ended {
    /// It is over.
    Over(Box<Workflow>),
    /// There was none.
    Missing,
    /// It was deleted meanwhile.
    Deleted,
}

impl Ended {
    /// The workflow, where it is over; else the failure that it is not.
    pub fn workflow(self, name: &str, namespace: &str) -> Result<Workflow, Failure> {
        match self {
            Ended::Over(workflow) => Ok(*workflow),
            Ended::Missing => {
                Err(Failure::failed(Some(format!("there is no workflow {name} in namespace {namespace}"))))
            }
            Ended::Deleted => Err(Failure::failed(Some(format!("the workflow {name} was deleted before it was over")))),
        }
    }
}

impl Cluster {
    /// Tells how a workflow is now and after each change, until it is over.
    pub(super) async fn follow(&self, name: &str, mut see: impl FnMut(&Workflow)) -> Result<Ended, Failure> {
        let selector = format!("metadata.name={name}");
        let mut uid = String::new();
        let mut ended = Ended::Missing;
        let tell = |event: Event<Workflow>| {
            let found = match event {
                Event::Page(page) => page,
                // A list without it, in the beginning or after an interruption.
                Event::Listed if uid.is_empty() => return false,
                Event::Listed => return true,
                Event::Applied(workflow) => vec![workflow],
                Event::Deleted(_) => {
                    ended = Ended::Deleted;
                    return false;
                }
            };
            let Some(mut workflow) = found.into_iter().next() else {
                ended = if uid.is_empty() { Ended::Missing } else { Ended::Deleted };
                return false;
            };
            if !uid.is_empty() && uid != workflow.metadata.uid {
                ended = Ended::Deleted;
                return false;
            }
            uid.clone_from(&workflow.metadata.uid);
            unpack(&mut workflow);
            see(&workflow);
            let over = workflow.status.phase.is_completed();
            if over {
                ended = Ended::Over(Box::new(workflow));
            }
            !over
        };
        watch_for(&self.api, &self.objects(Kind::Workflow), ("fieldSelector", &selector), tell).await?;
        Ok(ended)
    }
}
