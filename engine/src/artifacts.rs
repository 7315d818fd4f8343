//! Small rules about artifacts' locations. argo: workflow_types.go, Artifact and ArtifactLocation.

use tiphys_api::Artifact;

use crate::run::Stop;

/// Whether it says where the artifact is, by a whole location or by a key whose rest a repository gives.
pub(crate) fn has_location_or_key(artifact: &Artifact) -> bool {
    artifact.location().store().is_some()
}

/// Appends to the key, to reach a part of an artifact.
pub(crate) fn append_to_key(artifact: &mut Artifact, sub_path: &str) -> Result<(), Stop> {
    let join = |key: &mut String| {
        let left = key.trim_end_matches('/');
        *key = format!("{left}/{}", sub_path.trim_start_matches('/'));
    };
    if let Some(s3) = &mut artifact.s3 {
        join(&mut s3.key);
    } else if let Some(gcs) = &mut artifact.gcs {
        join(&mut gcs.key);
    } else if let Some(oss) = &mut artifact.oss {
        join(&mut oss.key);
    } else if let Some(azure) = &mut artifact.azure {
        join(&mut azure.blob);
    } else if let Some(http) = &mut artifact.http {
        join(&mut http.url);
    } else if let Some(artifactory) = &mut artifact.artifactory {
        join(&mut artifactory.url);
    } else if let Some(hdfs) = &mut artifact.hdfs {
        join(&mut hdfs.path);
    } else if let Some(plugin) = &mut artifact.plugin {
        join(&mut plugin.key);
    } else if artifact.optional {
        return Ok(());
    } else {
        return Err(Stop::Failed(format!(
            "artifact {} has no key to which subPath '{sub_path}' could be appended",
            artifact.name
        )));
    }
    Ok(())
}
