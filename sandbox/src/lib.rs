//! Runs one Pod on this machine without privileges, daemon or container engine: each container in its own mount and PID
//! namespace, all of them in one user, IPC and UTS namespace, on the host's network.
//!
//! Three processes stand between the caller and a container, each small and single-threaded:
//! - the *keeper* ([`sandbox_main`]), the caller's own program executed anew, stays in the machine's namespaces, ends the
//!   Pod when the caller is gone and removes what namespaces do not;
//! - the *Pod's init* (PID 1 of the Pod's PID namespace) makes the namespaces, starts the containers and reports on them:
//!   when it dies, the kernel ends every process below it;
//! - each container's command is PID 1 in a PID namespace of its own, as on Kubernetes.
//!
//! The specification passes over a pipe, never by arguments or environment: it holds secrets. All mounts are private to
//! the namespaces and vanish with them. Linux 5.12 or later is needed.

mod container;
mod event;
mod exec;
mod files;
mod host_root;
mod identity;
mod image_root;
mod init;
mod keeper;
mod launch;
mod lines;
mod log;
mod memory_group;
mod mounts;
mod parent;
mod pod;
mod reaper;
mod running;
mod scratch;
mod spec;
mod sys;

pub use event::{Event, Exit, Failure, FailureKind};
pub use keeper::{is_sandbox_process, sandbox_main};
pub use parent::{Gone, Sandbox, StartError};
pub use scratch::remove_scratch;
pub use spec::{ContainerSpec, Mount, Overlay, Rootfs, SandboxSpec};
