//! What is known of a running Pod, told as Kubernetes would tell it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use tiphys_api::Time;
use tiphys_engine::{ContainerState, ContainerStatus, PodPhase, PodState};
use tiphys_podspec::usage;
use tiphys_sandbox::Exit;

use super::build::{Planned, Prepared};

/// Kubernetes' limit for a termination message.
const MAX_MESSAGE_BYTES: u64 = 4096;
/// Kubernetes' limit for a termination message taken from the log.
const MAX_LOG_MESSAGE_BYTES: u64 = 2048;

/// A Pod's containers and what became of them.
#[derive(Debug)]
pub(crate) struct Tracker {
    uid: String,
    host: String,
    containers: Vec<Tracked>,
    /// The Pod was ended for this reason, with this message.
    ended: Option<(&'static str, String)>,
    finished: bool,
}

#[derive(Debug)]
struct Tracked {
    planned: Planned,
    status: ContainerStatus,
    ready: bool,
    started_up: bool,
    seconds: i64,
}

impl Tracker {
    pub fn new(prepared: &mut Prepared, host: &str) -> Tracker {
        let waiting = || ContainerStatus::Waiting { reason: String::new(), message: String::new() };
        let track = |planned| Tracked { planned, status: waiting(), ready: false, started_up: false, seconds: 0 };
        Tracker {
            uid: prepared.uid.clone(),
            host: host.to_owned(),
            containers: std::mem::take(&mut prepared.containers).into_iter().map(track).collect(),
            ended: None,
            finished: false,
        }
    }

    /// What was planned for a container.
    pub fn planned(&self, name: &str) -> Option<&Planned> {
        self.containers.iter().map(|tracked| &tracked.planned).find(|planned| planned.name == name)
    }

    /// The containers that run.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        let running = |tracked: &&Tracked| matches!(tracked.status, ContainerStatus::Running);
        self.containers.iter().filter(running).map(|tracked| tracked.planned.name.as_str())
    }

    /// Whether anything but init containers has begun.
    pub fn has_started(&self) -> bool {
        let waits = |tracked: &Tracked| matches!(tracked.status, ContainerStatus::Waiting { .. });
        self.containers.iter().any(|tracked| !tracked.planned.init && !waits(tracked))
    }

    /// Whether every container that is not an init container is up and ready.
    pub fn is_ready(&self) -> bool {
        self.containers.iter().all(|tracked| tracked.planned.init || tracked.ready)
    }

    /// A container's command runs.
    pub fn started(&mut self, name: &str) {
        if let Some(tracked) = self.find(name) {
            tracked.status = ContainerStatus::Running;
            tracked.started_up = tracked.planned.startup.is_none();
            tracked.ready = tracked.planned.readiness.is_none() && tracked.started_up;
        }
    }

    /// A container's readiness changed.
    pub fn set_ready(&mut self, name: &str, ready: bool) {
        if let Some(tracked) = self.find(name) {
            tracked.ready = ready && matches!(tracked.status, ContainerStatus::Running);
        }
    }

    /// A container ended, or could not be started. `advice` is added to its last words.
    pub fn exited(&mut self, name: &str, exit: &Exit, advice: impl FnOnce(&Planned, &str) -> Option<String>) {
        let Some(tracked) = self.find(name) else { return };
        let mut message = match &exit.error {
            Some(failure) => failure.message.clone(),
            None => last_words(&tracked.planned, exit.exit_code != 0),
        };
        if let Some(advice) = advice(&tracked.planned, &message) {
            message = format!("{message}; {advice}");
        }
        let reason = match (exit.oom, &exit.error, exit.exit_code) {
            (true, _, _) => "OOMKilled",
            (_, Some(_), _) => "StartError",
            (_, None, 0) => "Completed",
            _ => "Error",
        };
        tracked.ready = false;
        // Kubernetes' times have whole seconds, and Argo takes the difference of two of those.
        tracked.seconds = whole_seconds(exit.finished_at) - whole_seconds(exit.started_at);
        tracked.status = ContainerStatus::Terminated {
            exit_code: exit.exit_code,
            reason: reason.to_owned(),
            message,
            finished: Timestamp::try_from(exit.finished_at).ok().map(Time),
        };
    }

    /// The Pod is being ended as a whole.
    pub fn end(&mut self, reason: &'static str, message: &str) {
        self.ended.get_or_insert_with(|| (reason, message.to_owned()));
    }

    /// Nothing of the Pod runs any more.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The Pod as Kubernetes would show it now.
    pub fn state(&self) -> PodState {
        let phase = self.phase();
        let (reason, message) = match &self.ended {
            Some((reason, message)) if phase == PodPhase::Failed => ((*reason).to_owned(), message.clone()),
            _ => Default::default(),
        };
        let over = matches!(phase, PodPhase::Succeeded | PodPhase::Failed);
        PodState {
            uid: self.uid.clone(),
            phase,
            message,
            reason,
            unschedulable: String::new(),
            ip: super::LOOPBACK.to_owned(),
            host: self.host.clone(),
            containers: self.containers.iter().map(Tracked::state).collect(),
            started: Vec::new(),
            resources_duration: if over { self.resources_duration() } else { BTreeMap::new() },
        }
    }

    fn phase(&self) -> PodPhase {
        let code = |tracked: &Tracked| match tracked.status {
            ContainerStatus::Terminated { exit_code, .. } => Some(exit_code),
            _ => None,
        };
        let codes: Vec<Option<i32>> = self.containers.iter().map(code).collect();
        let init_failed =
            self.containers.iter().zip(&codes).any(|(t, code)| t.planned.init && code.is_some_and(|code| code != 0));
        let over = self.finished || init_failed || codes.iter().all(Option::is_some);
        if over {
            let good = self.ended.is_none() && codes.iter().all(|code| *code == Some(0));
            return if good { PodPhase::Succeeded } else { PodPhase::Failed };
        }
        if self.has_started() { PodPhase::Running } else { PodPhase::Pending }
    }

    /// Seconds times requests. argo: util/resource/summary.go.
    fn resources_duration(&self) -> BTreeMap<String, i64> {
        let mut sum = BTreeMap::new();
        for tracked in &self.containers {
            usage::add(&mut sum, &tracked.planned.requests, tracked.seconds);
        }
        sum
    }

    fn find(&mut self, name: &str) -> Option<&mut Tracked> {
        self.containers.iter_mut().find(|tracked| tracked.planned.name == name)
    }
}

impl Tracked {
    fn state(&self) -> ContainerState {
        ContainerState {
            name: self.planned.name.clone(),
            init: self.planned.init,
            ready: self.ready,
            status: self.status.clone(),
        }
    }
}

fn whole_seconds(time: SystemTime) -> i64 {
    Timestamp::try_from(time).map_or(0, Timestamp::as_second)
}

/// What a container left as its termination message.
fn last_words(planned: &Planned, failed: bool) -> String {
    let message = text(&planned.message, MAX_MESSAGE_BYTES, false);
    if message.is_empty() && failed && planned.message_from_log {
        return text(&planned.log, MAX_LOG_MESSAGE_BYTES, true);
    }
    message
}

/// The beginning, or the end, of a file; nothing where it cannot be read.
fn text(path: &Path, limit: u64, from_end: bool) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        if from_end {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let _ = file.seek(SeekFrom::Start(length.saturating_sub(limit)));
        }
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
