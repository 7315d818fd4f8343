//! S3 that fails: nothing is lost, nothing damaged is taken for whole, and what cannot pass is not repeated.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/proxy.rs"]
mod proxy;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::{Server, noise, quick};
use futures_util::{StreamExt, TryStreamExt, stream};
use proxy::{Fate, Proxy};
use tiphys_artifact::{Body, Class, Retry, S3Store, Store, collect, load_file};

const LARGE: usize = (21 << 20) + 5;

struct World {
    server: Server,
    /// Straight to the server.
    direct: S3Store,
}

async fn world() -> World {
    let server = common::s3().await;
    let direct = S3Store::new(server.config()).unwrap();
    World { server, direct }
}

impl World {
    async fn through(&self, plan: impl FnMut(usize, &str) -> Fate + Send + 'static) -> (Proxy, S3Store) {
        let proxy = Proxy::start(self.server.server.endpoint(), plan).await;
        let store = S3Store::new(self.server.config_at(&proxy.endpoint)).unwrap();
        (proxy, store)
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        self.direct.put(key, Body::Bytes(Bytes::copy_from_slice(bytes))).await.unwrap();
    }

    async fn get(&self, key: &str) -> Bytes {
        collect(self.direct.open(key).await.unwrap().stream).await.unwrap()
    }
}

fn streamed(data: &[u8]) -> Body {
    let chunks: Vec<_> = data.chunks(300_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::Stream(stream::iter(chunks).boxed())
}

#[tokio::test]
async fn every_other_request_fails_and_all_arrives() {
    let world = world().await;
    for fate in [Fate::Answer(503, "SlowDown"), Fate::Answer(500, "InternalError"), Fate::Reset] {
        let (proxy, store) =
            world.through(move |number, _| if number % 2 == 1 { fate.clone() } else { Fate::Pass }).await;
        let data = noise(LARGE, 3);
        store.put("large", streamed(&data)).await.unwrap();
        store.put("small", Body::Bytes(Bytes::from_static(b"small"))).await.unwrap();
        assert!(world.get("large").await == data);
        assert!(collect(store.open("large").await.unwrap().stream).await.unwrap() == data);
        assert_eq!(collect(store.open("small").await.unwrap().stream).await.unwrap(), "small");
        assert_eq!(store.list("").try_concat().await.unwrap().len(), 2);
        store.delete("small").await.unwrap();
        assert!(store.open("small").await.err().unwrap().is_not_found());
        assert!(proxy.seen.lock().unwrap().len() > 20);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_goes_on_where_it_stopped() {
    let world = world().await;
    for (size, cut) in [(3_000_000, 1_000_000), (3_000_000, 0), (LARGE, 1_000_000), (LARGE, 4_000_000)] {
        let data = noise(size, 4);
        world.put("key", &data).await;
        let (proxy, store) = world.through(move |number, _| if number < 4 { Fate::Cut(cut) } else { Fate::Pass }).await;
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("file");
        assert_eq!(load_file(&store, "key", &dest).await.unwrap(), size as u64);
        assert!(std::fs::read(&dest).unwrap() == data, "{size} cut at {cut}");
        assert!(proxy.count("GET") >= 2);
    }
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_an_error_and_no_file() {
    let world = world().await;
    world.put("key", &noise(2_000_000, 5)).await;
    let (_proxy, store) = world.through(|_, _| Fate::Cut(100)).await;
    let folder = tempfile::tempdir().unwrap();
    let error = load_file(&store, "key", &folder.path().join("file")).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn crc(data: &[u8]) -> String {
    STANDARD.encode(crc32fast::hash(data).to_be_bytes())
}

#[tokio::test]
async fn a_damaged_download_is_noticed() {
    let world = world().await;
    for size in [200_000, LARGE] {
        let data = noise(size, 6);
        world.put("key", &data).await;
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("file");
        let truth = crc(&data);
        let (_proxy, store) = world.through(move |_, _| Fate::Claim(truth.clone())).await;
        assert_eq!(load_file(&store, "key", &dest).await.unwrap(), size as u64);
        std::fs::remove_file(&dest).unwrap();
        let (_proxy, store) = world.through(|_, _| Fate::Claim(crc(b"other bytes"))).await;
        let error = load_file(&store, "key", &dest).await.unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn lost_answers_do_no_harm() {
    let world = world().await;
    let (_proxy, store) = world.through(|number, _| if number % 3 == 1 { Fate::LoseAnswer } else { Fate::Pass }).await;
    let data = noise(LARGE, 13);
    store.put("large", streamed(&data)).await.unwrap();
    store.put("small", Body::Bytes(Bytes::from_static(b"small"))).await.unwrap();
    assert!(world.get("large").await == data);
    store.delete("small").await.unwrap();
    assert!(world.direct.open("small").await.err().unwrap().is_not_found());
    // The first complete request is carried out and its answer lost; the next one finds no such upload.
    let mut lost = false;
    let lose_last = move |number, first: &str| match first.starts_with("POST") && first.contains("uploadId=") {
        true if !std::mem::replace(&mut lost, true) => Fate::LoseAnswer,
        // Without checksums, so that a server which cannot compare them does not refuse that first request.
        _ if number == 1 => Fate::Answer(501, "NotImplemented"),
        _ => Fate::Pass,
    };
    let (proxy, store) = world.through(lose_last).await;
    store.put("again", streamed(&data)).await.unwrap();
    assert_eq!(proxy.count("HEAD"), 1);
    assert!(world.get("again").await == data);
}

#[tokio::test]
async fn a_damaged_upload_is_sent_again() {
    let world = world().await;
    let data = noise(LARGE, 7);
    let damage = |number, first: &str| {
        if number % 3 == 1 && first.starts_with("PUT") { Fate::DamageRequest(4242) } else { Fate::Pass }
    };
    let (proxy, store) = world.through(damage).await;
    store.put("large", streamed(&data)).await.unwrap();
    store.put("small", Body::Bytes(Bytes::from(noise(10_000, 8)))).await.unwrap();
    assert!(world.get("large").await == data);
    assert!(world.get("small").await == noise(10_000, 8));
    assert!(proxy.count("PUT") > 6);
}

#[tokio::test]
async fn what_is_refused_is_not_repeated() {
    let world = world().await;
    let (proxy, store) = world.through(|_, _| Fate::Answer(403, "AccessDenied")).await;
    let error = store.put("key", Body::Bytes(Bytes::from_static(b"x"))).await.unwrap_err();
    assert_eq!(error.class(), Class::Permanent);
    let text = error.to_string();
    assert_eq!(text, "storing s3://artifacts/key: by plan (AccessDenied, HTTP 403)");
    assert_eq!(store.open("key").await.err().unwrap().class(), Class::Permanent);
    assert_eq!(store.list("").try_concat().await.unwrap_err().class(), Class::Permanent);
    assert_eq!(proxy.seen.lock().unwrap().len(), 3);
    let (proxy, store) = world.through(|_, _| Fate::Answer(404, "NoSuchBucket")).await;
    assert_eq!(store.open("key").await.err().unwrap().class(), Class::Permanent, "a missing bucket is no missing file");
    assert_eq!(proxy.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_upload_is_given_up_and_shows_nothing() {
    let world = world().await;
    let fail = |_, first: &str| match first.contains("partNumber=3") {
        true => Fate::Answer(403, "AccessDenied"),
        false => Fate::Pass,
    };
    let (proxy, store) = world.through(fail).await;
    assert!(store.put("key", streamed(&noise(LARGE, 9))).await.is_err());
    assert_eq!(proxy.count("DELETE"), 1, "the parts are removed");
    assert!(world.direct.open("key").await.err().unwrap().is_not_found());
}

#[tokio::test]
async fn an_object_that_changes_meanwhile_is_an_error() {
    let world = world().await;
    world.put("key", &noise(LARGE, 10)).await;
    let (proxy, store) = world.through(|_, _| Fate::Pass).await;
    let object = store.open("key").await.unwrap();
    world.put("key", &noise(LARGE, 11)).await;
    let error = collect(object.stream).await.unwrap_err();
    assert_eq!((error.class(), error.retry()), (Class::Corrupt, true), "{error}");
    assert!(error.to_string().contains("it was replaced meanwhile"), "{error}");
    // Six ranges are on their way together; none is asked for twice.
    assert!(proxy.count("GET") <= 7, "{}", proxy.count("GET"));
}

#[tokio::test]
async fn a_server_without_checksums_is_served() {
    let world = world().await;
    let mut refusals = 0;
    let dislike = move |_, first: &str| {
        if refusals < 1 && (first.starts_with("POST") || first.starts_with("PUT")) {
            refusals += 1;
            return Fate::Answer(501, "NotImplemented");
        }
        Fate::Pass
    };
    let (_proxy, store) = world.through(dislike).await;
    let data = noise(LARGE, 12);
    store.put("large", streamed(&data)).await.unwrap();
    store.put("small", Body::Bytes(Bytes::from_static(b"small"))).await.unwrap();
    assert!(world.get("large").await == data);
}

#[tokio::test]
async fn no_server_is_an_error_in_time() {
    let world = world().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut config = world.server.config_at(&endpoint);
    config.retry = Retry { within: Duration::from_millis(200), ..quick() };
    let store = S3Store::new(config).unwrap();
    let error = store.open("key").await.err().unwrap();
    assert_eq!(error.class(), Class::Transient, "{error}");
    assert!(error.to_string().contains("s3://artifacts/key"), "{error}");
}
