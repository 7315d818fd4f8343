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
            let code = self.until(None, |gate| Ok(exit_code_of(gate.paths, name)))?;
            if code != 0 {
                return Err(EmissaryError::Dependency { name: name.clone(), code });
            }
        }
        Ok(())
    }

    /// Waits until the user creates a file in this container's folder.
    pub fn pause(&mut self, file: &str) -> Result<(), EmissaryError> {
        self.events.watch(self.folder).on("watch", self.folder)?;
        self.until(None, |gate| Ok(gate.folder.join(file).exists().then_some(())))
    }

    /// Waits until the supervisor has prepared the Pod (argo: emissary.go, waitForSupervisorReady).
    pub fn supervisor_ready(&mut self) -> Result<(), EmissaryError> {
        self.events.watch(&self.paths.shared).on("watch", &self.paths.shared)?;
        let start = Instant::now();
        self.until(Some(SUPERVISOR_SILENCE), |gate| supervisor_state(&gate.paths.status(), start))
    }

    /// Asks again at each event until there is an answer, and at least every `recheck`.
    fn until<T>(
        &mut self,
        recheck: Option<Duration>,
        mut ask: impl FnMut(&Self) -> Result<Option<T>, EmissaryError>,
    ) -> Result<T, EmissaryError> {
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            let next = self.events.next(recheck.map(|after| Instant::now() + after));
            let event = next.map_err(|error| EmissaryError::System("wait for events", error))?;
            if let Event::Signal(signal @ (libc::SIGTERM | libc::SIGINT)) | Event::Mail(signal) = event {
                return Err(EmissaryError::Signalled(signal));
            }
        }
    }
}

fn supervisor_state(marker: &Path, start: Instant) -> Result<Option<()>, EmissaryError> {
    let dead = |reason: &str| {
        let limit = SUPERVISOR_SILENCE.as_secs();
        Err(EmissaryError::NotReady(format!("supervisor presumed dead: {reason} within {limit}s")))
    };
    let text = match fs::read_to_string(marker) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && start.elapsed() < SUPERVISOR_SILENCE => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return dead("status marker never appeared"),
        Err(error) => return Err(error).on("read", marker)?,
    };
    let (state, message) = text.split_once('\n').unwrap_or((&text, ""));
    match state.trim() {
        "READY" => Ok(Some(())),
        "FAILED" => Err(EmissaryError::NotReady(format!("supervisor reported pre-main failure: {}", message.trim()))),
        _ => {
            let changed = fs::metadata(marker).and_then(|meta| meta.modified()).unwrap_or_else(|_| SystemTime::now());
            match changed.elapsed().is_ok_and(|age| age >= SUPERVISOR_SILENCE) {
                true => dead("no status update"),
                false => Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_decides() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("status");
        let state = || supervisor_state(&marker, Instant::now()).map_err(|error| error.to_string());
        assert_eq!(state(), Ok(None));
        fs::write(&marker, "RUNNING\n").unwrap();
        assert_eq!(state(), Ok(None));
        let file = fs::File::options().write(true).open(&marker).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(31)).unwrap();
        assert_eq!(state(), Err("supervisor presumed dead: no status update within 30s".into()));
        fs::write(&marker, "FAILED\nno such bucket\n").unwrap();
        assert_eq!(state(), Err("supervisor reported pre-main failure: no such bucket".into()));
        fs::write(&marker, "READY").unwrap();
        assert_eq!(state(), Ok(Some(())));
    }
}
