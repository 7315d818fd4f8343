//! Phases and types of nodes and workflows.

use serde::{Deserialize, Serialize};

use crate::object::Field;

macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $text:literal ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            /// Not known yet.
            #[default]
            #[serde(rename = "")]
            Unknown,
            $( $(#[$vmeta])* $variant ),*
        }

        impl $name {
            /// The word as manifests and users know it; empty while unknown.
            pub fn as_str(self) -> &'static str {
                match self {
                    $name::Unknown => "",
                    $( $name::$variant => $text ),*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Field for $name {
            fn is_empty(&self) -> bool {
                *self == $name::Unknown
            }
            fn schema(_above: &mut Vec<&'static str>) -> serde_json::Value {
                crate::object::scalar("string")
            }
        }
    };
}

words! {
    /// The phase of a node. argo: workflow_types.go, NodePhase.
    pub enum NodePhase {
        /// Waiting for its Pod, a lock or a quota.
        Pending = "Pending",
        /// At work, or its children are.
        Running = "Running",
        /// Done, with success.
        Succeeded = "Succeeded",
        /// Not run, because its condition was false or it had nothing to loop over.
        Skipped = "Skipped",
        /// The user's work failed.
        Failed = "Failed",
        /// Something other than the user's work failed.
        Error = "Error",
        /// Not run, because what it depends on did not come out as required.
        Omitted = "Omitted",
    }
}

impl NodePhase {
    /// Over, in whatever way.
    pub fn is_fulfilled(self) -> bool {
        matches!(
            self,
            NodePhase::Succeeded | NodePhase::Failed | NodePhase::Error | NodePhase::Skipped | NodePhase::Omitted
        )
    }

    /// Over after having run. Exit hooks run for these only.
    pub fn is_completed(self) -> bool {
        matches!(self, NodePhase::Succeeded | NodePhase::Failed | NodePhase::Error)
    }

    /// Failed or Error.
    pub fn is_failed_or_error(self) -> bool {
        matches!(self, NodePhase::Failed | NodePhase::Error)
    }
}

words! {
    /// The phase of a workflow.
    pub enum WorkflowPhase {
        /// Waiting for a lock or for its turn.
        Pending = "Pending",
        /// At work.
        Running = "Running",
        /// Done, with success.
        Succeeded = "Succeeded",
        /// The user's work failed.
        Failed = "Failed",
        /// Something other than the user's work failed.
        Error = "Error",
    }
}

impl WorkflowPhase {
    /// Whether nothing more will happen.
    pub fn is_completed(self) -> bool {
        matches!(self, WorkflowPhase::Succeeded | WorkflowPhase::Failed | WorkflowPhase::Error)
    }
}

words! {
    /// What kind of node it is.
    pub enum NodeType {
        /// A Pod.
        Pod = "Pod",
        /// One container of a container set.
        Container = "Container",
        /// Steps, one group after another.
        Steps = "Steps",
        /// Steps that run side by side.
        StepGroup = "StepGroup",
        /// Tasks ordered by dependencies.
        #[serde(rename = "DAG")]
        Dag = "DAG",
        /// The iterations of a looped DAG task.
        TaskGroup = "TaskGroup",
        /// The attempts of a template with a retry strategy.
        Retry = "Retry",
        /// Never run; also nodes that failed before their type was known.
        Skipped = "Skipped",
        /// A pause.
        Suspend = "Suspend",
        /// A request made by the agent.
        #[serde(rename = "HTTP")]
        Http = "HTTP",
        /// Work of an executor plugin.
        Plugin = "Plugin",
    }
}
