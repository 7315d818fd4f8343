//! What the tests decide: how Pods come out, what else exists, and what users ask for.

use std::collections::BTreeMap;

use tiphys_api::{NodePhase, NodeResult, Outputs, WorkflowSpec};
use tiphys_engine::{
    ConfigMapData, ContainerState, ContainerStatus, PodPhase, PodRequest, PodState, Shutdown, TaskRequest,
};

/// How a Pod comes out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The containers at the end, or a running daemon's. A Pod that is Pending here never starts.
    pub state: PodState,
    /// What the executor reports.
    pub outputs: Outputs,
    /// How long it runs, in seconds. A daemon runs until it is killed.
    pub seconds: i64,
    /// Whether it stays running.
    pub daemon: bool,
    /// Why the Pod cannot be made at all; empty where it can.
    pub refused: String,
}

impl Outcome {
    /// Everything went well.
    pub fn success(outputs: Outputs) -> Outcome {
        Outcome {
            state: finished(PodPhase::Succeeded, 0, "Completed", ""),
            outputs,
            seconds: 1,
            daemon: false,
            refused: String::new(),
        }
    }

    /// The main container ended with that code.
    pub fn failure(exit_code: i32, message: &str) -> Outcome {
        let state = finished(PodPhase::Failed, exit_code, "Error", message);
        Outcome { state, outputs: Outputs::default(), seconds: 1, daemon: false, refused: String::new() }
    }
}

/// A Pod whose main container is over, and whose supervisor ended well.
pub(crate) fn finished(phase: PodPhase, exit_code: i32, reason: &str, message: &str) -> PodState {
    let over = |name: &str, exit_code: i32, reason: &str, message: &str| ContainerState {
        name: name.into(),
        init: false,
        ready: false,
        status: ContainerStatus::Terminated {
            exit_code,
            reason: reason.into(),
            message: message.into(),
            finished: None,
        },
    };
    let containers = vec![over("main", exit_code, reason, message), over("wait", 0, "Completed", "")];
    PodState { phase, containers, ..Default::default() }
}

/// Decides how Pods and tasks come out.
pub trait Script {
    /// The outcome of a node's Pod. It must be the same each time it is asked for the same node.
    fn outcome(&mut self, request: &PodRequest) -> Outcome;

    /// What comes of a task, and after how many seconds. It must be the same each time it is asked for the same node.
    fn result(&mut self, _request: &TaskRequest) -> (NodeResult, i64) {
        (NodeResult { phase: NodePhase::Succeeded, ..NodeResult::default() }, 1)
    }
}

impl<F: FnMut(&PodRequest) -> Outcome> Script for F {
    fn outcome(&mut self, request: &PodRequest) -> Outcome {
        self(request)
    }
}

/// What exists besides the workflow, and what is asked of it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// WorkflowTemplates by name.
    pub templates: BTreeMap<String, WorkflowSpec>,
    /// ClusterWorkflowTemplates by name.
    pub cluster_templates: BTreeMap<String, WorkflowSpec>,
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, ConfigMapData>,
    /// What users ask for, and how many seconds after the start.
    pub requests: Vec<(i64, Request)>,
}

/// What a user asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// To end early.
    Shutdown(Shutdown),
    /// To suspend the workflow, or to resume it.
    Suspend(bool),
    /// To set a key of a ConfigMap.
    ConfigMap {
        /// The ConfigMap's name.
        name: String,
        /// The key.
        key: String,
        /// The new value.
        value: String,
    },
}
