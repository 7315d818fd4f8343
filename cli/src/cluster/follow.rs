//! A workflow until it is over, by a watch.

use std::cell::{Cell, RefCell};

use tiphys_api::Workflow;
use tiphys_kubernetes::{Event, Kind, watch_for};
use tokio::sync::Notify;

use super::Cluster;
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

/// What the watch has told last. While that is looked at, states in between are passed over.
#[derive(Default)]
struct Latest {
    workflow: RefCell<Option<Workflow>>,
    /// Why it ended, where that is not the workflow's end.
    ended: RefCell<Option<Ended>>,
    over: Cell<bool>,
    news: Notify,
}

impl Latest {
    fn end(&self, ended: Ended) -> bool {
        self.ended.replace(Some(ended));
        false
    }

    /// Takes what the watch tells; answers whether it is to go on.
    fn take(&self, event: Event<Workflow>, uid: &mut String) -> bool {
        let gone = if uid.is_empty() { Ended::Missing } else { Ended::Deleted };
        let found = match event {
            Event::Page(page) => page,
            // A list without it, in the beginning or after an interruption.
            Event::Listed if uid.is_empty() => return self.end(Ended::Missing),
            Event::Listed => return true,
            Event::Applied(workflow) => vec![workflow],
            Event::Deleted(_) => return self.end(Ended::Deleted),
        };
        let Some(workflow) = found.into_iter().next() else { return self.end(gone) };
        if !uid.is_empty() && *uid != workflow.metadata.uid {
            return self.end(Ended::Deleted);
        }
        uid.clone_from(&workflow.metadata.uid);
        let over = workflow.status.phase.is_completed();
        self.workflow.replace(Some(workflow));
        self.news.notify_one();
        !over
    }
}

impl Cluster {
    /// Tells how a workflow is now and after each change, until it is over. Its nodes are as the server has them: who needs
    /// them reads them, and gives back the workflow as it wants it in the end.
    pub(super) async fn follow(
        &self,
        name: &str,
        mut see: impl AsyncFnMut(Workflow) -> Workflow,
    ) -> Result<Ended, Failure> {
        let selector = format!("metadata.name={name}");
        let latest = Latest::default();
        let watched = async {
            let mut uid = String::new();
            let tell = |event| latest.take(event, &mut uid);
            let outcome = watch_for(&self.api, &self.objects(Kind::Workflow), ("fieldSelector", &selector), tell).await;
            latest.over.set(true);
            latest.news.notify_one();
            outcome
        };
        let seen = async {
            let mut last = None;
            loop {
                latest.news.notified().await;
                while let Some(workflow) = latest.workflow.take() {
                    last = Some(see(workflow).await);
                }
                if latest.over.get() {
                    return last;
                }
            }
        };
        let (outcome, last) = tokio::join!(watched, seen);
        outcome?;
        Ok(match (latest.ended.take(), last) {
            (Some(ended), _) => ended,
            (None, Some(workflow)) => Ended::Over(Box::new(workflow)),
            (None, None) => Ended::Missing,
        })
    }
}
