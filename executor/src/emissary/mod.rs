//! The emissary: PID 1 of a user's container. It starts the user's command in a process group of its own, passes signals
//! on, keeps what is to be reported, and leaves the exit code in the shared volume as the last thing it does.
//!
//! argo: cmd/argoexec/commands/emissary.go. Unlike there the end of the command is an event, not the tick of a clock.

mod capture;
mod command;
mod gate;
mod links;
mod memory;
mod outputs;
mod settings;
mod supervise;
mod template;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use tiphys_contract::path::ctr;
use tiphys_contract::{container, exit};

pub use command::{find as find_program, reason};
pub use settings::{Settings, grace};
use template::Template;

use crate::exit_file;
use crate::mailbox::Mailbox;
use crate::paths::Paths;
use crate::process::Events;
use crate::shared_files::{Context, FileError, create_open_dir, report_failure};

/// Why the container ends otherwise than its command did.
#[derive(Debug, thiserror::Error)]
pub enum EmissaryError {
    /// The executor could not do its part.
    #[error("{0}")]
    Failed(String),
    /// A file of the protocol could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system refused a call.
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
    /// A container of the set on which this one depends failed.
    #[error("dependency {name:?} exited with non-zero code: {code}")]
    Dependency {
        /// Its name.
        name: String,
        /// Its exit code, which becomes this one's in the shared volume.
        code: i32,
    },
    /// The supervisor could not prepare the Pod.
    #[error("{0}")]
    NotReady(String),
    /// A signal ended the wait for the command's turn.
    #[error("ended by signal {0} before the command was started")]
    Signalled(i32),
    /// The command ran, but what it left could not be kept.
    #[error("{message}")]
    Outputs {
        /// What went wrong.
        message: String,
        /// The command's own exit code.
        code: i32,
    },
}

impl EmissaryError {
    /// The code that goes to the shared volume, and the one of the process, on which the driver decides.
    fn codes(&self) -> (i32, i32) {
        match self {
            Self::Failed(_) | Self::File(_) | Self::System(..) => (exit::EXECUTOR_FAILURE, exit::EXECUTOR_FAILURE),
            Self::Dependency { code, .. } => (*code, exit::EXECUTOR_FAILURE),
            Self::NotReady(_) => (exit::PRE_MAIN_FAILURE, exit::PRE_MAIN_FAILURE),
            Self::Signalled(signal) => (exit::of_signal(*signal), exit::of_signal(*signal)),
            Self::Outputs { code, .. } => (*code, exit::EXECUTOR_FAILURE),
        }
    }
}

/// Runs the container's command and returns the exit code of the process.
///
/// Guarantees: whatever happens, `exitcode` is written once, whole, and last. A failure of the executor itself leaves its
/// reason in the termination log.
pub fn run(paths: &Paths, settings: &Settings, words: Vec<OsString>) -> i32 {
    // Containers of one Pod may run as different users, and all write to the shared volume.
    umask(Mode::empty());
    let folder = paths.ctr(&settings.container);
    let prepared = prepare(&folder);
    let result = match prepared {
        Ok((mut events, _)) => attempt(paths, settings, &folder, &mut events, words),
        Err(ref error) => Err(EmissaryError::Failed(error.to_string())),
    };
    let (code, mut own) = result.as_ref().map_or_else(EmissaryError::codes, |code| (*code, *code));
    let mut message = result.err().filter(|error| !matches!(error, EmissaryError::Signalled(_))).map(|e| e.to_string());
    if let Some(message) = &message {
        report_failure(&paths.termination_log, message);
    }
    // Last of all: whoever sees it may take the outputs.
    if let Err(error) = exit_file::leave(&folder, code) {
        own = exit::EXECUTOR_FAILURE;
        report_failure(&paths.termination_log, message.get_or_insert(error.to_string()));
    }
    own
}

/// Takes over the signals, then shows that this process lives.
fn prepare(folder: &Path) -> Result<(Events, Option<Flock<fs::File>>), EmissaryError> {
    let mut events = Events::new().map_err(|error| EmissaryError::System("watch for signals", error))?;
    create_open_dir(folder)?;
    exit_file::reserve(folder)?;
    let mailbox = folder.join(ctr::SIGNAL);
    events.receive(Mailbox::open(&mailbox).on("open", &mailbox)?);
    let alive = hold_alive(folder)?;
    Ok((events, alive))
}

/// Shows that this process lives, by a lock that ends with it however it ends. The file appears when it is locked: who
/// sees it free knows that the process is gone. None where the volume knows no locks; then the others lack only the means
/// to see that this process was killed.
fn hold_alive(folder: &Path) -> Result<Option<Flock<fs::File>>, FileError> {
    let starting = folder.join("alive.tmp");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o666).open(&starting);
    let lock = Flock::lock(file.on("create", &starting)?, FlockArg::LockExclusiveNonblock).ok();
    if lock.is_some() {
        fs::rename(&starting, folder.join(ctr::ALIVE)).on("rename", &starting)?;
    }
    Ok(lock)
}

/// The way of a container from its start to its command's exit code.
fn attempt(
    paths: &Paths,
    settings: &Settings,
    folder: &Path,
    events: &mut Events,
    mut words: Vec<OsString>,
) -> Result<i32, EmissaryError> {
    if let Some(file) = &settings.args_file {
        command::append_args(&mut words, file, &paths.scratch).map_err(EmissaryError::Failed)?;
    }
    let mut gate = gate::Gate { paths, folder, events };
    if settings.wait_for_ready {
        gate.supervisor_ready()?;
    }
    let mut template = read_template(paths, settings)?;
    if settings.links_inputs {
        if settings.container == container::MAIN {
            links::inputs(paths, &template).map_err(EmissaryError::NotReady)?;
        }
        template.forget_inputs();
    }
    gate.dependencies(template.dependencies(&settings.container))?;
    let Some((name, args)) = words.split_first() else {
        return Err(EmissaryError::Failed(
            "no command: the container has neither command nor args and its image names no entrypoint; set \
             container.command in the template"
                .to_owned(),
        ));
    };
    let program = command::find(name, std::env::var_os("PATH").as_deref()).map_err(EmissaryError::Failed)?;
    if settings.pause_before {
        gate.pause(ctr::BEFORE)?;
    }
    let job = supervise::Job { paths, settings, template: &template, folder, program: &program, args };
    let code = job.run(events)?;
    if settings.pause_after {
        match (gate::Gate { paths, folder, events }).pause(ctr::AFTER) {
            // The Pod must end: what the command left is kept as if nobody had paused.
            Ok(()) | Err(EmissaryError::Signalled(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if settings.container == container::MAIN {
        outputs::stage(paths, &template)
            .map_err(|error| EmissaryError::Outputs { message: error.to_string(), code })?;
    }
    Ok(code)
}

fn read_template(paths: &Paths, settings: &Settings) -> Result<Template, EmissaryError> {
    let file = paths.template();
    let json = match (fs::read(&file), settings.template.as_deref()) {
        (Ok(json), _) => json,
        (Err(error), Some(_)) if error.kind() != io::ErrorKind::NotFound => return Err(error).on("read", &file)?,
        (Err(_), Some(tiphys_contract::env::OFFLOADED)) => {
            fs::read(&paths.config_template).on("read", &paths.config_template)?
        }
        (Err(_), Some(inline)) => inline.as_bytes().to_vec(),
        (Err(error), None) => return Err(error).on("read", &file)?,
    };
    Template::parse(&json).map_err(|error| EmissaryError::Failed(format!("failed to unmarshal template: {error}")))
}

/// The exit code that a container left, when it has ended.
pub fn exit_code_of(paths: &Paths, container: &str) -> Option<i32> {
    exit_file::read(&paths.ctr(container))
}
