//! The Workflow of a run on disk: a snapshot, `workflow.json`, and a journal of what changed since.
//!
//! Writing the whole status at each event would cost the size of the workflow; so each change is one appended line that
//! holds the new state of the nodes concerned, and the snapshot is renewed when the journal has grown past it. A killed
//! process loses nothing that it has appended; a torn last line is ignored. After a power failure the run may be back at
//! its last snapshot, and the steps since then are run again.
//!
//! Both files carry the snapshot's number (in the Workflow its `resourceVersion`): a journal that belongs to an older
//! snapshot holds nothing new. That makes the renewal safe at each point, for a crash as for a reader in another process.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tiphys_api::{NodeStatus, Workflow, WorkflowStatus};

use crate::file::{FileError, read_if_present, replace};
use crate::folder::RunFolder;

/// The journal may grow to this size, or to the snapshot's, before the snapshot is renewed.
const MIN_JOURNAL_BYTES: u64 = 1 << 20;

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such run.
    #[error("there is no run {name:?} in {folder}; `tiphys runs` lists what there is")]
    NoRun {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The file is not what this program writes.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The part of a Workflow that changes while it runs, without nodes and what is stored for good.
#[derive(Serialize, Deserialize)]
struct Head {
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    suspend: Option<bool>,
    shutdown: String,
    status: WorkflowStatus,
}

#[derive(Serialize)]
struct LineOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Head>,
    nodes: Vec<&'a NodeStatus>,
}

#[derive(Deserialize)]
struct Line {
    head: Option<Head>,
    nodes: Vec<NodeStatus>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "resourceVersion")]
    version: String,
}

/// Writes a run's record; one a run, in the process that holds its lock.
#[derive(Debug)]
pub(crate) struct Record {
    folder: RunFolder,
    version: u64,
    journal: File,
    journal_bytes: u64,
    snapshot_bytes: u64,
    /// How much is stored in the status for good: when it grows, a snapshot is due.
    stored: (usize, bool),
}

impl Record {
    /// Begins a record with a first snapshot, or goes on with one that [`read`] gave.
    pub fn begin(folder: &RunFolder, workflow: &Workflow) -> Result<Record, FileError> {
        let version: u64 = workflow.metadata.resource_version.parse().unwrap_or(0);
        let (snapshot_bytes, journal) = snapshot(folder, workflow, version + 1)?;
        Ok(Record {
            folder: folder.clone(),
            version: version + 1,
            journal,
            journal_bytes: 0,
            snapshot_bytes,
            stored: stored(workflow),
        })
    }

    /// The version of the snapshot on disk.
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// Appends the state of the nodes named, and with `head` that of the workflow itself.
    pub fn append<'a>(
        &mut self,
        workflow: &Workflow,
        nodes: impl Iterator<Item = &'a str>,
        head: bool,
    ) -> Result<(), FileError> {
        if stored(workflow) != self.stored {
            return self.renew(workflow);
        }
        let nodes: Vec<_> = nodes.filter_map(|id| workflow.status.nodes.get(id)).collect();
        if nodes.is_empty() && !head {
            return Ok(());
        }
        let path = self.folder.path().join("journal");
        let line = LineOut { head: head.then(|| head_of(workflow)), nodes };
        let mut line = serde_json::to_vec(&line).map_err(|error| FileError::of("write", &path)(error.into()))?;
        line.push(b'\n');
        self.journal.write_all(&line).map_err(FileError::of("write", path))?;
        self.journal_bytes += line.len() as u64;
        if self.journal_bytes > self.snapshot_bytes.max(MIN_JOURNAL_BYTES) {
            self.renew(workflow)?;
        }
        Ok(())
    }

    /// Writes a new snapshot, with an empty journal.
    pub fn renew(&mut self, workflow: &Workflow) -> Result<(), FileError> {
        let (bytes, journal) = snapshot(&self.folder, workflow, self.version + 1)?;
        self.version += 1;
        self.journal = journal;
        self.journal_bytes = 0;
        self.snapshot_bytes = bytes;
        self.stored = stored(workflow);
        Ok(())
    }
}

fn snapshot(folder: &RunFolder, workflow: &Workflow, version: u64) -> Result<(u64, File), FileError> {
    let path = folder.path().join("workflow.json");
    let json = to_json(workflow, version).map_err(|error| FileError::of("write", &path)(error.into()))?;
    replace(&path, &json, 0o600, true)?;
    let journal = folder.path().join("journal");
    let header = format!("{{\"resourceVersion\":\"{version}\"}}\n");
    replace(&journal, header.as_bytes(), 0o600, false)?;
    let file = OpenOptions::new().append(true).mode(0o600).open(&journal).map_err(FileError::of("open", journal))?;
    Ok((json.len() as u64, file))
}

/// The Workflow as JSON with its version, without copying the whole of it for the sake of one field.
fn to_json(workflow: &Workflow, version: u64) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Versioned<'a> {
        #[serde(rename = "apiVersion")]
        api_version: &'a str,
        kind: &'a str,
        metadata: &'a tiphys_api::ObjectMeta,
        spec: &'a tiphys_api::WorkflowSpec,
        status: &'a WorkflowStatus,
        #[serde(flatten)]
        extra: &'a tiphys_api::Extra,
    }
    let mut metadata = workflow.metadata.clone();
    metadata.resource_version = version.to_string();
    serde_json::to_vec(&Versioned {
        api_version: &workflow.api_version,
        kind: &workflow.kind,
        metadata: &metadata,
        spec: &workflow.spec,
        status: &workflow.status,
        extra: &workflow.extra,
    })
}

fn stored(workflow: &Workflow) -> (usize, bool) {
    (workflow.status.stored_templates.len(), workflow.status.stored_workflow_template_spec.is_some())
}

fn head_of(workflow: &Workflow) -> Head {
    let status = &workflow.status;
    Head {
        labels: workflow.metadata.labels.clone(),
        annotations: workflow.metadata.annotations.clone(),
        suspend: workflow.spec.suspend,
        shutdown: workflow.spec.shutdown.clone(),
        status: WorkflowStatus {
            phase: status.phase,
            started_at: status.started_at,
            finished_at: status.finished_at,
            estimated_duration: status.estimated_duration,
            progress: status.progress.clone(),
            message: status.message.clone(),
            persistent_volume_claims: status.persistent_volume_claims.clone(),
            outputs: status.outputs.clone(),
            conditions: status.conditions.clone(),
            resources_duration: status.resources_duration.clone(),
            synchronization: status.synchronization.clone(),
            artifact_repository_ref: status.artifact_repository_ref.clone(),
            artifact_gc_status: status.artifact_gc_status.clone(),
            task_results_completion_status: status.task_results_completion_status.clone(),
            extra: status.extra.clone(),
            ..WorkflowStatus::default()
        },
    }
}

impl Line {
    fn apply(self, workflow: &mut Workflow) {
        if let Some(head) = self.head {
            workflow.metadata.labels = head.labels;
            workflow.metadata.annotations = head.annotations;
            workflow.spec.suspend = head.suspend;
            workflow.spec.shutdown = head.shutdown;
            let before = std::mem::replace(&mut workflow.status, head.status);
            workflow.status.nodes = before.nodes;
            workflow.status.stored_templates = before.stored_templates;
            workflow.status.stored_workflow_template_spec = before.stored_workflow_template_spec;
        }
        for node in self.nodes {
            workflow.status.nodes.insert(node.id.clone(), node);
        }
    }
}

/// Reads the Workflow of a run as it is now, also while another process writes it.
///
/// # Errors
/// There is no such run, or its files cannot be read.
pub fn read(folder: &RunFolder) -> Result<Workflow, RecordError> {
    let path = folder.path().join("workflow.json");
    // The journal is opened first: if the snapshot is renewed in between, what was in it is in the snapshot.
    let journal = File::open(folder.path().join("journal")).ok();
    let Some(content) = read_if_present(&path)? else {
        return Err(RecordError::NoRun {
            name: folder.name().to_string(),
            folder: folder.path().parent().unwrap_or(folder.path()).to_owned(),
        });
    };
    let mut workflow: Workflow =
        serde_json::from_slice(&content).map_err(|source| RecordError::Damaged { path, source })?;
    let lines = journal.map(|file| lines(file, &workflow.metadata.resource_version)).unwrap_or_default();
    for line in lines {
        line.apply(&mut workflow);
    }
    Ok(workflow)
}

/// The whole lines of a journal that belongs to that snapshot.
fn lines(journal: File, version: &str) -> Vec<Line> {
    let mut reader = BufReader::new(journal);
    let mut header = String::new();
    let belongs = reader.read_line(&mut header).is_ok()
        && serde_json::from_str::<Header>(&header).is_ok_and(|header| header.version == version);
    if !belongs {
        return Vec::new();
    }
    reader.split(b'\n').map_while(|line| serde_json::from_slice(&line.ok()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::DataDir;
    use crate::name::RunName;
    use tiphys_api::{NodePhase, WorkflowPhase};

    fn node(id: &str, phase: NodePhase) -> NodeStatus {
        NodeStatus { id: id.into(), name: id.into(), phase, ..NodeStatus::default() }
    }

    fn begin(data: &std::path::Path) -> (RunFolder, Workflow, Record) {
        let folder = DataDir::new(data).unwrap().run(&RunName::new("r").unwrap());
        folder.make().unwrap();
        let mut workflow = Workflow { kind: "Workflow".into(), ..Workflow::default() };
        workflow.status.nodes.insert("a".into(), node("a", NodePhase::Running));
        let record = Record::begin(&folder, &workflow).unwrap();
        (folder, workflow, record)
    }

    fn set(workflow: &mut Workflow, id: &str, phase: NodePhase) {
        workflow.status.nodes.insert(id.into(), node(id, phase));
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let data = tempfile::tempdir().unwrap();
        let (folder, mut workflow, mut record) = begin(data.path());
        set(&mut workflow, "a", NodePhase::Succeeded);
        set(&mut workflow, "b", NodePhase::Running);
        workflow.status.phase = WorkflowPhase::Running;
        workflow.metadata.labels.insert("l".into(), "v".into());
        record.append(&workflow, ["a", "b"].into_iter(), true).unwrap();
        workflow.metadata.resource_version = "1".into();
        assert_eq!(read(&folder).unwrap(), workflow);
    }

    #[test]
    fn a_torn_line_is_ignored() {
        let data = tempfile::tempdir().unwrap();
        let (folder, mut workflow, mut record) = begin(data.path());
        set(&mut workflow, "a", NodePhase::Succeeded);
        record.append(&workflow, ["a"].into_iter(), false).unwrap();
        let journal = folder.path().join("journal");
        let mut content = std::fs::read(&journal).unwrap();
        content.extend(b"{\"nodes\":[{\"id\":\"a\",\"phase\":\"Fai");
        std::fs::write(&journal, content).unwrap();
        assert_eq!(read(&folder).unwrap().status.nodes["a"].phase, NodePhase::Succeeded);
    }

    #[test]
    fn a_crash_between_snapshot_and_journal_loses_nothing() {
        let data = tempfile::tempdir().unwrap();
        let (folder, mut workflow, mut record) = begin(data.path());
        let journal = folder.path().join("journal");
        set(&mut workflow, "a", NodePhase::Pending);
        record.append(&workflow, ["a"].into_iter(), false).unwrap();
        let old = std::fs::read(&journal).unwrap();
        set(&mut workflow, "a", NodePhase::Succeeded);
        record.renew(&workflow).unwrap();
        std::fs::write(&journal, old).unwrap();
        assert_eq!(read(&folder).unwrap().status.nodes["a"].phase, NodePhase::Succeeded);
    }

    #[test]
    fn the_journal_does_not_grow_without_end() {
        let data = tempfile::tempdir().unwrap();
        let (folder, mut workflow, mut record) = begin(data.path());
        for round in 0..40 {
            let mut big = node("a", NodePhase::Running);
            big.message = format!("{round}-{}", "x".repeat(100_000));
            workflow.status.nodes.insert("a".into(), big);
            record.append(&workflow, ["a"].into_iter(), false).unwrap();
        }
        let size = std::fs::metadata(folder.path().join("journal")).unwrap().len();
        assert!(size < 2 * MIN_JOURNAL_BYTES, "{size}");
        assert!(read(&folder).unwrap().status.nodes["a"].message.starts_with("39-"));
    }

    #[test]
    fn an_unknown_run_is_named() {
        let data = tempfile::tempdir().unwrap();
        let folder = DataDir::new(data.path()).unwrap().run(&RunName::new("nope").unwrap());
        let message = read(&folder).unwrap_err().to_string();
        assert!(message.starts_with("there is no run \"nope\" in /"), "{message}");
    }
}
