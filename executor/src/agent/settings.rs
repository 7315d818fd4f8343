//! Settings of `init` and `wait`, read once from the environment.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tiphys_api::Time;
use tiphys_artifact::Options;
use tiphys_contract::env;

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
}

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
        })
    }
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
    Ok(options)
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
        ] {
            assert_eq!(settings(&[pair]).unwrap_err(), message);
        }
    }
}
