//! Where artifacts are. argo: workflow_types.go, HasLocationOrKey and CleanPath; artifacts/hdfs, ValidateArtifact.

use tiphys_api::{Artifact, ArtifactLocation, HdfsArtifact};

use super::report::{Outcome, Place, Report};

/// Whether the artifact says where it is, or at least its key in the default repository.
pub(super) fn is_located(artifact: &Artifact) -> bool {
    // Only the first store in Argo's order is asked.
    if let Some(artifactory) = &artifact.artifactory {
        return !url_path(&artifactory.url).is_empty()
            || !artifactory.url.is_empty() && artifactory.username_secret.is_some();
    }
    if let Some(azure) = &artifact.azure {
        return !azure.blob.is_empty();
    }
    if let Some(git) = &artifact.git {
        return !git.repo.is_empty();
    }
    if let Some(gcs) = &artifact.gcs {
        return !gcs.key.is_empty();
    }
    if let Some(hdfs) = &artifact.hdfs {
        return !hdfs.addresses.is_empty() || !hdfs.path.is_empty();
    }
    if let Some(http) = &artifact.http {
        return !http.url.is_empty();
    }
    if let Some(oss) = &artifact.oss {
        return !oss.key.is_empty();
    }
    if artifact.raw.is_some() {
        return true;
    }
    if let Some(s3) = &artifact.s3 {
        return !s3.key.is_empty();
    }
    artifact.plugin.as_ref().is_some_and(|plugin| !plugin.key.is_empty())
}

fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |from| &rest[from..])
}

/// Checks what Argo checks of a location. `prefix` names it.
pub(super) fn check(report: &mut Report, place: &Place, prefix: &str, location: &ArtifactLocation) -> Outcome {
    if let Some(git) = &location.git
        && git.repo.is_empty()
    {
        report.error(&place.below(".git"), format!("{prefix}.git.repo is required"))?;
    }
    if let Some(hdfs) = &location.hdfs
        && let Some(wrong) = wrong_with_hdfs(&format!("{prefix}.hdfs"), hdfs)
    {
        report.error(&place.below(".hdfs"), wrong)?;
    }
    Ok(())
}

fn wrong_with_hdfs(p: &str, hdfs: &HdfsArtifact) -> Option<String> {
    let no_service = hdfs.krb_service_principal_name.is_empty() || hdfs.krb_config_config_map.is_none();
    let no_user = hdfs.krb_username.is_empty() || hdfs.krb_realm.is_empty();
    if hdfs.addresses.is_empty() {
        Some(format!("{p}.addresses is required"))
    } else if hdfs.path.is_empty() {
        Some(format!("{p}.path is required"))
    } else if !hdfs.path.starts_with('/') {
        Some(format!("{p}.path must be a absolute file path"))
    } else if hdfs.hdfs_user.is_empty() && hdfs.krb_ccache_secret.is_none() && hdfs.krb_keytab_secret.is_none() {
        Some(format!("either {p}.hdfsUser, {p}.krbCCacheSecret or {p}.krbKeytabSecret is required"))
    } else if hdfs.krb_keytab_secret.is_some() && (no_service || no_user) {
        Some(format!(
            "{p}.krbServicePrincipalName, {p}.krbConfigConfigMap, {p}.krbUsername and {p}.krbRealm are required with {p}.krbKeytabSecret"
        ))
    } else if hdfs.krb_ccache_secret.is_some() && no_service {
        Some(format!("{p}.krbServicePrincipalName and {p}.krbConfigConfigMap are required with {p}.krbCCacheSecret"))
    } else {
        None
    }
}

/// What is wrong with the path of an artifact inside a container: it is missing, or it leaves the folder it names.
pub(super) fn wrong_with_path(artifact: &Artifact) -> Option<String> {
    let path = artifact.path.as_str();
    if path.is_empty() {
        return Some(format!("Artifact '{}' did not specify a path", artifact.name));
    }
    let ends_in_three =
        path.len() >= 3 && path.is_char_boundary(path.len() - 3) && path.as_bytes()[path.len() - 3] == b'/';
    let safe = match path.split_once("/../") {
        Some((before, _)) => before,
        None if ends_in_three => &path[..path.len() - 3],
        None => "",
    };
    let below = format!("{safe}/");
    let cleaned = clean(path);
    let escapes = !safe.is_empty() && (!cleaned.starts_with(&below) || cleaned.len() <= below.len());
    escapes.then(|| {
        let name = &artifact.name;
        format!("Artifact '{name}' attempted to use a path containing '..'. Directory traversal is not permitted")
    })
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_string(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_their_folder() {
        let wrong = |path: &str| {
            wrong_with_path(&Artifact { name: "a".into(), path: path.into(), ..Artifact::default() }).is_some()
        };
        for path in ["/tmp/x", "/tmp/..x/y", "x", "/tmp/ab", "/ab", "a/./b"] {
            assert!(!wrong(path), "{path}");
        }
        for path in ["", "/tmp/../etc", "/tmp/..", "/tmp/a/../b", "/tmp/safe/../.."] {
            assert!(wrong(path), "{path}");
        }
    }
}
