//! `tiphys logs`, of a cluster: what the containers of a workflow's Pods wrote, and with `--follow` write until it is over.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{ErrorKind, Write as _};

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tiphys_api::{NodeStatus, NodeType, Time, Workflow};
use tiphys_contract::{container as names, label};
use tiphys_kubernetes::{ApiError, Event, Kind, List, Pod, watch_for};
use tiphys_local::LogLine;
use tokio::sync::mpsc;

use super::container_log::{Source, Wanted};
use super::filter::label_selector;
use super::kept_log::Kept;
use super::{Cluster, neither, within};
use crate::args::{Global, LogsArgs};
use crate::display::style::{Style, log_line};
use crate::duration;
use crate::failure::Failure;

/// Logs that are read at a time.
const STREAMS: usize = 64;
/// Logs that are opened ahead of the one that is printed, where none is followed.
const AHEAD: usize = 8;
/// Lines between those who read and the one who prints.
const LINES: usize = 1024;

/// Prints the logs of a workflow.
pub fn logs(global: &Global, args: &LogsArgs) -> Result<(), Failure> {
    let selection = Selection::new(args)?;
    let mut printer = Printer { style: Style::of_stdout(global), bare: args.node.is_some() };
    let names = std::slice::from_ref(&args.name);
    let printed = within(global, async |cluster| {
        let name = cluster.name(&args.name).await?;
        match args.follow {
            true => cluster.follow_logs(&name, &selection, &mut printer).await.map(|_| ()),
            false => cluster.print_logs(&name, &selection, &mut printer).await,
        }
    });
    printed.map_err(|error| neither(error, names))
}

/// Which logs, and what of them.
#[derive(Debug, Default)]
struct Selection {
    /// A node's id, name or short name, or a Pod's name.
    node: Option<String>,
    container: Option<String>,
    labels: String,
    since: Option<Timestamp>,
    wanted: Wanted,
}

impl Selection {
    fn new(args: &LogsArgs) -> Result<Selection, Failure> {
        let seconds = args.since.as_deref().map(|text| {
            let wrong = || Failure::usage(format!("--since {text}: expected a duration such as 5s, 2m or 3h"));
            Ok::<_, Failure>((duration::seconds(text).ok_or_else(wrong)?.ceil() as i64).max(1))
        });
        let seconds = seconds.transpose()?;
        let time = args.since_time.as_deref().map(|text| {
            let wrong =
                |_| Failure::usage(format!("--since-time {text}: expected RFC 3339, such as 2026-01-02T15:04:05Z"));
            text.parse::<Timestamp>().map_err(wrong)
        });
        let time = time.transpose()?;
        Ok(Selection {
            node: args.node.clone(),
            container: args.container.clone(),
            labels: args.selector.clone().unwrap_or_default(),
            since: time.or_else(|| seconds.map(|seconds| Timestamp::now() - SignedDuration::from_secs(seconds))),
            wanted: Wanted {
                follow: args.follow,
                previous: args.previous,
                since_seconds: seconds.map(|seconds| seconds.to_string()),
                since_time: args.since_time.clone(),
                tail: args.tail.map(|lines| lines.to_string()),
                timestamps: args.timestamps,
                grep: pattern(args)?,
            },
        })
    }

    /// Containers of a Pod whose logs are wanted and have begun.
    fn sources(&self, pod: &Pod, nodes: &HashMap<String, Node>) -> Vec<(String, Source)> {
        let annotation = |name: &str| pod.metadata.annotations.get(name).map(String::as_str).unwrap_or_default();
        let id = match annotation(label::NODE_ID) {
            // argo: Pods of old versions are named by their node.
            "" => pod.metadata.name.as_str(),
            id => id,
        };
        let node_name = annotation(label::NODE_NAME);
        let display_name = nodes.get(id).map_or(node_name, |node| &node.display_name);
        let is_meant = |wanted: &String| [&pod.metadata.name, id, node_name, display_name].contains(&wanted.as_str());
        if !self.node.as_ref().is_none_or(is_meant) {
            return Vec::new();
        }
        let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
        let begun = statuses.filter(|one| one.state.running.is_some() || one.state.terminated.is_some());
        let wanted = begun.filter(|one| match &self.container {
            Some(container) => *container == one.name,
            None => names::is_user(&one.name) && one.name != names::INIT,
        });
        let source = |container: &str| Source {
            pod: pod.metadata.name.clone(),
            container: container.to_owned(),
            node: display_name.to_owned(),
        };
        wanted.map(|one| (format!("{}/{}", pod.metadata.uid, one.name), source(&one.name))).collect()
    }

    /// Archived logs of nodes that are over and have none of these Pods. What Pods are labelled with is not known of them,
    /// nor when their lines were written: those that ended too early are left out.
    fn kept(&self, workflow: &Workflow, pods: &[Pod]) -> Vec<Kept> {
        if !self.labels.is_empty() {
            return Vec::new();
        }
        let there = ids_of(pods);
        let is_meant = |node: &&NodeStatus| {
            let names = [&node.id, &node.name, &node.display_name];
            self.node.as_ref().is_none_or(|wanted| names.contains(&wanted))
        };
        let after =
            |node: &&NodeStatus| node.finished_at.is_some_and(|end| self.since.is_none_or(|since| end.0 > since));
        let nodes = workflow.status.nodes.values();
        let gone = nodes.filter(|node| node.r#type == NodeType::Pod && !there.contains(&node.id));
        let mut gone: Vec<&NodeStatus> = gone.filter(is_meant).filter(after).collect();
        gone.sort_by_key(|node| (node.started_at, &node.name));
        gone.into_iter().flat_map(|node| Kept::of(workflow, node, self.container.as_deref())).collect()
    }
}

/// The ids of nodes that Pods are of.
fn ids_of(pods: &[Pod]) -> HashSet<&String> {
    pods.iter().map(|pod| pod.metadata.annotations.get(label::NODE_ID).unwrap_or(&pod.metadata.name)).collect()
}

/// The pattern of `--grep`.
pub fn pattern(args: &LogsArgs) -> Result<Option<regex::Regex>, Failure> {
    let pattern = args.grep.as_deref().map(regex::Regex::new).transpose();
    pattern.map_err(|error| Failure::usage(format!("--grep: {error}")))
}

/// What is to be known of a node.
#[derive(Clone, Debug)]
struct Node {
    display_name: String,
    started_at: Option<Time>,
}

fn nodes_of(workflow: &Workflow) -> HashMap<String, Node> {
    let node = |node: &NodeStatus| Node { display_name: node.display_name.clone(), started_at: node.started_at };
    workflow.status.nodes.iter().map(|(id, status)| (id.clone(), node(status))).collect()
}

/// Prints lines on standard output.
struct Printer {
    style: Style,
    /// One node's log is given as it was written.
    bare: bool,
}

impl Printer {
    /// Ok(false): the reader has left.
    fn print(&mut self, line: &LogLine) -> Result<bool, Failure> {
        let mut out = std::io::stdout().lock();
        let written = match self.bare {
            true => writeln!(out, "{}", line.text),
            false => writeln!(out, "{}", log_line(line, &self.style)),
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::failed(Some(format!("cannot print logs: {error}")))),
        }
    }
}

impl Cluster {
    /// Prints what the steps of a workflow write until it is over; it fails when the workflow does.
    pub(super) async fn print_logs_to_the_end(&self, global: &Global, name: &str) -> Result<(), Failure> {
        let wanted = Wanted { follow: true, ..Wanted::default() };
        let mut printer = Printer { style: Style::of_stdout(global), bare: false };
        let over = self.follow_logs(name, &Selection { wanted, ..Selection::default() }, &mut printer).await?;
        over.map_or(Ok(()), |workflow| super::watch::outcome(&workflow, true))
    }

    async fn pods(&self, name: &str, labels: &str) -> Result<Vec<Pod>, ApiError> {
        let selector = label_selector(&[&format!("{}={name}", label::WORKFLOW), labels]);
        let list: List<Pod> = self.api.get(&self.objects(Kind::Pod).query(&[("labelSelector", &selector)])).await?;
        Ok(list.items)
    }

    /// What there is now, in the order in which nodes began.
    async fn print_logs(&self, name: &str, selection: &Selection, printer: &mut Printer) -> Result<(), Failure> {
        let workflow = self.workflow(name).await?.or_warn();
        let nodes = nodes_of(&workflow);
        let mut pods = self.pods(name, &selection.labels).await?;
        if !self.print_kept(&workflow, &pods, selection, printer).await? {
            return Ok(());
        }
        let began = |pod: &Pod| {
            let id = pod.metadata.annotations.get(label::NODE_ID).unwrap_or(&pod.metadata.name);
            (nodes.get(id).and_then(|node| node.started_at), pod.metadata.name.clone())
        };
        pods.sort_by_key(began);
        let sources: Vec<Source> =
            pods.iter().flat_map(|pod| selection.sources(pod, &nodes)).map(|(_, source)| source).collect();
        let opened =
            sources.iter().map(|source| async move { (source, self.open_log(source, &selection.wanted).await) });
        let mut opened = stream::iter(opened).buffered(AHEAD);
        while let Some((source, log)) = opened.next().await {
            let mut log = match log {
                Ok(log) => log,
                Err(error) => {
                    broken(source, &error);
                    continue;
                }
            };
            while let Some(lines) = log.next().await {
                for line in lines? {
                    if !printer.print(&line)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The archived logs of nodes whose Pods are gone, in the order in which they began. Ok(false): the reader has left.
    async fn print_kept(
        &self,
        workflow: &Workflow,
        pods: &[Pod],
        selection: &Selection,
        printer: &mut Printer,
    ) -> Result<bool, Failure> {
        for kept in selection.kept(workflow, pods) {
            match self.read_kept(&kept, &selection.wanted, |line| printer.print(line)).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // One that is gone does not hide the others.
                Err(error) => error.message().into_iter().for_each(|text| eprintln!("tiphys: warning: {text}")),
            }
        }
        Ok(true)
    }

    /// What there is, and what comes, until the workflow is over; gives it then. None: the reader has left.
    async fn follow_logs(
        &self,
        name: &str,
        selection: &Selection,
        printer: &mut Printer,
    ) -> Result<Option<Workflow>, Failure> {
        let workflow = self.workflow(name).await?.or_warn();
        let pods = self.pods(name, &selection.labels).await?;
        if !self.print_kept(&workflow, &pods, selection, printer).await? {
            return Ok(None);
        }
        let nodes = RefCell::new(HashMap::new());
        let (seen, mut pods) = mpsc::unbounded_channel();
        let (to, mut lines) = mpsc::channel::<LogLine>(LINES);
        let labels = label_selector(&[&format!("{}={name}", label::WORKFLOW), &selection.labels]);
        let collection = self.objects(Kind::Pod);
        let tell = |event: Event<Pod>| match event {
            Event::Page(page) => page.into_iter().all(|pod| seen.send(pod).is_ok()),
            Event::Applied(pod) => seen.send(pod).is_ok(),
            Event::Listed | Event::Deleted(_) => true,
        };
        let watched = watch_for(&self.api, &collection, ("labelSelector", &labels), tell);
        let followed = self.follow(name, async |workflow| {
            let workflow = self.whole(workflow).await.workflow;
            *nodes.borrow_mut() = nodes_of(&workflow);
            workflow
        });
        tokio::pin!(watched, followed);
        let mut known: HashSet<String> = HashSet::new();
        let mut queue: VecDeque<Source> = VecDeque::new();
        let mut reading = FuturesUnordered::new();
        let mut over = None;
        loop {
            while reading.len() < STREAMS
                && let Some(source) = queue.pop_front()
            {
                reading.push(self.read_log(source, &selection.wanted, to.clone()));
            }
            if let (true, Some(workflow)) = (reading.is_empty() && lines.is_empty(), &over) {
                return Ok(Some(Workflow::clone(workflow)));
            }
            let mut enqueue = |pod: &Pod| {
                let sources = selection.sources(pod, &nodes.borrow());
                queue
                    .extend(sources.into_iter().filter(|(key, _)| known.insert(key.clone())).map(|(_, source)| source));
            };
            tokio::select! {
                Some(line) = lines.recv() => {
                    if !printer.print(&line)? {
                        return Ok(None);
                    }
                }
                Some(()) = reading.next(), if !reading.is_empty() => {}
                Some(pod) = pods.recv(), if over.is_none() => enqueue(&pod),
                outcome = &mut watched, if over.is_none() => outcome?,
                ended = &mut followed, if over.is_none() => {
                    over = Some(ended?.workflow(name, &self.namespace)?);
                    // What the watch has not told yet.
                    self.pods(name, &selection.labels).await?.iter().for_each(enqueue);
                }
            }
        }
    }

    /// Reads a log to its end.
    async fn read_log(&self, source: Source, wanted: &Wanted, to: mpsc::Sender<LogLine>) {
        let outcome: Result<(), ApiError> = async {
            let mut log = self.open_log(&source, wanted).await?;
            while let Some(lines) = log.next().await {
                for line in lines? {
                    // Nobody prints any more.
                    if to.send(line).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        }
        .await;
        if let Err(error) = outcome {
            broken(&source, &error);
        }
    }
}

/// A Pod may go while it is looked at; others' logs are printed all the same.
fn broken(source: &Source, error: &ApiError) {
    if !error.is_not_found() {
        eprintln!("tiphys: warning: the log of {} of {}: {error}", source.container, source.pod);
    }
}
