//! Who asks OSS: keys from Secrets, keys of the environment, or the Pod's service account (RRSA), whose token becomes
//! temporary keys.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use tokio::sync::Mutex;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;
use crate::store::rest;

const STS: &str = "https://sts.aliyuncs.com";
/// Keys this close to their end are not used for a new request.
const MARGIN: Duration = Duration::from_secs(60);

/// Keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) access: Secret,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
}

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Identity {
    /// They are given.
    Keys(Keys),
    /// They are asked for.
    ServiceAccount { environment: Environment, retry: Retry, current: Mutex<Option<(Keys, SystemTime)>> },
}

impl Identity {
    pub(super) fn of(
        keys: Option<(Secret, Secret, Option<Secret>)>,
        environment: Environment,
        retry: &Retry,
    ) -> Result<Self> {
        if let Some((access, secret, token)) = keys {
            return Ok(Identity::Keys(Keys { access, secret, token }));
        }
        let variable = |name: &str| environment.get(name).map(Secret::new);
        let (access, secret) = (variable("ALIBABA_CLOUD_ACCESS_KEY_ID"), variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET"));
        if let (Some(access), Some(secret)) = (access, secret) {
            return Ok(Identity::Keys(Keys { access, secret, token: variable("ALIBABA_CLOUD_SECURITY_TOKEN") }));
        }
        if environment.get("ALIBABA_CLOUD_OIDC_TOKEN_FILE").is_none() {
            return Err(Error::Refused(
                "artifacts[].oss names no keys and this Pod has none: give accessKeySecret and secretKeySecret, or give \
                 the Pod's service account a RAM role (ALIBABA_CLOUD_OIDC_TOKEN_FILE)"
                    .into(),
            ));
        }
        Ok(Identity::ServiceAccount { environment, retry: retry.clone(), current: Mutex::default() })
    }

    /// The keys for a request.
    pub(super) async fn keys(&self) -> Result<Keys> {
        let (environment, retry, current) = match self {
            Identity::Keys(keys) => return Ok(keys.clone()),
            Identity::ServiceAccount { environment, retry, current } => (environment, retry, current),
        };
        // All requests wait for the one that asks.
        let mut current = current.lock().await;
        if let Some((keys, until)) = &*current
            && SystemTime::now() + MARGIN < *until
        {
            return Ok(keys.clone());
        }
        let (keys, until) = retry.run("asking for keys of OSS", || assume(environment)).await?;
        *current = Some((keys.clone(), until));
        Ok(keys)
    }
}

/// `AssumeRoleWithOIDC`, which needs no signature.
async fn assume(environment: &Environment) -> Result<(Keys, SystemTime)> {
    let needed = |name: &str| {
        environment
            .get(name)
            .ok_or_else(|| Error::Refused(format!("ALIBABA_CLOUD_OIDC_TOKEN_FILE is set, but {name} is not")))
    };
    let file = needed("ALIBABA_CLOUD_OIDC_TOKEN_FILE")?;
    let role = needed("ALIBABA_CLOUD_ROLE_ARN")?;
    let doing = format!("assuming {role} for OSS");
    let token = tokio::fs::read_to_string(file).await;
    let token = token.map_err(|source| Error::permanent(format!("{doing}: reading {file}"), source))?;
    let time = DateTime::from_secs(DateTime::from(SystemTime::now()).secs()).fmt(DateTimeFormat::DateTime);
    let form = rest::form(&[
        ("Action", "AssumeRoleWithOIDC"),
        ("Version", "2015-04-01"),
        ("Format", "JSON"),
        ("Timestamp", &time.unwrap_or_default()),
        ("RoleArn", role),
        ("OIDCProviderArn", needed("ALIBABA_CLOUD_OIDC_PROVIDER_ARN")?),
        ("OIDCToken", token.trim()),
        ("RoleSessionName", "tiphys"),
    ]);
    let service = match environment.get("ALIBABA_CLOUD_STS_ENDPOINT") {
        Some(text) if text.contains("://") => text.to_owned(),
        Some(host) => format!("https://{host}"),
        None => STS.to_owned(),
    };
    let response = rest::send(&doing, rest::post_form(&rest::client()?, &service, form)).await?;
    let answer = rest::json(&doing, response).await?;
    let given = &answer["Credentials"];
    let keys = Keys {
        access: Secret::new(rest::field(&doing, given, "AccessKeyId")?),
        secret: Secret::new(rest::field(&doing, given, "AccessKeySecret")?),
        token: Some(Secret::new(rest::field(&doing, given, "SecurityToken")?)),
    };
    let until = DateTime::from_str(rest::field(&doing, given, "Expiration")?, DateTimeFormat::DateTime).ok();
    let until = until.and_then(|time| SystemTime::try_from(time).ok());
    Ok((keys, until.ok_or_else(|| Error::permanent(doing, "the answer's Expiration is no time"))?))
}
