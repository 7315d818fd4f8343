//! `artifacts[].artifactory`, against a server on loopback that keeps files and tells their checksums as Artifactory
//! does.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{noise, opened, quick, tree};
use serde_json::{Value, json};
use site::{Answer, Request, Site, answer};
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Class, Loaded, Options, Retry, Secret, Source};

fn sum(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> String {
    ring::digest::digest(algorithm, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    sum(&ring::digest::SHA256, bytes)
}

fn sha1(bytes: &[u8]) -> String {
    sum(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
}

/// Keeps files for robot:p4ss. `twist` changes answers.
async fn server(twist: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Site {
    let files: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::default();
    Site::start(move |request| {
        if request.header("authorization") != "Basic cm9ib3Q6cDRzcw==" {
            return answer(401, "");
        }
        let mut files = files.lock().unwrap();
        let good = match request.method.as_str() {
            "PUT" => {
                let sums = json!({"sha1": sha1(&request.body), "sha256": sha256(&request.body)});
                files.insert(request.target.clone(), request.body.clone());
                answer(201, json!({"repo": "wf", "checksums": sums}).to_string())
            }
            _ => match files.get(&request.target) {
                None => answer(404, ""),
                Some(bytes) => answer(200, bytes.clone())
                    .with("x-checksum-sha1", sha1(bytes))
                    .with("x-checksum-sha256", sha256(bytes)),
            },
        };
        twist(request, good)
    })
    .await
}

fn at(site: &Site, more: Value) -> Artifact {
    let key = |key: &str| json!({"name": "s", "key": key});
    let url = format!("{}/artifactory/wf/a/x.tgz", site.url);
    let place = json!({"url": url, "usernameSecret": key("user"), "passwordSecret": key("password")});
    let mut artifact = json!({"name": "a", "path": "/a", "artifactory": place});
    artifact.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(artifact).unwrap()
}

fn artifacts() -> Artifacts {
    let secrets = |_: &str, key: &str| Ok(Secret::new(if key == "user" { "robot" } else { "p4ss" }));
    Artifacts::new(secrets, Options { retry: Retry { tries: 3, ..quick() }, ..Options::default() })
}

#[tokio::test]
async fn files_and_directories_are_saved_and_loaded() {
    let site = server(|_, good| good).await;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("deep")).unwrap();
    std::fs::write(source.join("deep/noise"), noise(2 << 20, 1)).unwrap();
    let dest = folder.path().join("dest");
    for archive in [json!({}), json!({"archive": {"tar": {"compressionLevel": 1}}}), json!({"archive": {"zip": {}}})] {
        let there = at(&site, archive);
        artifacts().save_output(Source::Itself(&opened(&source)), &there).await.unwrap();
        let loaded = artifacts().load_input(&there, &dest).await.unwrap();
        assert!(matches!(loaded, Loaded::Unpacked(_)), "{loaded:?}");
        assert_eq!(tree(&dest), tree(&source));
    }
    let plain = at(&site, json!({"archive": {"none": {}}}));
    artifacts().save_output(Source::Itself(&opened(&source.join("deep/noise"))), &plain).await.unwrap();
    assert_eq!(artifacts().load_input(&plain, &dest).await.unwrap(), Loaded::File(2 << 20));
    assert!(std::fs::read(&dest).unwrap() == noise(2 << 20, 1));
    // As with Argo, which cannot save a directory to a URL.
    let error = artifacts().save_output(Source::Itself(&opened(&source)), &plain).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].artifactory is one file"), "{error}");
    let error = artifacts().delete(&plain).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].artifactory cannot be deleted"), "{error}");
}

#[tokio::test]
async fn what_arrived_damaged_is_loaded_again_or_an_error() {
    for sum in ["x-checksum-sha256", "x-checksum-sha1"] {
        let loads = Mutex::new(0);
        let damaged = Arc::new(Mutex::new(1));
        let limit = damaged.clone();
        let site = server(move |request, good| {
            let only = good.headers.iter().filter(|(name, _)| name == sum).cloned().collect();
            let mut good = Answer { headers: only, ..good };
            let mut loads = loads.lock().unwrap();
            *loads += u32::from(request.method == "GET");
            if request.method == "GET" && *loads <= *limit.lock().unwrap() {
                good.body[100] ^= 1;
            }
            good
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let (source, dest) = (folder.path().join("source"), folder.path().join("dest"));
        std::fs::write(&source, noise(1 << 20, 1)).unwrap();
        let there = at(&site, json!({"archive": {"none": {}}}));
        artifacts().save_output(Source::Itself(&opened(&source)), &there).await.unwrap();
        artifacts().load_input(&there, &dest).await.unwrap();
        assert!(std::fs::read(&dest).unwrap() == noise(1 << 20, 1));
        assert_eq!(site.count("GET"), 2);
        std::fs::remove_file(&dest).unwrap();
        *damaged.lock().unwrap() = u32::MAX;
        let error = artifacts().load_input(&there, &dest).await.unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{error}");
        assert!(!dest.exists());
    }
}

#[tokio::test]
async fn what_the_server_keeps_otherwise_is_saved_again_or_an_error() {
    for (wrong, puts, saved) in [(1, 2, true), (u32::MAX, 3, false)] {
        let count = Mutex::new(0);
        let site = server(move |request, good| {
            let mut count = count.lock().unwrap();
            *count += u32::from(request.method == "PUT");
            match request.method == "PUT" && *count <= wrong {
                true => answer(201, json!({"checksums": {"sha1": "00".repeat(20)}}).to_string()),
                false => good,
            }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "content").unwrap();
        let there = at(&site, json!({"archive": {"none": {}}}));
        let outcome = artifacts().save_output(Source::Itself(&opened(&folder.path().join("x"))), &there).await;
        assert_eq!((outcome.is_ok(), site.count("PUT")), (saved, puts));
        assert!(outcome.err().is_none_or(|error| error.class() == Class::Corrupt));
    }
}

#[tokio::test]
async fn wrong_credentials_are_said_and_not_tried_again() {
    let site = server(|_, good| good).await;
    let secrets = |_: &str, _: &str| Ok(Secret::new("hunter2"));
    let artifacts = Artifacts::new(secrets, Options { retry: quick(), ..Options::default() });
    let folder = tempfile::tempdir().unwrap();
    let error = artifacts.load_input(&at(&site, json!({})), &folder.path().join("x")).await.unwrap_err();
    assert!(error.to_string().contains("401") && !error.to_string().contains("hunter2"), "{error}");
    assert_eq!((error.class(), site.count("GET")), (Class::Permanent, 1));
}
