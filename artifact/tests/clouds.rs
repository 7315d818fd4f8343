//! GCS, Azure and OSS when something is wrong, and each way to say who asks.
#![allow(clippy::unwrap_used)] // Helpers of tests.

#[path = "common/clouds.rs"]
mod clouds;
mod common;
#[path = "common/site.rs"]
mod site;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clouds::{Flavour, Shared, Twist};
use common::{noise, quick};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use site::{Answer, Request, Site, answer};
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Body, Class, Environment, Options, Place, Retry, Secret, Store, collect};

const LARGE: usize = (21 << 20) + 5;

fn artifacts(secrets: &[(&str, &str)], variables: &[(&str, &str)]) -> Artifacts {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let secrets = owned(secrets);
    let secret = move |_: &str, key: &str| {
        Ok(Secret::new(secrets.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap()))
    };
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
    let retry = Retry { stall: Duration::from_millis(300), tries: 4, ..quick() };
    let environment = Environment::from_lookup(lookup);
    Artifacts::new(secret, Options { part_size: 5 << 20, retry, environment, ..Options::default() })
}

fn artifact(location: Value) -> Artifact {
    let mut artifact = location;
    artifact["name"] = json!("a");
    serde_json::from_value(artifact).unwrap()
}

fn selector(key: &str) -> Value {
    json!({"name": "s", "key": key})
}

/// A store of each kind whose answers go through a twist, with what it keeps and the server.
async fn each(twist: impl Fn() -> Twist) -> Vec<(&'static str, Arc<dyn Store>, Shared, Site)> {
    let google = clouds::google().await;
    let bearer = |request: &Request| request.header("authorization") == "Bearer machine-token";
    let (site, kept) = clouds::bucket(Flavour::Gcs, bearer, twist()).await;
    let host = google.url.trim_start_matches("http://").to_owned();
    let with = artifacts(&[], &[("STORAGE_EMULATOR_HOST", &site.url), ("GCE_METADATA_HOST", &host)]);
    let gcs = with.place(&artifact(json!({"gcs": {"bucket": "bucket", "key": "k"}}))).unwrap();
    let mut all = vec![("gcs", gcs.store, kept, site)];

    let signed = |request: &Request| clouds::oss_allows(request, "AK", "SK", None);
    let (site, kept) = clouds::bucket(Flavour::Oss, signed, twist()).await;
    let with = artifacts(&[("access", "AK"), ("secret", "SK")], &[]);
    let location = json!({"oss": {
        "endpoint": site.url, "bucket": "bucket", "key": "k",
        "accessKeySecret": selector("access"), "secretKeySecret": selector("secret"),
    }});
    let Place { store, .. } = with.place(&artifact(location)).unwrap();
    all.push(("oss", store, kept, site));

    let signed = |request: &Request| clouds::azure_allows(request, "account", "c2VjcmV0IGtleQ==");
    let (site, kept) = clouds::container(signed, twist()).await;
    let with = artifacts(&[("key", "c2VjcmV0IGtleQ==")], &[]);
    let location = json!({"azure": {
        "endpoint": format!("{}/account", site.url), "container": "container", "blob": "b",
        "accountKeySecret": selector("key"),
    }});
    let Place { store, .. } = with.place(&artifact(location)).unwrap();
    all.push(("azure", store, kept, site));
    all
}

fn streamed(data: &[u8]) -> Body {
    let chunks: Vec<_> = data.chunks(300_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::Stream(stream::iter(chunks).boxed())
}

async fn get(store: &dyn Store, key: &str) -> Result<Bytes, tiphys_artifact::Error> {
    collect(store.open(key).await?.stream).await
}

#[tokio::test]
async fn every_third_answer_is_bad_and_all_arrives() {
    type Bad = fn(Answer) -> Answer;
    let bads: [Bad; 3] = [
        |_| answer(503, "<Error><Code>SlowDown</Code></Error>"),
        |_| Answer { reset: true, ..Answer::default() },
        // Only bodies can be cut; what has none passes.
        |answer| Answer { cut: Some(answer.body.len() / 2), ..answer },
    ];
    for bad in bads {
        let twist = || -> Twist {
            let number = AtomicUsize::new(0);
            Box::new(move |_, answer| match number.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => bad(answer),
                _ => answer,
            })
        };
        for (name, store, kept, _site) in each(twist).await {
            let data = noise(LARGE, 3);
            store.put("large", streamed(&data)).await.unwrap();
            store.put("small", Body::Bytes(Bytes::from_static(b"small"))).await.unwrap();
            assert!(kept.lock().unwrap().objects["large"] == data, "{name}");
            assert!(get(&*store, "large").await.unwrap() == data, "{name}");
            assert_eq!(store.list("").try_concat().await.unwrap().len(), 2, "{name}");
            store.delete("small").await.unwrap();
            assert!(store.open("small").await.err().unwrap().is_not_found(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_body_that_stands_still_goes_on() {
    let twist = || -> Twist {
        let stalled = AtomicUsize::new(0);
        Box::new(move |request, answer| match request.method.as_str() {
            "GET" if stalled.fetch_add(1, Ordering::Relaxed) == 0 => {
                Answer { cut: Some(100_000), stall: true, ..answer }
            }
            _ => answer,
        })
    };
    for (name, store, kept, _site) in each(twist).await {
        let data = noise(1 << 20, 4);
        kept.lock().unwrap().objects.insert("key".into(), data.clone());
        assert!(get(&*store, "key").await.unwrap() == data, "{name}");
    }
}

#[tokio::test]
async fn damaged_bytes_are_noticed_both_ways() {
    // On the way down: a byte of each body changes.
    let twist = || -> Twist {
        Box::new(|request, mut answer| {
            if request.method == "GET" && answer.body.len() > 1000 {
                answer.body[500] ^= 1;
            }
            answer
        })
    };
    for (name, store, kept, _site) in each(twist).await {
        for size in [200_000, LARGE] {
            kept.lock().unwrap().objects.insert("key".into(), noise(size, 5));
            let error = get(&*store, "key").await.unwrap_err();
            assert_eq!(error.class(), Class::Corrupt, "{name} {size}: {error}");
        }
    }
    // On the way up: the store has other bytes than were sent, as its checksum tells.
    let (site, _kept) = clouds::bucket(
        Flavour::Oss,
        |_| true,
        Box::new(|request, mut answer| {
            if request.method == "PUT" {
                answer.headers.retain(|(name, _)| !name.contains("crc64"));
                answer.headers.push(("x-oss-hash-crc64ecma".into(), "1".into()));
            }
            answer
        }),
    )
    .await;
    let with = artifacts(&[("access", "AK"), ("secret", "SK")], &[]);
    let location = json!({"oss": {
        "endpoint": site.url, "bucket": "bucket", "key": "k",
        "accessKeySecret": selector("access"), "secretKeySecret": selector("secret"),
    }});
    let error = with.save_body(Body::Bytes(Bytes::from_static(b"x")), &artifact(location)).await.unwrap_err();
    assert_eq!(error.class(), Class::Corrupt, "{error}");
}

#[tokio::test]
async fn an_object_that_changes_meanwhile_is_an_error() {
    for (name, store, kept, _site) in each(clouds::none).await {
        kept.lock().unwrap().objects.insert("key".into(), noise(LARGE, 6));
        let object = store.open("key").await.unwrap();
        kept.lock().unwrap().objects.insert("key".into(), noise(LARGE, 7));
        let error = collect(object.stream).await.unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{name}: {error}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_said_once_and_not_shown() {
    let (site, _) = clouds::container(|_| false, clouds::none()).await;
    let endpoint = format!("{}/account", site.url);
    let at = |key: &str| {
        artifact(json!({"azure": {
            "endpoint": endpoint, "container": "container", "blob": "b", "accountKeySecret": selector(key),
        }}))
    };
    let with =
        artifacts(&[("key", "d3JvbmcgcGFzc3dvcmQ="), ("bad", "not base64!"), ("sas", "sv=1&sig=s3cr3t%3D")], &[]);
    for key in ["key", "sas"] {
        let error = with.open(&at(key)).await.err().unwrap();
        let text = error.to_string();
        assert!(text.contains("azure://container/b") && text.contains("AuthenticationFailed"), "{text}");
        assert_eq!(error.class(), Class::Permanent);
        assert!(!text.contains("d3Jv") && !text.contains("s3cr3t"), "{text}");
    }
    assert_eq!(site.count("GET"), 2);
    assert!(site.seen.lock().unwrap()[1].target.ends_with("sv=1&sig=s3cr3t%3D"));
    let error = with.open(&at("bad")).await.err().unwrap().to_string();
    assert!(error.contains("artifacts[].azure.accountKeySecret") && !error.contains("not base64!"), "{error}");
    let gcs = artifact(json!({"gcs": {"bucket": "b", "key": "k", "serviceAccountKeySecret": selector("bad")}}));
    let error = with.open(&gcs).await.err().unwrap().to_string();
    assert!(error.contains("artifacts[].gcs.serviceAccountKeySecret") && !error.contains("not base64!"), "{error}");
}

#[tokio::test]
async fn a_service_account_that_google_refuses() {
    let google =
        Site::start(|_| answer(400, r#"{"error": "invalid_grant", "error_description": "no such account"}"#)).await;
    let account = clouds::service_account(&google.url);
    let with = artifacts(&[("key", &account)], &[("STORAGE_EMULATOR_HOST", "127.0.0.1:1")]);
    let gcs = artifact(json!({"gcs": {"bucket": "b", "key": "k", "serviceAccountKeySecret": selector("key")}}));
    let error = with.open(&gcs).await.err().unwrap();
    assert!(
        error.to_string().contains("token of robot@project") && error.to_string().contains("invalid_grant"),
        "{error}"
    );
    assert_eq!((error.class(), google.count("POST")), (Class::Permanent, 1));
}

#[tokio::test]
async fn azure_identities_of_a_pod() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "federated\n").unwrap();
    let entra = Site::start(|request: &Request| {
        let token = |text: &str| answer(200, json!({"access_token": text, "expires_in": "3600"}).to_string());
        match request.path() {
            "/tenant/oauth2/v2.0/token" => {
                let form = request.form();
                let assertion = form.get("client_assertion").map(String::as_str);
                let secret = form.get("client_secret").map(String::as_str);
                match form["client_id"] == "client" && form["scope"] == "https://storage.azure.com/.default" {
                    true if assertion == Some("federated") || secret == Some("app secret") => token("entra"),
                    _ => answer(401, json!({"error": "invalid_client"}).to_string()),
                }
            }
            "/metadata/identity/oauth2/token" if request.header("metadata") == "true" => token("entra"),
            "/app" if request.header("x-identity-header") == "header" => token("entra"),
            _ => answer(404, ""),
        }
    })
    .await;
    let (site, kept) =
        clouds::container(|request| request.header("authorization") == "Bearer entra", clouds::none()).await;
    kept.lock().unwrap().objects.insert("b".into(), b"blob".to_vec());
    let there = artifact(json!({"azure": {
        "endpoint": format!("{}/account", site.url), "container": "container", "blob": "b", "useSDKCreds": true,
    }}));
    let app = format!("{}/app", entra.url);
    let common = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "client"), ("AZURE_AUTHORITY_HOST", &entra.url)];
    for more in [
        vec![("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())],
        vec![("AZURE_CLIENT_SECRET", "app secret")],
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url.as_str())],
        vec![("IDENTITY_ENDPOINT", app.as_str()), ("IDENTITY_HEADER", "header")],
    ] {
        let variables: Vec<_> = common.iter().copied().chain(more).collect();
        let object = artifacts(&[], &variables).open(&there).await.unwrap();
        assert_eq!(collect(object.stream).await.unwrap(), "blob", "{variables:?}");
    }
    let variables: Vec<_> = common.iter().copied().chain([("AZURE_CLIENT_SECRET", "wr0ng")]).collect();
    let error = artifacts(&[], &variables).open(&there).await.err().unwrap().to_string();
    assert!(error.contains("application client") && error.contains("invalid_client"), "{error}");
    assert!(!error.contains("wr0ng"), "{error}");
}

#[tokio::test]
async fn a_directory_of_azure_is_loaded_and_deleted_without_a_slash() {
    // In accounts with hierarchy a directory is an empty blob with a mark.
    let twist: Twist =
        Box::new(|request, answer| match request.path().ends_with("/dir") && request.method != "DELETE" {
            true => answer.with("x-ms-meta-hdi_isfolder", "true"),
            false => answer,
        });
    let (site, kept) = clouds::container(|_| true, twist).await;
    for key in ["dir", "dir/a", "dir/b/c", "dirt"] {
        kept.lock().unwrap().objects.insert(key.into(), if key == "dir" { Vec::new() } else { b"x".to_vec() });
    }
    let there = artifact(json!({"azure": {
        "endpoint": format!("{}/account", site.url), "container": "container", "blob": "dir",
        "accountKeySecret": selector("key"),
    }}));
    let with = artifacts(&[("key", "c2VjcmV0IGtleQ==")], &[]);
    let folder = tempfile::tempdir().unwrap();
    with.load_input(&there, &folder.path().join("in")).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("in/b/c")).unwrap(), b"x");
    with.delete(&there).await.unwrap();
    assert_eq!(kept.lock().unwrap().objects.keys().collect::<Vec<_>>(), ["dirt"]);
}

#[tokio::test]
async fn oss_buckets_rules_and_service_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "oidc-token\n").unwrap();
    let sts = Site::start(|request: &Request| {
        let form = request.form();
        let good = form["Action"] == "AssumeRoleWithOIDC"
            && form["OIDCToken"] == "oidc-token"
            && form["RoleArn"] == "acs:ram::1:role/x"
            && form["OIDCProviderArn"] == "acs:ram::1:oidc-provider/y";
        let keys = json!({
            "AccessKeyId": "STS.AK", "AccessKeySecret": "STS SK", "SecurityToken": "sts-token",
            "Expiration": "2099-01-01T00:00:00Z",
        });
        answer(if good { 200 } else { 400 }, json!({"Credentials": keys}).to_string())
    })
    .await;
    let allowed = |request: &Request| clouds::oss_allows(request, "STS.AK", "STS SK", Some("sts-token"));
    let (site, kept) = clouds::bucket(Flavour::Oss, allowed, clouds::none()).await;
    let there = artifact(json!({"oss": {
        "endpoint": site.url, "bucket": "bucket", "key": "wf/key", "useSDKCreds": true, "createBucketIfNotPresent": true,
        "lifecycleRule": {"markInfrequentAccessAfterDays": 5, "markDeletionAfterDays": 9},
    }}));
    let with = artifacts(
        &[],
        &[
            ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/x"),
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/y"),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
            ("ALIBABA_CLOUD_STS_ENDPOINT", &sts.url),
        ],
    );
    with.save_body(Body::Bytes(Bytes::from_static(b"x")), &there).await.unwrap();
    assert_eq!(kept.lock().unwrap().objects["wf/key"], b"x");
    let targets: Vec<_> =
        site.seen.lock().unwrap().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
    assert_eq!(targets, ["PUT /bucket/", "PUT /bucket/?lifecycle", "PUT /bucket/wf/key"]);
    assert_eq!(sts.count("POST"), 1);
    let mut wrong = there.clone();
    wrong.oss.as_mut().unwrap().lifecycle_rule.as_mut().unwrap().mark_deletion_after_days = 1;
    let error = with.save_body(Body::Bytes(Bytes::new()), &wrong).await.unwrap_err().to_string();
    assert!(error.contains("artifacts[].oss.lifecycleRule"), "{error}");
    let error = artifacts(&[], &[]).open(&there).await.err().unwrap().to_string();
    assert!(error.contains("artifacts[].oss names no keys"), "{error}");
}

#[tokio::test]
async fn keys_that_no_url_can_hold_are_refused() {
    for (name, store, _kept, site) in each(clouds::none).await {
        let error = store.put("a/../b", Body::Bytes(Bytes::new())).await.unwrap_err();
        assert!(error.to_string().contains("cannot be in a URL"), "{name}: {error}");
        assert_eq!(site.count("PUT"), 0);
    }
}
