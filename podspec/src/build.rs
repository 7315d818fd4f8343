//! The order in which a Pod is made (argo: workflowpod.go, build).

use tiphys_contract::{label, path};

use crate::config::Layout;
use crate::draft::{Draft, Pod, mount};
use crate::error::Error;
use crate::input::Input;
use crate::{
    archive, artifacts, environment, executor, finish, main_containers, metadata, names, offload, plugins, scheduling,
    solo, volumes,
};

/// The Pod of one node.
///
/// # Errors
/// A mistake in the template or the configuration, or a fact that is missing: see [`Error`].
pub fn build(input: &Input<'_>) -> Result<Pod, Error> {
    let solo = input.is_solo();
    let mut template = (*input.request.template).clone();
    main_containers::own_manifest(&mut template, input)?;

    let mut draft = Draft { containers: main_containers::of(input, &template)?, ..Draft::default() };
    metadata::identify(&mut draft, input);
    scheduling::add_workflow_fields(&mut draft, input);
    scheduling::add_deadline(&mut draft, input, &template);
    volumes::add_base(&mut draft, input, &template);

    archive::fill_location(&mut template, input);
    plugins::fill_timeouts(&mut template, input.config);
    scheduling::add_service_account(&mut draft, input, &template)?;

    // First, because kubelet starts containers in their order.
    draft.containers.splice(0..0, executor::auxiliary(input, &template));
    metadata::name_default_container(&mut draft);
    metadata::note_pod_gc(&mut draft, input)?;
    if solo {
        draft.annotations.insert(label::LAYOUT.into(), label::SOLO.into());
    }
    if !solo && input.config.layout == Layout::Legacy {
        draft.init_containers.push(executor::init(input, &template));
        draft.init_containers.extend(plugins::init_containers(input, &template)?);
    }
    scheduling::add_constraints(&mut draft, input, &template);
    metadata::add_users(&mut draft, input, &template);
    metadata::note_trace(&mut draft, input);

    volumes::add_references(&mut draft, input, &template)?;
    artifacts::add_inputs(&mut draft, input, &template)?;
    if template.script.is_some() {
        artifacts::add_staging(&mut draft);
    }
    artifacts::add_user_containers(&mut draft, &template);
    plugins::add_sidecars(&mut draft, input, &template)?;
    artifacts::mirror_main(&mut draft, &template);
    for init in &mut draft.init_containers {
        init.volume_mounts.push(mount(names::VAR_RUN_VOLUME, path::SHARED));
    }

    environment::add(&mut draft, input);
    let carried = finish::substitute(&mut draft, input, &template)?;
    finish::patch(&mut draft, input, &template)?;
    let mut config_map = None;
    if solo {
        solo::share_processes(&mut draft);
    } else {
        finish::wrap(&mut draft, input, &template)?;
        config_map = offload::offload(&mut draft, input, &carried);
    }
    scheduling::avoid_hosts(&mut draft, input)?;

    Ok(Pod {
        name: input.request.pod_name.clone(),
        namespace: input.namespace.to_owned(),
        spec: draft.to_spec(),
        owner_references: metadata::owner(input).into_iter().collect(),
        finalizers: input.config.status_finalizer.then(|| label::STATUS_FINALIZER.to_owned()).into_iter().collect(),
        labels: draft.labels,
        annotations: draft.annotations,
        config_map,
    })
}
