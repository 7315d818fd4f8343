//! S3 credentials of a Pod that has no keys: small servers stand for AWS's token service, the container's and the
//! machine's, and the embedded S3 server checks each request's signature against the keys that they gave.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/site.rs"]
mod site;

use std::collections::HashMap;

use bytes::Bytes;
use common::{Server, quick};
use serde_json::{Value, json};
use site::{Answer, Request, Site, answer};
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Body, Class, Environment, Error, NoSecrets, Options, Retry, Secret, collect};

/// The keys of the embedded server.
#[derive(Clone)]
struct Keys {
    access: String,
    secret: String,
}

fn keys(server: &Server) -> Keys {
    Keys { access: server.server.access_key().into(), secret: server.server.secret_key().expose().into() }
}

impl Keys {
    fn json(&self) -> Answer {
        let value = json!({
            "AccessKeyId": self.access, "SecretAccessKey": self.secret, "Expiration": "2099-01-01T00:00:00Z",
        });
        answer(200, value.to_string())
    }

    /// What the token service answers; the embedded server knows no session tokens, so it is not asked with this.
    fn xml(&self, action: &str) -> Answer {
        let Keys { access, secret } = self;
        answer(
            200,
            format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
                 <AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>the+token/==</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                 </Credentials></{action}Result></{action}Response>"
            ),
        )
    }
}

fn options(pairs: &[(&str, &str)]) -> Options {
    let pairs: HashMap<String, String> =
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    // Whatever a test forgets must not ask the network.
    let dead = ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned());
    let lookup = |name: &str| {
        let disabled = !pairs.contains_key("AWS_EC2_METADATA_SERVICE_ENDPOINT") && name == dead.0;
        pairs.get(name).cloned().or(disabled.then(|| dead.1.clone()))
    };
    Options { retry: quick(), environment: Environment::from_lookup(lookup), ..Options::default() }
}

fn artifact(endpoint: &str, more: Value) -> Artifact {
    let mut s3 = json!({"endpoint": endpoint, "bucket": common::BUCKET, "insecure": true, "key": "key"});
    s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({"name": "a", "path": "/a", "s3": s3})).unwrap()
}

/// Stores and loads through the embedded server, which refuses any other keys.
async fn passes(server: &Server, pairs: &[(&str, &str)], more: Value) {
    let artifacts = Artifacts::new(NoSecrets, options(pairs));
    let there = artifact(server.server.endpoint(), more);
    artifacts.save_body(Body::Bytes(Bytes::from_static(b"mine")), &there).await.unwrap();
    assert_eq!(collect(artifacts.open(&there).await.unwrap().stream).await.unwrap(), "mine");
}

#[tokio::test]
async fn keys_of_the_environment() {
    let server = common::s3().await;
    let Keys { access, secret } = keys(&server);
    let pairs = [("AWS_ACCESS_KEY_ID", access.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str())];
    for more in [json!({"useSDKCreds": true}), json!({})] {
        passes(&server, &pairs, more).await;
    }
    // `useSDKCreds` leaves keys that are named as well unread, so that they need not be there.
    let selector = json!({"name": "s", "key": "k"});
    passes(&server, &pairs, json!({"useSDKCreds": true, "accessKeySecret": selector, "secretKeySecret": selector}))
        .await;
}

#[tokio::test]
async fn credentials_of_the_container() {
    let server = common::s3().await;
    let good = keys(&server);
    let container = Site::start(move |request: &Request| match (request.path(), request.header("authorization")) {
        ("/v1/credentials", "pod-token") => good.json(),
        _ => answer(403, ""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "pod-token\n").unwrap();
    let url = format!("{}/v1/credentials", container.url);
    let place = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str());
    passes(&server, &[place, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap())], json!({})).await;
    passes(&server, &[place, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")], json!({})).await;
    assert_eq!(container.count("GET"), 2, "credentials are kept until they expire");
    let artifacts = Artifacts::new(NoSecrets, options(&[place, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wr0ng-token")]));
    let error = artifacts.open(&artifact(server.server.endpoint(), json!({}))).await.err().unwrap();
    let text = error.to_string();
    assert!(text.contains("asking the container for credentials") && !error.retry(), "{text}");
    assert!(!text.contains("wr0ng-token"), "{text}");
    assert_eq!(container.count("GET"), 3, "what is refused is not asked again");
}

#[tokio::test]
async fn the_role_of_the_machine() {
    let server = common::s3().await;
    let good = keys(&server);
    let machine = Site::start(move |request: &Request| {
        let path = "/latest/meta-data/iam/security-credentials/";
        match (request.method.as_str(), request.path(), request.header("x-aws-ec2-metadata-token")) {
            ("PUT", "/latest/api/token", _) if request.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600" => {
                answer(200, "session")
            }
            ("GET", at, "session") if at == path => answer(200, "node-role"),
            ("GET", at, "session") if at == format!("{path}node-role") => good.json(),
            _ => answer(401, ""),
        }
    })
    .await;
    passes(&server, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &machine.url)], json!({})).await;
    let none = Site::start(|_: &Request| answer(404, "")).await;
    let artifacts = Artifacts::new(NoSecrets, options(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &none.url)]));
    let error = artifacts.open(&artifact(server.server.endpoint(), json!({}))).await.err().unwrap();
    assert!(
        error.to_string().contains("this machine has no role for S3: give artifacts[].s3 accessKeySecret"),
        "{error}"
    );
    assert!(!error.retry());
    let artifacts = Artifacts::new(NoSecrets, options(&[]));
    let error = artifacts.open(&artifact(server.server.endpoint(), json!({}))).await.err().unwrap();
    assert!(error.to_string().contains("there are no credentials for S3"), "{error}");
}

/// A bucket that takes one PUT with these keys and this session token.
async fn bucket(access: &'static str, token: &'static str) -> Site {
    Site::start(move |request: &Request| {
        let signed = request.header("authorization").contains(&format!("Credential={access}/"));
        match signed && request.header("x-amz-security-token") == token {
            true => answer(200, ""),
            false => answer(403, "<Error><Code>AccessDenied</Code></Error>"),
        }
    })
    .await
}

fn host(site: &Site) -> String {
    site.url.trim_start_matches("http://").to_owned()
}

#[tokio::test]
async fn a_web_identity() {
    let temporary = Keys { access: "TEMPORARY".into(), secret: "of the role".into() };
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let service = Site::start(move |request: &Request| {
        let form = request.form();
        let good = form["Action"] == "AssumeRoleWithWebIdentity"
            && form["RoleArn"] == "arn:aws:iam::1:role/writer"
            && form["WebIdentityToken"] == "ey.J+h/bGci"
            && form["RoleSessionName"] == "tiphys";
        match good {
            _ if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => answer(503, "busy"),
            true => temporary.xml("AssumeRoleWithWebIdentity"),
            false => answer(400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "ey.J+h/bGci\n").unwrap();
    let bucket = bucket("TEMPORARY", "the+token/==").await;
    let pairs = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/writer"),
        ("AWS_ENDPOINT_URL_STS", service.url.as_str()),
    ];
    let artifacts = Artifacts::new(NoSecrets, options(&pairs));
    let there = artifact(&host(&bucket), json!({"useSDKCreds": true}));
    artifacts.save_body(Body::Bytes(Bytes::from_static(b"x")), &there).await.unwrap();
    artifacts.save_body(Body::Bytes(Bytes::from_static(b"y")), &there).await.unwrap();
    assert_eq!(service.count("POST"), 2, "once refused for now, once answered, then kept");
    std::fs::write(&file, "another").unwrap();
    let error = Artifacts::new(NoSecrets, options(&pairs)).open(&there).await.err().unwrap();
    assert!(error.to_string().contains("assuming arn:aws:iam::1:role/writer by web identity"), "{error}");
    assert!(error.to_string().contains("InvalidIdentityToken") && !error.to_string().contains("another"), "{error}");
    let error = Artifacts::new(NoSecrets, options(&pairs[..1])).open(&there).await.err().unwrap();
    assert!(error.to_string().contains("AWS_ROLE_ARN"), "{error}");
}

#[tokio::test]
async fn a_role_that_is_assumed() {
    let assumed = Keys { access: "ASSUMED".into(), secret: "of the role".into() };
    let service = Site::start(move |request: &Request| {
        let form = request.form();
        let signature = request.header("authorization");
        let scope = signature.contains("Credential=OWN/") && signature.contains("/eu-west-1/sts/aws4_request");
        let named = form["Action"] == "AssumeRole" && form["RoleArn"] == "arn:aws:iam::2:role/other";
        match scope && named && request.header("x-amz-security-token") == "own-token" {
            true => assumed.xml("AssumeRole"),
            false => answer(403, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>"),
        }
    })
    .await;
    let bucket = bucket("ASSUMED", "the+token/==").await;
    let artifacts = Artifacts::new(
        NoSecrets,
        options(&[
            ("AWS_ACCESS_KEY_ID", "OWN"),
            ("AWS_SECRET_ACCESS_KEY", "own secret"),
            ("AWS_SESSION_TOKEN", "own-token"),
            ("AWS_ENDPOINT_URL_STS", &service.url),
        ]),
    );
    let there = artifact(&host(&bucket), json!({"roleARN": "arn:aws:iam::2:role/other", "region": "eu-west-1"}));
    artifacts.save_body(Body::Bytes(Bytes::from_static(b"x")), &there).await.unwrap();
    assert_eq!((service.count("POST"), bucket.count("PUT")), (1, 1));
}

#[tokio::test]
async fn keys_in_secrets_come_before_a_role() {
    let server = common::s3().await;
    let good = keys(&server);
    let secrets = move |_: &str, key: &str| {
        Ok::<_, Error>(Secret::new(if key == "access" { good.access.clone() } else { good.secret.clone() }))
    };
    let artifacts = Artifacts::new(secrets, options(&[]));
    let key = |key: &str| json!({"name": "s", "key": key});
    let keys =
        json!({"accessKeySecret": key("access"), "secretKeySecret": key("secret"), "roleARN": "arn:aws:iam::3:role/x"});
    let there = artifact(server.server.endpoint(), keys);
    artifacts.save_body(Body::Bytes(Bytes::from_static(b"x")), &there).await.unwrap();
    let half = artifact(server.server.endpoint(), json!({"accessKeySecret": key("access")}));
    let error = artifacts.open(&half).await.err().unwrap();
    assert!(error.to_string().contains("needs both accessKeySecret and secretKeySecret"), "{error}");
}

#[tokio::test]
async fn a_token_service_that_never_answers_is_an_error_in_time() {
    let service = Site::start(|_: &Request| Answer { reset: true, ..Answer::default() }).await;
    let mut options = options(&[
        ("AWS_ACCESS_KEY_ID", "OWN"),
        ("AWS_SECRET_ACCESS_KEY", "own secret"),
        ("AWS_ENDPOINT_URL_STS", &service.url),
    ]);
    options.retry = Retry { tries: 2, ..quick() };
    let there = artifact("127.0.0.1:1", json!({"roleARN": "arn:aws:iam::2:role/other"}));
    let error = Artifacts::new(NoSecrets, options).open(&there).await.err().unwrap();
    assert!(error.to_string().contains("assuming arn:aws:iam::2:role/other"), "{error}");
    // As often as it may be asked, and the store is not asked again on top of that.
    assert_eq!((error.class(), error.retry(), service.count("POST")), (Class::Transient, false, 2));
}
