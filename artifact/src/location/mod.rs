//! From an artifact's location, as workflows have it, to a store and a key in it.

use std::sync::Arc;

use tiphys_api::kube::KeySelector;
use tiphys_api::{
    Artifact, ArtifactLocation, ArtifactoryArtifact, ClientCertAuth, HttpArtifact, OAuth2Auth, S3Artifact,
    S3EncryptionOptions,
};

mod clouds;
mod repository;

use crate::archive::{Level, Strategy};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::secret::{Secret, Secrets};
use crate::store::{
    Addressing, BasicAuth, ClientCertificate, Encryption, HttpConfig, HttpStore, Identity, OAuth2, RawStore, S3Config,
    S3Store, Store,
};

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
        || artifact.hdfs.is_some()
        || artifact.git.is_some()
        || artifact.gcs.is_some()
        || artifact.azure.is_some()
        || artifact.oss.is_some()
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
    place_within(artifact, secrets, options, &Budget::new(options.memory, options.part_size))
}

/// [`place`] within a memory that other stores share.
pub(crate) fn place_within(
    artifact: &Artifact,
    secrets: &dyn Secrets,
    options: &Options,
    budget: &Arc<Budget>,
) -> Result<Place> {
    let named = |error| named(artifact, error);
    if let Some(plugin) = &artifact.plugin {
        return Err(named(Error::Refused(format!(
            "artifacts[].plugin: the plugin {:?} is not to be had here, only in a workflow's Pod",
            plugin.name
        ))));
    }
    if let Some(hdfs) = &artifact.hdfs {
        return Err(named(Error::Refused(hdfs.refusal("artifacts[]"))));
    }
    if let Some(place) = clouds::place(artifact, secrets, options, budget) {
        return place.map_err(named);
    }
    if let Some(git) = &artifact.git {
        return repository::place(git, secrets, options).map_err(named);
    }
    if let Some(s3) = &artifact.s3 {
        let key = key("s3.key", &s3.key).map_err(named)?;
        let config = s3_config(s3, secrets, options).map_err(named)?;
        let store = S3Store::within(config, budget.clone()).map_err(named)?;
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

/// What all artifacts in one bucket have in common, and the artifact's key there: they share a store, with its
/// connections and credentials. None for stores of one object.
pub(crate) fn shared(artifact: &Artifact) -> Option<(String, Result<String>)> {
    let mut location = artifact.location();
    let (field, key_field) = match &mut location {
        ArtifactLocation { s3: Some(s3), .. } => ("s3.key", &mut s3.key),
        ArtifactLocation { gcs: Some(gcs), .. } => ("gcs.key", &mut gcs.key),
        ArtifactLocation { azure: Some(azure), .. } => ("azure.blob", &mut azure.blob),
        // A rule is for the artifact's own key.
        ArtifactLocation { oss: Some(oss), .. } if oss.lifecycle_rule.is_none() => ("oss.key", &mut oss.key),
        _ => return None,
    };
    let key = std::mem::take(key_field);
    location.archive_logs = None;
    // The settings hold names of Secrets, never their values.
    Some((format!("{location:?}"), self::key(field, &key).map_err(|error| named(artifact, error))))
}

/// An object's key, which must be there.
fn key(field: &str, key: &str) -> Result<String> {
    match key {
        "" => Err(Error::Refused(format!("artifacts[].{field} is missing"))),
        // A leading slash would be an empty first part; Argo's client library for S3 drops it.
        key => Ok(key.trim_start_matches('/').to_owned()),
    }
}

pub(super) fn secret(selector: Option<&KeySelector>, secrets: &dyn Secrets) -> Result<Option<Secret>> {
    selector.filter(|selector| !selector.name.is_empty()).map(|key| secrets.secret(&key.name, &key.key)).transpose()
}

/// The settings of the artifact's bucket.
fn s3_config(s3: &S3Artifact, secrets: &dyn Secrets, options: &Options) -> Result<S3Config> {
    let redirect = options.redirects.get(&s3.endpoint);
    Ok(S3Config {
        region: s3.region.clone(),
        insecure: redirect.is_some() || s3.insecure.unwrap_or_default(),
        identity: s3_identity(s3, secrets, options)?,
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
        ..S3Config::new(redirect.unwrap_or(&s3.endpoint).clone(), s3.bucket.clone(), Secret::new(""), Secret::new(""))
    })
}

/// Keys before a role before what the Pod is (argo: s3.go, GetCredentials; `useSDKCreds` leaves the keys unread).
fn s3_identity(s3: &S3Artifact, secrets: &dyn Secrets, options: &Options) -> Result<Identity> {
    let ambient = || Identity::Ambient { environment: options.environment.clone(), role: s3.role_arn.clone() };
    if s3.use_sdk_creds {
        return Ok(ambient());
    }
    let access = secret(s3.access_key_secret.as_ref(), secrets)?;
    let secret_key = secret(s3.secret_key_secret.as_ref(), secrets)?;
    match (access, secret_key) {
        (Some(access), Some(secret_key)) => {
            let token = secret(s3.session_token_secret.as_ref(), secrets)?;
            Ok(Identity::Keys { access, secret: secret_key, token })
        }
        (None, None) => Ok(ambient()),
        _ => Err(Error::Refused("artifacts[].s3 needs both accessKeySecret and secretKeySecret".into())),
    }
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
    config.oauth2 = oauth2(&auth.oauth2, secrets)?;
    config.client_certificate = client_certificate(&auth.client_cert, secrets)?;
    let basic = &auth.basic_auth;
    config.basic_auth = basic_auth(basic.username_secret.as_ref(), basic.password_secret.as_ref(), secrets)?;
    Ok(config)
}

fn oauth2(auth: &OAuth2Auth, secrets: &dyn Secrets) -> Result<Option<OAuth2>> {
    let needed = [&auth.client_id_secret, &auth.client_secret_secret, &auth.token_url_secret];
    let needs = "artifacts[].http.auth.oauth2 needs clientIDSecret, clientSecretSecret and tokenURLSecret";
    let found = together(needed.map(Option::as_ref), needs, secrets)?;
    Ok(found.map(|[client_id, client_secret, token_url]| OAuth2 {
        token_url,
        client_id,
        client_secret,
        scopes: auth.scopes.clone(),
        parameters: auth.endpoint_params.iter().map(|one| (one.key.clone(), one.value.clone())).collect(),
    }))
}

fn client_certificate(auth: &ClientCertAuth, secrets: &dyn Secrets) -> Result<Option<ClientCertificate>> {
    let needed = [&auth.client_cert_secret, &auth.client_key_secret];
    let needs = "artifacts[].http.auth.clientCert needs clientCertSecret and clientKeySecret";
    let found = together(needed.map(Option::as_ref), needs, secrets)?;
    Ok(found.map(|[certificate, key]| ClientCertificate { certificate, key }))
}

/// Secrets of which one is of no use without the others. Argo passes over all where one is missing (artifacts.go,
/// newDriver), and goes on as nobody.
fn together<const N: usize>(
    selectors: [Option<&KeySelector>; N],
    needs: &str,
    secrets: &dyn Secrets,
) -> Result<Option<[Secret; N]>> {
    let given = selectors.iter().flatten().count();
    if given != 0 && given != N {
        return Err(Error::Refused(needs.to_owned()));
    }
    let found = selectors.into_iter().map(|selector| secret(selector, secrets)).collect::<Result<Option<Vec<_>>>>()?;
    Ok(found.and_then(|found| found.try_into().ok()))
}

fn artifactory_config(
    artifactory: &ArtifactoryArtifact,
    secrets: &dyn Secrets,
    options: &Options,
) -> Result<HttpConfig> {
    let (username, password) = (artifactory.username_secret.as_ref(), artifactory.password_secret.as_ref());
    let mut config = HttpConfig::new(artifactory.url.clone());
    config.field = "artifacts[].artifactory";
    config.checksums = true;
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
