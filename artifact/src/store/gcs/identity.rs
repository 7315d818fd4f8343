//! Who asks Google: a service account by its key, a user's stored login, or what the machine or Pod is by its metadata
//! server.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::rest;
use crate::store::token::{Source, Token};

const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const FIELD: &str = "artifacts[].gcs.serviceAccountKeySecret";

/// The source for a key, or without one for what Google's own libraries would find.
pub(super) fn source(key: Option<&Secret>, environment: &Environment) -> Result<Identity> {
    if let Some(key) = key {
        return of_json(key.expose(), FIELD);
    }
    if let Some(file) = environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
        let text = std::fs::read_to_string(file);
        let text =
            text.map_err(|source| Error::io(|| format!("reading GOOGLE_APPLICATION_CREDENTIALS {file}"), source))?;
        return of_json(&text, "GOOGLE_APPLICATION_CREDENTIALS");
    }
    let host = environment.get("GCE_METADATA_HOST").unwrap_or("metadata.google.internal");
    Ok(Identity::Machine { host: host.to_owned() })
}

/// An identity.
#[derive(Debug)]
pub(super) enum Identity {
    Account(Box<Account>),
    User { token_uri: String, form: Vec<(&'static str, Secret)> },
    Machine { host: String },
}

/// A service account that signs its requests for tokens.
pub(super) struct Account {
    email: String,
    key_id: String,
    token_uri: String,
    key: RsaKeyPair,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("email", &self.email).finish_non_exhaustive()
    }
}

fn of_json(text: &str, origin: &str) -> Result<Identity> {
    let value: Value = serde_json::from_str(text)
        // The parser's message could quote the secret.
        .map_err(|_| Error::Refused(format!("{origin} holds no JSON with a service account's key")))?;
    let part =
        |name: &str| value[name].as_str().ok_or_else(|| Error::Refused(format!("{origin} holds JSON without {name}")));
    let token_uri = value["token_uri"].as_str().unwrap_or(TOKEN_URI).to_owned();
    match part("type")? {
        "service_account" => {
            let wrong = |_| Error::Refused(format!("{origin}: private_key is no RSA key in PEM format"));
            let der = PrivateKeyDer::from_pem_slice(part("private_key")?.as_bytes()).map_err(|_| wrong(()))?;
            let key = match &der {
                PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
                _ => return Err(wrong(())),
            };
            Ok(Identity::Account(Box::new(Account {
                email: part("client_email")?.to_owned(),
                key_id: value["private_key_id"].as_str().unwrap_or_default().to_owned(),
                token_uri,
                key: key.map_err(|_| wrong(()))?,
            })))
        }
        "authorized_user" => {
            let form = ["client_id", "client_secret", "refresh_token"];
            let form = form.into_iter().map(|name| Ok((name, Secret::new(part(name)?))));
            Ok(Identity::User { token_uri, form: form.collect::<Result<_>>()? })
        }
        other => Err(Error::Refused(format!(
            "{origin} is of type {other:?}, which Tiphys does not know: use a service account's key, or workload identity"
        ))),
    }
}

impl Account {
    /// The signed statement that is exchanged for a token.
    fn assertion(&self) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + 3600,
        });
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(&header), text(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let outcome = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        outcome.map_err(|_| Error::permanent("signing as a service account", "the key does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[async_trait]
impl Source for Identity {
    async fn ask(&self) -> Result<Token> {
        let (doing, request) = match self {
            Identity::Account(account) => {
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let body = rest::form(&[("grant_type", grant), ("assertion", &account.assertion()?)]);
                let doing = format!("asking for a token of {}", account.email);
                (doing, rest::post_form(&rest::client()?, &account.token_uri, body))
            }
            Identity::User { token_uri, form } => {
                let mut fields = vec![("grant_type", "refresh_token")];
                fields.extend(form.iter().map(|(name, value)| (*name, value.expose())));
                let request = rest::post_form(&rest::client()?, token_uri, rest::form(&fields));
                ("asking for a token of the stored login".to_owned(), request)
            }
            Identity::Machine { host } => {
                let path = "computeMetadata/v1/instance/service-accounts/default/token";
                let request = rest::nearby()?.get(format!("http://{host}/{path}"));
                let doing = format!("asking the metadata server {host} for a token (artifacts[].gcs names no key)");
                (doing, request.header("metadata-flavor", "Google"))
            }
        };
        match rest::send(&doing, request).await {
            Ok(response) => Token::of(&doing, &rest::json(&doing, response).await?),
            // Nobody may take a missing account for a missing artifact.
            Err(gone) if gone.is_not_found() => Err(Error::permanent(doing, "it has no service account")),
            Err(error) => Err(error),
        }
    }
}
