//! What the live controller's status says of the locks that our engine asks for: which of two holders comes first is the live
//! controller's to decide.

use tiphys_api::{NodePhase, Workflow, WorkflowPhase};
use tiphys_engine::{LockAnswer, LockRequest, LockWait};

/// How a workflow begins to say that its own locks cannot be had. argo: operator.go, operate.
const REFUSED: &str = "Failed to acquire the synchronization lock.";

/// The answer to a request, where it can be told by now.
pub fn answer(theirs: &Workflow, request: &LockRequest) -> Option<LockAnswer> {
    let waits = |waiting: &str, message: &str| {
        let lock = request.locks.iter().find(|lock| lock.to_string() == waiting).or(request.locks.first())?;
        Some(LockAnswer::Waiting(LockWait { lock: lock.clone(), message: message.to_owned(), held_by: Vec::new() }))
    };
    let status = &theirs.status;
    let Some(node) = &request.holder.node else {
        return match status.phase {
            WorkflowPhase::Unknown => None,
            WorkflowPhase::Pending => waits("", &status.message),
            _ => Some(match status.message.strip_prefix(REFUSED).filter(|_| status.nodes.is_empty()) {
                Some(message) => LockAnswer::Refused { message: message.trim_start().to_owned() },
                None => LockAnswer::Granted,
            }),
        };
    };
    let node = status.nodes.get(node.as_str())?;
    let waiting = node.synchronization_status.as_ref().map_or("", |waiting| waiting.waiting.as_str());
    match node.phase {
        _ if !waiting.is_empty() => waits(waiting, &node.message),
        // Whoever has its locks has begun, and leaves something behind.
        NodePhase::Error if node.children.is_empty() && node.host_node_name.is_empty() => {
            Some(LockAnswer::Refused { message: node.message.clone() })
        }
        _ => Some(LockAnswer::Granted),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use tiphys_engine::{LockHolder, LockKind, LockName, NodeId};

    use super::*;

    fn request(node: Option<&str>) -> LockRequest {
        LockRequest {
            holder: LockHolder { workflow: "a/wf".into(), node: node.map(NodeId::from) },
            locks: vec![LockName::parse("a/Mutex/m", LockKind::Mutex).unwrap()],
            priority: 0,
            created: Timestamp::UNIX_EPOCH,
        }
    }

    fn answered(status: Value, node: Option<&str>) -> Option<LockAnswer> {
        answer(&serde_json::from_value(json!({"status": status})).unwrap(), &request(node))
    }

    #[test]
    fn the_live_status_tells_who_has_them() {
        let node = |fields: Value| json!({"phase": "Running", "nodes": {"n": fields}});
        assert_eq!(answered(json!({"phase": "Running"}), Some("n")), None);
        let waiting = node(json!({"phase": "Pending", "message": "Waiting for a/Mutex/m lock.",
            "synchronizationStatus": {"waiting": "a/Mutex/m"}}));
        let Some(LockAnswer::Waiting(wait)) = answered(waiting, Some("n")) else { panic!("it waits") };
        assert_eq!(
            (wait.lock.to_string().as_str(), wait.message.as_str()),
            ("a/Mutex/m", "Waiting for a/Mutex/m lock.")
        );
        assert_eq!(answered(node(json!({"phase": "Running"})), Some("n")), Some(LockAnswer::Granted));
        let refused = node(json!({"phase": "Error", "message": "no such key"}));
        assert_eq!(answered(refused, Some("n")), Some(LockAnswer::Refused { message: "no such key".into() }));
        let failed = node(json!({"phase": "Error", "message": "gone", "hostNodeName": "h"}));
        assert_eq!(answered(failed, Some("n")), Some(LockAnswer::Granted));
    }

    #[test]
    fn so_does_the_workflows_own() {
        assert_eq!(answered(json!({}), None), None);
        assert!(matches!(answered(json!({"phase": "Pending", "message": "w"}), None), Some(LockAnswer::Waiting(_))));
        assert_eq!(answered(json!({"phase": "Running"}), None), Some(LockAnswer::Granted));
        let refused = json!({"phase": "Failed", "message": "Failed to acquire the synchronization lock. no such map"});
        assert_eq!(answered(refused, None), Some(LockAnswer::Refused { message: "no such map".into() }));
    }
}
