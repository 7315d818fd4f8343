//! The logs of a run, for another process: what is there, and with `follow` what comes until the run is driven no more.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tiphys_api::Time;
use tiphys_contract::container as names;

use crate::control::until_undriven;
use crate::folder::RunFolder;
use crate::record::{RecordError, read};
use crate::tail::{Tail, Watcher};
use crate::view::LogLine;

/// Which logs.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of one node, by id, name or short name; of all by default.
    pub node: Option<String>,
    /// Of one container; of the user's containers by default.
    pub container: Option<String>,
    /// Whether to wait for more.
    pub follow: bool,
}

/// Logs that cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The run cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no such node.
    #[error("the run {run} has no node {node:?}; `tiphys get {run}` shows those it has")]
    NoNode {
        /// The run.
        run: String,
        /// What was asked for.
        node: String,
    },
    /// The files cannot be watched, or what takes the lines fails.
    #[error("cannot print logs: {0}")]
    Io(#[from] io::Error),
}

impl LogsError {
    /// The kind of what failed below.
    pub fn io_kind(&self) -> Option<ErrorKind> {
        match self {
            LogsError::Io(error) => Some(error.kind()),
            _ => None,
        }
    }
}

/// Gives the lines of the selected logs: those there are in the order in which their nodes began, later ones as they
/// come.
///
/// # Errors
/// See [`LogsError`]; also whatever `line` says.
pub async fn print(
    folder: &RunFolder,
    selection: &Selection,
    line: impl FnMut(&LogLine) -> io::Result<()>,
) -> Result<(), LogsError> {
    let mut printer = Printer { folder, selection, nodes: HashMap::new(), logs: HashMap::new(), watcher: None, line };
    if selection.follow {
        let mut watcher = Watcher::new()?;
        watcher.watch(&folder.logs(), folder.logs())?;
        printer.watcher = Some(watcher);
    }
    printer.learn()?;
    if let Some(name) = &selection.node
        && !printer.nodes.values().any(|node| node.is(name))
    {
        return Err(LogsError::NoNode { run: folder.name().to_string(), node: name.clone() });
    }
    printer.discover()?;
    printer.print(!selection.follow)?;
    if let Some(mut watcher) = printer.watcher.take() {
        let over = until_undriven(folder);
        tokio::pin!(over);
        loop {
            tokio::select! {
                changed = watcher.changed() => {
                    let changed = changed?;
                    printer.watcher = Some(watcher);
                    printer.changed(&changed)?;
                    watcher = printer.watcher.take().ok_or_else(|| io::Error::other("the watcher is gone"))?;
                }
                () = &mut over => break,
            }
        }
        printer.discover()?;
        printer.print(true)?;
    }
    Ok(())
}

/// What is to be known of a node.
struct Node {
    id: String,
    name: String,
    display_name: String,
    started_at: Option<Time>,
}

impl Node {
    fn is(&self, name: &str) -> bool {
        [&self.id, &self.name, &self.display_name].iter().any(|own| *own == name)
    }
}

struct Log {
    node: String,
    display_name: String,
    container: String,
    tail: Tail,
}

struct Printer<'a, F> {
    folder: &'a RunFolder,
    selection: &'a Selection,
    nodes: HashMap<String, Node>,
    logs: HashMap<PathBuf, Log>,
    watcher: Option<Watcher<PathBuf>>,
    line: F,
}

impl<F: FnMut(&LogLine) -> io::Result<()>> Printer<'_, F> {
    /// Reads the nodes there are.
    fn learn(&mut self) -> Result<(), RecordError> {
        for node in read(self.folder)?.status.nodes.into_values() {
            let tiphys_api::NodeStatus { id, name, display_name, started_at, .. } = node;
            self.nodes.insert(id.clone(), Node { id, name, display_name, started_at });
        }
        Ok(())
    }

    /// Finds logs that are new.
    fn discover(&mut self) -> Result<(), LogsError> {
        for folder in entries(&self.folder.logs()) {
            let Some(id) = folder.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if !self.nodes.contains_key(&id) {
                // A node is written down before it has a log.
                self.learn()?;
            }
            self.discover_in(&folder, &id)?;
        }
        Ok(())
    }

    fn discover_in(&mut self, folder: &Path, id: &str) -> Result<(), LogsError> {
        let Some(node) = self.nodes.get(id) else { return Ok(()) };
        if self.selection.node.as_ref().is_some_and(|wanted| !node.is(wanted)) {
            return Ok(());
        }
        let display_name = node.display_name.clone();
        if let Some(watcher) = &mut self.watcher {
            watcher.watch(folder, folder.to_owned())?;
        }
        for path in entries(folder) {
            let Some(container) = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            let wanted = match &self.selection.container {
                Some(wanted) => *wanted == container,
                None => names::is_user(&container) && container != names::INIT,
            };
            if !wanted || self.logs.contains_key(&path) {
                continue;
            }
            if let Some(watcher) = &mut self.watcher {
                watcher.watch(&path, path.clone())?;
            }
            let log =
                Log { node: id.to_owned(), display_name: display_name.clone(), container, tail: Tail::new(&path) };
            self.logs.insert(path, log);
        }
        Ok(())
    }

    /// Prints what is new in all logs.
    fn print(&mut self, at_end: bool) -> io::Result<()> {
        let began = |log: &Log| self.nodes.get(&log.node).and_then(|node| node.started_at);
        let mut paths: Vec<_> = self.logs.iter().map(|(path, log)| (began(log), path.clone())).collect();
        paths.sort();
        paths.into_iter().try_for_each(|(_, path)| self.print_one(&path, at_end))
    }

    fn print_one(&mut self, path: &Path, at_end: bool) -> io::Result<()> {
        let Some(log) = self.logs.get_mut(path) else { return Ok(()) };
        let mut result = Ok(());
        log.tail.read(at_end, |text| {
            if result.is_ok() {
                let (node, container) = (log.display_name.clone(), log.container.clone());
                result = (self.line)(&LogLine { node, container, text: text.to_owned() });
            }
        });
        result
    }

    fn changed(&mut self, paths: &[PathBuf]) -> Result<(), LogsError> {
        if paths.iter().any(|path| !self.logs.contains_key(path)) {
            self.discover()?;
            return Ok(self.print(false)?);
        }
        paths.iter().try_for_each(|path| self.print_one(path, false))?;
        Ok(())
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
