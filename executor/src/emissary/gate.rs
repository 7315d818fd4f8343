//! What a container waits for before its command's turn: the supervisor, other containers of its set, the user.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::{EmissaryError, exit_code_of};
use crate::paths::Paths;
use crate::process::{Event, Events};
use crate::shared_files::{Context, create_open_dir};

/// The supervisor renews its marker every 5 s; after this long without it is presumed dead.
const SUPERVISOR_SILENCE: Duration = Duration::from_secs(30);

/// Waits that a signal to end also ends.
pub struct Gate<'a> {
    pub paths: &'a Paths,
    pub folder: &'a Path,
    pub events: &'a mut Events,
}

impl Gate<'_> {
    /// Waits until each of the containers has succeeded.
    pub fn dependencies(&mut self, names: &[String]) -> Result<(), EmissaryError> {
        for name in names {
            let folder = self.paths.ctr(name);
            create_open_dir(&folder)?;
            self.events.watch(&folder).on("watch", &folder)?;
            let code = self.until(|gate| Ok(exit_code_of(gate.paths, name)))?;
            if code != 0 {
                return Err(EmissaryError::Dependency { name: name.clone(), code });
            }
        }
        Ok(())
    }

    /// Waits until the user creates a file in this container's folder.
    pub fn pause(&mut self, file: &str) -> Result<(), EmissaryError> {
        self.events.watch(self.folder).on("watch", self.folder)?;
        self.until(|gate| Ok(gate.folder.join(file).exists().then_some(())))
    }

    /// Waits until the supervisor has prepared the Pod (argo: emissary.go, waitForSupervisorReady).
    pub fn supervisor_ready(&mut self) -> Result<(), EmissaryError> {
        self.events.watch(&self.paths.shared).on("watch", &self.paths.shared)?;
        let mut heard = Heard { at: Instant::now(), mark: None };
        loop {
            // Each sign of life is an event; after the last one there is silence to wait for.
            let silence = heard.at + SUPERVISOR_SILENCE;
            if let Some(()) = supervisor_state(&self.paths.status(), &mut heard, Instant::now())? {
                return Ok(());
            }
            let event =
                self.events.next(Some(silence)).map_err(|error| EmissaryError::System("wait for events", error))?;
            if let Event::Signal(signal @ (libc::SIGTERM | libc::SIGINT)) | Event::Mail(signal) = event {
                return Err(EmissaryError::Signalled(signal));
            }
        }
    }

    /// Asks again at each event until there is an answer.
    fn until<T>(&mut self, mut ask: impl FnMut(&Self) -> Result<Option<T>, EmissaryError>) -> Result<T, EmissaryError> {
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            let event = self.events.next(None).map_err(|error| EmissaryError::System("wait for events", error))?;
            if let Event::Signal(signal @ (libc::SIGTERM | libc::SIGINT)) | Event::Mail(signal) = event {
                return Err(EmissaryError::Signalled(signal));
            }
        }
    }
}

/// The last sign of life. Told by this process' own clock: the one on the wall, by which files are dated, may be set.
struct Heard {
    at: Instant,
    mark: Option<SystemTime>,
}

/// Whether the supervisor is ready; not yet, as long as its marker changes.
fn supervisor_state(marker: &Path, heard: &mut Heard, now: Instant) -> Result<Option<()>, EmissaryError> {
    let text = match fs::read_to_string(marker) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).on("read", marker)?,
    };
    let (state, message) = text.as_deref().map(|text| text.split_once('\n').unwrap_or((text, ""))).unwrap_or_default();
    match state.trim() {
        "READY" => return Ok(Some(())),
        "FAILED" => {
            return Err(EmissaryError::NotReady(format!("supervisor reported pre-main failure: {}", message.trim())));
        }
        _ => {}
    }
    let mark = fs::metadata(marker).and_then(|meta| meta.modified()).ok();
    if mark != heard.mark {
        *heard = Heard { at: now, mark };
    }
    if now.saturating_duration_since(heard.at) < SUPERVISOR_SILENCE {
        return Ok(None);
    }
    let reason = if text.is_some() { "no status update" } else { "status marker never appeared" };
    let limit = SUPERVISOR_SILENCE.as_secs();
    Err(EmissaryError::NotReady(format!("supervisor presumed dead: {reason} within {limit}s")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_decides() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("status");
        let start = Instant::now();
        let mut heard = Heard { at: start, mark: None };
        let mut state = |seconds| {
            let now = start + Duration::from_secs(seconds);
            supervisor_state(&marker, &mut heard, now).map_err(|error| error.to_string())
        };
        assert_eq!(state(29), Ok(None));
        assert_eq!(state(30), Err("supervisor presumed dead: status marker never appeared within 30s".into()));
        fs::write(&marker, "RUNNING\n").unwrap();
        assert_eq!(state(31), Ok(None));
        // The clock on the wall is set back an hour between two signs of life.
        let file = fs::File::options().write(true).open(&marker).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        assert_eq!(state(60), Ok(None));
        assert_eq!(state(89), Ok(None));
        assert_eq!(state(90), Err("supervisor presumed dead: no status update within 30s".into()));
        fs::write(&marker, "FAILED\nno such bucket\n").unwrap();
        assert_eq!(state(91), Err("supervisor reported pre-main failure: no such bucket".into()));
        fs::write(&marker, "READY").unwrap();
        assert_eq!(state(92), Ok(Some(())));
    }
}
