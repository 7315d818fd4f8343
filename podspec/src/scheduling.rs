//! Where the Pod runs and as whom: fields that come from the template, else its boundary's, else the workflow's
//! (argo: workflowpod.go, addSchedulingConstraints and setupServiceAccount; retry.go, AddHostnamesToAffinity).

use serde_json::{Value, json};
use tiphys_api::Template;
use tiphys_contract::env;

use crate::draft::{Draft, parse};
use crate::error::Error;
use crate::executor;
use crate::input::Input;
use crate::names;

/// Fields that only the workflow has, and the deadline.
pub(crate) fn add_workflow_fields(draft: &mut Draft, input: &Input<'_>) {
    let spec = input.spec;
    draft.set("restartPolicy", json!("Never"));
    draft.set("imagePullSecrets", json!(spec.image_pull_secrets));
    if spec.host_network == Some(true) {
        draft.set("hostNetwork", json!(true));
    }
    draft.set("dnsPolicy", json!(spec.dns_policy));
    draft.set("dnsConfig", json!(spec.dns_config));
}

/// The Pod's deadline. A container that pauses for debugging has none but the template's timeout.
pub(crate) fn add_deadline(draft: &mut Draft, input: &Input<'_>, template: &Template) {
    let pauses = draft
        .containers
        .iter()
        .flat_map(|container| &container.env)
        .filter_map(|variable| variable.get("name").and_then(Value::as_str))
        .any(|name| name == env::DEBUG_PAUSE_BEFORE || name == env::DEBUG_PAUSE_AFTER);
    if !pauses || !template.timeout.is_empty() {
        draft.set("activeDeadlineSeconds", json!(input.request.active_deadline_seconds));
    }
}

/// Service accounts of the Pod and of the executor.
pub(crate) fn add_service_account(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    let spec = input.spec;
    draft.set("serviceAccountName", json!(either(&template.service_account_name, &spec.service_account_name)));
    let automount = template.automount_service_account_token.or(spec.automount_service_account_token);
    if automount == Some(false) {
        draft.set("automountServiceAccountToken", json!(false));
    }
    match executor::service_account(template, spec) {
        Some(account) => {
            let secret = input
                .config
                .token_secrets
                .get(account)
                .ok_or_else(|| Error::TokenSecretUnknown { service_account: account.into() })?;
            draft.volumes.push(json!({"name": names::TOKEN_VOLUME, "secret": {"secretName": secret}}));
            Ok(())
        }
        None if automount == Some(false) => Err(Error::ExecutorServiceAccountMissing),
        None => Ok(()),
    }
}

/// Node selector, affinity, tolerations, scheduler, priority, host aliases, security context, resources.
pub(crate) fn add_constraints(draft: &mut Draft, input: &Input<'_>, template: &Template) {
    let (spec, boundary) = (input.spec, input.request.boundary.as_deref());
    let templates = || [Some(template), boundary].into_iter().flatten();

    let selector = templates().map(|t| &t.node_selector).find(|selector| !selector.is_empty());
    draft.set("nodeSelector", json!(selector.unwrap_or(&spec.node_selector)));
    let affinity = templates().find_map(|t| t.affinity.as_ref()).or(spec.affinity.as_ref());
    draft.set("affinity", json!(affinity));
    let tolerations = templates().map(|t| &t.tolerations).find(|tolerations| !tolerations.is_empty());
    draft.set("tolerations", json!(tolerations.unwrap_or(&spec.tolerations)));

    draft.set("schedulerName", json!(either(&template.scheduler_name, &spec.scheduler_name)));
    draft.set("priorityClassName", json!(either(&template.priority_class_name, &spec.pod_priority_class_name)));
    let aliases: Vec<&Value> = spec.host_aliases.iter().chain(&template.host_aliases).collect();
    draft.set("hostAliases", json!(aliases));
    draft.set("securityContext", json!(template.security_context.as_ref().or(spec.security_context.as_ref())));
    draft.set("resources", json!(template.pod_resources.as_ref().or(spec.pod_resources.as_ref())));
    let own_claims = Some(&template.resource_claims).filter(|claims| !claims.is_empty());
    draft.set("resourceClaims", json!(own_claims.unwrap_or(&spec.resource_claims)));
}

/// Keeps the Pod away from hosts: added to a rule of the user's that already avoids hosts, else to the first term.
pub(crate) fn avoid_hosts(draft: &mut Draft, input: &Input<'_>) -> Result<(), Error> {
    let hosts = &input.request.avoid_hosts;
    let label = &input.config.host_label;
    if hosts.is_empty() || label.is_empty() {
        return Ok(());
    }
    let what = "affinity";
    let affinity = draft.spec.entry(what).or_insert_with(|| json!({}));
    let mut place = affinity;
    for field in ["nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"] {
        place = object(place, what)?.entry(field).or_insert_with(|| json!({}));
    }
    let terms = object(place, what)?.entry("nodeSelectorTerms").or_insert_with(|| json!([]));
    let mut list: Vec<Value> = parse(terms.take(), what)?;
    if list.is_empty() {
        list.push(json!({}));
    }
    let rule = json!({"key": label, "operator": "NotIn", "values": hosts});
    let avoids = |rule: &Value| rule["key"] == json!(label) && rule["operator"] == json!("NotIn");
    let mut wanted = Some(rule);
    for term in &mut list {
        let rules = object(term, what)?.entry("matchExpressions").or_insert_with(|| json!([]));
        let mut rules_list: Vec<Value> = parse(rules.take(), what)?;
        if rules_list.is_empty() {
            rules_list.extend(wanted.take());
        } else if let Some(rule) = rules_list.iter_mut().find(|rule| avoids(rule)) {
            let mut values: Vec<String> = parse(rule["values"].take(), what)?;
            for host in hosts {
                if !values.contains(host) {
                    values.push(host.clone());
                }
            }
            rule["values"] = json!(values);
            wanted = None;
        }
        *rules = json!(rules_list);
        if wanted.is_none() {
            break;
        }
    }
    if let (Some(rule), Some(first)) = (wanted, list.first_mut())
        && let Some(Value::Array(rules)) = first.get_mut("matchExpressions")
    {
        rules.push(rule);
    }
    *terms = json!(list);
    Ok(())
}

fn object<'v>(value: &'v mut Value, what: &'static str) -> Result<&'v mut serde_json::Map<String, Value>, Error> {
    value.as_object_mut().ok_or_else(|| Error::Shape { what, reason: "it is no object".into() })
}

fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}
