//! From an artifact's location, as workflows have it, to a store and a key in it.

use std::sync::Arc;

use tiphys_api::kube::KeySelector;
use tiphys_api::{Artifact, ArtifactoryArtifact, HttpArtifact, S3Artifact, S3EncryptionOptions};

use crate::archive::{Level, Strategy};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::secret::{Secret, Secrets};
use crate::store::{Addressing, BasicAuth, Encryption, HttpConfig, HttpStore, RawStore, S3Config, S3Store, Store};

/// Where an artifact is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its key there; empty for stores of one object.
    pub key: String,
}

/// Whether the artifact says at all where it is.
pub fn has_location(artifact: &Artifact) -> bool {
    artifact.s3.is_some()
        || artifact.http.is_some()
        || artifact.raw.is_some()
        || unsupported(artifact).is_some()
        || artifact.artifactory.is_some()
        || artifact.plugin.is_some()
}

/// The artifact's declared strategy; `None` where it declares none, which for an output means [`Strategy::Tar`] and
/// for an input that its content decides.
///
/// # Errors
/// `Refused` for a compression level that there is not.
pub fn strategy(artifact: &Artifact) -> Result<Option<Strategy>> {
    let Some(archive) = &artifact.archive else { return Ok(None) };
    if archive.none.is_some() {
        return Ok(Some(Strategy::None));
    }
    if archive.zip.is_some() {
        return Ok(Some(Strategy::Zip));
    }
    let Some(tar) = &archive.tar else { return Ok(None) };
    let level = Level::of(tar.compression_level.unwrap_or(-1));
    level
        .map(|level| Some(Strategy::Tar(level)))
        .map_err(|why| Error::Refused(format!("artifact {:?}: {why}", artifact.name)))
}

/// The store that holds the artifact, and its key there. The location must be complete: what a key-only location
/// leaves out was filled in from the artifact repository.
///
/// # Errors
/// `Refused`, naming the field, for what is missing, contradictory or not offered; a secret's error.
pub fn place(artifact: &Artifact, secrets: &dyn Secrets, options: &Options) -> Result<Place> {
    let named = |error| named(artifact, error);
    if let Some(plugin) = &artifact.plugin {
        return Err(named(Error::Refused(format!(
            "artifacts[].plugin: the plugin {:?} is not to be had here, only in a workflow's Pod",
            plugin.name
        ))));
    }
    if let Some(field) = unsupported(artifact) {
        return Err(named(Error::Refused(format!(
            "artifacts[].{field} is not supported yet by Tiphys: use s3, http or raw"
        ))));
    }
    if let Some(s3) = &artifact.s3 {
        let (store, key) = s3_place(artifact, s3, secrets, options)?;
        return Ok(Place { store: Arc::new(store), key });
    }
    let store: Arc<dyn Store> = if let Some(http) = &artifact.http {
        Arc::new(http_config(http, secrets, options).and_then(HttpStore::new).map_err(named)?)
    } else if let Some(artifactory) = &artifact.artifactory {
        Arc::new(artifactory_config(artifactory, secrets, options).and_then(HttpStore::new).map_err(named)?)
    } else if let Some(raw) = &artifact.raw {
        Arc::new(RawStore::new(raw.data.clone()))
    } else {
        return Err(Error::Refused(format!("artifact {:?} has no location: give it s3, http or raw", artifact.name)));
    };
    Ok(Place { store, key: String::new() })
}

/// A message with the artifact's name.
fn named(artifact: &Artifact, error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::Refused(format!("artifact {:?}: {why}", artifact.name)),
        other => other,
    }
}

/// [`place`] for S3.
pub(crate) fn s3_place(
    artifact: &Artifact,
    s3: &S3Artifact,
    secrets: &dyn Secrets,
    options: &Options,
) -> Result<(S3Store, String)> {
    let key = s3_key(s3).map_err(|error| named(artifact, error))?;
    let store = s3_config(s3, secrets, options).and_then(S3Store::new);
    Ok((store.map_err(|error| named(artifact, error))?, key))
}

/// The artifact's key in its bucket.
///
/// # Errors
/// `Refused` if there is none.
pub(crate) fn s3_key(s3: &S3Artifact) -> Result<String> {
    match s3.key.as_str() {
        "" => Err(Error::Refused("artifacts[].s3.key is missing".into())),
        // A leading slash would be an empty first part; Argo's client library drops it.
        key => Ok(key.trim_start_matches('/').to_owned()),
    }
}

/// The field of a store that we do not have.
fn unsupported(artifact: &Artifact) -> Option<&'static str> {
    let stores = [
        ("gcs", artifact.gcs.is_some()),
        ("azure", artifact.azure.is_some()),
        ("oss", artifact.oss.is_some()),
        ("git", artifact.git.is_some()),
        ("hdfs", artifact.hdfs.is_some()),
    ];
    stores.into_iter().find(|(_, there)| *there).map(|(field, _)| field)
}

fn secret(selector: Option<&KeySelector>, secrets: &dyn Secrets) -> Result<Option<Secret>> {
    selector.filter(|selector| !selector.name.is_empty()).map(|key| secrets.secret(&key.name, &key.key)).transpose()
}

/// The settings of the artifact's bucket.
fn s3_config(s3: &S3Artifact, secrets: &dyn Secrets, options: &Options) -> Result<S3Config> {
    let access_key = secret(s3.access_key_secret.as_ref(), secrets)?;
    let secret_key = secret(s3.secret_key_secret.as_ref(), secrets)?;
    let (access_key, secret_key) = match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => (access_key, secret_key),
        (None, None) => {
            let field = match () {
                () if !s3.role_arn.is_empty() => "s3.roleARN",
                () if s3.use_sdk_creds => "s3.useSDKCreds",
                () => "s3 without keys (credentials from the machine's role)",
            };
            return Err(Error::Refused(format!(
                "artifacts[].{field} is not supported yet by Tiphys: give accessKeySecret and secretKeySecret"
            )));
        }
        _ => return Err(Error::Refused("artifacts[].s3 needs both accessKeySecret and secretKeySecret".into())),
    };
    let redirect = options.redirects.get(&s3.endpoint);
    Ok(S3Config {
        region: s3.region.clone(),
        insecure: redirect.is_some() || s3.insecure.unwrap_or_default(),
        session_token: secret(s3.session_token_secret.as_ref(), secrets)?,
        addressing: match s3.addressing_style.as_str() {
            "" => Addressing::Auto,
            "path" => Addressing::Path,
            "virtual-hosted" => Addressing::VirtualHosted,
            other => {
                return Err(Error::Refused(format!(
                    "artifacts[].s3.addressingStyle {other:?} is neither \"path\" nor \"virtual-hosted\""
                )));
            }
        },
        encryption: match &s3.encryption_options {
            Some(encryption) if encryption.enable_encryption && redirect.is_none() => {
                encryption_of(encryption, secrets)?
            }
            _ => Encryption::None,
        },
        create_bucket: match redirect {
            Some(_) => Some(false),
            None => s3.create_bucket_if_not_present.as_ref().map(|bucket| bucket.object_locking),
        },
        ca: secret(s3.ca_secret.as_ref(), secrets)?.map(|ca| ca.expose().to_owned()),
        memory: options.memory,
        part_size: options.part_size,
        retry: options.retry.clone(),
        ..S3Config::new(redirect.unwrap_or(&s3.endpoint).clone(), s3.bucket.clone(), access_key, secret_key)
    })
}

fn encryption_of(encryption: &S3EncryptionOptions, secrets: &dyn Secrets) -> Result<Encryption> {
    let customer = secret(encryption.server_side_customer_key_secret.as_ref(), secrets)?;
    match (customer, encryption.kms_key_id.as_str()) {
        (Some(_), key) if !key.is_empty() => Err(Error::Refused(
            "artifacts[].s3.encryptionOptions: kmsKeyId and serverSideCustomerKeySecret exclude each other".into(),
        )),
        (Some(password), _) => Ok(Encryption::Customer(password)),
        (None, "") => Ok(Encryption::Managed),
        (None, key) => Ok(Encryption::Kms { key: key.to_owned(), context: encryption.kms_encryption_context.clone() }),
    }
}

fn http_config(http: &HttpArtifact, secrets: &dyn Secrets, options: &Options) -> Result<HttpConfig> {
    let mut config = HttpConfig::new(http.url.clone());
    config.retry = options.retry.clone();
    config.save_via_file = http.save_stream_via_file;
    config.headers = http.headers.iter().map(|header| (header.name.clone(), Secret::new(&*header.value))).collect();
    let Some(auth) = &http.auth else { return Ok(config) };
    let refused = |field: &str| {
        Err(Error::Refused(format!(
            "artifacts[].http.auth.{field} is not supported yet by Tiphys: use basicAuth or a header"
        )))
    };
    if auth.client_cert.client_cert_secret.is_some() || auth.client_cert.client_key_secret.is_some() {
        return refused("clientCert");
    }
    let oauth2 = &auth.oauth2;
    if oauth2.client_id_secret.is_some() || oauth2.client_secret_secret.is_some() || oauth2.token_url_secret.is_some() {
        return refused("oauth2");
    }
    let basic = &auth.basic_auth;
    config.basic_auth = basic_auth(basic.username_secret.as_ref(), basic.password_secret.as_ref(), secrets)?;
    Ok(config)
}

fn artifactory_config(
    artifactory: &ArtifactoryArtifact,
    secrets: &dyn Secrets,
    options: &Options,
) -> Result<HttpConfig> {
    let (username, password) = (artifactory.username_secret.as_ref(), artifactory.password_secret.as_ref());
    let mut config = HttpConfig::new(artifactory.url.clone());
    config.field = "artifacts[].artifactory";
    config.retry = options.retry.clone();
    config.basic_auth = basic_auth(username, password, secrets)?;
    Ok(config)
}

fn basic_auth(
    username: Option<&KeySelector>,
    password: Option<&KeySelector>,
    secrets: &dyn Secrets,
) -> Result<Option<BasicAuth>> {
    let username = secret(username, secrets)?;
    let password = secret(password, secrets)?;
    // Argo sends them only where both are given (artifacts/http/http.go).
    Ok(username.zip(password).map(|(username, password)| BasicAuth { username, password }))
}
