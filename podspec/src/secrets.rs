//! Secrets that artifacts need: one volume a Secret with the keys that are used, mounted where the executor looks for
//! them (argo: workflowpod.go, createSecretVolumesAndMounts).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tiphys_api::{Artifact, ArtifactLocation, KeySelector, Template, VolumeMount};
use tiphys_contract::path;

use crate::draft::mount_read_only;

/// Volumes and mounts for every Secret of the template's artifacts, by name of Secret.
pub(crate) fn volumes_and_mounts(template: &Template) -> (Vec<Value>, Vec<VolumeMount>) {
    let source = template.data.as_ref().and_then(|data| data.source.artifact_paths.as_deref());
    let artifacts = template.outputs.artifacts.iter().chain(&template.inputs.artifacts).chain(source);
    let archive = template.archive_location.as_deref().cloned();
    let locations: Vec<ArtifactLocation> = archive.into_iter().chain(artifacts.map(Artifact::location)).collect();
    of_locations(&locations)
}

/// Volumes and mounts for every Secret of these locations, by name of Secret.
pub(crate) fn of_locations(locations: &[ArtifactLocation]) -> (Vec<Value>, Vec<VolumeMount>) {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for location in locations {
        for selector in selectors(location).into_iter().flatten() {
            if selector.name.is_empty() || selector.key.is_empty() {
                continue;
            }
            let used = keys.entry(&selector.name).or_default();
            if !used.contains(&selector.key.as_str()) {
                used.push(&selector.key);
            }
        }
    }
    keys.into_iter()
        .map(|(secret, keys)| {
            let items: Vec<Value> = keys.into_iter().map(|key| json!({"key": key, "path": key})).collect();
            let volume = json!({"name": secret, "secret": {"secretName": secret, "items": items}});
            (volume, mount_read_only(secret, &format!("{}/{secret}", path::SECRETS)))
        })
        .unzip()
}

/// The Secrets of the store that a location names.
fn selectors(location: &ArtifactLocation) -> Vec<Option<&KeySelector>> {
    if let Some(s3) = &location.s3 {
        let customer_key = s3
            .encryption_options
            .as_ref()
            .filter(|options| options.enable_encryption)
            .and_then(|options| options.server_side_customer_key_secret.as_ref());
        vec![
            s3.access_key_secret.as_ref(),
            s3.secret_key_secret.as_ref(),
            s3.session_token_secret.as_ref(),
            customer_key,
            s3.ca_secret.as_ref(),
        ]
    } else if let Some(git) = &location.git {
        vec![git.username_secret.as_ref(), git.password_secret.as_ref(), git.ssh_private_key_secret.as_ref()]
    } else if let Some(artifactory) = &location.artifactory {
        vec![artifactory.username_secret.as_ref(), artifactory.password_secret.as_ref()]
    } else if let Some(hdfs) = &location.hdfs {
        vec![hdfs.krb_ccache_secret.as_ref(), hdfs.krb_keytab_secret.as_ref()]
    } else if let Some(oss) = &location.oss {
        vec![oss.access_key_secret.as_ref(), oss.secret_key_secret.as_ref()]
    } else if let Some(gcs) = &location.gcs {
        vec![gcs.service_account_key_secret.as_ref()]
    } else if let Some(auth) = location.http.as_ref().and_then(|http| http.auth.as_ref()) {
        vec![
            auth.basic_auth.username_secret.as_ref(),
            auth.basic_auth.password_secret.as_ref(),
            auth.client_cert.client_cert_secret.as_ref(),
            auth.client_cert.client_key_secret.as_ref(),
            auth.oauth2.client_id_secret.as_ref(),
            auth.oauth2.client_secret_secret.as_ref(),
            auth.oauth2.token_url_secret.as_ref(),
        ]
    } else if let Some(azure) = &location.azure {
        vec![azure.account_key_secret.as_ref()]
    } else {
        Vec::new()
    }
}
