//! Images from files.

use std::fs;

use serde_json::json;
use tiphys_oci::{Error, ImageConfig};

use crate::build::{config, docker_archive, gzip, hello, layout, tar, zstd};
use crate::{Stored, name};

fn names(named: &[tiphys_oci::Named]) -> Vec<String> {
    named.iter().map(|named| named.reference.to_string()).collect()
}

#[tokio::test]
async fn a_docker_archive_in_every_wrapping() {
    let archive = docker_archive(&[(&["busybox:1", "quay.io/a/b:c"], vec![hello("one"), hello("two")])]);
    for (wrapping, bytes) in [("tar", archive.clone()), ("gz", gzip(&archive)), ("zst", zstd(&archive))] {
        let stored = Stored::new().await;
        let path = stored.file("archive", &bytes);
        let imported = stored.store.import(&path, None).await.unwrap();
        assert_eq!(names(&imported), ["docker.io/library/busybox:1", "quay.io/a/b:c"], "{wrapping}");
        let image = stored.store.get(&name("busybox:1")).await.unwrap().unwrap();
        assert_eq!(image, imported[1].image);
        let expected = ImageConfig {
            entrypoint: vec!["/bin/run".into()],
            cmd: vec![],
            env: vec!["PATH=/bin".into(), "A=b=c".into()],
            working_dir: "/work".into(),
            user: "me:users".into(),
            stop_signal: String::new(),
        };
        assert_eq!((&image.config, &image.platform[..]), (&expected, "linux/amd64"));
        let rootfs = stored.store.rootfs(&image).await.unwrap();
        assert_eq!(fs::read_to_string(rootfs.path().join("hello")).unwrap(), "two");
        assert_eq!(stored.store.get(&name("busybox:2")).await.unwrap(), None);
        assert_eq!(stored.entries("tmp"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_oci_layout_as_folder_and_as_archive() {
    let annotations = json!({"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/a/b:1"});
    let files = layout(&[hello("oci")], annotations);
    let stored = Stored::new().await;
    let folder = stored.dir.path().join("layout");
    for (name, bytes) in &files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let from_folder = stored.store.import(&folder, None).await.unwrap();
    assert_eq!(names(&from_folder), ["docker.io/a/b:1"]);
    let from_tar = stored.store.import(&stored.file("layout.tar", &gzip(&tar(&files))), None).await.unwrap();
    assert_eq!(from_tar[0].image, from_folder[0].image);
    let rootfs = stored.store.rootfs(&from_tar[0].image).await.unwrap();
    assert_eq!(fs::read_to_string(rootfs.path().join("hello")).unwrap(), "oci");
}

#[tokio::test]
async fn names_come_from_the_caller_or_not_at_all() {
    let stored = Stored::new().await;
    let path =
        stored.file("layout.tar", &tar(&layout(&[hello("x")], json!({"org.opencontainers.image.ref.name": "latest"}))));
    let unnamed = stored.store.import(&path, None).await.unwrap_err();
    assert!(unnamed.to_string().ends_with("has no name; give it one (for example NAME:TAG)"), "{unnamed}");
    assert!(stored.store.list().await.unwrap().is_empty());
    let imported = stored.store.import(&path, Some(&name("mine"))).await.unwrap();
    assert_eq!(names(&imported), ["docker.io/library/mine:latest"]);

    let two = docker_archive(&[(&["a"], vec![hello("a")]), (&["b"], vec![hello("b")])]);
    let path = stored.file("two.tar", &two);
    assert_eq!(stored.store.import(&path, None).await.unwrap().len(), 2);
    let several = stored.store.import(&path, Some(&name("c"))).await.unwrap_err();
    assert!(several.to_string().contains("holds 2 images"), "{several}");
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let stored = Stored::new().await;
    for (what, bytes) in [
        ("text", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("tar", tar(&[("a".into(), b"b".to_vec())])),
        ("noise", vec![0xA5; 4096]),
    ] {
        let path = stored.file(what, &bytes);
        let error = stored.store.import(&path, None).await.unwrap_err();
        assert!(matches!(error, Error::NoImage { .. }), "{what}: {error}");
    }
    let missing = stored.store.import(&stored.dir.path().join("none"), None).await.unwrap_err();
    assert!(matches!(missing, Error::Io { .. }));
    let archive = docker_archive(&[(&["a"], vec![hello("a")])]);
    let truncated = stored.file("cut", &archive[..archive.len() / 2]);
    assert!(stored.store.import(&truncated, None).await.is_err());
    let zipped = gzip(&archive);
    let truncated = stored.file("cut.gz", &zipped[..zipped.len() - 20]);
    assert!(stored.store.import(&truncated, None).await.is_err());
    assert!(stored.store.list().await.unwrap().is_empty());
    assert_eq!(stored.entries("tmp"), Vec::<String>::new());
}

#[tokio::test]
async fn an_archive_refers_only_to_itself() {
    let stored = Stored::new().await;
    let outside = stored.file("outside", b"secret");
    let list = json!([{"Config": outside.to_str().unwrap(), "RepoTags": ["a"], "Layers": ["../../outside"]}]);
    let path = stored.file("a.tar", &tar(&[("manifest.json".into(), serde_json::to_vec(&list).unwrap())]));
    let error = stored.store.import(&path, None).await.unwrap_err();
    assert!(error.to_string().contains("it refers to"), "{error}");
}

#[tokio::test]
async fn damaged_content_is_found() {
    let mut files = layout(&[hello("x")], json!({}));
    let layer =
        files.iter().position(|(name, bytes)| name.starts_with("blobs") && bytes.starts_with(&[0x1f, 0x8b])).unwrap();
    *files[layer].1.last_mut().unwrap() ^= 1;
    let stored = Stored::new().await;
    let error = stored.store.import(&stored.file("a.tar", &tar(&files)), Some(&name("a"))).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");

    // The configuration promises another layer than the archive has.
    let promised = config(&[hello("promised")]);
    let list = json!([{"Config": "c.json", "RepoTags": ["a"], "Layers": ["l.tar"]}]);
    let files = [
        ("c.json".to_owned(), promised),
        ("l.tar".to_owned(), hello("delivered")),
        ("manifest.json".to_owned(), serde_json::to_vec(&list).unwrap()),
    ];
    let imported = stored.store.import(&stored.file("b.tar", &tar(&files)), None).await.unwrap();
    let error = stored.store.rootfs(&imported[0].image).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert!(stored.entries("rootfs").is_empty() && stored.entries("tmp").is_empty());
}
