//! Fields that the types do not know: misspelt, of a newer version, or gone since version 4.

use super::object::Object;
use super::place::Place;
use crate::diagnostic::{Diagnostic, Severity};

/// Fields of Kubernetes that the types keep without naming them.
const KUBERNETES: &[&str] = &[
    "clusterName",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "resizePolicy",
    "restartPolicyRules",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeDevices",
    "mountPropagation",
    "recursiveReadOnly",
    "subPathExpr",
];

/// Warnings for the unknown fields of an object.
pub(super) fn warnings(object: &Object, place: &Place) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    object.unknown_fields(&mut |path| {
        let name = path.rsplit('.').next().unwrap_or_default();
        if path.starts_with("status") || KUBERNETES.contains(&name) {
            return;
        }
        let warning = match replacement(&path, name, object) {
            Some(hint) => {
                let message = format!("`{path}` is gone since version 4 and is not heeded");
                place.diagnostic(Severity::Warning, &path, message).hinting(Some(hint.to_string()))
            }
            None => place.diagnostic(Severity::Warning, &path, format!("unknown field `{path}` is not heeded")),
        };
        warnings.push(warning);
    });
    if let Some(warning) = miswritten_kind(object, place) {
        warnings.push(warning);
    }
    warnings
}

fn replacement(path: &str, name: &str, object: &Object) -> Option<&'static str> {
    match name {
        "mutex" if path.ends_with("synchronization.mutex") => Some("write it as an item of the list `mutexes`"),
        "semaphore" if path.ends_with("synchronization.semaphore") => {
            Some("write it as an item of the list `semaphores`")
        }
        "schedule" if path == "spec.schedule" && matches!(object, Object::CronWorkflow(_)) => {
            Some("write it as an item of the list `schedules`")
        }
        "podPriority" => Some("name a priority class in `podPriorityClassName`"),
        _ => None,
    }
}

fn miswritten_kind(object: &Object, place: &Place) -> Option<Diagnostic> {
    const KINDS: &[&str] = &[
        "Workflow",
        "WorkflowTemplate",
        "ClusterWorkflowTemplate",
        "CronWorkflow",
        "WorkflowEventBinding",
        "ConfigMap",
        "Secret",
    ];
    let Object::Other(value) = object else { return None };
    let kind = value["kind"].as_str()?;
    let meant = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind) && **known != kind)?;
    let warning = place.diagnostic(Severity::Warning, "kind", format!("the kind `{kind}` is unknown"));
    Some(warning.hinting(Some(format!("did you mean `{meant}`?"))))
}
