//! What becomes of a Pod when its node is over and that has been written. argo: workflow/controller/pod/cleanup.go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tiphys_api::{PodGc, WorkflowPhase};
use tiphys_engine::PodPhase;

use crate::config::Config;

/// What to do with a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// Nothing yet: the end of the workflow decides.
    Later,
    /// It stays, with the label that takes it out of sight.
    Label,
    /// It goes after a while.
    Delete(Duration),
}

/// Decides for one Pod.
pub(super) fn decide(
    gc: Option<&PodGc>,
    config: &Config,
    labels: &BTreeMap<String, String>,
    pod: PodPhase,
    workflow: WorkflowPhase,
) -> Release {
    let Some(gc) = gc.filter(|gc| !gc.strategy.is_empty()) else { return Release::Label };
    if gc.label_selector.as_ref().is_some_and(|selector| !selects(selector, labels)) {
        return Release::Label;
    }
    let delay = tiphys_expr::go::parse_duration(&gc.delete_delay_duration).ok();
    let delay = delay.and_then(|nanos| u64::try_from(nanos).ok()).map_or(config.pod.pod_gc_delay, Duration::from_nanos);
    let succeeded = workflow == WorkflowPhase::Succeeded;
    match gc.strategy.as_str() {
        "OnPodCompletion" => Release::Delete(delay),
        "OnPodSuccess" if pod == PodPhase::Succeeded => Release::Delete(delay),
        "OnPodSuccess" => Release::Label,
        "OnWorkflowCompletion" if workflow.is_completed() => Release::Delete(delay),
        "OnWorkflowSuccess" if succeeded => Release::Delete(delay),
        _ if workflow.is_completed() => Release::Label,
        _ => Release::Later,
    }
}

/// Whether a label selector (`matchLabels`, `matchExpressions`) selects these labels. Source: Kubernetes API conventions.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.into_iter().all(|(name, value)| labels.get(name).map(String::as_str) == value.as_str())
        && expressions.all(|one| {
            let value = one["key"].as_str().and_then(|key| labels.get(key));
            let listed =
                || one["values"].as_array().into_iter().flatten().any(|one| one.as_str() == value.map(String::as_str));
            match one["operator"].as_str() {
                Some("In") => value.is_some() && listed(),
                Some("NotIn") => value.is_none() || !listed(),
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strategies() {
        use PodPhase::{Failed, Succeeded};
        use WorkflowPhase as W;
        let config = Config::default();
        let later = Release::Delete(Duration::from_secs(5));
        for (strategy, pod, workflow, expected) in [
            ("", Succeeded, W::Running, Release::Label),
            ("OnPodCompletion", Failed, W::Running, later),
            ("OnPodSuccess", Succeeded, W::Running, later),
            ("OnPodSuccess", Failed, W::Running, Release::Label),
            ("OnWorkflowCompletion", Succeeded, W::Running, Release::Later),
            ("OnWorkflowCompletion", Succeeded, W::Failed, later),
            ("OnWorkflowSuccess", Succeeded, W::Failed, Release::Label),
            ("OnWorkflowSuccess", Failed, W::Succeeded, later),
        ] {
            let gc = PodGc { strategy: strategy.into(), ..PodGc::default() };
            assert_eq!(decide(Some(&gc), &config, &BTreeMap::new(), pod, workflow), expected, "{strategy}");
        }
        let gc = PodGc {
            strategy: "OnPodCompletion".into(),
            delete_delay_duration: "0s".into(),
            label_selector: Some(json!({"matchLabels": {"a": "1"}})),
            ..PodGc::default()
        };
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let decided = |labels| decide(Some(&gc), &config, labels, Succeeded, W::Running);
        assert_eq!(decided(&labels), Release::Delete(Duration::ZERO));
        assert_eq!(decided(&BTreeMap::new()), Release::Label);
    }

    #[test]
    fn selectors() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (expression, expected) in [
            (json!({"key": "a", "operator": "In", "values": ["1", "2"]}), true),
            (json!({"key": "a", "operator": "NotIn", "values": ["1"]}), false),
            (json!({"key": "b", "operator": "NotIn", "values": ["1"]}), true),
            (json!({"key": "b", "operator": "In", "values": ["1"]}), false),
            (json!({"key": "a", "operator": "Exists"}), true),
            (json!({"key": "a", "operator": "DoesNotExist"}), false),
        ] {
            assert_eq!(selects(&json!({"matchExpressions": [expression]}), &labels), expected, "{expression}");
        }
    }
}
