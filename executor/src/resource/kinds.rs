//! Kinds as users write them on a command line: `po`, `pod`, `Pods`, `deployments.apps`, `deployments.v1.apps`.

use serde_json::Value;

use crate::cluster::{Call, Cluster, ClusterError, Resource};

/// Asks the server for the kind that a word names. The core group comes first, then the others in the server's order, each
/// with its preferred version.
///
/// # Errors
/// [`ClusterError::Config`] in kubectl's words when no kind has that name; else why the server could not be asked.
pub async fn find(cluster: &Cluster, word: &str) -> Result<Resource, ClusterError> {
    let lower = word.to_ascii_lowercase();
    let (name, within) = lower.split_once('.').unwrap_or((&lower, ""));
    if within.is_empty()
        && let Some(found) = in_version(cluster, "/api/v1", "", "v1", name).await?
    {
        return Ok(found);
    }
    let groups = cluster.send(&Call::get("/apis".to_owned(), "list the groups of the API".to_owned())).await?;
    for group in groups["groups"].as_array().into_iter().flatten() {
        let group_name = group["name"].as_str().unwrap_or_default();
        let preferred = group["preferredVersion"]["version"].as_str().unwrap_or_default();
        let version = match within.strip_suffix(group_name).map(|version| version.trim_end_matches('.')) {
            _ if within.is_empty() => preferred,
            Some("") => preferred,
            Some(version) if within.ends_with(&format!(".{group_name}")) => version,
            _ => continue,
        };
        let path = format!("/apis/{group_name}/{version}");
        if let Some(found) = in_version(cluster, &path, group_name, version, name).await? {
            return Ok(found);
        }
    }
    Err(ClusterError::Config(format!("error: the server doesn't have a resource type {word:?}")))
}

async fn in_version(
    cluster: &Cluster,
    path: &str,
    group: &str,
    version: &str,
    name: &str,
) -> Result<Option<Resource>, ClusterError> {
    let call = Call::get(path.to_owned(), format!("list the kinds of {}", path.trim_start_matches("/apis/")));
    let answer = match cluster.send(&call).await {
        // A group that has just gone, or an extension server that is away, hides no other group.
        Err(error) if error.is_not_found() => return Ok(None),
        answer => answer?,
    };
    let entries = answer["resources"].as_array().into_iter().flatten();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let is_meant = |entry: &&Value| {
        let mut names =
            vec![text(entry, "name"), text(entry, "singularName"), text(entry, "kind").to_ascii_lowercase()];
        names.extend(entry["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        names.iter().any(|known| known == name)
    };
    Ok(entries.filter(|entry| !text(entry, "name").contains('/')).find(is_meant).map(|entry| Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: text(entry, "name").into(),
        kind: text(entry, "kind").into(),
        namespaced: entry["namespaced"].as_bool().unwrap_or(false),
    }))
}
