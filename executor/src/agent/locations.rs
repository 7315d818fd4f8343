//! Where an artifact is kept: its own location, completed by the template's (argo: workflow_types.go, ArtifactLocation).

use tiphys_api::{Artifact, ArtifactLocation};
use tiphys_contract::location::{key, key_mut, set_key};
use tiphys_contract::{key, overlap};

/// Whether the artifact names both a store and what is in it, so that nothing must be filled in.
fn is_complete(artifact: &Artifact) -> bool {
    if let Some(s3) = &artifact.s3 {
        return !s3.endpoint.is_empty() && !s3.bucket.is_empty() && !s3.key.is_empty();
    }
    if let Some(gcs) = &artifact.gcs {
        return !gcs.bucket.is_empty() && !gcs.key.is_empty();
    }
    if let Some(oss) = &artifact.oss {
        return !oss.endpoint.is_empty() && !oss.bucket.is_empty() && !oss.key.is_empty();
    }
    if let Some(azure) = &artifact.azure {
        return !azure.endpoint.is_empty() && !azure.container.is_empty() && !azure.blob.is_empty();
    }
    if let Some(plugin) = &artifact.plugin {
        return !plugin.name.is_empty() && !plugin.configuration.is_empty() && !plugin.key.is_empty();
    }
    if let Some(hdfs) = &artifact.hdfs {
        return !hdfs.addresses.is_empty();
    }
    if let Some(artifactory) = &artifact.artifactory {
        return !artifactory.url.is_empty() && artifactory.username_secret.is_some();
    }
    artifact.http.as_ref().is_some_and(|http| !http.url.is_empty())
        || artifact.git.as_ref().is_some_and(|git| !git.repo.is_empty())
        || artifact.raw.is_some()
}

/// Whether the artifact can be found at all, with or without help from the template's location.
pub fn is_supplied(artifact: &Artifact) -> bool {
    is_complete(artifact) || !key(&artifact.location()).is_empty()
}

/// The artifact with the whole of its location: where it names only a key, the rest is the template's.
///
/// # Errors
/// The text for the user when there is nothing to fill in.
pub fn complete(artifact: &Artifact, of_template: Option<&ArtifactLocation>) -> Result<Artifact, String> {
    let mut complete = artifact.clone();
    if !is_complete(artifact) {
        let mut location = of_template.cloned().ok_or_else(|| no_location(&artifact.name))?;
        set_key(&mut location, &key(&artifact.location()));
        complete.set_location(location);
    }
    Ok(complete)
}

/// The artifact as the source of a listing: without a key it means all that its store holds.
pub fn to_list(artifact: &Artifact) -> Artifact {
    let mut location = artifact.location();
    if let Some(key) = key_mut(&mut location).filter(|key| key.is_empty()) {
        "/".clone_into(key);
    }
    let mut listed = artifact.clone();
    listed.set_location(location);
    listed
}

/// The artifact as it is reported once it is saved under `file_name`. One with a key of its own keeps its location;
/// otherwise only the kind of store and the key are told, since the rest is the template's.
///
/// # Errors
/// The text for the user when neither the artifact nor the template has a location.
pub fn for_output(
    artifact: &Artifact,
    of_template: Option<&ArtifactLocation>,
    file_name: &str,
) -> Result<Artifact, String> {
    if !key(&artifact.location()).is_empty() {
        return Ok(artifact.clone());
    }
    let default = of_template.filter(|location| location.store().is_some());
    let default = default.ok_or_else(|| no_location(&artifact.name))?;
    let mut location = ArtifactLocation { archive_logs: artifact.archive_logs, ..kind_of(default) };
    set_key(&mut location, &key::join(&key(default), file_name));
    let mut reported = artifact.clone();
    reported.set_location(location);
    Ok(reported)
}

/// A location with nothing but the kind of store.
fn kind_of(location: &ArtifactLocation) -> ArtifactLocation {
    ArtifactLocation {
        s3: location.s3.as_ref().map(|_| Default::default()),
        gcs: location.gcs.as_ref().map(|_| Default::default()),
        oss: location.oss.as_ref().map(|_| Default::default()),
        azure: location.azure.as_ref().map(|_| Default::default()),
        hdfs: location.hdfs.as_ref().map(|_| Default::default()),
        plugin: location.plugin.as_ref().map(|_| Default::default()),
        http: location.http.as_ref().map(|_| Default::default()),
        artifactory: location.artifactory.as_ref().map(|_| Default::default()),
        ..Default::default()
    }
}

fn no_location(artifact: &str) -> String {
    format!(
        "artifact {artifact:?} has no location of its own and the template has none: configure an artifact repository"
    )
}

/// The artifact's path without dots and doubled slashes. A path that leaves a folder it names is refused, since it may
/// have been put together from parameters (argo: CleanPath).
///
/// # Errors
/// The text for the user.
pub fn clean_path(artifact: &Artifact) -> Result<String, String> {
    let (name, path) = (&artifact.name, artifact.path.as_str());
    if path.is_empty() {
        return Err(format!("Artifact '{name}' did not specify a path"));
    }
    let cleaned = overlap::clean(path);
    let safe = path.split_once("/../").map(|(safe, _)| safe).or_else(|| path.strip_suffix("/.."));
    let stays = |safe: &str| {
        safe.is_empty() || cleaned.strip_prefix(safe).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    };
    match safe.is_none_or(stays) {
        true => Ok(cleaned),
        false => Err(format!(
            "Artifact '{name}' attempted to use a path containing '..'. Directory traversal is not permitted"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn artifact(json: Value) -> Artifact {
        serde_json::from_value(json).unwrap()
    }

    fn location() -> ArtifactLocation {
        serde_json::from_value(json!({"archiveLogs": true, "s3": {"endpoint": "e", "bucket": "b", "key": "wf/pod"}}))
            .unwrap()
    }

    #[test]
    fn a_key_alone_is_completed() {
        let own = artifact(json!({"name": "a", "s3": {"key": "k"}}));
        let whole = complete(&own, Some(&location())).unwrap();
        assert_eq!(
            serde_json::to_value(whole).unwrap(),
            json!({"name": "a", "archiveLogs": true, "s3": {"endpoint": "e", "bucket": "b", "key": "k"}})
        );
        let error = complete(&own, None).unwrap_err();
        assert!(error.starts_with("artifact \"a\" has no location"), "{error}");
        let http = artifact(json!({"name": "a", "http": {"url": "http://h/x"}}));
        assert_eq!(complete(&http, Some(&location())).unwrap(), http);
    }

    #[test]
    fn outputs_tell_no_more_than_kind_and_key() {
        let bare = artifact(json!({"name": "a", "path": "/x"}));
        let reported = for_output(&bare, Some(&location()), "a.tgz").unwrap();
        let expected = json!({"name": "a", "path": "/x", "s3": {"key": "wf/pod/a.tgz"}});
        assert_eq!(serde_json::to_value(reported).unwrap(), expected);
        let own = artifact(json!({"name": "a", "path": "/x", "s3": {"bucket": "other", "key": "k"}}));
        assert_eq!(for_output(&own, Some(&location()), "a.tgz").unwrap(), own);
        assert!(for_output(&bare, None, "a.tgz").is_err());
        let archive = serde_json::from_value(json!({"artifactory": {"url": "http://h:1/repo/wf"}})).unwrap();
        let reported = for_output(&bare, Some(&archive), "a.tgz").unwrap();
        assert!(serde_json::to_value(&reported).unwrap()["artifactory"]["url"] == "/repo/wf/a.tgz");
        assert_eq!(complete(&reported, Some(&archive)).unwrap().artifactory.unwrap().url, "http://h:1/repo/wf/a.tgz");
    }

    #[test]
    fn inputs_need_a_place() {
        for (json, expected) in [
            (json!({"s3": {"key": "k"}}), true),
            (json!({"s3": {"bucket": "b"}}), false),
            (json!({"raw": {}}), true),
            (json!({"http": {"url": "http://h"}}), true),
            (json!({}), false),
        ] {
            assert_eq!(is_supplied(&artifact(json.clone())), expected, "{json}");
        }
    }

    #[test]
    fn paths_stay_in_the_folder_they_name() {
        let check = |path: &str| clean_path(&artifact(json!({"name": "a", "path": path})));
        assert_eq!(check("/tmp//x/./y/"), Ok("/tmp/x/y".into()));
        assert_eq!(check("/tmp/safe/../safe/x"), Ok("/tmp/safe/x".into()));
        for path in ["/tmp/safe/../x", "/tmp/safe/..", "/tmp/safe/../../etc/passwd", "/tmp/safe/../safe"] {
            assert!(check(path).unwrap_err().ends_with("Directory traversal is not permitted"), "{path}");
        }
        assert_eq!(check("").unwrap_err(), "Artifact 'a' did not specify a path");
    }
}
