//! What every container of the Pod finds in its environment (argo: workflowpod.go, build).

use serde_json::{Value, json};
use tiphys_api::Container;
use tiphys_contract::{container, env, path};

use crate::config::Layout;
use crate::draft::{Draft, variable};
use crate::go;
use crate::input::Input;

/// Adds the standard variables. `ARGO_TEMPLATE` is left without a value: see [`set_template`].
pub(crate) fn add(draft: &mut Draft, input: &Input<'_>) {
    let shared = shared(input);
    for made in &mut draft.init_containers {
        made.env.extend([variable(env::CONTAINER_NAME, &made.name), template_variable()]);
        made.env.extend(shared.clone());
    }
    let unstaged = input.config.layout == Layout::ImageVolume && !input.is_solo();
    let supervised = draft.container(container::SUPERVISOR).is_some();
    for made in &mut draft.containers {
        made.env.push(variable(env::CONTAINER_NAME, &made.name));
        made.env.extend(shared.clone());
        // Without an init container nobody has staged the template when this container starts.
        let main_alone = unstaged && !supervised && made.name == container::MAIN;
        if made.name == container::SUPERVISOR || main_alone {
            made.env.push(template_variable());
        }
    }
}

/// Gives `ARGO_TEMPLATE` its value wherever it is.
pub(crate) fn set_template(draft: &mut Draft, value: &str) {
    for made in draft.each_container() {
        for variable in made.env.iter_mut().filter(|variable| is_template(variable)) {
            *variable = json!({"name": env::TEMPLATE, "value": value});
        }
    }
}

/// Whether the container carries `ARGO_TEMPLATE`.
pub(crate) fn has_template(made: &Container) -> bool {
    made.env.iter().any(is_template)
}

fn is_template(variable: &Value) -> bool {
    variable.get("name").and_then(Value::as_str) == Some(env::TEMPLATE)
}

fn template_variable() -> Value {
    json!({"name": env::TEMPLATE})
}

fn shared(input: &Input<'_>) -> Vec<Value> {
    let request = input.request;
    let deadline = match request.deadline {
        Some(deadline) => deadline.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => env::NO_DEADLINE.to_owned(),
    };
    // A data template's output is its result.
    let include_output = request.include_script_output || request.template.data.is_some();
    let mut variables = vec![
        variable(env::NODE_ID, &request.node_id),
        variable(env::INCLUDE_SCRIPT_OUTPUT, include_output.to_string()),
        variable(env::DEADLINE, deadline),
        variable(env::WORKFLOW_NAME, input.workflow_name),
    ];
    if let Some(trace) = &request.trace {
        if !trace.state.is_empty() {
            variables.push(variable(env::TRACESTATE, &trace.state));
        }
        variables.push(variable(env::TRACEPARENT, trace.parent.to_string()));
    }
    let (patch, file) = (input.config.progress_patch_tick, input.config.progress_file_tick);
    // In a Pod without an executor nobody reads progress.
    if !patch.is_zero() && !file.is_zero() && !input.is_solo() {
        variables.extend([
            variable(env::PROGRESS_FILE, path::PROGRESS),
            variable(env::PROGRESS_PATCH_TICK, go::duration(patch)),
            variable(env::PROGRESS_FILE_TICK, go::duration(file)),
        ]);
    }
    variables
}
