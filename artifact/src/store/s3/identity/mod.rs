//! Who a Pod is for AWS when the artifact names no keys. The sources are asked in the order of AWS's own libraries:
//! keys in the environment, a web identity (IRSA), the container's credentials (ECS, EKS pod identity), the machine's
//! role (IMDSv2). Nothing is asked before the first request to the bucket.

use std::time::SystemTime;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use serde_json::Value;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::secret::Secret;
use crate::store::rest;

mod container;
mod machine;
mod sts;

/// Whose credentials a bucket's requests carry.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Keys from Secrets.
    Keys {
        /// Access key.
        access: Secret,
        /// Secret key.
        secret: Secret,
        /// Token of temporary credentials.
        token: Option<Secret>,
    },
    /// Whatever this Pod or machine is.
    Ambient {
        /// Where that is said.
        environment: Environment,
        /// A role that this identity takes on (`s3.roleARN`); empty for none.
        role: String,
    },
}

/// Finds the identity when the SDK asks for it; the SDK keeps it until shortly before it expires.
#[derive(Debug)]
pub(super) struct Finder {
    environment: Environment,
    role: String,
    region: String,
    retry: Retry,
}

/// Keys that expire or do not.
pub(super) struct Found {
    pub(super) access: String,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
    pub(super) expires: Option<SystemTime>,
}

impl Finder {
    /// `region` is the bucket's; empty leaves the choice to the environment.
    pub(super) fn new(environment: &Environment, role: &str, region: &str, retry: &Retry) -> Self {
        Finder {
            environment: environment.clone(),
            role: role.to_owned(),
            region: region.to_owned(),
            retry: retry.clone(),
        }
    }

    async fn find(&self) -> Result<Found> {
        let found = self.retry.run("finding credentials for S3", || self.ambient()).await?;
        if self.role.is_empty() {
            return Ok(found);
        }
        let assume = || sts::assume_role(&self.environment, &self.region, &found, &self.role);
        self.retry.run("assuming a role for S3", assume).await
    }

    async fn ambient(&self) -> Result<Found> {
        let environment = &self.environment;
        if let (Some(access), Some(secret)) =
            (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"))
        {
            let token = environment.get("AWS_SESSION_TOKEN").map(Secret::new);
            return Ok(Found { access: access.into(), secret: Secret::new(secret), token, expires: None });
        }
        if let Some(file) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            return sts::web_identity(environment, &self.region, file).await;
        }
        if let Some(place) = container::place(environment)? {
            return container::find(environment, place).await;
        }
        machine::find(environment).await
    }
}

impl ProvideCredentials for Finder {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let found = self.find().await.map_err(CredentialsError::provider_error)?;
            let token = found.token.map(|token| token.expose().to_owned());
            let secret = found.secret.expose().to_owned();
            let credentials = Credentials::new(found.access, secret, token, found.expires, "artifact");
            provider::Result::Ok(credentials)
        })
    }
}

/// Credentials as the container's and the machine's services write them.
fn from_json(doing: &str, answer: &Value) -> Result<Found> {
    Ok(Found {
        access: rest::field(doing, answer, "AccessKeyId")?.to_owned(),
        secret: Secret::new(rest::field(doing, answer, "SecretAccessKey")?),
        token: answer["Token"].as_str().map(Secret::new),
        expires: answer["Expiration"].as_str().map(|text| expires(doing, text)).transpose()?,
    })
}

fn expires(doing: &str, text: &str) -> Result<SystemTime> {
    let time = DateTime::from_str(text, DateTimeFormat::DateTime).ok().and_then(|time| SystemTime::try_from(time).ok());
    time.ok_or_else(|| Error::permanent(doing, format!("{text:?} is no time of expiration")))
}
