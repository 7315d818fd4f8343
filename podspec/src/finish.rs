//! The last steps: variables that are left, the user's patches, and the emissary in front of every command
//! (argo: workflowpod.go, build, substitutePodParams, processPodSpecPatch; util.go, ApplyPodSpecPatch).

use serde_json::{Value, json};
use tiphys_api::Container;
use tiphys_api::Template;
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_contract::{container, env, path};

use crate::config::Layout;
use crate::draft::{Draft, mount, mount_part, parse, variable};
use crate::environment::set_template;
use crate::error::Error;
use crate::input::Input;
use crate::{executor, go, names, plugins};

/// Resolves the variables that are left, in the Pod and in the template that it carries. The template is resolved by
/// itself, before it becomes text inside of the Pod's: quotes in a value stay quotes.
pub(crate) fn substitute(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<String, Error> {
    let pod = json!({"labels": draft.labels, "annotations": draft.annotations, "spec": draft.to_spec()});
    let what = "the Pod's variables";
    let mut pod = replaced(input, &pod, what)?;
    draft.labels = parse(pod["labels"].take(), what)?;
    draft.annotations = parse(pod["annotations"].take(), what)?;
    draft.set_spec(pod["spec"].take(), what)?;

    let template = replaced(input, &go::template(template), "the template's variables")?;
    if let Some(tag) = template.get("archiveLocation").and_then(|location| unresolved_tag(&location.to_string())) {
        return Err(Error::Unresolved { tag });
    }
    let text = template.to_string();
    set_template(draft, &text);
    Ok(text)
}

fn replaced(input: &Input<'_>, value: &Value, what: &'static str) -> Result<Value, Error> {
    let text = (input.substitute)(&value.to_string()).map_err(|reason| Error::Substitute { what, reason })?;
    serde_json::from_str(&text).map_err(|error| Error::Substitute { what, reason: error.to_string() })
}

fn unresolved_tag(text: &str) -> Option<String> {
    let start = text.find("{{")?;
    let end = text[start..].find("}}").map_or(text.len(), |end| start + end + 2);
    Some(text[start..end].to_owned())
}

/// Applies `podSpecPatch`: the workflow's, then the template's.
pub(crate) fn patch(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    for (of, patch) in [("workflow", &input.spec.pod_spec_patch), ("template", &template.pod_spec_patch)] {
        if patch.is_empty() {
            continue;
        }
        let patch: String = parse(replaced(input, &json!(patch), "podSpecPatch")?, "podSpecPatch")?;
        let patch =
            tiphys_api::yaml::to_json(&patch).map_err(|error| Error::PatchSyntax { of, reason: error.to_string() })?;
        if patch.is_null() {
            continue;
        }
        let spec = strategic_merge(&draft.to_spec(), &patch, Schema::PodSpec)
            .map_err(|source| Error::Merge { what: "podSpecPatch", source })?;
        draft.set_spec(spec, "podSpecPatch")?;
    }
    Ok(())
}

/// Puts the emissary in front of the users' commands, and mounts what it and the executor need.
pub(crate) fn wrap(draft: &mut Draft, input: &Input<'_>, template: &Template) -> Result<(), Error> {
    let shares_outputs = !plugins::of_outputs(input, template).is_empty();
    let supervised = draft.containers.iter().any(|made| container::is_auxiliary(&made.name));
    let grace = draft.spec.get("terminationGracePeriodSeconds").map(Value::to_string);
    for (index, made) in draft.containers.iter_mut().enumerate() {
        let ours = !container::is_user(&made.name);
        if !ours {
            run_with_emissary(made, input)?;
            // A patch may have brought it, after all others were told their names.
            if !made.env.iter().any(|known| known["name"] == env::CONTAINER_NAME) {
                made.env.push(variable(env::CONTAINER_NAME, &made.name));
            }
            if input.config.layout == Layout::ImageVolume {
                if supervised {
                    made.env.push(variable(env::WAIT_FOR_READY, "true"));
                }
                made.volume_mounts.push(plugins::binary_mount());
            }
        }
        if made.image == input.config.executor_image {
            made.volume_mounts.push(mount_part(names::TMP_VOLUME, path::SCRATCH, &index.to_string()));
        }
        if ours && shares_outputs {
            let shared = mount_part(names::TMP_VOLUME, names::SHARED_OUTPUTS, names::SHARED_OUTPUTS_SUB_PATH);
            made.volume_mounts.push(shared);
        }
        made.volume_mounts.push(mount(names::VAR_RUN_VOLUME, path::SHARED));
        if let Some(grace) = &grace {
            made.env.push(variable(env::TERMINATION_GRACE_PERIOD_SECONDS, grace));
        }
    }
    Ok(())
}

fn run_with_emissary(made: &mut Container, input: &Input<'_>) -> Result<(), Error> {
    if made.command.is_empty() {
        let (image, container) = (made.image.clone(), made.name.clone());
        let Some(known) = input.config.images.get(&image) else {
            return Err(Error::CommandUnknown { image, container });
        };
        made.command = known.entrypoint.clone();
        if made.args.is_empty() {
            made.args = known.cmd.clone();
        }
        if made.command.is_empty() && made.args.is_empty() {
            return Err(Error::CommandMissing { image, container });
        }
    }
    let mut command = vec![executor::emissary(input.config.layout).to_owned(), "emissary".to_owned()];
    command.extend(executor::log_options(input.config));
    command.push("--".into());
    command.append(&mut made.command);
    made.command = command;
    Ok(())
}
