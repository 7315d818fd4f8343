//! The emissary's settings, read once from the environment.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tiphys_contract::{TraceParent, env};

/// What the driver and the user set on the container.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this container.
    pub container: String,
    /// Somebody wants the standard output as the step's result.
    pub include_output: bool,
    /// Somebody wants the last lines of standard error, should the command fail.
    pub keep_stderr: bool,
    /// The supervisor must be ready before the command starts.
    pub wait_for_ready: bool,
    /// File with further arguments.
    pub args_file: Option<PathBuf>,
    /// Time between SIGTERM and SIGKILL for a sidecar.
    pub grace: Duration,
    /// Pause before the command until the user ends it.
    pub pause_before: bool,
    /// Pause after the command until the user ends it.
    pub pause_after: bool,
    /// The Pod has no init container, which would have had the input artifacts mounted.
    pub links_inputs: bool,
    /// The span that the container's own comes below.
    pub trace: Option<TraceParent>,
    /// The template, where no file has it.
    pub template: Option<String>,
}

impl Settings {
    /// Reads the settings through a look-up function.
    ///
    /// # Errors
    /// The text for the user when the container's name leads elsewhere or the grace period is no number.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name| lookup(name).filter(|value| !value.is_empty());
        let flag = |name| set(name).as_deref() == Some("true");
        Ok(Self {
            container: container(set(env::CONTAINER_NAME))?,
            include_output: flag(env::INCLUDE_SCRIPT_OUTPUT),
            keep_stderr: flag(env::KEEP_STDERR),
            wait_for_ready: flag(env::WAIT_FOR_READY),
            args_file: set(env::CONTAINER_ARGS_FILE).map(PathBuf::from),
            grace: grace(set(env::TERMINATION_GRACE_PERIOD_SECONDS).as_deref())?,
            pause_before: flag(env::DEBUG_PAUSE_BEFORE),
            pause_after: flag(env::DEBUG_PAUSE_AFTER),
            links_inputs: flag(env::WAIT_FOR_READY) || flag(env::INITLESS_POD),
            trace: set(env::TRACEPARENT).and_then(|text| TraceParent::parse(&text)),
            template: set(env::TEMPLATE),
        })
    }
}

/// The name under which the container's files are kept. Argo's controller tells none to a container that `podSpecPatch`
/// brings, and nobody looks for its files: they get a folder that no other container has.
///
/// # Errors
/// The text for the user when it is no name of a file.
fn container(name: Option<String>) -> Result<String, String> {
    let unnamed = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("unnamed-{}-{}", now.as_nanos(), std::process::id())
    };
    match name {
        Some(name) if name.contains('/') || name == ".." || name == "." => {
            Err(format!("{} is {name:?}: expected the container's name", env::CONTAINER_NAME))
        }
        Some(name) => Ok(name),
        None => Ok(unnamed()),
    }
}

/// Reads a grace period in seconds; 30 when absent, as Kubernetes has it.
///
/// # Errors
/// The text for the user when it is no number.
pub fn grace(value: Option<&str>) -> Result<Duration, String> {
    let Some(text) = value else {
        return Ok(Duration::from_secs(30));
    };
    let name = env::TERMINATION_GRACE_PERIOD_SECONDS;
    text.parse().map(Duration::from_secs).map_err(|_| format!("{name} is {text:?}: expected whole seconds"))
}
