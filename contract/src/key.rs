//! Names of outputs in the artifact repository (argo: executor.go, stageArchiveFile and saveArtifactFromFile).

/// Key of a step's outputs and logs when the repository names no format of its own.
pub const DEFAULT_KEY_FORMAT: &str = "{{workflow.name}}/{{pod.name}}";

/// How an artifact is packed, as far as its name is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// `<artifact>.tgz`; the default.
    Tar,
    /// `<artifact>.zip`.
    Zip,
    /// The path's own last part.
    None,
}

/// File name of an output artifact.
pub fn file_name(artifact: &str, path: &str, packing: Packing) -> String {
    match packing {
        Packing::Tar => format!("{artifact}.tgz"),
        Packing::Zip => format!("{artifact}.zip"),
        Packing::None => base_name(path).to_owned(),
    }
}

/// File name of a container's archived log.
pub fn log_file_name(container: &str) -> String {
    format!("{container}.log")
}

/// Name of the artifact under which a container's archived log is reported.
pub fn log_artifact_name(container: &str) -> String {
    format!("{container}-logs")
}

/// Key of a file below the archive location's key. As Go's `path.Join`: doubled slashes and dots are resolved and an
/// empty location adds nothing.
pub fn join(location_key: &str, file_name: &str) -> String {
    let rooted = location_key.starts_with('/');
    let cleaned = crate::overlap::clean(&format!("{location_key}/{file_name}"));
    if rooted { cleaned } else { cleaned.trim_start_matches('/').to_owned() }
}

/// Last part of a path, trailing slashes ignored; `/` for the root.
pub fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_packing() {
        assert_eq!(file_name("out", "/tmp/x.txt", Packing::Tar), "out.tgz");
        assert_eq!(file_name("out", "/tmp/x.txt", Packing::Zip), "out.zip");
        assert_eq!(file_name("out", "/tmp/x.txt", Packing::None), "x.txt");
        assert_eq!(file_name("out", "/tmp/dir/", Packing::None), "dir");
        assert_eq!(base_name("/"), "/");
    }

    #[test]
    fn keys_are_joined_as_go_does() {
        assert_eq!(join("wf/pod", "out.tgz"), "wf/pod/out.tgz");
        assert_eq!(join("wf//pod/", "out.tgz"), "wf/pod/out.tgz");
        assert_eq!(join("", "out.tgz"), "out.tgz");
        assert_eq!(join("/wf", "out.tgz"), "/wf/out.tgz");
        assert_eq!(log_file_name("main"), "main.log");
        assert_eq!(log_artifact_name("main"), "main-logs");
    }
}
