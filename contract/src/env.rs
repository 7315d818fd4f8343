//! Environment variables of the Pod's containers: names, and one table from which the documentation is made.

macro_rules! variables {
    ($($constant:ident $name:literal by $set_by:ident, default $default:literal: $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: &str = $name;)*

        /// Every variable that the executor's binaries read, or that the user's process finds.
        pub const TABLE: &[Variable] = &[
            $(Variable { name: $name, set_by: SetBy::$set_by, default: $default, meaning: $meaning },)*
        ];
    };
}

/// A documented environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Who sets it.
    pub set_by: SetBy,
    /// What holds when it is absent; empty when that needs no words.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// Who sets a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// The driver that makes the Pod.
    Driver,
    /// The user, on a container or through the executor's configuration.
    User,
}

/// Value of [`TEMPLATE`] when the template lies in a file instead ([`crate::path::CONFIG_TEMPLATE`]).
pub const OFFLOADED: &str = "offloaded";
/// Longest value in bytes that goes into a variable or one argument; longer ones are offloaded.
pub const MAX_VALUE_BYTES: usize = 131_072;
/// Value of [`DEADLINE`] when there is none (Go's zero time).
pub const NO_DEADLINE: &str = "0001-01-01T00:00:00Z";

variables! {
    POD_NAME "ARGO_POD_NAME" by Driver, default "": "Name of the Pod.";
    POD_UID "ARGO_POD_UID" by Driver, default "": "Uid of the Pod.";
    WORKFLOW_NAME "ARGO_WORKFLOW_NAME" by Driver, default "": "Name of the workflow.";
    WORKFLOW_UID "ARGO_WORKFLOW_UID" by Driver, default "": "Uid of the workflow.";
    INSTANCE_ID "ARGO_INSTANCE_ID" by Driver, default "": "Controller instance that the workflow belongs to.";
    NODE_ID "ARGO_NODE_ID" by Driver, default "": "Id of the node that the Pod runs.";
    CONTAINER_NAME "ARGO_CONTAINER_NAME" by Driver, default "": "Name of the container.";
    TEMPLATE "ARGO_TEMPLATE" by Driver, default "":
        "The template as JSON, or `offloaded` when it lies in `/argo/config/ARGO_TEMPLATE`.";
    DEADLINE "ARGO_DEADLINE" by Driver, default "none":
        "RFC 3339 time at which the step is terminated; `0001-01-01T00:00:00Z` means never.";
    INCLUDE_SCRIPT_OUTPUT "ARGO_INCLUDE_SCRIPT_OUTPUT" by Driver, default "false":
        "`true` when somebody refers to the step's `outputs.result`.";
    TERMINATION_GRACE_PERIOD_SECONDS "ARGO_TERMINATION_GRACE_PERIOD_SECONDS" by Driver, default "30":
        "Seconds between SIGTERM and SIGKILL.";
    PROGRESS_FILE "ARGO_PROGRESS_FILE" by Driver, default "/var/run/argo/progress":
        "File in which the user's process reports its progress as `N/M`.";
    PROGRESS_PATCH_TICK "ARGO_PROGRESS_PATCH_TICK_DURATION" by Driver, default "1m0s":
        "Shortest time between two reports of progress; 0 switches progress off.";
    PROGRESS_FILE_TICK "ARGO_PROGRESS_FILE_TICK_DURATION" by Driver, default "3s":
        "0 switches progress off; otherwise without effect, since changes of the file are seen at once.";
    CONTAINER_ARGS_FILE "ARGO_CONTAINER_ARGS_FILE" by Driver, default "":
        "File with further arguments as a JSON list, for arguments too large for the Pod's spec.";
    ARTIFACT_PLUGIN_NAMES "ARGO_ARTIFACT_PLUGIN_NAMES" by Driver, default "": "Artifact plugin sidecars, by commas.";
    WAIT_FOR_READY "ARGO_WAIT_FOR_READY" by Driver, default "false":
        "`true` when the user's process must wait until the supervisor has prepared the Pod.";
    INITLESS_POD "ARGO_INITLESS_POD" by Driver, default "false": "`true` in Pods without an init container.";
    RESULT_SINK "TIPHYS_RESULT_SINK" by Driver, default "`taskresult` where there is an API server":
        "Where results are delivered: `auto`, `annotations`, `termination-message`, `taskresult` or `file:<absolute path>`.";
    MESSAGE_BYTES "TIPHYS_TERMINATION_MESSAGE_BYTES" by Driver, default "4096":
        "Bytes that a termination message may have in this Pod: 12288 divided by its containers, where that is less.";
    KEEP_LAST_256K "TIPHYS_RESULT_KEEP_LAST_256K" by Driver, default "true for `taskresult` only":
        "`true`: of a result longer than 256 KiB only the end is kept, as argoexec does, with a warning.";
    KEEP_STDERR "TIPHYS_KEEP_STDERR" by Driver, default "false":
        "`true`: the last lines of standard error are kept, for the message of a step that fails.";
    RETRY_DURATION "EXECUTOR_RETRY_BACKOFF_DURATION" by User, default "200ms":
        "First pause before a failed request to an artifact store is repeated; the pauses vary by up to a half.";
    RETRY_FACTOR "EXECUTOR_RETRY_BACKOFF_FACTOR" by User, default "2": "Each of these pauses is so many times the one before.";
    RETRY_JITTER "EXECUTOR_RETRY_BACKOFF_JITTER" by User, default "":
        "A number, without effect: these pauses vary as they are.";
    RETRY_STEPS "EXECUTOR_RETRY_BACKOFF_STEPS" by User, default "as many as fit in 1 minute for inputs, 5 for outputs":
        "How often such a request is sent at most.";
    EMISSARY "TIPHYS_EMISSARY" by Driver, default "the file tiphys-emissary beside the executor":
        "Binary that `init` delivers as `/var/run/argo/argoexec`, unless one is there already.";
    MEMORY_BUDGET_MIB "TIPHYS_MEMORY_BUDGET_MIB" by User, default "48":
        "Memory in MiB for all artifact transfers of one process together; 16 at least.";
    S3_REDIRECTS "TIPHYS_S3_REDIRECTS" by Driver, default "none":
        "JSON object: S3 endpoints that are reached at another address, without TLS.";
    S3_PART_SIZE_MIB "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB" by User, default "8": "Size of the parts of large uploads to S3.";
    S3_UPLOAD_THREADS "ARTIFACT_S3_UPLOAD_THREADS" by User, default "3":
        "Parts in flight of all uploads to S3; wins over the share of the memory budget that they have otherwise.";
    ARTIFACT_GC_POD "ARGO_ARTIFACT_POD_NAME" by Driver, default "":
        "Value of the label of the WorkflowArtifactGCTasks whose artifacts `artifact delete` deletes.";
    PLUGIN_NAMES "ARGO_PLUGIN_NAMES" by Driver, default "": "Names of the executor plugins of the agent, as a JSON list.";
    PLUGIN_ADDRESSES "ARGO_PLUGIN_ADDRESSES" by Driver, default "": "Their URLs, as a JSON list in the same order.";
    AGENT_TASK_WORKERS "ARGO_AGENT_TASK_WORKERS" by User, default "16": "Tasks that the agent works on together.";
    AGENT_PATCH_RATE "ARGO_AGENT_PATCH_RATE" by Driver, default "":
        "Without effect: the agent tells results as they come.";
    RESOURCE_STATE_CHECK_INTERVAL "RESOURCE_STATE_CHECK_INTERVAL" by User, default "5s":
        "Pause between two looks at the object of a resource template, where its changes cannot be watched.";
    DEBUG_PAUSE_BEFORE "ARGO_DEBUG_PAUSE_BEFORE" by User, default "false":
        "`true`: wait for the file `/var/run/argo/ctr/<container>/before` before the command is started.";
    DEBUG_PAUSE_AFTER "ARGO_DEBUG_PAUSE_AFTER" by User, default "false":
        "`true`: wait for the file `/var/run/argo/ctr/<container>/after` after the command has ended.";
    TRACEPARENT "TRACEPARENT" by Driver, default "":
        "The span below which those of this Pod come, as W3C's Trace Context writes it; the user's process finds its container's.";
    OUTER_TRACEPARENT "TIPHYS_OUTER_TRACEPARENT" by Driver, default "":
        "What `TRACEPARENT` was before the emissary put the container's own span there; for commands of the executor.";
    TRACESTATE "TRACESTATE" by Driver, default "": "The workflow, as `workflow=NAMESPACE/NAME`; handed on as it is.";
    REMOVE_LOCAL_ARTIFACTS "REMOVE_LOCAL_ART_PATH" by User, default "false":
        "`true`: remove a staged output artifact once it is saved, to keep the peak use of disk low.";
}

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut page = String::from("| variable | set by | default | meaning |\n|---|---|---|---|\n");
    for Variable { name, set_by, default, meaning } in TABLE {
        let by = match set_by {
            SetBy::Driver => "controller",
            SetBy::User => "user",
        };
        page.push_str(&format!("| `{name}` | {by} | {default} | {meaning} |\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_listed_once() {
        let mut names: Vec<_> = TABLE.iter().map(|v| v.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(markdown().contains("| `ARGO_DEADLINE` | controller | none |"));
    }
}
