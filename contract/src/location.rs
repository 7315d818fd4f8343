//! The key of a location, whatever the store calls it: with it alone an output is told, and the rest is its template's.

use tiphys_api::ArtifactLocation;

/// The key within the store that a location names; None when it names no store that has keys.
pub fn key_mut(location: &mut ArtifactLocation) -> Option<&mut String> {
    let ArtifactLocation { s3, gcs, oss, azure, hdfs, plugin, .. } = location;
    s3.as_mut()
        .map(|store| &mut store.key)
        .or_else(|| gcs.as_mut().map(|store| &mut store.key))
        .or_else(|| oss.as_mut().map(|store| &mut store.key))
        .or_else(|| azure.as_mut().map(|store| &mut store.blob))
        .or_else(|| hdfs.as_mut().map(|store| &mut store.path))
        .or_else(|| plugin.as_mut().map(|store| &mut store.key))
}

/// The URL of stores that have one instead of a key.
fn url_of(location: &mut ArtifactLocation) -> Option<&mut String> {
    let ArtifactLocation { http, artifactory, .. } = location;
    http.as_mut().map(|store| &mut store.url).or_else(|| artifactory.as_mut().map(|store| &mut store.url))
}

/// The key of a location: of stores with URLs, the URL's path.
pub fn key(location: &ArtifactLocation) -> String {
    let mut location = location.clone();
    match url_of(&mut location) {
        Some(url) => url[path_start(url)..].to_owned(),
        None => key_mut(&mut location).cloned().unwrap_or_default(),
    }
}

/// Puts another key in its place.
pub fn set_key(location: &mut ArtifactLocation, key: &str) {
    if let Some(url) = url_of(location) {
        url.truncate(path_start(url));
        url.push('/');
        url.push_str(key.trim_start_matches('/'));
    } else if let Some(own) = key_mut(location) {
        key.clone_into(own);
    }
}

/// Where the path of a URL begins.
fn path_start(url: &str) -> usize {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url.len(), |at| host + at)
}
