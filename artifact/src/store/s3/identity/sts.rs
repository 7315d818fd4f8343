//! AWS's token service: a web identity, or an identity that takes on a role, becomes temporary keys.

use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::Url;

use super::{Found, expires};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::rest;

/// The session's name in AWS's audit logs, where the environment gives none.
const SESSION: &str = "tiphys";
const TYPE: &str = "application/x-www-form-urlencoded";

/// `AssumeRoleWithWebIdentity` with the token in `file`, which the cluster renews.
pub(super) async fn web_identity(environment: &Environment, region: &str, file: &str) -> Result<Found> {
    let role = environment.get("AWS_ROLE_ARN").ok_or_else(|| {
        Error::Refused("AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not: which role is meant?".into())
    })?;
    let doing = format!("assuming {role} by web identity");
    let token = tokio::fs::read_to_string(file).await;
    let token = token.map_err(|source| Error::permanent(format!("{doing}: reading {file}"), source))?;
    let session = environment.get("AWS_ROLE_SESSION_NAME").unwrap_or(SESSION);
    let form = rest::form(&[
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session),
        ("WebIdentityToken", token.trim()),
    ]);
    let request = rest::post_form(&rest::client()?, endpoint(environment, region)?.0.as_str(), form);
    read(&doing, rest::send(&doing, request).await?).await
}

/// `AssumeRole` as `who`.
pub(super) async fn assume_role(environment: &Environment, region: &str, who: &Found, role: &str) -> Result<Found> {
    let doing = format!("assuming {role}");
    let session = environment.get("AWS_ROLE_SESSION_NAME").unwrap_or(SESSION);
    let form = rest::form(&[
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session),
    ]);
    let (url, region) = endpoint(environment, region)?;
    let token = who.token.as_ref().map(|token| token.expose().to_owned());
    let identity = Credentials::new(&who.access, who.secret.expose(), token, None, "artifact").into();
    let wrong = |error: &dyn std::error::Error| Error::permanent(format!("{doing}: signing"), error.to_string());
    let settings = v4::SigningParams::builder()
        .identity(&identity)
        .region(&region)
        .name("sts")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| wrong(&error))?
        .into();
    let signable = SignableRequest::new(
        "POST",
        url.as_str(),
        [("content-type", TYPE)].into_iter(),
        SignableBody::Bytes(form.as_bytes()),
    );
    let signable = signable.map_err(|error| wrong(&error))?;
    let (signed, _) = sign(signable, &settings).map_err(|error| wrong(&error))?.into_parts();
    let mut request = rest::client()?.post(url).header("content-type", TYPE);
    for (name, value) in signed.headers() {
        request = request.header(name, value);
    }
    read(&doing, rest::send(&doing, request.body(form)).await?).await
}

/// The service's address and its region.
fn endpoint(environment: &Environment, region: &str) -> Result<(Url, String)> {
    let ambient = || environment.get("AWS_REGION").or(environment.get("AWS_DEFAULT_REGION")).unwrap_or("us-east-1");
    let region = if region.is_empty() { ambient() } else { region };
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let text = match environment.get("AWS_ENDPOINT_URL_STS").or(environment.get("AWS_ENDPOINT_URL")) {
        Some(text) => text.to_owned(),
        None => format!("https://sts.{region}.{domain}"),
    };
    match text.parse() {
        Ok(url) => Ok((url, region.to_owned())),
        Err(error) => Err(Error::Refused(format!("the address {text:?} of AWS's token service is no URL: {error}"))),
    }
}

async fn read(doing: &str, response: reqwest::Response) -> Result<Found> {
    let body = rest::small(response).await?;
    let xml = String::from_utf8_lossy(&body);
    let part = |name: &str| {
        rest::element(&xml, name).ok_or_else(|| Error::permanent(doing, format!("the answer has no {name}")))
    };
    Ok(Found {
        access: part("AccessKeyId")?.to_owned(),
        secret: Secret::new(part("SecretAccessKey")?),
        token: Some(Secret::new(part("SessionToken")?)),
        expires: Some(expires(doing, part("Expiration")?)?),
    })
}
