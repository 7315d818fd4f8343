//! The role of the machine a Pod runs on, by version 2 of EC2's instance metadata service.

use super::{Found, from_json};
use crate::environment::Environment;
use crate::error::{Class, Error, Result};
use crate::store::rest;

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";

/// What to do when there is nobody to ask, or nothing to say.
const ADVICE: &str =
    "give artifacts[].s3 accessKeySecret and secretKeySecret, or give the Pod's service account a role";

/// Asks the machine.
pub(super) async fn find(environment: &Environment) -> Result<Found> {
    if environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Error::Refused(format!("there are no credentials for S3: {ADVICE}")));
    }
    let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    let usual = if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6")) { IPV6 } else { IPV4 };
    let place = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(usual).trim_end_matches('/');
    let doing = "asking the machine for its role";
    let client = rest::nearby()?;
    let token = client.put(format!("{place}/latest/api/token")).header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    let token = rest::small(rest::send(doing, token).await.map_err(explain)?).await?;
    let token = String::from_utf8_lossy(&token).trim().to_owned();
    let get = |path: String| client.get(format!("{place}{path}")).header("x-aws-ec2-metadata-token", &token);
    let role = rest::small(rest::send(doing, get(ROLES.to_owned())).await.map_err(explain)?).await?;
    let role = String::from_utf8_lossy(&role).lines().next().unwrap_or_default().trim().to_owned();
    let answer = rest::json(doing, rest::send(doing, get(format!("{ROLES}{role}"))).await?).await?;
    from_json(doing, &answer)
}

/// A machine without the service, or without a role, is not going to get one.
fn explain(error: Error) -> Error {
    match error.class() {
        Class::NotFound => Error::Refused(format!("this machine has no role for S3: {ADVICE}")),
        Class::Transient => Error::transient(format!("there are no credentials for S3 ({ADVICE})"), error),
        _ => error,
    }
}
