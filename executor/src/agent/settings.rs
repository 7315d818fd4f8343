//! Settings of `init` and `wait`, read once from the environment.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tiphys_api::Time;
use tiphys_artifact::{Options, Retry};
use tiphys_contract::{carry, env};

use crate::duration;
use crate::emissary::grace;

/// What the driver and the user set on the executor's containers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The template as JSON, or the word `offloaded`.
    pub template: Option<String>,
    /// When the step must be over.
    pub deadline: Option<SystemTime>,
    /// Somebody wants the step's result.
    pub include_output: bool,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Where the user's process writes its progress; none when progress is switched off.
    pub progress_file: Option<PathBuf>,
    /// Shortest time between two reports of progress.
    pub progress_tick: Duration,
    /// Where results go, as the driver wrote it.
    pub result_sink: Option<String>,
    /// The emissary to deliver, when it is not the one beside this program.
    pub emissary: Option<PathBuf>,
    /// How artifacts are transferred.
    pub transfers: Options,
    /// Remove staged outputs once they are saved.
    pub remove_local_artifacts: bool,
    /// What this Pod runs.
    pub step: Step,
    /// Bytes that the termination message may have.
    pub message_bytes: usize,
    /// Of a result longer than 256 KiB keep only the end; none for what the result's destination has as its default.
    pub keep_last: Option<bool>,
    /// Containers of artifact plugins, which are ended when there is nothing left for them to do.
    pub plugin_containers: Vec<String>,
    /// Which WorkflowArtifactGCTasks this Pod works on, by their label.
    pub artifact_gc_pod: Option<String>,
    /// Pause between two looks at an object whose changes cannot be watched.
    pub check_interval: Duration,
}

/// Names of what this Pod runs, as the driver gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Name of the Pod.
    pub pod: Option<String>,
    /// Id of the node.
    pub node: Option<String>,
    /// Name of the workflow.
    pub workflow: Option<String>,
    /// Uid of the workflow.
    pub workflow_uid: Option<String>,
    /// Controller instance that the workflow belongs to.
    pub instance: Option<String>,
}

/// So long requests to stores are repeated for outputs: they exist nowhere else.
const OUTPUTS_WITHIN: Duration = Duration::from_secs(5 * 60);

impl Settings {
    /// Reads the settings through a look-up function.
    ///
    /// # Errors
    /// The text for the user: which variable holds what it must not.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name| lookup(name).filter(|value| !value.is_empty());
        let flag = |name| set(name).as_deref() == Some("true");
        let tick = |name, default| match set(name) {
            None => Ok(default),
            Some(text) => {
                duration::parse(&text).ok_or_else(|| format!("{name} is {text:?}: expected a duration such as 1m"))
            }
        };
        let progress_tick = tick(env::PROGRESS_PATCH_TICK, Duration::from_secs(60))?;
        let follows = !progress_tick.is_zero() && !tick(env::PROGRESS_FILE_TICK, Duration::from_secs(3))?.is_zero();
        Ok(Self {
            template: set(env::TEMPLATE),
            deadline: set(env::DEADLINE).map(|text| deadline(&text)).transpose()?.flatten(),
            include_output: flag(env::INCLUDE_SCRIPT_OUTPUT),
            grace: grace(set(env::TERMINATION_GRACE_PERIOD_SECONDS).as_deref())?,
            progress_file: set(env::PROGRESS_FILE).filter(|_| follows).map(PathBuf::from),
            progress_tick,
            result_sink: set(env::RESULT_SINK),
            emissary: set(env::EMISSARY).map(PathBuf::from),
            transfers: transfers(&lookup)?,
            remove_local_artifacts: flag(env::REMOVE_LOCAL_ARTIFACTS),
            step: Step {
                pod: set(env::POD_NAME),
                node: set(env::NODE_ID),
                workflow: set(env::WORKFLOW_NAME),
                workflow_uid: set(env::WORKFLOW_UID),
                instance: set(env::INSTANCE_ID),
            },
            message_bytes: message_bytes(set(env::MESSAGE_BYTES))?,
            keep_last: switch(set(env::KEEP_LAST_256K), env::KEEP_LAST_256K)?,
            plugin_containers: set(env::ARTIFACT_PLUGIN_NAMES).map(|names| containers(&names)).unwrap_or_default(),
            artifact_gc_pod: set(env::ARTIFACT_GC_POD),
            check_interval: tick(env::RESOURCE_STATE_CHECK_INTERVAL, Duration::from_secs(5))?,
        })
    }

    /// How outputs are transferred: with more patience than inputs, unless the user said how often to try.
    pub fn outgoing(&self) -> Options {
        let mut options = self.transfers.clone();
        if options.retry.tries == Retry::default().tries {
            options.retry.tries = u32::MAX;
            options.retry.within = OUTPUTS_WITHIN;
        }
        options
    }
}

/// Names between commas. What is no name of a container is left out: nothing outside of the containers' folder is touched.
fn containers(names: &str) -> Vec<String> {
    let is_name = |name: &&str| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    names.split(',').map(str::trim).filter(is_name).map(str::to_owned).collect()
}

/// Half of the budget is for parts of objects; archives, compression and the process itself take the rest.
fn transfers(lookup: &impl Fn(&str) -> Option<String>) -> Result<Options, String> {
    let mut options = Options::from_lookup(lookup)?;
    if let Some(text) = lookup(env::MEMORY_BUDGET_MIB).filter(|text| !text.is_empty()) {
        let budget = text.parse::<usize>().ok().filter(|mib| (16..1 << 20).contains(mib));
        let budget =
            budget.ok_or_else(|| format!("{} is {text:?}: expected MiB, at least 16", env::MEMORY_BUDGET_MIB))?;
        options.memory = (budget << 20) / 2;
        options.part_size = options.part_size.min(options.memory);
    }
    retry(lookup, &mut options.retry)?;
    Ok(options)
}

/// Argo's variables for repeated requests. Pauses are no longer than 10 s all the same.
fn retry(lookup: &impl Fn(&str) -> Option<String>, retry: &mut Retry) -> Result<(), String> {
    let set = |name| lookup(name).filter(|value| !value.is_empty());
    let wrong = |name: &str, text: &str, expected: &str| format!("{name} is {text:?}: expected {expected}");
    if let Some(text) = set(env::RETRY_DURATION) {
        let first = duration::parse(&text);
        retry.first = first.ok_or_else(|| wrong(env::RETRY_DURATION, &text, "a duration such as 1s"))?;
    }
    if let Some(text) = set(env::RETRY_FACTOR) {
        let factor = text.parse().ok().filter(|factor: &f64| (1.0..=100.0).contains(factor));
        retry.factor = factor.ok_or_else(|| wrong(env::RETRY_FACTOR, &text, "a number from 1 to 100"))?;
    }
    if let Some(text) = set(env::RETRY_JITTER) {
        let jitter = text.parse().ok().filter(|jitter: &f64| *jitter >= 0.0);
        jitter.ok_or_else(|| wrong(env::RETRY_JITTER, &text, "a number such as 0.5"))?;
    }
    if let Some(text) = set(env::RETRY_STEPS) {
        let tries = text.parse().ok().filter(|tries: &u32| *tries > 0);
        retry.tries = tries.ok_or_else(|| wrong(env::RETRY_STEPS, &text, "a number of at least 1"))?;
        // The number alone decides.
        retry.within = Duration::from_secs(24 * 3600);
    }
    Ok(())
}

fn message_bytes(text: Option<String>) -> Result<usize, String> {
    let Some(text) = text else { return Ok(carry::MESSAGE_BYTES) };
    let bytes = text.parse().ok().filter(|bytes| (256..=carry::MESSAGE_BYTES).contains(bytes));
    bytes.ok_or_else(|| format!("{} is {text:?}: expected a number from 256 to 4096", env::MESSAGE_BYTES))
}

fn switch(text: Option<String>, name: &str) -> Result<Option<bool>, String> {
    match text.as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(format!("{name} is {other:?}: expected true or false")),
    }
}

/// Reads a deadline; Go's zero time, and all before 1970, is none.
fn deadline(text: &str) -> Result<Option<SystemTime>, String> {
    let time: Time = serde_json::from_value(text.into())
        .map_err(|_| format!("{} is {text:?}: expected a time such as 2026-01-02T15:04:05Z", env::DEADLINE))?;
    let seconds = u64::try_from(time.as_second()).ok().filter(|seconds| *seconds > 0);
    Ok(seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn deadlines() {
        assert_eq!(settings(&[("ARGO_DEADLINE", "0001-01-01T00:00:00Z")]).unwrap().deadline, None);
        let deadline = settings(&[("ARGO_DEADLINE", "1970-01-02T01:00:00+01:00")]).unwrap().deadline;
        assert_eq!(deadline, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)));
        assert_eq!(
            settings(&[("ARGO_DEADLINE", "soon")]).unwrap_err(),
            "ARGO_DEADLINE is \"soon\": expected a time such as 2026-01-02T15:04:05Z"
        );
    }

    #[test]
    fn progress_is_off_when_either_tick_is_zero() {
        let file = ("ARGO_PROGRESS_FILE", "/var/run/argo/progress");
        assert!(settings(&[file]).unwrap().progress_file.is_some());
        assert!(settings(&[file, ("ARGO_PROGRESS_PATCH_TICK_DURATION", "0s")]).unwrap().progress_file.is_none());
        assert!(settings(&[file, ("ARGO_PROGRESS_FILE_TICK_DURATION", "0")]).unwrap().progress_file.is_none());
        assert!(settings(&[]).unwrap().progress_file.is_none());
    }

    #[test]
    fn half_of_the_memory_budget_is_for_parts() {
        let transfers = settings(&[("TIPHYS_MEMORY_BUDGET_MIB", "100")]).unwrap().transfers;
        assert_eq!((transfers.memory, transfers.part_size), (50 << 20, 8 << 20));
        let transfers = settings(&[("TIPHYS_MEMORY_BUDGET_MIB", "16"), ("ARTIFACT_S3_UPLOAD_PART_SIZE_MIB", "32")]);
        assert_eq!(transfers.unwrap().transfers.part_size, 8 << 20);
    }

    #[test]
    fn the_user_decides_how_often_stores_are_asked() {
        let retry = settings(&[
            ("EXECUTOR_RETRY_BACKOFF_DURATION", "1s"),
            ("EXECUTOR_RETRY_BACKOFF_FACTOR", "1.6"),
            ("EXECUTOR_RETRY_BACKOFF_STEPS", "5"),
        ]);
        let outgoing = retry.unwrap().outgoing().retry;
        assert_eq!((outgoing.first, outgoing.factor, outgoing.tries), (Duration::from_secs(1), 1.6, 5));
        let outgoing = settings(&[]).unwrap().outgoing().retry;
        assert_eq!((outgoing.tries, outgoing.within), (u32::MAX, OUTPUTS_WITHIN), "outputs exist nowhere else");
    }

    #[test]
    fn mistakes_are_named() {
        for (pair, message) in [
            (("TIPHYS_MEMORY_BUDGET_MIB", "1"), "TIPHYS_MEMORY_BUDGET_MIB is \"1\": expected MiB, at least 16"),
            (
                ("ARTIFACT_S3_UPLOAD_THREADS", "many"),
                "ARTIFACT_S3_UPLOAD_THREADS=\"many\" is not a number from 1 to 1000",
            ),
            (
                ("ARGO_PROGRESS_PATCH_TICK_DURATION", "often"),
                "ARGO_PROGRESS_PATCH_TICK_DURATION is \"often\": expected a duration such as 1m",
            ),
            (
                ("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", "1m"),
                "ARGO_TERMINATION_GRACE_PERIOD_SECONDS is \"1m\": expected whole seconds",
            ),
            (
                ("TIPHYS_TERMINATION_MESSAGE_BYTES", "9000"),
                "TIPHYS_TERMINATION_MESSAGE_BYTES is \"9000\": expected a number from 256 to 4096",
            ),
            (
                ("TIPHYS_RESULT_KEEP_LAST_256K", "yes"),
                "TIPHYS_RESULT_KEEP_LAST_256K is \"yes\": expected true or false",
            ),
            (
                ("EXECUTOR_RETRY_BACKOFF_STEPS", "0"),
                "EXECUTOR_RETRY_BACKOFF_STEPS is \"0\": expected a number of at least 1",
            ),
            (
                ("EXECUTOR_RETRY_BACKOFF_FACTOR", "0.5"),
                "EXECUTOR_RETRY_BACKOFF_FACTOR is \"0.5\": expected a number from 1 to 100",
            ),
            (
                ("EXECUTOR_RETRY_BACKOFF_DURATION", "1"),
                "EXECUTOR_RETRY_BACKOFF_DURATION is \"1\": expected a duration such as 1s",
            ),
        ] {
            assert_eq!(settings(&[pair]).unwrap_err(), message);
        }
    }
}
