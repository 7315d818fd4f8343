//! Images from a registry.

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tiphys_oci::{Digest, Error, PullSecrets, Reference, Registries};
use tokio::net::TcpListener;

use crate::build::{config, descriptor, gzip, hello, manifest, zstd};
use crate::registry::{Door, Registry};
use crate::{Stored, name};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const OCI_PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

/// Puts an image into the registry under a tag and returns its manifest.
fn publish(registry: &Registry, tag: &str, text: &str) -> Vec<u8> {
    let layers = [hello("base"), hello("middle"), hello(text)];
    let stored = [(OCI_GZIP, gzip(&layers[0])), (OCI_ZSTD, zstd(&layers[1])), (OCI_PLAIN, layers[2].clone())];
    let config = config(&layers);
    let manifest = manifest(&config, &stored);
    stored.iter().for_each(|(_, bytes)| registry.blob(bytes));
    registry.blob(&config);
    registry.manifest(tag, OCI, &manifest);
    manifest
}

fn image(registry: &Registry, tag: &str) -> Reference {
    name(&format!("{}/team/image{tag}", registry.host))
}

async fn text(stored: &Stored, image: &tiphys_oci::Image) -> String {
    let rootfs = stored.store.rootfs(image).await.unwrap();
    fs::read_to_string(rootfs.path().join("hello")).unwrap()
}

#[tokio::test]
async fn an_image_in_all_compressions_is_pulled_and_kept() {
    let (stored, registry) = (Stored::new().await, Registry::start(Door::Open).await);
    let manifest = publish(&registry, "1", "one");
    let pulled = stored.store.pull(&image(&registry, ":1"), &Registries::new()).await.unwrap();
    assert_eq!(pulled.digest, Digest::of(&manifest));
    assert_eq!(text(&stored, &pulled).await, "one");
    assert_eq!(stored.store.get(&image(&registry, ":1")).await.unwrap().unwrap(), pulled);
    let by_digest = image(&registry, &format!("@{}", pulled.digest));
    assert_eq!(stored.store.get(&by_digest).await.unwrap().unwrap(), pulled);

    // A second pull asks only whether the tag has moved.
    registry.requests();
    stored.store.pull(&image(&registry, ":1"), &Registries::new()).await.unwrap();
    assert_eq!(registry.requests(), ["/v2/team/image/manifests/1"]);

    // The tag moves, and with it goes only what is new.
    publish(&registry, "1", "two");
    let moved = stored.store.pull(&image(&registry, ":1"), &Registries::new()).await.unwrap();
    assert_eq!((registry.requests().len(), &text(&stored, &moved).await[..]), (3, "two"));
    stored.store.remove(&image(&registry, ":1")).await.unwrap();
    assert_eq!(stored.store.get(&image(&registry, &format!("@{}", moved.digest))).await.unwrap(), None);
    assert_eq!(stored.store.get(&by_digest).await.unwrap(), Some(pulled));
}

#[tokio::test]
async fn what_an_image_runs_is_told_without_its_layers() {
    let registry = Registry::start(Door::Open).await;
    publish(&registry, "1", "one");
    registry.requests();
    let config = Registries::new().image_config(&image(&registry, ":1")).await.unwrap();
    assert_eq!(config.entrypoint, ["/bin/run"]);
    let asked = registry.requests();
    assert!(asked.len() == 2 && asked[1].starts_with("/v2/team/image/blobs/"), "{asked:?}");
    let absent = Registries::new().image_config(&image(&registry, ":2")).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound { .. }), "{absent}");
}

#[tokio::test]
async fn of_several_machines_images_ours_is_taken() {
    let (stored, registry) = (Stored::new().await, Registry::start(Door::Open).await);
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let entry = |manifest: &[u8], os: &str, architecture: &str| {
        let mut entry = descriptor(OCI, manifest);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    };
    let ours = publish(&registry, "ours", "ours");
    let other = publish(&registry, "other", "other");
    let list = |entries: &[Value]| {
        let list = json!({"schemaVersion": 2, "manifests": entries, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"});
        serde_json::to_vec(&list).unwrap()
    };
    let all =
        list(&[entry(&other, "unknown", "unknown"), entry(&other, "linux", "vax"), entry(&ours, "linux", machine)]);
    registry.manifest("all", "application/vnd.docker.distribution.manifest.list.v2+json", &all);
    let pulled = stored.store.pull(&image(&registry, ":all"), &Registries::new()).await.unwrap();
    assert_eq!((pulled.digest,), (Digest::of(&ours),));
    let by_list = image(&registry, &format!("@{}", Digest::of(&all)));
    assert!(stored.store.get(&by_list).await.unwrap().is_some());

    let none = list(&[entry(&other, "linux", "vax"), entry(&other, "windows", machine)]);
    registry.manifest("none", "application/vnd.docker.distribution.manifest.list.v2+json", &none);
    let error = stored.store.pull(&image(&registry, ":none"), &Registries::new()).await.unwrap_err().to_string();
    let expected = format!("is not available for linux/{machine}; it exists for linux/vax, windows/{machine}");
    assert!(error.ends_with(&expected), "{error}");
}

#[tokio::test]
async fn tokens_and_passwords() {
    let login = base64::engine::general_purpose::STANDARD.encode("me:secret");
    let header: &'static str = Box::leak(format!("Basic {login}").into_boxed_str());
    for door in [Door::Token, Door::TokenFor(header), Door::Basic(header)] {
        let (stored, registry) = (Stored::new().await, Registry::start(door).await);
        publish(&registry, "1", "in");
        let name = image(&registry, ":1");
        let anonymous = stored.store.pull(&name, &Registries::new()).await;
        if door == Door::Token {
            anonymous.unwrap();
            continue;
        }
        let error = anonymous.unwrap_err();
        let advice = format!("log in with `docker login {}`", registry.host);
        assert!(matches!(error, Error::Unauthorised { .. }) && error.to_string().contains(&advice), "{error}");

        let file = |text: Value| stored.file("config.json", text.to_string().as_bytes());
        let helper = file(json!({"credHelpers": {&registry.host: "magic"}}));
        let registries = Registries::new().with_docker_config(&helper).unwrap();
        let error = stored.store.pull(&name, &registries).await.unwrap_err().to_string();
        assert!(error.contains("the credential helper magic, which is not supported"), "{error}");

        let wrong = file(json!({"auths": {&registry.host: {"username": "me", "password": "hunter2"}}}));
        let registries = Registries::new().with_docker_config(&wrong).unwrap();
        let error = stored.store.pull(&name, &registries).await.unwrap_err().to_string();
        assert!(error.contains("the login of me in") && !error.contains("hunter2"), "{error}");

        let right = file(json!({"auths": {&registry.host: {"auth": login}}}));
        let registries = Registries::new().with_docker_config(&right).unwrap();
        let pulled = stored.store.pull(&name, &registries).await.unwrap();
        assert_eq!(text(&stored, &pulled).await, "in");
    }
}

#[tokio::test]
async fn secrets_of_kubernetes_are_logins() {
    let login = base64::engine::general_purpose::STANDARD.encode("me:secret");
    let header: &'static str = Box::leak(format!("Basic {login}").into_boxed_str());
    let (stored, registry) = (Stored::new().await, Registry::start(Door::Basic(header)).await);
    publish(&registry, "1", "in");
    let name = image(&registry, ":1");
    let with = |auths: Value| {
        let text = json!({"auths": auths}).to_string();
        let secrets = PullSecrets::default().with("mine", ".dockerconfigjson", text.as_bytes()).unwrap();
        Registries::new().with_pull_secrets(secrets)
    };
    let error = stored.store.pull(&name, &with(json!({}))).await.unwrap_err().to_string();
    assert!(error.contains("name a Secret with a login at"), "{error}");
    let wrong = with(json!({&registry.host: {"username": "me", "password": "hunter2"}}));
    let error = stored.store.pull(&name, &wrong).await.unwrap_err().to_string();
    assert!(error.contains("the login of me in the Secret mine was refused") && !error.contains("hunter2"), "{error}");
    let pulled = stored.store.pull(&name, &with(json!({&registry.host: {"auth": login}}))).await.unwrap();
    assert_eq!(text(&stored, &pulled).await, "in");
}

#[tokio::test]
async fn mirrors_come_first_and_the_registry_after_them() {
    let (stored, mirror, registry) =
        (Stored::new().await, Registry::start(Door::Open).await, Registry::start(Door::Open).await);
    publish(&mirror, "1", "mirror");
    publish(&registry, "2", "registry");
    let registries = Registries::new().with_mirror(&format!("{}=http://{}/", registry.host, mirror.host)).unwrap();
    let pulled = stored.store.pull(&image(&registry, ":1"), &registries).await.unwrap();
    assert_eq!((text(&stored, &pulled).await, registry.requests().len()), ("mirror".into(), 0));
    let pulled = stored.store.pull(&image(&registry, ":2"), &registries).await.unwrap();
    assert_eq!(text(&stored, &pulled).await, "registry");
    let error = stored.store.pull(&image(&registry, ":3"), &registries).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the image {0}/team/image:3 was not found in the registry {0}", registry.host)
    );
}

#[tokio::test]
async fn what_lies_is_refused() {
    let (stored, registry) = (Stored::new().await, Registry::start(Door::Open).await);
    let manifest_bytes = publish(&registry, "1", "true");
    let layer = hello("true");
    // Other bytes of the same length under the layer's digest.
    let mut lie = layer.clone();
    lie[600] ^= 1;
    registry.serve(&format!("blobs/{}", Digest::of(&layer)), "application/octet-stream", &lie);
    let error = stored.store.pull(&image(&registry, ":1"), &Registries::new()).await.unwrap_err();
    assert!(matches!(&error, Error::Digest { what, .. } if what.contains("the blob")), "{error}");
    // More bytes than promised.
    lie.extend_from_slice(&[0; 4096]);
    registry.serve(&format!("blobs/{}", Digest::of(&layer)), "application/octet-stream", &lie);
    let error = stored.store.pull(&image(&registry, ":1"), &Registries::new()).await.unwrap_err();
    assert!(error.to_string().contains("sends more than"), "{error}");
    // Another manifest than the digest asked for.
    let digest = Digest::of(&manifest_bytes);
    registry.serve(&format!("manifests/{digest}"), OCI, b"{\"schemaVersion\": 2}");
    let error = stored.store.pull(&image(&registry, &format!("@{digest}")), &Registries::new()).await.unwrap_err();
    assert!(matches!(&error, Error::Digest { what, .. } if what.contains("the manifest")), "{error}");
    assert!(stored.store.list().await.unwrap().is_empty());
    assert_eq!(stored.entries("tmp"), Vec::<String>::new());
}

#[tokio::test]
async fn unknown_media_types_are_named() {
    let (stored, registry) = (Stored::new().await, Registry::start(Door::Open).await);
    let config = config(&[]);
    let odd = [("application/vnd.odd.layer", vec![1, 2, 3])];
    registry.manifest("layer", OCI, &manifest(&config, &odd));
    registry.manifest("old", "application/vnd.docker.distribution.manifest.v1+prettyjws", b"{\"schemaVersion\": 1}");
    let chart = json!({"schemaVersion": 2, "layers": [], "config": {
        "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of(b""), "size": 0}});
    registry.manifest("chart", OCI, chart.to_string().as_bytes());
    registry.manifest("text", "text/html", b"<html>");
    for (tag, expected) in [
        (":layer", "\"application/vnd.odd.layer\", which is not supported"),
        (":old", "\"application/vnd.docker.distribution.manifest.v1+json\", which is not supported"),
        (":chart", "\"application/vnd.cncf.helm.config.v1+json\", which is not supported"),
        (":text", "is malformed"),
    ] {
        let error = stored.store.pull(&image(&registry, tag), &Registries::new()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_soon() {
    let stored = Stored::new().await;
    // A port that was free a moment ago.
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let error = stored.store.pull(&name(&format!("{closed}/a")), &Registries::new()).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    // Somebody who takes the connection and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let began = Instant::now();
    let silent_name = name(&format!("{}/a", silent.local_addr().unwrap()));
    let error = stored.store.pull(&silent_name, &Registries::new()).await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().ends_with("it did not answer within 3 seconds"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
    // A name that cannot be resolved.
    let error = stored.store.pull(&name("registry.invalid/a"), &Registries::new()).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}
