//! Credentials that the container's own surroundings hand out: ECS tasks and EKS pod identity.

use std::net::IpAddr;

use super::{Found, from_json};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::store::rest;

const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
/// ECS's own address, which relative URIs are below.
const ECS: &str = "http://169.254.170.2";
/// Plain HTTP is for addresses that do not leave the machine: these, and loopback.
const LOCAL: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Where to ask, if anywhere.
pub(super) fn place(environment: &Environment) -> Result<Option<reqwest::Url>> {
    let (name, text) = match (environment.get(RELATIVE), environment.get(FULL)) {
        (Some(relative), _) => (RELATIVE, format!("{ECS}{relative}")),
        (None, Some(full)) => (FULL, full.to_owned()),
        (None, None) => return Ok(None),
    };
    let url: reqwest::Url = text.parse().map_err(|error| Error::Refused(format!("{name} is not a URL: {error}")))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let local = LOCAL.contains(&host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) || host == "localhost";
    match url.scheme() {
        "https" => Ok(Some(url)),
        "http" if local => Ok(Some(url)),
        _ => Err(Error::Refused(format!("{name} must be https, or http at an address of this machine"))),
    }
}

/// Asks there.
pub(super) async fn find(environment: &Environment, url: reqwest::Url) -> Result<Found> {
    let doing = "asking the container for credentials";
    let mut request = rest::nearby()?.get(url);
    let file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let token = match file {
        Some(file) => {
            let text = tokio::fs::read_to_string(file).await;
            Some(text.map_err(|source| Error::permanent(format!("{doing}: reading {file}"), source))?)
        }
        None => environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    if let Some(token) = token {
        request = request.header("authorization", token.trim());
    }
    let answer = rest::json(doing, rest::send(doing, request).await?).await?;
    from_json(doing, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_the_machine() {
        let place = |name: &str, value: &str| {
            place(&Environment::from_lookup(|asked| (asked == name).then(|| value.to_owned())))
        };
        assert_eq!(place(RELATIVE, "/v2/x").unwrap().unwrap().as_str(), "http://169.254.170.2/v2/x");
        for good in ["http://127.0.0.1:9/x", "http://[fd00:ec2::23]/v1", "http://169.254.170.23/v1", "https://any/x"] {
            assert!(place(FULL, good).unwrap().is_some(), "{good}");
        }
        for bad in ["http://example.com/x", "http://10.0.0.1/x", "ftp://127.0.0.1/", "nonsense"] {
            assert!(place(FULL, bad).unwrap_err().to_string().contains(FULL), "{bad}");
        }
    }
}
