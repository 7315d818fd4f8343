//! The agent's loop: changes of the WorkflowTaskSet in, tasks under way, results out.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, OptionFuture, select};
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tiphys_api::Template;
use tiphys_contract::label;

use super::http::{self, Clients};
use super::plugin::{Plugin, Workflow};
use super::report::{self, Pending};
use crate::cluster::{Cluster, ClusterError, Event, ListOptions, Resource};

/// The agent of one workflow.
pub struct Agent<'a> {
    pub cluster: &'a Cluster,
    pub clients: Clients,
    pub plugins: Vec<Arc<Plugin>>,
    pub workflow: Workflow,
    pub workers: usize,
}

/// A node's template, to be carried out.
#[derive(Clone)]
struct Task {
    node: String,
    template: Value,
}

/// How a task ended.
struct Done {
    task: Task,
    /// None: there is nothing to tell yet.
    result: Option<Value>,
    again: Option<Duration>,
}

/// What happened.
enum Next {
    Watched(Result<Event, ClusterError>),
    Done(Done),
    Again(Task),
    Told(Result<(), ClusterError>),
}

impl Agent<'_> {
    /// Works until the workflow is over.
    ///
    /// # Errors
    /// The text for the user.
    pub async fn run(&self) -> Result<(), String> {
        let mut watch = self.cluster.objects(&Resource::TASK_SET).watch(ListOptions::named(&self.workflow.name));
        let mut considered = BTreeSet::new();
        let mut waiting: VecDeque<Task> = VecDeque::new();
        let mut under_way = FuturesUnordered::new();
        let mut later: FuturesUnordered<BoxFuture<'_, Task>> = FuturesUnordered::new();
        let mut pending = Pending::default();
        let mut report: Option<BoxFuture<'_, Result<(), ClusterError>>> = None;
        let mut was_there = false;
        loop {
            while under_way.len() < self.workers
                && let Some(task) = waiting.pop_front()
            {
                under_way.push(self.carry_out(task));
            }
            if report.is_none()
                && let Some(results) = pending.take()
            {
                report = Some(Box::pin(report::tell(self.cluster, &self.workflow.name, results)));
            }
            match next(&mut watch, &mut under_way, &mut later, &mut report).await {
                Next::Watched(Err(error)) => return Err(error.to_string()),
                Next::Watched(Ok(event)) => {
                    let set = match event {
                        Event::Listed(items) => items.into_iter().next(),
                        Event::Added(set) | Event::Modified(set) => Some(set),
                        Event::Deleted(_) => return Ok(()),
                    };
                    let Some(mut set) = set else {
                        // Not made yet, or gone while nobody watched.
                        if was_there {
                            return Ok(());
                        }
                        continue;
                    };
                    was_there = true;
                    if set["metadata"]["labels"][label::COMPLETED] == "true" {
                        return Ok(());
                    }
                    let Some(tasks) = set["spec"]["tasks"].as_object_mut() else { continue };
                    for (node, template) in std::mem::take(tasks) {
                        // None is carried out twice, whatever happens to the set: a request may have effects.
                        if considered.insert(node.clone()) {
                            waiting.push_back(Task { node, template });
                        }
                    }
                }
                Next::Done(Done { task, result, again }) => {
                    if let Some(result) = result {
                        pending.add(task.node.clone(), result);
                    }
                    if let Some(after) = again {
                        later.push(Box::pin(async move {
                            tokio::time::sleep(after).await;
                            task
                        }));
                    }
                }
                Next::Again(task) => waiting.push_back(task),
                Next::Told(told) => {
                    report = None;
                    match told {
                        // The workflow is gone; so will be the watch.
                        Err(error) if error.is_not_found() => {}
                        told => told.map_err(|error| format!("cannot report results: {error}"))?,
                    }
                }
            }
        }
    }

    /// A task that fails has a result as well.
    async fn carry_out(&self, task: Task) -> Done {
        let done = match serde_json::from_value::<Template>(task.template.clone()) {
            Err(error) => Err(format!("failed to unmarshal template: {error}")),
            Ok(Template { http: Some(http), .. }) => {
                let result = http::execute(&self.clients, self.cluster, &http).await;
                Ok((Some(result.unwrap_or_else(|reason| failed("Failed", &reason))), None))
            }
            Ok(Template { plugin: Some(_), .. }) => Ok(self.ask_plugins(&task.template).await),
            Ok(template) => {
                let kind = template.template_type().map_or_else(|| "Unknown".to_owned(), |kind| format!("{kind:?}"));
                Err(format!("agent cannot execute: unknown task type: {kind}"))
            }
        };
        let (result, again) =
            done.unwrap_or_else(|reason| (Some(failed("Error", &format!("error processing task: {reason}"))), None));
        Done { task, result, again }
    }

    async fn ask_plugins(&self, template: &Value) -> (Option<Value>, Option<Duration>) {
        for plugin in &self.plugins {
            match plugin.execute(&self.workflow, template).await {
                Err(reason) => return (Some(failed("Failed", &reason)), None),
                Ok(reply) => {
                    if let Some(node) = reply.node {
                        let phase = node["phase"].as_str().unwrap_or_default();
                        let again = reply.requeue.filter(|_| phase != "Succeeded");
                        return (Some(node.clone()).filter(|_| !phase.is_empty()), again);
                    }
                }
            }
        }
        (Some(failed("Failed", "no plugin executed the template")), None)
    }
}

fn failed(phase: &str, message: &str) -> Value {
    json!({"phase": phase, "message": message})
}

/// Awaits whatever comes first.
async fn next(
    watch: &mut crate::cluster::Watch<'_>,
    under_way: &mut FuturesUnordered<impl Future<Output = Done>>,
    later: &mut FuturesUnordered<BoxFuture<'_, Task>>,
    report: &mut Option<BoxFuture<'_, Result<(), ClusterError>>>,
) -> Next {
    let watched = std::pin::pin!(watch.next());
    let worked = std::pin::pin!(async {
        match select(std::pin::pin!(first(under_way)), std::pin::pin!(first(later))).await {
            Either::Left((done, _)) => Next::Done(done),
            Either::Right((task, _)) => Next::Again(task),
        }
    });
    let told = std::pin::pin!(async {
        match OptionFuture::from(report.as_mut()).await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    });
    match select(watched, select(worked, told)).await {
        Either::Left((event, _)) => Next::Watched(event),
        Either::Right((Either::Left((worked, _)), _)) => worked,
        Either::Right((Either::Right((told, _)), _)) => Next::Told(told),
    }
}

/// The first to be ready; never, when there is none.
async fn first<F: Future>(futures: &mut FuturesUnordered<F>) -> F::Output {
    match futures.next().await {
        Some(output) => output,
        None => std::future::pending().await,
    }
}
