//! Steps of which nothing is wanted but how they end: their Pod is the user's container alone, as anybody would write it.
//!
//! No executor runs in such a Pod, so that nothing is staged, nothing is copied and no kubelet waits for an init container.
//! What the executor does for every other step is done by Kubernetes or is not needed: the exit code is in the Pod's status,
//! a deadline is the Pod's own, and an image's command is the container runtime's business.

use serde_json::Value;
use tiphys_api::{Container, TemplateType};
use tiphys_contract::{container, env};

use crate::archive;
use crate::draft::Draft;
use crate::input::Input;

/// Whether the step needs nothing that an executor does.
pub(crate) fn suffices(input: &Input<'_>) -> bool {
    let template = &*input.request.template;
    let Some(main) = template.container.as_deref() else { return false };
    let pauses = |variable: &Value| {
        let name = variable["name"].as_str().unwrap_or_default();
        name == env::DEBUG_PAUSE_BEFORE || name == env::DEBUG_PAUSE_AFTER
    };
    let arguments: usize = main.args.iter().map(String::len).sum();
    let patches = [&input.spec.pod_spec_patch, &template.pod_spec_patch];
    template.template_type() == Some(TemplateType::Container)
        && template.inputs.artifacts.is_empty()
        && template.outputs.artifacts.is_empty()
        && template.outputs.parameters.is_empty()
        && template.init_containers.is_empty()
        && template.sidecars.is_empty()
        && !template.is_daemon()
        && !input.request.include_script_output
        && !archive::archives_logs(template, input)
        // Of the workflow's deadline the Pod knows by itself; that of all attempts together is watched by the executor.
        && (input.request.deadline.is_none() || input.request.active_deadline_seconds.is_some())
        && !main.env.iter().any(pauses)
        && !reports_progress(main)
        && !patches.into_iter().any(|patch| names_executor(patch))
        && arguments < env::MAX_VALUE_BYTES
}

/// Whether the command says that it writes its progress, which the executor reads.
fn reports_progress(main: &Container) -> bool {
    let values = main.env.iter().filter_map(|variable| variable["value"].as_str());
    let words = main.command.iter().chain(&main.args).map(String::as_str);
    words.chain(values).any(|text| text.contains(env::PROGRESS_FILE))
}

/// Whether a patch may be for one of the executor's containers, which must be there then.
fn names_executor(patch: &str) -> bool {
    [container::INIT, container::WAIT, container::SUPERVISOR].iter().any(|name| patch.contains(name))
}

/// Makes the user's process one among others. As the first of its own namespace the kernel would keep from it the signal by
/// which it is told to end, unless it asked for it, and a stop would take the whole grace period. In other Pods the first is
/// the emissary.
pub(crate) fn share_processes(draft: &mut Draft) {
    let own = ["hostPID", "shareProcessNamespace"];
    if !own.iter().any(|field| draft.spec.contains_key(*field)) {
        draft.spec.insert("shareProcessNamespace".into(), true.into());
    }
}
