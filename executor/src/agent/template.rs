//! The template, and what the executor asks of it.

use std::fs;
use std::io;

use tiphys_api::{Artifact, Template};
use tiphys_contract::{container, env, overlap};

use super::locations;
use super::settings::Settings;
use crate::paths::Paths;

/// The template's JSON as the driver gave it: from the environment, from the mounted configuration, or, in `wait`, from
/// where `init` left it.
///
/// # Errors
/// The text for the user when there is none.
pub fn read(paths: &Paths, settings: &Settings) -> Result<String, String> {
    let file = match settings.template.as_deref() {
        Some(env::OFFLOADED) => &paths.config_template,
        Some(json) => return Ok(json.to_owned()),
        None => &paths.template(),
    };
    fs::read_to_string(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if settings.template.is_none() => {
            format!("no template: {} is not set and {} does not exist", env::TEMPLATE, file.display())
        }
        _ => format!("cannot read the template from {}: {error}", file.display()),
    })
}

/// Reads the template.
///
/// # Errors
/// The text for the user.
pub fn parse(json: &str) -> Result<Template, String> {
    serde_json::from_str(json).map_err(|error| format!("failed to unmarshal template: {error}"))
}

/// Names of the user's containers whose end is the step's end.
pub fn mains(template: &Template) -> Vec<&str> {
    match &template.container_set {
        Some(set) => set.containers.iter().map(|member| member.name.as_str()).collect(),
        None => vec![container::MAIN],
    }
}

/// Whether a step of this kind has a result (argo: workflow_types.go, HasOutput).
pub fn has_result(template: &Template) -> bool {
    match &template.container_set {
        Some(set) => set.containers.iter().any(|member| member.name == container::MAIN),
        None => template.container.is_some() || template.script.is_some() || template.data.is_some(),
    }
}

/// Whether logs become artifacts.
pub fn archives_logs(template: &Template) -> bool {
    template.archive_location.as_ref().and_then(|location| location.archive_logs).unwrap_or(false)
}

/// The template's own mount that holds a path.
pub fn mount_of<'a>(template: &'a Template, path: &str) -> Option<&'a str> {
    let containers = template.container.iter().chain(&template.script).flat_map(|container| &container.volume_mounts);
    let sets = template.container_set.iter().flat_map(|set| &set.volume_mounts);
    let mounts = containers.map(|mount| mount.mount_path.as_str());
    let mounts = mounts.chain(sets.filter_map(|mount| mount.get("mountPath")?.as_str()));
    overlap::overlapping_mount(mounts, path)
}

/// Whether an output lies in `main`'s own file system, so that the emissary staged it; otherwise `wait` sees it through a
/// mirrored mount: of a volume, or of an input artifact (argo: executor.go, isBaseImagePath).
pub fn is_in_main(template: &Template, path: &str) -> bool {
    if mount_of(template, path).is_some() {
        return false;
    }
    let within = |input: &&Artifact| !input.path.is_empty() && overlap::is_within(&input.path, path);
    match template.inputs.artifacts.iter().find(within) {
        // Nothing was mounted for an optional input that nobody supplied.
        Some(input) => input.optional && !locations::is_supplied(input),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(json: &str) -> Template {
        parse(json).unwrap()
    }

    #[test]
    fn where_outputs_lie() {
        let template = template(
            r#"{"container":{"image":"x","volumeMounts":[{"name":"v","mountPath":"/mnt"}]},"inputs":{"artifacts":
            [{"name":"a","path":"/in","s3":{"key":"k"}},{"name":"b","path":"/opt","optional":true}]}}"#,
        );
        for (path, expected) in
            [("/tmp/x", true), ("/mnt/x", false), ("/in", false), ("/in/x", false), ("/inner", true), ("/opt", true)]
        {
            assert_eq!(is_in_main(&template, path), expected, "{path}");
        }
        assert_eq!(mount_of(&template, "/mnt/a/b"), Some("/mnt"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        assert!(parse("[]").unwrap_err().starts_with("failed to unmarshal template: "));
    }

    #[test]
    fn who_has_a_result() {
        assert!(has_result(&template(r#"{"script":{"image":"x","source":"y"}}"#)));
        assert!(has_result(&template(r#"{"containerSet":{"containers":[{"name":"main"}]}}"#)));
        let set = template(r#"{"containerSet":{"containers":[{"name":"a"}]}}"#);
        assert!(!has_result(&set));
        assert_eq!(mains(&set), ["a"]);
    }
}
