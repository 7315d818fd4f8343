//! Unpacked roots: whiteouts, links, modes, hostile layers.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use tar::EntryType;
use tiphys_oci::{Error, Rootfs};

use crate::Stored;
use crate::build::{Layer, docker_archive, hello};

async fn unpack(stored: &Stored, layers: Vec<Layer>) -> Result<Rootfs, Error> {
    let layers = layers.into_iter().map(Layer::tar).collect();
    let path = stored.file("archive", &docker_archive(&[(&["image"], layers)]));
    let imported = stored.store.import(&path, None).await.unwrap();
    stored.store.rootfs(&imported[0].image).await
}

/// All paths below the root with what they are: `path/`, `path -> target`, `path = text`.
fn tree(rootfs: &Rootfs) -> Vec<String> {
    fn walk(folder: &std::path::Path, base: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{base}{}", entry.file_name().to_str().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.push(format!("{name}/"));
                walk(&entry.path(), &format!("{name}/"), found);
            } else if kind.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(entry.path()).unwrap().display()));
            } else {
                found.push(format!("{name} = {}", fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(rootfs.path(), "", &mut found);
    found.sort();
    found
}

#[tokio::test]
async fn later_layers_replace_and_remove() {
    let stored = Stored::new().await;
    let base = Layer::new()
        .folder("./")
        .folder("./dir/")
        .file("dir/keep", "1")
        .file("dir/gone", "1")
        .file("opaque/old", "1")
        .file("opaque/sub/old", "1")
        .file("file", "1")
        .folder("becomes-file/")
        .file("becomes-file/x", "1")
        .file("becomes-dir", "1")
        .symlink("link", "dir")
        .file("tree/a/b", "1")
        .file("late/a", "1");
    let second = Layer::new()
        .file("dir/.wh.gone", "")
        .file("opaque/sub/new", "2")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "2")
        .file("file", "2")
        .file("becomes-file", "2")
        .folder("becomes-dir")
        .file("becomes-dir/y", "2")
        .file(".wh.tree", "")
        .file(".wh..wh.plnk", "")
        .file("tree/c", "2")
        .file("late/b", "2")
        .file(".wh.late", "")
        .file(".wh.never-there", "")
        // Through the link of the layer below, as overlay-made layers never do but builders may.
        .file("link/through", "2");
    let rootfs = unpack(&stored, vec![base, second]).await.unwrap();
    assert_eq!(
        tree(&rootfs),
        [
            "becomes-dir/",
            "becomes-dir/y = 2",
            "becomes-file = 2",
            "dir/",
            "dir/keep = 1",
            "dir/through = 2",
            "file = 2",
            "late/",
            "late/b = 2",
            "link -> dir",
            "opaque/",
            "opaque/new = 2",
            "opaque/sub/",
            "opaque/sub/new = 2",
            "tree/",
            "tree/c = 2",
        ]
    );
}

#[tokio::test]
async fn links_and_modes() {
    let stored = Stored::new().await;
    let layer = Layer::new()
        .entry(EntryType::Regular, "bin/tool", 0o4755, "", "x")
        .hard_link("bin/same", "bin/tool")
        .hard_link("bin/same-too", "/bin/tool")
        .symlink("abs", "/etc/passwd")
        .symlink("up", "../../../..")
        .entry(EntryType::Regular, "secret", 0o000, "", "s")
        .entry(EntryType::Directory, "closed", 0o000, "", "")
        .file("closed/in", "x")
        .entry(EntryType::Directory, "tmp", 0o1777, "", "")
        .entry(EntryType::Char, "dev/null", 0o666, "", "")
        .entry(EntryType::Fifo, "pipe", 0o666, "", "");
    let rootfs = unpack(&stored, vec![layer]).await.unwrap();
    let meta = |path: &str| fs::symlink_metadata(rootfs.path().join(path)).unwrap();
    let mode = |path: &str| meta(path).permissions().mode() & 0o7777;
    assert_eq!([mode("bin/tool"), mode("secret"), mode("closed"), mode("tmp")], [0o755, 0o400, 0o700, 0o1777]);
    assert_eq!(meta("bin/tool").ino(), meta("bin/same").ino());
    assert_eq!((meta("bin/same-too").nlink(), meta("bin/tool").mtime()), (3, 1_000_000_000));
    assert_eq!(fs::read_link(rootfs.path().join("abs")).unwrap().to_str(), Some("/etc/passwd"));
    assert!(!rootfs.path().join("dev/null").exists() && !rootfs.path().join("pipe").exists());
    // Owners as far as this user may.
    let mine = fs::metadata(stored.dir.path()).unwrap().uid();
    let owner = meta("bin/tool").uid();
    assert!(owner == mine || (mine == 0 && owner == 1234), "{owner}");
}

#[tokio::test]
async fn hostile_layers_stay_inside() {
    let stored = Stored::new().await;
    let outside = stored.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "safe").unwrap();
    let there = outside.to_str().unwrap();
    let refused = [
        Layer::new().file("../../../outside/victim", "bad"),
        Layer::new().file("a/../../b", "bad"),
        Layer::new().hard_link("x", "../../../outside/victim"),
        Layer::new().hard_link("x", &format!("{there}/victim")),
        Layer::new().symlink("l", there).hard_link("x", "l/victim"),
        Layer::new().file("a/.wh...", ""),
        Layer::new().file(".wh.", ""),
    ];
    for (number, layer) in refused.into_iter().enumerate() {
        let error = unpack(&stored, vec![layer]).await.unwrap_err();
        assert!(matches!(error, Error::Layer { .. }), "{number}: {error}");
    }
    // Links on the way lead to places inside the root.
    let inside = Layer::new()
        .symlink("abs", there)
        .file("abs/victim", "bad")
        .symlink("up", "../../../../outside")
        .file("up/victim", "bad")
        .symlink("victim", &format!("{there}/victim"))
        .file("victim", "bad")
        .file(&format!("{there}/victim"), "bad")
        .file("abs/.wh.victim", "")
        .file("up/.wh..wh..opq", "");
    let rootfs = unpack(&stored, vec![hello_layer(), inside]).await.unwrap();
    assert_eq!(fs::read_to_string(rootfs.path().join("victim")).unwrap(), "bad");
    assert!(fs::symlink_metadata(rootfs.path().join("victim")).unwrap().is_file());
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "safe");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(stored.entries("tmp").is_empty());
}

fn hello_layer() -> Layer {
    Layer::new().file("hello", "x")
}

#[tokio::test]
async fn an_archive_without_its_end_is_read() {
    let mut layer = hello("text");
    layer.truncate(512 + 4);
    let stored = Stored::new().await;
    let path = stored.file("archive", &docker_archive(&[(&["image"], vec![layer])]));
    let imported = stored.store.import(&path, None).await.unwrap();
    let rootfs = stored.store.rootfs(&imported[0].image).await.unwrap();
    assert_eq!(tree(&rootfs), ["hello = text"]);
}

#[tokio::test]
async fn a_loop_of_links_is_an_error() {
    let stored = Stored::new().await;
    let layer = Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", "");
    let error = unpack(&stored, vec![layer]).await.unwrap_err();
    assert!(error.to_string().contains("too many levels of symbolic links"), "{error}");
}

#[tokio::test]
async fn images_with_the_same_layers_share_a_root() {
    let stored = Stored::new().await;
    let layers = vec![hello("same")];
    let path = stored.file("archive", &docker_archive(&[(&["a"], layers.clone()), (&["b"], layers)]));
    let imported = stored.store.import(&path, None).await.unwrap();
    let one = stored.store.rootfs(&imported[0].image).await.unwrap();
    let two = stored.store.rootfs(&imported[1].image).await.unwrap();
    assert_eq!(one.path(), two.path());
    assert_eq!(stored.entries("rootfs").len(), 1);
}
