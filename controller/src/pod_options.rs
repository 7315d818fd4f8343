//! What the command line says about Pods; the names in the environment are Argo's.

use std::time::Duration;

use tiphys_podspec::{AgentConfig, PodConfig};

use crate::durations::not_negative;

/// What Pods are told and given.
#[derive(Clone, Debug, clap::Args)]
pub struct PodOptions {
    /// Limit of processors of agents' Pods
    #[arg(long, env = "ARGO_AGENT_CPU_LIMIT", default_value = "100m", value_name = "QUANTITY")]
    pub agent_cpu_limit: String,
    /// Limit of memory of agents' Pods
    #[arg(long, env = "ARGO_AGENT_MEMORY_LIMIT", default_value = "256M", value_name = "QUANTITY")]
    pub agent_memory_limit: String,
    /// Tasks that an agent works on together; 16 where nothing is said
    #[arg(long, env = "ARGO_AGENT_TASK_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub agent_task_workers: Option<u16>,
    /// Shortest time between two reports of a step's progress; 0s for none at all
    #[arg(long, env = "ARGO_PROGRESS_PATCH_TICK_DURATION", default_value = "1m", value_parser = not_negative, value_name = "DURATION")]
    pub progress_patch_tick: Duration,
    /// Time between two looks at a step's progress file; ours sees it change, and takes 0s alone: no progress at all
    #[arg(long, env = "ARGO_PROGRESS_FILE_TICK_DURATION", default_value = "3s", value_parser = not_negative, value_name = "DURATION")]
    pub progress_file_tick: Duration,
    /// Label of nodes by which hosts are told apart, where a retry is to run on another
    #[arg(long, env = "RETRY_HOST_NAME_LABEL_KEY", default_value = "kubernetes.io/hostname", value_name = "LABEL")]
    pub retry_host_name_label: String,
    /// Keeps Pods until their end was seen, whoever deletes them, by the finalizer workflows.argoproj.io/status; it is taken
    /// off Pods that are let go of whatever is said here
    #[arg(long, env = "ARGO_POD_STATUS_CAPTURE_FINALIZER")]
    pub pod_status_finalizer: bool,
}

impl PodOptions {
    /// The configuration that they are part of.
    pub fn apply(&self, pod: PodConfig) -> PodConfig {
        PodConfig {
            agent: AgentConfig {
                cpu_limit: self.agent_cpu_limit.clone(),
                memory_limit: self.agent_memory_limit.clone(),
                task_workers: self.agent_task_workers,
            },
            progress_patch_tick: self.progress_patch_tick,
            progress_file_tick: self.progress_file_tick,
            host_label: self.retry_host_name_label.clone(),
            status_finalizer: self.pod_status_finalizer,
            ..pod
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        pods: PodOptions,
    }

    #[test]
    fn nothing_said_is_what_argo_does() {
        let alone = Alone::try_parse_from(["x"]).unwrap();
        let (said, default) = (alone.pods.apply(PodConfig::default()), PodConfig::default());
        assert_eq!(format!("{said:?}"), format!("{default:?}"));
        let alone = ["x", "--progress-patch-tick", "0s", "--agent-task-workers", "3", "--pod-status-finalizer"];
        let said = Alone::try_parse_from(alone).unwrap().pods.apply(PodConfig::default());
        assert!(said.status_finalizer);
        assert_eq!((said.progress_patch_tick, said.agent.task_workers), (Duration::ZERO, Some(3)));
        for wrong in [["--progress-file-tick", "-1s"], ["--progress-file-tick", "soon"], ["--agent-task-workers", "0"]]
        {
            assert!(Alone::try_parse_from(["x"].into_iter().chain(wrong)).is_err(), "{wrong:?}");
        }
    }
}
