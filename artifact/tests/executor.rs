//! Artifacts as the executor moves them: from their YAML to the disk and back, through S3, HTTP and raw text.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::{Server, noise, opened, tree};
use serde_json::{Value, json};
use tiphys_api::Artifact;
use tiphys_artifact::archive::{GzipWriter, Level, write_tgz};
use tiphys_artifact::{Artifacts, Body, Error, Loaded, NoSecrets, Opened, Options, Secret, Source, collect};

struct World {
    server: Server,
    artifacts: Artifacts,
    folder: tempfile::TempDir,
}

async fn world() -> World {
    let server = common::s3().await;
    let (access, secret) = (server.server.access_key().to_owned(), server.server.secret_key().expose().to_owned());
    let secrets = move |name: &str, key: &str| match (name, key) {
        ("minio", "access") => Ok(Secret::new(access.clone())),
        // As from a file made by `echo`.
        ("minio", "secret") => Ok(Secret::new(format!("{secret}\n"))),
        _ => Err(Error::Refused(format!("no secret {name}/{key}"))),
    };
    let options = Options { retry: common::quick(), ..Options::default() };
    World { server, artifacts: Artifacts::new(secrets, options), folder: tempfile::tempdir().unwrap() }
}

fn artifact(value: Value) -> Artifact {
    serde_json::from_value(value).unwrap()
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An artifact in the bucket, with further fields.
    fn at(&self, key: &str, more: Value) -> Artifact {
        let mut value = json!({
            "name": "art",
            "path": "/tmp/art",
            "s3": {
                "endpoint": self.server.server.endpoint(),
                "bucket": common::BUCKET,
                "insecure": true,
                "accessKeySecret": {"name": "minio", "key": "access"},
                "secretKeySecret": {"name": "minio", "key": "secret"},
                "key": key,
            },
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        artifact(value)
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        let body = Body::Bytes(Bytes::copy_from_slice(bytes));
        self.artifacts.save_body(body, &self.at(key, json!({}))).await.unwrap();
    }

    async fn get(&self, key: &str) -> Bytes {
        collect(self.artifacts.open(&self.at(key, json!({}))).await.unwrap().stream).await.unwrap()
    }

    async fn load(&self, artifact: &Artifact, name: &str) -> Result<Loaded, Error> {
        self.artifacts.load_input(artifact, &self.path(name)).await
    }
}

fn sample(root: &Path) {
    std::fs::create_dir_all(root.join("b/empty")).unwrap();
    std::fs::write(root.join("a.txt"), "text").unwrap();
    std::fs::write(root.join("b/script"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(root.join("b/script"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(root.join("b/ünïcode name"), noise(700_000, 2)).unwrap();
    std::fs::write(root.join("b").join("n".repeat(180)), "long").unwrap();
    symlink("a.txt", root.join("link")).unwrap();
    symlink("../a.txt", root.join("b/up")).unwrap();
    for folder in [root.join("b/empty"), root.join("b"), root.to_owned()] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(root.join("a.txt"), PermissionsExt::from_mode(0o640)).unwrap();
}

#[tokio::test]
async fn a_directory_comes_back_as_it_was() {
    let world = world().await;
    let source = world.path("source");
    sample(&source);
    for (name, archive) in [
        ("default", json!({})),
        ("tar", json!({"archive": {"tar": {}}})),
        ("stored", json!({"archive": {"tar": {"compressionLevel": 0}}})),
        ("zip", json!({"archive": {"zip": {}}})),
        ("packed.tar.zst", json!({})),
        ("best.tzst", json!({"archive": {"tar": {"compressionLevel": 9}}})),
    ] {
        let there = world.at(name, archive);
        let saved = world.artifacts.save_output(Source::Itself(&opened(&source)), &there).await.unwrap();
        assert_eq!((saved.key.as_str(), saved.moved.objects), (name, 1));
        assert_eq!(world.get(name).await.len() as u64, saved.moved.bytes);
        let loaded = world.load(&there, name).await.unwrap();
        assert!(matches!(&loaded, Loaded::Unpacked(done) if done.skipped.is_empty()), "{loaded:?}");
        let (expected, got) = (tree(&source), tree(&world.path(name)));
        assert_eq!(expected, got, "{name}");
        assert!(std::fs::read(world.path(name).join("b/ünïcode name")).unwrap() == noise(700_000, 2));
    }
    // Without archive links and empty folders are no objects.
    let there = world.at("plain", json!({"archive": {"none": {}}}));
    assert_eq!(world.artifacts.save_output(Source::Itself(&opened(&source)), &there).await.unwrap().moved.objects, 4);
    assert!(matches!(world.load(&there, "plain").await.unwrap(), Loaded::Directory(moved) if moved.objects == 4));
    assert_eq!(std::fs::read_to_string(world.path("plain/b/script")).unwrap(), "#!/bin/sh\n");
    let listed = world.artifacts.list(&there).await.unwrap();
    assert_eq!(listed[0].key, "plain/a.txt");
    world.artifacts.delete(&world.at("plain/", json!({}))).await.unwrap();
    assert!(world.artifacts.list(&there).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_file_comes_back_under_any_name() {
    let world = world().await;
    let source = world.path("source.bin");
    let data = noise(2_000_000, 3);
    std::fs::write(&source, &data).unwrap();
    for archive in [json!({}), json!({"archive": {"none": {}}}), json!({"archive": {"zip": {}}})] {
        let there = world.at("file", archive);
        world.artifacts.save_output(Source::Itself(&opened(&source)), &there).await.unwrap();
        world.load(&there, "other name").await.unwrap();
        assert!(std::fs::read(world.path("other name")).unwrap() == data);
    }
}

#[tokio::test]
async fn what_the_emissary_packed_is_sent_or_packed_anew() {
    let world = world().await;
    let source = world.path("source");
    sample(&source);
    let tgz = world.path("packed.tgz");
    write_tgz(&source, Level::DEFAULT, std::fs::File::create(&tgz).unwrap()).unwrap();
    let there = world.at("tgz", json!({}));
    world.artifacts.save_output(Source::Tgz(&opened(&tgz)), &there).await.unwrap();
    assert_eq!(world.get("tgz").await, std::fs::read(&tgz).unwrap(), "it is not packed twice");
    // A tar that is not compressed yet, as the executor stages it.
    let tar = world.path("packed.tar");
    let mut plain = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(std::fs::File::open(&tgz).unwrap()), &mut plain).unwrap();
    std::fs::write(&tar, &plain).unwrap();
    for (name, begins) in [("tar.tgz", &[0x1f, 0x8b][..]), ("tar.tar.zst", &[0x28, 0xb5])] {
        let there = world.at(name, json!({}));
        world.artifacts.save_output(Source::Tar(&opened(&tar)), &there).await.unwrap();
        assert!(world.get(name).await.starts_with(begins));
        world.load(&there, name).await.unwrap();
        assert_eq!(tree(&source), tree(&world.path(name)));
    }
    let zstd = world.at("packed.tzst", json!({}));
    world.artifacts.save_output(Source::Tgz(&opened(&tgz)), &zstd).await.unwrap();
    assert!(world.get("packed.tzst").await.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    world.load(&zstd, "zstd").await.unwrap();
    assert_eq!(tree(&source), tree(&world.path("zstd")));
    for (name, archive) in [("zip", json!({"archive": {"zip": {}}})), ("dir", json!({"archive": {"none": {}}}))] {
        let there = world.at(name, archive);
        world.artifacts.save_output(Source::Tgz(&opened(&tgz)), &there).await.unwrap();
        world.load(&there, name).await.unwrap();
        assert_eq!(std::fs::read_to_string(world.path(name).join("a.txt")).unwrap(), "text");
    }
    std::fs::write(source.with_file_name("one"), "single").unwrap();
    write_tgz(&source.with_file_name("one"), Level::DEFAULT, std::fs::File::create(&tgz).unwrap()).unwrap();
    let there = world.at("one", json!({"archive": {"none": {}}}));
    world.artifacts.save_output(Source::Tgz(&opened(&tgz)), &there).await.unwrap();
    assert_eq!(world.get("one").await, "single");
    let left: Vec<_> = std::fs::read_dir(world.folder.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("unpacked")), "{left:?}");
}

#[tokio::test]
async fn content_decides_where_nothing_is_declared() {
    let world = world().await;
    let gzip = |data: &[u8]| {
        let mut writer = GzipWriter::new(Vec::new(), Level::DEFAULT);
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    };
    let mut tar = Vec::new();
    let source = world.path("two");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("f"), "tarred").unwrap();
    write_tgz(&source, Level::DEFAULT, &mut tar).unwrap();
    let none = json!({});
    for (key, bytes, unpacked) in [
        ("text", b"text".to_vec(), false),
        ("gz-text", gzip(b"text"), false),
        ("empty", Vec::new(), false),
        ("zip", b"PK\x03\x04".to_vec(), false),
        ("zst-text", zstd::encode_all(&b"text"[..], 3).unwrap(), false),
        ("tgz", tar.clone(), true),
    ] {
        world.put(key, &bytes).await;
        let loaded = world.load(&world.at(key, none.clone()), key).await.unwrap();
        assert_eq!(matches!(loaded, Loaded::Unpacked(_)), unpacked, "{key}");
        if !unpacked {
            assert_eq!(std::fs::read(world.path(key)).unwrap(), bytes);
        }
    }
    assert_eq!(std::fs::read_to_string(world.path("tgz/f")).unwrap(), "tarred");
    // Declared none: the archive itself is the input. Members of gzip may follow each other.
    world.load(&world.at("tgz", json!({"archive": {"none": {}}})), "as is").await.unwrap();
    assert_eq!(std::fs::read(world.path("as is")).unwrap(), tar);
    let mut plain = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(&tar[..]), &mut plain).unwrap();
    let members: Vec<u8> = plain.chunks(700).flat_map(gzip).collect();
    world.put("members", &members).await;
    world.load(&world.at("members", none), "members").await.unwrap();
    assert_eq!(std::fs::read_to_string(world.path("members/f")).unwrap(), "tarred");
    world.put("plain-tar", &plain).await;
    world.load(&world.at("plain-tar", json!({"archive": {"tar": {}}})), "plain-tar").await.unwrap();
    assert_eq!(std::fs::read_to_string(world.path("plain-tar/f")).unwrap(), "tarred");
    let error = world.load(&world.at("text", json!({"archive": {"tar": {}}})), "x").await.unwrap_err();
    assert!(error.to_string().starts_with("archive refused"), "{error}");
    assert!(!world.path("x").exists());
}

#[tokio::test]
async fn what_is_missing_is_skipped_or_named() {
    let world = world().await;
    let missing = world.at("none", json!({"optional": true}));
    assert_eq!(world.load(&missing, "x").await.unwrap(), Loaded::Skipped);
    let error = world.load(&world.at("none", json!({})), "x").await.unwrap_err();
    assert_eq!(error.to_string(), "s3://artifacts/none does not exist");
    assert_eq!(world.load(&artifact(json!({"name": "a", "optional": true})), "x").await.unwrap(), Loaded::Skipped);
    let error = world.load(&artifact(json!({"name": "a"})), "x").await.unwrap_err();
    assert_eq!(error.to_string(), "required artifact \"a\" not supplied");
    assert!(Opened::at(&world.path("nothing")).unwrap_err().is_not_found());
    assert!(!world.path("x").exists());
}

#[tokio::test]
async fn an_earlier_attempt_is_replaced() {
    let world = world().await;
    let source = world.path("source");
    sample(&source);
    let tgz = world.at("tgz", json!({"mode": 0o700}));
    world.artifacts.save_output(Source::Itself(&opened(&source)), &tgz).await.unwrap();
    world.put("file", b"file").await;
    let file = world.at("file", json!({"mode": 0o777}));
    std::fs::create_dir_all(world.path("in.tmpdir/rest")).unwrap();
    std::fs::create_dir_all(world.path("in/rest")).unwrap();
    std::fs::write(world.path("in.tmp"), "rest").unwrap();
    for _ in 0..2 {
        world.load(&tgz, "in").await.unwrap();
        assert!(!world.path("in/rest").exists() && world.path("in/a.txt").exists());
        assert_eq!(world.path("in").metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        world.load(&file, "in").await.unwrap();
        assert_eq!(std::fs::read_to_string(world.path("in")).unwrap(), "file");
        assert_eq!(world.path("in").metadata().unwrap().permissions().mode() & 0o7777, 0o777);
    }
    assert!(!world.path("in.tmpdir").exists() && !world.path("in.tmp").exists());
}

#[tokio::test]
async fn a_missing_bucket_is_made_where_that_is_wanted() {
    let world = world().await;
    let mut there = world.at("key", json!({}));
    there.s3.as_mut().unwrap().bucket = "made-for-this".into();
    let body = || Body::Bytes(Bytes::from_static(b"x"));
    let error = world.artifacts.save_body(body(), &there).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    there.s3.as_mut().unwrap().create_bucket_if_not_present = Some(Box::default());
    for _ in 0..2 {
        world.artifacts.save_body(body(), &there).await.unwrap();
        assert_eq!(world.load(&there, "x").await.unwrap(), Loaded::File(1));
    }
}

#[tokio::test]
async fn raw_text_is_written_verbatim() {
    let world = world().await;
    let raw = artifact(json!({"name": "raw", "raw": {"data": "line\nline"}, "mode": 0o600}));
    assert_eq!(world.load(&raw, "raw").await.unwrap(), Loaded::File(9));
    assert_eq!(std::fs::read_to_string(world.path("raw")).unwrap(), "line\nline");
    let error = world.artifacts.save_output(Source::Itself(&opened(&world.path("raw"))), &raw).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].raw cannot be saved"), "{error}");
}

#[tokio::test]
async fn what_is_not_offered_is_named() {
    let artifacts = Artifacts::new(NoSecrets, Options::default());
    let keys = json!({"name": "s", "key": "k"});
    for (location, why) in [
        (json!({"gcs": {"bucket": "b"}}), "artifacts[].gcs.key is missing"),
        (json!({"gcs": {"key": "k"}}), "artifacts[].gcs.bucket is missing"),
        (json!({"azure": {"endpoint": "https://e", "container": "c", "blob": "b"}}), "azure needs accountKeySecret"),
        (json!({"azure": {"endpoint": "e", "blob": "b", "useSDKCreds": true}}), "artifacts[].azure.container"),
        (json!({"oss": {"key": "k", "endpoint": "e", "bucket": "b"}}), "artifacts[].oss needs accessKeySecret"),
        (json!({"oss": {"key": "k", "endpoint": "e", "useSDKCreds": true}}), "artifacts[].oss.bucket is missing"),
        (
            json!({"hdfs": {"path": "/p/q", "addresses": ["name:8020"], "force": true}}),
            "artifacts[].hdfs is not supported by Tiphys: use artifacts[].http with the cluster's WebHDFS address, such as \
             http://name:9870/webhdfs/v1/p/q?op=OPEN",
        ),
        (json!({"hdfs": {"path": "/p"}}), "http://NAMENODE:9870/webhdfs/v1/p?op=OPEN"),
        (json!({"plugin": {"name": "p", "key": "k"}}), "the plugin \"p\" is not to be had here"),
        (json!({"s3": {"bucket": "b"}}), "artifacts[].s3.key is missing"),
        (json!({"s3": {"key": "k", "accessKeySecret": keys, "secretKeySecret": keys}}), "\"k\" of secret \"s\""),
        (json!({"http": {"url": "ftp://host/x"}}), "artifacts[].http.url"),
        (json!({"http": {"url": "nonsense"}}), "artifacts[].http.url is not a URL"),
        (
            json!({"http": {"url": "http://h", "auth": {"oauth2": {"clientIDSecret": keys}}}}),
            "http.auth.oauth2 needs clientIDSecret, clientSecretSecret and tokenURLSecret",
        ),
        (
            json!({"http": {"url": "http://h", "auth": {"clientCert": {"clientCertSecret": keys}}}}),
            "http.auth.clientCert needs clientCertSecret and clientKeySecret",
        ),
        (json!({"http": {"url": "http://h"}, "archive": {"tar": {"compressionLevel": 12}}}), "compressionLevel 12"),
    ] {
        let mut value = location.clone();
        value["name"] = json!("thing");
        let error = artifacts.load_input(&artifact(value), Path::new("/nonexistent/x")).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}\nshould say {why}");
        assert!(error.contains("thing") || error.contains("secret"), "{error}");
    }
}
