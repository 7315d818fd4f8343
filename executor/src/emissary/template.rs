//! What the emissary needs to know of the template. Read leniently: every other field is skipped, absent and null are the
//! same.

use serde::Deserialize;
use tiphys_contract::{container, overlap};

/// The template, as far as it concerns one container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    inputs: Option<Inputs>,
    outputs: Option<Outputs>,
    container: Option<Mounting>,
    script: Option<Mounting>,
    container_set: Option<ContainerSet>,
    sidecars: Option<Vec<Member>>,
    archive_location: Option<ArchiveLocation>,
}

#[derive(Debug, Default, Deserialize)]
struct Inputs {
    artifacts: Option<Vec<Input>>,
}

#[derive(Debug, Deserialize)]
struct Input {
    #[serde(default)]
    name: String,
    path: Option<String>,
    optional: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct Outputs {
    parameters: Option<Vec<Parameter>>,
    artifacts: Option<Vec<Artifact>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter {
    value_from: Option<ValueFrom>,
}

#[derive(Debug, Deserialize)]
struct ValueFrom {
    path: Option<String>,
}

/// An output artifact.
#[derive(Debug, Deserialize)]
pub struct Artifact {
    /// Its name, unique in the template.
    pub name: String,
    path: Option<String>,
    archive: Option<Archive>,
}

#[derive(Debug, Deserialize)]
struct Archive {
    none: Option<serde::de::IgnoredAny>,
    zip: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mounting {
    volume_mounts: Option<Vec<Mount>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    mount_path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSet {
    containers: Option<Vec<Member>>,
    volume_mounts: Option<Vec<Mount>>,
    retry_strategy: Option<Retry>,
}

#[derive(Debug, Deserialize)]
struct Member {
    name: String,
    dependencies: Option<Vec<String>>,
}

/// How often a member of a container set is started.
#[derive(Clone, Debug, Deserialize)]
pub struct Retry {
    retries: Option<serde_json::Value>,
    duration: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchiveLocation {
    archive_logs: Option<bool>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When the text is no JSON object, or one of the fields needed here has another type.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    /// Whether container logs become artifacts.
    pub fn archives_logs(&self) -> bool {
        self.archive_location.as_ref().and_then(|location| location.archive_logs).unwrap_or(false)
    }

    /// Names of the user's containers whose end is the step's end.
    pub fn mains(&self) -> Vec<&str> {
        match &self.container_set {
            Some(set) => set.containers.iter().flatten().map(|member| member.name.as_str()).collect(),
            None => vec![container::MAIN],
        }
    }

    /// Whether the container is one that must end when the mains have.
    pub fn is_sidecar(&self, container: &str) -> bool {
        self.sidecars.iter().flatten().any(|sidecar| sidecar.name == container)
    }

    /// Containers of the set that must have succeeded before this one starts.
    pub fn dependencies(&self, container: &str) -> &[String] {
        self.container_set
            .iter()
            .flat_map(|set| set.containers.iter().flatten())
            .find(|member| member.name == container)
            .and_then(|member| member.dependencies.as_deref())
            .unwrap_or_default()
    }

    /// The container set's retry policy.
    pub fn retry(&self) -> Option<&Retry> {
        self.container_set.as_ref()?.retry_strategy.as_ref()
    }

    /// Paths of output parameters that this container must hand over: those that `wait` does not see itself.
    pub fn parameter_paths(&self) -> impl Iterator<Item = &str> {
        let parameters = self.outputs.iter().flat_map(|outputs| outputs.parameters.iter().flatten());
        parameters
            .filter_map(|parameter| parameter.value_from.as_ref()?.path.as_deref())
            .filter(|path| !path.is_empty() && !self.is_mounted(path))
    }

    /// Output artifacts that this container must hand over, each with its path.
    pub fn artifacts(&self) -> impl Iterator<Item = (&str, &Artifact)> {
        let artifacts = self.outputs.iter().flat_map(|outputs| outputs.artifacts.iter().flatten());
        artifacts
            .filter_map(|artifact| Some((artifact.path.as_deref()?, artifact)))
            .filter(|(path, _)| !path.is_empty() && !self.is_mounted(path))
    }

    /// Paths of the volumes that the template itself mounts.
    pub fn mounts(&self) -> impl Iterator<Item = &str> {
        let mounts = [&self.container, &self.script].into_iter().flatten().map(|part| &part.volume_mounts);
        let mounts = mounts.chain(self.container_set.iter().map(|set| &set.volume_mounts));
        mounts.flat_map(|mounts| mounts.iter().flatten()).map(|mount| mount.mount_path.as_str())
    }

    /// Input artifacts with a path, each with its name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        let inputs = self.inputs.iter().flat_map(|inputs| inputs.artifacts.iter().flatten());
        inputs
            .filter_map(|input| Some((input.name.as_str(), input.path.as_deref()?)))
            .filter(|(_, path)| !path.is_empty())
    }

    /// Whether a path lies on something mounted that `wait` sees too: a volume of the template's, or an input artifact. An
    /// optional input may not have been mounted; handing over what it hides is then needed, and otherwise harmless.
    fn is_mounted(&self, path: &str) -> bool {
        let volumes = self.mounts();
        let inputs = self.inputs.iter().flat_map(|inputs| inputs.artifacts.iter().flatten());
        let required = inputs.filter(|input| input.optional != Some(true)).filter_map(|input| input.path.as_deref());
        overlap::overlapping_mount(volumes.chain(required.filter(|at| !at.is_empty())), path).is_some()
    }

    /// Forgets the inputs: where they are links in this container's own file system, `wait` does not see what they became.
    pub fn forget_inputs(&mut self) {
        self.inputs = None;
    }
}

impl Artifact {
    /// Whether it is stored as a tar, which keeps modes, owners and links.
    pub fn is_tar(&self) -> bool {
        self.archive.as_ref().is_none_or(|archive| archive.none.is_none() && archive.zip.is_none())
    }
}

impl Retry {
    /// How often the command is started at most. As in Argo `retries` counts the starts, not the repetitions; unlike
    /// there 0 starts it once instead of succeeding without (argo: container_set_template_types.go).
    ///
    /// # Errors
    /// The text for the user when it is no number.
    pub fn starts(&self) -> Result<u32, String> {
        let number = match &self.retries {
            None | Some(serde_json::Value::Null) => Some(1),
            Some(serde_json::Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64().and_then(|number| number.try_into().ok()),
        };
        number
            .map(|starts: u32| starts.max(1))
            .ok_or_else(|| format!("containerSet.retryStrategy.retries must be a number, not {:?}", self.retries))
    }

    /// The pause between two starts.
    ///
    /// # Errors
    /// The text for the user when it is no duration.
    pub fn pause(&self) -> Result<std::time::Duration, String> {
        match self.duration.as_deref() {
            None | Some("") => Ok(std::time::Duration::ZERO),
            Some(text) => crate::duration::parse(text)
                .ok_or_else(|| format!("containerSet.retryStrategy.duration {text:?} is no duration such as \"10s\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_on_volumes_are_left_to_wait() {
        let mut template = Template::parse(
            br#"{"name":"x","inputs":{"artifacts":[{"name":"i","path":"/in"},{"name":"j","path":"/opt","optional":true}]},
            "container":{"image":"i","volumeMounts":[{"name":"v","mountPath":"/mnt"}]},"outputs":
            {"parameters":[{"name":"a","valueFrom":{"path":"/tmp/a"}},{"name":"b","valueFrom":{"path":"/mnt/b"}},
            {"name":"c","value":1}],"artifacts":[{"name":"d","path":"/out","archive":{"none":{}}},{"name":"e"},
            {"name":"f","path":"/mnt"},{"name":"h","path":"/in/x"},{"name":"i","path":"/opt"},{"name":"g","path":"/g","archive":null}]}}"#,
        )
        .unwrap();
        assert_eq!(template.parameter_paths().collect::<Vec<_>>(), ["/tmp/a"]);
        let artifacts: Vec<_> = template.artifacts().map(|(path, artifact)| (path, artifact.is_tar())).collect();
        assert_eq!(artifacts, [("/out", false), ("/opt", true), ("/g", true)]);
        assert_eq!(template.mains(), ["main"]);
        template.forget_inputs();
        assert_eq!(template.artifacts().count(), 4);
        assert!(!template.archives_logs());
    }

    #[test]
    fn container_sets_have_members_and_retries() {
        let template = Template::parse(
            br#"{"containerSet":{"retryStrategy":{"retries":"3","duration":"2s"},"containers":[{"name":"a"},
            {"name":"main","dependencies":["a"]}]},"sidecars":[{"name":"s"}],"archiveLocation":{"archiveLogs":true}}"#,
        )
        .unwrap();
        assert_eq!(template.mains(), ["a", "main"]);
        assert_eq!(template.dependencies("main"), ["a"]);
        assert!(template.dependencies("a").is_empty() && template.is_sidecar("s") && template.archives_logs());
        let retry = template.retry().unwrap();
        assert_eq!((retry.starts(), retry.pause()), (Ok(3), Ok(std::time::Duration::from_secs(2))));
        let zero = Retry { retries: Some(0.into()), duration: None };
        assert_eq!(zero.starts(), Ok(1));
    }
}
