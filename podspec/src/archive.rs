//! Where outputs and logs are kept: the template's own archive location, or one made from the artifact repository
//! (argo: workflowpod.go, addArchiveLocation; artifact_repository_types.go).

use tiphys_api::{
    Artifact, ArtifactLocation, ArtifactRepository, ArtifactoryArtifact, AzureArtifact, GcsArtifact, HdfsArtifact,
    OssArtifact, PluginArtifact, S3Artifact, Template,
};
use tiphys_contract::key::{DEFAULT_KEY_FORMAT, join};

use crate::input::Input;

/// Gives the template an archive location if it archives anything and names none.
pub(crate) fn fill_location(template: &mut Template, input: &Input<'_>) {
    if template.archive_location.as_deref().is_some_and(has_location) {
        return;
    }
    let archive_logs = archives_logs(template, input);
    let source = template.data.as_ref().and_then(|data| data.source.artifact_paths.as_deref());
    let artifacts = template.inputs.artifacts.iter().chain(&template.outputs.artifacts).chain(source);
    let needed = archive_logs || artifacts.map(Artifact::location).any(|location| !has_location(&location));
    if needed {
        let mut location = repository_location(&input.config.artifact_repository);
        location.archive_logs = Some(archive_logs);
        template.archive_location = Some(Box::new(location));
    }
}

/// Configuration (when it says yes), else template, else workflow.
pub(crate) fn archives_logs(template: &Template, input: &Input<'_>) -> bool {
    input.config.archive_logs
        || input.config.artifact_repository.archive_logs == Some(true)
        || template
            .archive_location
            .as_ref()
            .and_then(|location| location.archive_logs)
            .or(input.spec.archive_logs)
            .unwrap_or(false)
}

/// Whether logs of the template's containers are archived.
pub(crate) fn saves_logs(template: &Template) -> bool {
    template.archive_location.as_ref().is_some_and(|location| location.archive_logs == Some(true))
}

/// Whether a location is complete: what it lacks is taken from the archive location otherwise.
pub(crate) fn has_location(location: &ArtifactLocation) -> bool {
    let all = |texts: &[&String]| texts.iter().all(|text| !text.is_empty());
    if let Some(artifactory) = &location.artifactory {
        all(&[&artifactory.url]) && artifactory.username_secret.is_some()
    } else if let Some(azure) = &location.azure {
        all(&[&azure.endpoint, &azure.container, &azure.blob])
    } else if let Some(git) = &location.git {
        all(&[&git.repo])
    } else if let Some(gcs) = &location.gcs {
        all(&[&gcs.bucket, &gcs.key])
    } else if let Some(hdfs) = &location.hdfs {
        !hdfs.addresses.is_empty()
    } else if let Some(http) = &location.http {
        all(&[&http.url])
    } else if let Some(oss) = &location.oss {
        all(&[&oss.bucket, &oss.endpoint, &oss.key])
    } else if location.raw.is_some() {
        true
    } else if let Some(s3) = &location.s3 {
        all(&[&s3.endpoint, &s3.bucket, &s3.key])
    } else if let Some(plugin) = &location.plugin {
        all(&[&plugin.name, &plugin.configuration, &plugin.key])
    } else {
        false
    }
}

/// Whether a location names at least a key.
pub(crate) fn has_key(location: &ArtifactLocation) -> bool {
    let keys = [
        location.artifactory.as_ref().map(|artifactory| &artifactory.url),
        location.azure.as_ref().map(|azure| &azure.blob),
        location.gcs.as_ref().map(|gcs| &gcs.key),
        location.hdfs.as_ref().map(|hdfs| &hdfs.path),
        location.http.as_ref().map(|http| &http.url),
        location.oss.as_ref().map(|oss| &oss.key),
        location.s3.as_ref().map(|s3| &s3.key),
        location.plugin.as_ref().map(|plugin| &plugin.key),
    ];
    keys.into_iter().flatten().any(|key| !key.is_empty())
}

/// The repository's location, its key being the repository's format.
pub fn repository_location(repository: &ArtifactRepository) -> ArtifactLocation {
    let key = |format: &str| if format.is_empty() { DEFAULT_KEY_FORMAT.to_owned() } else { format.to_owned() };
    let mut location = ArtifactLocation::default();
    if let Some(from) = &repository.artifactory {
        let slash = if from.repo_url.ends_with('/') { "" } else { "/" };
        location.artifactory = Some(Box::new(ArtifactoryArtifact {
            url: format!("{}{slash}{}", from.repo_url, key(&from.key_format)),
            username_secret: from.username_secret.clone(),
            password_secret: from.password_secret.clone(),
            ..Default::default()
        }));
    } else if let Some(from) = &repository.azure {
        location.azure = Some(Box::new(AzureArtifact {
            endpoint: from.endpoint.clone(),
            container: from.container.clone(),
            account_key_secret: from.account_key_secret.clone(),
            use_sdk_creds: from.use_sdk_creds,
            blob: key(&from.blob_name_format),
            ..Default::default()
        }));
    } else if let Some(from) = &repository.gcs {
        location.gcs = Some(Box::new(GcsArtifact {
            bucket: from.bucket.clone(),
            service_account_key_secret: from.service_account_key_secret.clone(),
            key: key(&from.key_format),
            ..Default::default()
        }));
    } else if let Some(from) = &repository.hdfs {
        location.hdfs = Some(Box::new(HdfsArtifact {
            krb_ccache_secret: from.krb_ccache_secret.clone(),
            krb_keytab_secret: from.krb_keytab_secret.clone(),
            krb_username: from.krb_username.clone(),
            krb_realm: from.krb_realm.clone(),
            krb_config_config_map: from.krb_config_config_map.clone(),
            krb_service_principal_name: from.krb_service_principal_name.clone(),
            addresses: from.addresses.clone(),
            hdfs_user: from.hdfs_user.clone(),
            data_transfer_protection: from.data_transfer_protection.clone(),
            path: key(&from.path_format),
            force: from.force,
            ..Default::default()
        }));
    } else if let Some(from) = &repository.oss {
        location.oss = Some(Box::new(OssArtifact {
            endpoint: from.endpoint.clone(),
            bucket: from.bucket.clone(),
            access_key_secret: from.access_key_secret.clone(),
            secret_key_secret: from.secret_key_secret.clone(),
            create_bucket_if_not_present: from.create_bucket_if_not_present,
            security_token: from.security_token.clone(),
            lifecycle_rule: from.lifecycle_rule.clone(),
            use_sdk_creds: from.use_sdk_creds,
            key: key(&from.key_format),
            ..Default::default()
        }));
    } else if let Some(from) = &repository.plugin {
        location.plugin = Some(Box::new(PluginArtifact {
            name: from.name.clone(),
            configuration: from.configuration.clone(),
            key: key(&from.key_format),
            ..Default::default()
        }));
    } else if let Some(from) = &repository.s3 {
        let prefixed = if from.key_prefix.is_empty() {
            DEFAULT_KEY_FORMAT.to_owned()
        } else {
            join(&from.key_prefix, DEFAULT_KEY_FORMAT)
        };
        location.s3 = Some(Box::new(S3Artifact {
            endpoint: from.endpoint.clone(),
            bucket: from.bucket.clone(),
            region: from.region.clone(),
            insecure: from.insecure,
            access_key_secret: from.access_key_secret.clone(),
            secret_key_secret: from.secret_key_secret.clone(),
            session_token_secret: from.session_token_secret.clone(),
            role_arn: from.role_arn.clone(),
            use_sdk_creds: from.use_sdk_creds,
            create_bucket_if_not_present: from.create_bucket_if_not_present.clone(),
            encryption_options: from.encryption_options.clone(),
            ca_secret: from.ca_secret.clone(),
            addressing_style: from.addressing_style.clone(),
            key: if from.key_format.is_empty() { prefixed } else { from.key_format.clone() },
            ..Default::default()
        }));
    }
    location
}
