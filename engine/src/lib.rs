//! The semantics of workflows, without any IO: facts in, decisions out.
//!
//! A driver makes a [`Run`], tells it [`Fact`]s and asks for a [`Plan`]: which nodes changed, which [`Action`]s to take,
//! which [`Need`]s to answer, and when to ask again. There is no clock, file, network or random number in here; the time
//! is handed in. See ARCHITECTURE.md for how it stays incremental.

mod agent_task;
mod aggregate;
mod artifacts;
mod call;
mod changed_spec;
mod claims;
mod collect;
pub mod cron;
mod dag;
mod depends;
mod estimate;
mod expand;
mod fact;
mod field_selector;
mod frame;
mod globals;
mod hdfs;
mod id;
mod item;
mod locking;
mod locks;
mod manual_retry;
mod manual_set;
mod memo;
mod metrics;
mod node;
mod outbound;
mod outputs;
mod plan;
mod pod;
mod pod_restart;
mod progress;
mod repository;
mod restrictions;
mod resubmit;
mod retry;
mod room;
mod run;
mod scope;
mod setup;
mod slot;
mod steps;
mod suspend;
mod templates;
mod transient;
mod unreported;
mod unsupported;
pub mod validate;
mod workflow;

pub use claims::{claim_name, claim_template_name, claim_volume, claim_volumes, claims_at_hand, keeps_claims};
pub use collect::{Collection, CollectionStrategy, collection_label, collections, is_all_collected, is_collected};
pub use estimate::{Baseline, CRON_WORKFLOW, ORIGINS, of_template, origin};
pub use fact::{
    ConfigMapData, ConfigMapFound, ContainerState, ContainerStatus, Fact, MemoEntry, PodPhase, PodState, Shutdown,
};
pub use field_selector::NodeSelector;
pub use id::{NodeId, PodNameFormat, fnv1a_32, pod_name};
pub use locks::{
    LockAnswer, LockHolder, LockKind, LockName, LockNews, LockRequest, LockState, LockWait, Locks, SharedLock,
    SharedRequest, SharedState, SharedWork,
};
pub use manual_retry::{Retried, RetryOptions, override_parameters, retry_workflow};
pub use manual_set::{SetNodes, resume_workflow, set_nodes};
pub use plan::{Action, GaugeOperation, Measured, Measurement, Need, Plan, PodRequest, TaskRequest};
pub use repository::{ConfigMaps, NoRepository, RepositorySearch};
pub use restrictions::Restriction;
pub use resubmit::{resubmit_workflow, resubmitted_prefix};
pub use run::{EngineConfig, Run};
pub use unsupported::{Unsupported, unsupported};
