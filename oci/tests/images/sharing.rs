//! Several users of one store, removal, and what a crash leaves.

use std::fs;

use tiphys_oci::{Error, Freed, Store};

use crate::build::{docker_archive, hello};
use crate::{Stored, name};

#[tokio::test(flavor = "multi_thread")]
async fn importers_at_the_same_time() {
    let stored = Stored::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let names = [format!("image-{number}"), "shared".to_owned()];
        let archive =
            docker_archive(&[(&[&names[0], &names[1]], vec![hello("base"), hello(&format!("{}", number % 3))])]);
        let path = stored.file(&number.to_string(), &archive);
        let root = stored.dir.path().join("images");
        tasks.spawn(async move {
            // Each has a store of its own, as each process would.
            let store = Store::open(root).await.unwrap();
            let imported = store.import(&path, None).await.unwrap();
            let rootfs = store.rootfs(&imported[0].image).await.unwrap();
            assert_eq!(fs::read_to_string(rootfs.path().join("hello")).unwrap(), format!("{}", number % 3));
            store.gc().await.unwrap();
        });
    }
    tasks.join_all().await;
    let listed = stored.store.list().await.unwrap();
    assert_eq!(listed.len(), 13);
    for named in listed {
        stored.store.rootfs(&named.image).await.unwrap();
    }
    assert_eq!((stored.entries("rootfs").len(), stored.entries("tmp").len()), (3, 0));
}

#[tokio::test]
async fn what_is_forgotten_is_collected_when_nobody_uses_it() {
    let stored = Stored::new().await;
    let archive =
        docker_archive(&[(&["a"], vec![hello("base"), hello("a")]), (&["b"], vec![hello("base"), hello("b")])]);
    stored.store.import(&stored.file("archive", &archive), None).await.unwrap();
    let a = stored.store.get(&name("a")).await.unwrap().unwrap();
    let rootfs = stored.store.rootfs(&a).await.unwrap();
    assert_eq!(stored.store.gc().await.unwrap(), Freed::default());

    stored.store.remove(&name("a")).await.unwrap();
    let again = stored.store.remove(&name("a")).await.unwrap_err();
    assert!(matches!(again, Error::NotStored { .. }), "{again}");
    let freed = stored.store.gc().await.unwrap();
    // Its manifest, configuration and own layer; the shared layer stays, and so does the root in use.
    assert_eq!((freed.blobs, freed.roots), (3, 0));
    assert!(rootfs.path().join("hello").exists());
    drop(rootfs);
    assert_eq!(stored.store.gc().await.unwrap().roots, 1);
    let b = stored.store.get(&name("b")).await.unwrap().unwrap();
    stored.store.rootfs(&b).await.unwrap();
}

#[tokio::test]
async fn leftovers_of_a_crash_are_swept() {
    let stored = Stored::new().await;
    let root = stored.dir.path().join("images");
    fs::create_dir(root.join("tmp/half")).unwrap();
    fs::write(root.join("tmp/blob"), "half").unwrap();
    Store::open(&root).await.unwrap();
    assert_eq!(stored.entries("tmp"), Vec::<String>::new());
}

#[tokio::test]
async fn a_damaged_store_says_what_to_do() {
    let stored = Stored::new().await;
    let archive = docker_archive(&[(&["a"], vec![hello("a")])]);
    let image = stored.store.import(&stored.file("archive", &archive), None).await.unwrap().remove(0).image;
    let manifest = stored.dir.path().join("images/blobs/sha256").join(image.digest.hex());
    fs::write(&manifest, "{}").unwrap();
    let error = stored.store.get(&name("a")).await.unwrap_err().to_string();
    assert!(error.contains("is damaged: its digest is sha256:") && error.ends_with("get the image again"), "{error}");
    // Taking it in again mends it.
    stored.store.import(&stored.dir.path().join("archive"), None).await.unwrap();
    stored.store.get(&name("a")).await.unwrap().unwrap();
    fs::write(stored.dir.path().join("images/index.json"), "[").unwrap();
    assert!(matches!(stored.store.list().await.unwrap_err(), Error::Damaged { .. }));
}
