//! What a Pod is for Azure: a workload identity, an application with a secret, or the machine's managed identity.

use async_trait::async_trait;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::rest;
use crate::store::token::{Source, Token};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://storage.azure.com/.default";
const RESOURCE: &str = "https://storage.azure.com/";
const MACHINE: &str = "http://169.254.169.254";

/// The source that Azure's own libraries would find first.
pub(super) fn source(environment: &Environment) -> Result<Identity> {
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    let client = variable("AZURE_CLIENT_ID");
    if let (Some(tenant), Some(client)) = (variable("AZURE_TENANT_ID"), &client) {
        let authority = variable("AZURE_AUTHORITY_HOST").unwrap_or(AUTHORITY.to_owned());
        let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let proof = match (variable("AZURE_CLIENT_SECRET"), variable("AZURE_FEDERATED_TOKEN_FILE")) {
            (Some(secret), _) => Some(Proof::Secret(Secret::new(secret))),
            (None, Some(file)) => Some(Proof::File(file)),
            (None, None) => None,
        };
        if let Some(proof) = proof {
            return Ok(Identity::Application { url, client: client.clone(), proof });
        }
    }
    if let (Some(url), Some(header)) = (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
        return Ok(Identity::Machine { url, header: Some(Secret::new(header)), client });
    }
    let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or(MACHINE.to_owned());
    let url = format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/'));
    Ok(Identity::Machine { url, header: None, client })
}

/// An identity.
#[derive(Debug)]
pub(super) enum Identity {
    Application { url: String, client: String, proof: Proof },
    Machine { url: String, header: Option<Secret>, client: Option<String> },
}

/// How an application shows that it is one.
#[derive(Debug)]
pub(super) enum Proof {
    Secret(Secret),
    /// A file with a token that the cluster renews.
    File(String),
}

#[async_trait]
impl Source for Identity {
    async fn ask(&self) -> Result<Token> {
        let (doing, request) = match self {
            Identity::Application { url, client, proof } => {
                let doing = format!("asking for a token of the application {client}");
                let mut form =
                    vec![("grant_type", "client_credentials"), ("client_id", client.as_str()), ("scope", SCOPE)];
                let assertion;
                match proof {
                    Proof::Secret(secret) => form.push(("client_secret", secret.expose())),
                    Proof::File(file) => {
                        let text = tokio::fs::read_to_string(file).await;
                        let wrong = |source| Error::permanent(format!("{doing}: reading {file}"), source);
                        assertion = text.map_err(wrong)?;
                        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                        form.push(("client_assertion_type", kind));
                        form.push(("client_assertion", assertion.trim()));
                    }
                }
                (doing, rest::post_form(&rest::client()?, url, rest::form(&form)))
            }
            Identity::Machine { url, header, client } => {
                let mut query = vec![("resource", RESOURCE)];
                query.extend(client.as_ref().map(|client| ("client_id", client.as_str())));
                query.push(("api-version", if header.is_some() { "2019-08-01" } else { "2018-02-01" }));
                let request = rest::nearby()?.get(format!("{url}?{}", rest::form(&query)));
                let request = match header {
                    Some(header) => request.header("x-identity-header", header.expose()),
                    None => request.header("metadata", "true"),
                };
                ("asking the machine for its identity (artifacts[].azure names no key)".to_owned(), request)
            }
        };
        match rest::send(&doing, request).await {
            Ok(response) => Token::of(&doing, &rest::json(&doing, response).await?),
            // Nobody may take a missing identity for a missing artifact.
            Err(gone) if gone.is_not_found() => Err(Error::permanent(doing, "there is no such identity")),
            Err(error) => Err(error),
        }
    }
}
