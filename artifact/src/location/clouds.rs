//! Artifacts in GCS, Azure and OSS.

use std::sync::Arc;

use tiphys_api::{Artifact, AzureArtifact, GcsArtifact, OssArtifact};

use super::{Place, key, secret};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::secret::{Secret, Secrets};
use crate::store::{azure, gcs, oss};

/// The artifact's place, if it is in one of these.
pub(super) fn place(
    artifact: &Artifact,
    secrets: &dyn Secrets,
    options: &Options,
    budget: &Arc<Budget>,
) -> Option<Result<Place>> {
    if let Some(gcs) = &artifact.gcs {
        return Some(gcs_place(gcs, secrets, options, budget));
    }
    if let Some(azure) = &artifact.azure {
        return Some(azure_place(azure, secrets, options, budget));
    }
    artifact.oss.as_ref().map(|oss| oss_place(oss, secrets, options, budget))
}

fn gcs_place(at: &GcsArtifact, secrets: &dyn Secrets, options: &Options, budget: &Arc<Budget>) -> Result<Place> {
    let key = key("gcs.key", &at.key)?;
    let config = gcs::GcsConfig {
        bucket: at.bucket.clone(),
        service_account: secret(at.service_account_key_secret.as_ref(), secrets)?,
        environment: options.environment.clone(),
        retry: options.retry.clone(),
    };
    Ok(Place { store: gcs::store(config, budget.clone())?, key })
}

fn azure_place(at: &AzureArtifact, secrets: &dyn Secrets, options: &Options, budget: &Arc<Budget>) -> Result<Place> {
    let blob = key("azure.blob", &at.blob)?;
    let account_key =
        match at.use_sdk_creds {
            true => None,
            // Without it the wrong identity could be used without anybody's noticing (argo: azure.go).
            false => Some(secret(at.account_key_secret.as_ref(), secrets)?.ok_or_else(|| {
                Error::Refused("artifacts[].azure needs accountKeySecret, or useSDKCreds: true".into())
            })?),
        };
    let config = azure::AzureConfig {
        endpoint: at.endpoint.clone(),
        container: at.container.clone(),
        key: account_key,
        environment: options.environment.clone(),
        retry: options.retry.clone(),
    };
    Ok(Place { store: azure::store(config, budget.clone())?, key: blob })
}

fn oss_place(at: &OssArtifact, secrets: &dyn Secrets, options: &Options, budget: &Arc<Budget>) -> Result<Place> {
    let key = key("oss.key", &at.key)?;
    let keys = match at.use_sdk_creds {
        true => None,
        false => {
            let access = secret(at.access_key_secret.as_ref(), secrets)?;
            let secret_key = secret(at.secret_key_secret.as_ref(), secrets)?;
            match (access, secret_key) {
                (Some(access), Some(secret_key)) => {
                    let token = Some(&at.security_token).filter(|token| !token.is_empty()).map(Secret::new);
                    Some((access, secret_key, token))
                }
                _ => {
                    return Err(Error::Refused(
                        "artifacts[].oss needs accessKeySecret and secretKeySecret, or useSDKCreds: true".into(),
                    ));
                }
            }
        }
    };
    let lifecycle = at.lifecycle_rule.as_ref().map(|rule| oss::Lifecycle {
        prefix: key.clone(),
        infrequent_access: rule.mark_infrequent_access_after_days,
        deletion: rule.mark_deletion_after_days,
    });
    let config = oss::OssConfig {
        endpoint: at.endpoint.clone(),
        bucket: at.bucket.clone(),
        keys,
        environment: options.environment.clone(),
        create_bucket: at.create_bucket_if_not_present,
        lifecycle,
        retry: options.retry.clone(),
    };
    Ok(Place { store: oss::store(config, budget.clone())?, key })
}
