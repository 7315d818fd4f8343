//! Uploads that a new process goes on with, and those that nobody will.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/proxy.rs"]
mod proxy;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use bytes::Bytes;
use common::{noise, opened};
use futures_util::{StreamExt, stream};
use proxy::{Fate, Proxy};
use tiphys_artifact::{Body, Class, Journal, NoJournal, Resume, S3Store, Store, collect};

/// Five parts of 5 MiB.
const SIZE: usize = (21 << 20) + 5;

/// What a process would keep in a file, as text.
#[derive(Default)]
struct Kept(Mutex<HashMap<String, String>>);

impl Journal for Kept {
    fn unfinished(&self, what: &str) -> Option<Resume> {
        self.0.lock().unwrap().get(what).map(|text| Resume::from_text(text).unwrap())
    }

    fn note(&self, what: &str, resume: &Resume) {
        self.0.lock().unwrap().insert(what.to_owned(), resume.to_text());
    }

    fn forget(&self, what: &str) {
        self.0.lock().unwrap().remove(what);
    }
}

impl Kept {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

struct World {
    server: common::Server,
    direct: S3Store,
    file: PathBuf,
    data: Vec<u8>,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    let server = common::s3().await;
    let direct = S3Store::new(server.config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("file"), noise(SIZE, 21));
    std::fs::write(&file, &data).unwrap();
    World { server, direct, file, data, _folder: folder }
}

impl World {
    /// A store whose uploads stop at part 4, for good or for now.
    async fn failing(&self, fate: Fate) -> (Proxy, S3Store) {
        let plan = move |_, first: &str| if first.contains("partNumber=4") { fate.clone() } else { Fate::Pass };
        let proxy = Proxy::start(self.server.server.endpoint(), plan).await;
        let mut config = self.server.config_at(&proxy.endpoint);
        config.retry.tries = 2;
        // One part at a time, so that those before the fourth have arrived.
        config.memory = config.part_size;
        (proxy, S3Store::new(config).unwrap())
    }

    async fn counting(&self) -> (Proxy, S3Store) {
        let proxy = Proxy::start(self.server.server.endpoint(), |_, _| Fate::Pass).await;
        let store = S3Store::new(self.server.config_at(&proxy.endpoint)).unwrap();
        (proxy, store)
    }

    fn body(&self) -> Body {
        Body::File(opened(&self.file))
    }

    fn streamed(&self) -> Body {
        let chunks: Vec<_> = self.data.chunks(300_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Body::Stream(stream::iter(chunks).boxed())
    }

    /// Uploads in parts that the server knows of.
    async fn uploads(&self) -> usize {
        let server = &self.server.server;
        let keys = Credentials::new(server.access_key(), server.secret_key().expose(), None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(keys)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://{}", server.endpoint()))
            .force_path_style(true);
        let client = aws_sdk_s3::Client::from_conf(config.build());
        client.list_multipart_uploads().bucket(common::BUCKET).send().await.unwrap().uploads().len()
    }

    async fn stored(&self) -> Bytes {
        collect(self.direct.open("key").await.unwrap().stream).await.unwrap()
    }
}

#[tokio::test]
async fn parts_that_are_there_are_not_sent_again() {
    let world = world().await;
    for stream in [false, true] {
        let body = || if stream { world.streamed() } else { world.body() };
        let kept = Kept::default();
        let (proxy, store) = world.failing(Fate::Answer(503, "SlowDown")).await;
        let error = store.put_with("key", body(), &kept).await.unwrap_err();
        assert_eq!((error.class(), kept.count(), proxy.count("DELETE")), (Class::Transient, 1, 0), "{error}");
        // A new process has nothing but the text.
        let (proxy, store) = world.counting().await;
        assert_eq!(store.put_with("key", body(), &kept).await.unwrap(), SIZE as u64);
        let begun = proxy.seen.lock().unwrap().iter().filter(|line| line.contains("?uploads")).count();
        assert_eq!((proxy.count("PUT"), begun, kept.count()), (2, 0, 0), "parts 4 and 5");
        assert!(world.stored().await == world.data);
    }
}

#[tokio::test]
async fn parts_that_changed_meanwhile_are_sent_again() {
    let world = world().await;
    let kept = Kept::default();
    let (_proxy, store) = world.failing(Fate::Answer(503, "SlowDown")).await;
    store.put_with("key", world.body(), &kept).await.unwrap_err();
    let mut data = world.data.clone();
    data[6 << 20] ^= 1;
    std::fs::write(&world.file, &data).unwrap();
    let (proxy, store) = world.counting().await;
    store.put_with("key", world.body(), &kept).await.unwrap();
    assert_eq!(proxy.count("PUT"), 3, "parts 2, 4 and 5");
    assert!(world.stored().await == data);
}

#[tokio::test]
async fn an_upload_that_is_gone_begins_anew() {
    let world = world().await;
    let kept = Kept::default();
    let (_proxy, store) = world.failing(Fate::Answer(503, "SlowDown")).await;
    store.put_with("key", world.body(), &kept).await.unwrap_err();
    let text = kept.0.lock().unwrap()["s3://artifacts/key"].clone();
    let id = text.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
    *kept.0.lock().unwrap().get_mut("s3://artifacts/key").unwrap() = text.replace(id, &"0".repeat(id.len()));
    let (proxy, store) = world.counting().await;
    store.put_with("key", world.body(), &kept).await.unwrap();
    assert!(proxy.count("PUT") >= 5);
    assert!(world.stored().await == world.data && kept.count() == 0);
}

#[tokio::test]
async fn what_failed_for_now_is_given_up_when_nobody_goes_on() {
    let world = world().await;
    for stream in [false, true] {
        let kept = Kept::default();
        let (_proxy, store) = world.failing(Fate::Answer(503, "SlowDown")).await;
        let body = if stream { world.streamed() } else { world.body() };
        store.put_with("key", body, &kept).await.unwrap_err();
        assert_eq!((kept.count(), world.uploads().await), (1, 1), "it could be gone on with");
        store.give_up(&kept).await;
        assert_eq!((kept.count(), world.uploads().await), (0, 0));
        // What came to its end is not touched.
        store.put_with("small", Body::Bytes(Bytes::from_static(b"small")), &kept).await.unwrap();
        store.give_up(&kept).await;
        assert!(world.direct.open("small").await.is_ok());
    }
    // A server that cannot be told keeps the parts, and the journal knows them.
    let kept = Kept::default();
    let away = |_, first: &str| match first.contains("partNumber=4") || first.starts_with("DELETE") {
        true => Fate::Answer(503, "SlowDown"),
        false => Fate::Pass,
    };
    let proxy = Proxy::start(world.server.server.endpoint(), away).await;
    let mut config = world.server.config_at(&proxy.endpoint);
    (config.retry.tries, config.memory) = (1, config.part_size);
    let store = S3Store::new(config).unwrap();
    store.put_with("key", world.body(), &kept).await.unwrap_err();
    store.give_up(&kept).await;
    assert_eq!((proxy.count("DELETE"), kept.count(), world.uploads().await), (1, 1, 1));
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_removed() {
    let world = world().await;
    let kept = Kept::default();
    // Refused for good: a journal does not help.
    let (proxy, store) = world.failing(Fate::Answer(403, "AccessDenied")).await;
    let error = store.put_with("key", world.body(), &kept).await.unwrap_err();
    assert_eq!((error.class(), kept.count(), proxy.count("DELETE")), (Class::Permanent, 0, 1), "{error}");
    // Without a journal nobody will come back.
    let (proxy, store) = world.failing(Fate::Answer(503, "SlowDown")).await;
    store.put_with("key", world.body(), &NoJournal).await.unwrap_err();
    assert_eq!(proxy.count("DELETE"), 1);
    // Cancelled in the middle: the fourth part never gets its answer.
    let (reached, waits) = tokio::sync::oneshot::channel();
    let (removed, gone) = tokio::sync::oneshot::channel();
    let (mut reached, mut removed) = (Some(reached), Some(removed));
    let plan = move |_, first: &str| {
        if first.contains("partNumber=4") {
            reached.take().map(|reached| reached.send(()));
        }
        if first.starts_with("DELETE") {
            removed.take().map(|removed| removed.send(()));
        }
        Fate::Pass
    };
    let proxy = Proxy::start(world.server.server.endpoint(), plan).await;
    let mut config = world.server.config_at(&proxy.endpoint);
    config.memory = config.part_size;
    let store = S3Store::new(config).unwrap();
    let store = Arc::new(store);
    let put = tokio::spawn({
        let (store, body) = (store.clone(), world.body());
        async move { store.put("key", body).await }
    });
    waits.await.unwrap();
    put.abort();
    assert!(put.await.is_err());
    assert_eq!(world.uploads().await, 1);
    store.give_up(&NoJournal).await;
    gone.await.unwrap();
    assert_eq!(world.uploads().await, 0);
    assert!(world.direct.open("key").await.err().unwrap().is_not_found());
}
