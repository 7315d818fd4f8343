//! The calls to the Kubernetes API that `wait` makes, on a thread of their own: an API server that is away keeps nobody from
//! watching the containers. The client lives only as long as a request; `wait` idles without one.

use std::sync::mpsc;
use std::thread;

use serde_json::json;
use tiphys_contract::{TaskResult, carry};

use super::task_result::{Owner, TaskResultWriter};
use crate::cluster::{Cluster, ClusterError, Config, Patch, Patience, Resource};

/// What the calls write to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Annotations of this Pod.
    Annotations {
        /// Its name.
        pod: String,
    },
    /// A WorkflowTaskResult.
    TaskResult(Owner),
}

/// Makes the calls of one Pod.
#[derive(Debug)]
pub struct Caller {
    calls: Calls,
    notes: Option<mpsc::Sender<Note>>,
}

/// What is to be told.
struct Note {
    result: TaskResult,
    /// Nothing more comes, and somebody waits to hear what has failed since the beginning.
    last: Option<mpsc::Sender<Vec<ClusterError>>>,
    /// Failing is no matter: it will be told again.
    in_passing: bool,
}

impl Caller {
    /// Nothing is sent yet.
    pub fn new(config: Config, target: Target, patience: Patience) -> Self {
        Self { calls: Calls { config, target, patience, made: false }, notes: None }
    }

    /// Whether nothing has been told yet.
    pub fn is_idle(&self) -> bool {
        self.notes.is_none()
    }

    /// Tells that results will come.
    pub fn announce(&mut self) {
        self.send(Note { result: TaskResult::default(), last: None, in_passing: false });
    }

    /// Tells progress, without waiting for it.
    pub fn progress(&mut self, result: TaskResult) {
        self.send(Note { result, last: None, in_passing: true });
    }

    /// Tells the results and waits until they have arrived. Returns what has failed, announcements included.
    pub fn finish(&mut self, result: TaskResult) -> Vec<ClusterError> {
        let (tell, told) = mpsc::channel();
        self.send(Note { result, last: Some(tell), in_passing: false });
        let lost = || vec![ClusterError::Config("cannot start a thread for calls to the Kubernetes API".to_owned())];
        told.recv().unwrap_or_else(|_| lost())
    }

    fn send(&mut self, note: Note) {
        let notes = self.notes.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel();
            let calls = self.calls.clone();
            // Without a thread the receiver is gone, which `finish` notices.
            let _ = thread::Builder::new().stack_size(1024 * 1024).spawn(move || calls.serve(&receiver));
            sender
        });
        // The receiver is gone only when there was no thread.
        let _ = notes.send(note);
    }
}

#[derive(Clone, Debug)]
struct Calls {
    config: Config,
    target: Target,
    patience: Patience,
    /// The WorkflowTaskResult is there.
    made: bool,
}

impl Calls {
    fn serve(mut self, notes: &mpsc::Receiver<Note>) {
        let mut errors = Vec::new();
        while let Ok(note) = notes.recv() {
            match self.make(&note.result, note.last.is_some()) {
                Err(failed) if note.in_passing => failed.iter().for_each(|error| tracing::warn!("{error}")),
                Err(failed) => errors.extend(failed),
                Ok(()) => {}
            }
            if let Some(last) = note.last {
                // Who asked is waiting.
                let _ = last.send(std::mem::take(&mut errors));
            }
        }
    }

    fn make(&mut self, result: &TaskResult, last: bool) -> Result<(), Vec<ClusterError>> {
        let wrong = |error: std::io::Error| {
            vec![ClusterError::Config(format!("cannot start the runtime for calls to the Kubernetes API: {error}"))]
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
        let cluster = Cluster::new(self.config.clone(), self.patience.clone()).map_err(|error| vec![error])?;
        let made = runtime.block_on(async {
            match &self.target {
                Target::Annotations { pod } => annotate(&cluster, pod, result).await.map_err(|error| vec![error]),
                Target::TaskResult(owner) => {
                    let mut writer = TaskResultWriter::new(&cluster, owner, self.made);
                    let mut errors: Vec<ClusterError> = writer.report(result).await.err().into_iter().collect();
                    if last {
                        errors.extend(writer.complete().await.err());
                    }
                    self.made |= writer.is_made();
                    if errors.is_empty() { Ok(()) } else { Err(errors) }
                }
            }
        });
        // A look-up of a name that still runs must not hold the process.
        runtime.shutdown_background();
        made
    }
}

/// One merge patch of this Pod.
async fn annotate(cluster: &Cluster, pod: &str, result: &TaskResult) -> Result<(), ClusterError> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": carry::to_annotations(result)}}));
    cluster.objects(&Resource::POD).patch(pod, &patch, &[]).await.map(drop)
}
