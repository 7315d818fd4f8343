//! Exit codes of the executor's processes, in one table.

/// The executor itself failed; the reason is in the termination log. The driver makes the node `Error`, or `Failed` when
/// the container is the user's (argo: operator.go, inferFailedReason).
pub const EXECUTOR_FAILURE: i32 = 64;
/// `main` did not start because the supervisor could not prepare the Pod; the driver looks at the supervisor first.
pub const PRE_MAIN_FAILURE: i32 = 65;
/// Killed by SIGKILL, also by the kernel when memory ran out.
pub const KILLED: i32 = 137;
/// Ended by SIGTERM.
pub const TERMINATED: i32 = 143;

/// The code for a process that a signal ended: 128 + signal, as shells and container runtimes have it.
pub fn of_signal(signal: i32) -> i32 {
    128 + signal
}

/// A code with its meaning, for documentation and messages.
pub const TABLE: &[(i32, &str)] = &[
    (0, "the user's process succeeded"),
    (EXECUTOR_FAILURE, "the executor failed; the termination message says why"),
    (PRE_MAIN_FAILURE, "the supervisor failed before the user's process was started"),
    (KILLED, "killed (SIGKILL, or out of memory)"),
    (TERMINATED, "terminated (SIGTERM)"),
];
