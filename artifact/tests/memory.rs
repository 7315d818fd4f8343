//! The memory of a process that moves large artifacts, read from the kernel in a child process of this test.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use tiphys_artifact::archive::Level;
use tiphys_artifact::archive::write_tgz;
use tiphys_artifact::{Artifacts, Loaded, Options, Secret, Source};

/// The most that a process may need beside its program, in KiB: with the executor's, of 15 MiB, it stays below 64 MiB.
const MOST: u64 = 48 << 10;
const CHILD: &str = "TIPHYS_TEST_MEMORY";

/// A folder with two large files with holes, so that making it costs nothing, and 640 small ones of 10 MiB together.
fn sample(root: &Path, large: u64, medium: u64) {
    std::fs::create_dir_all(root.join("small")).unwrap();
    for (name, mib) in [("large", large), ("medium", medium)] {
        File::create(root.join(name)).unwrap().set_len(mib << 20).unwrap();
    }
    for number in 0..640 {
        std::fs::write(root.join(format!("small/{number}")), [number as u8; 16 << 10]).unwrap();
    }
}

/// The most memory that this process had, without the pages of its own program: the kernel takes those back whenever it
/// wants, and a debug build has many.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    of("VmHWM:") - of("RssFile:")
}

/// What the child does; without its variable there is nothing to do.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let order: Vec<&str> = order.split('|').collect();
    let [verb, archive, place, endpoint, access, secret, path] = order[..] else { panic!("{order:?}") };
    let secrets = {
        let (access, secret) = (access.to_owned(), secret.to_owned());
        move |_: &str, key: &str| Ok(Secret::new(if key == "access" { access.clone() } else { secret.clone() }))
    };
    let key = |key: &str| serde_json::json!({"name": "minio", "key": key});
    let artifact = serde_json::from_value(serde_json::json!({
        "name": "large",
        "archive": serde_json::from_str::<serde_json::Value>(archive).unwrap(),
        "s3": {
            "endpoint": endpoint, "bucket": common::BUCKET, "insecure": true, "key": place,
            "accessKeySecret": key("access"), "secretKeySecret": key("secret"),
        },
    }));
    let artifact = artifact.unwrap();
    let artifacts = Artifacts::new(secrets, Options::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match verb {
            "save" => {
                drop(artifacts.save_output(Source::Itself(&common::opened(Path::new(path))), &artifact).await.unwrap())
            }
            _ => match artifacts.load_input(&artifact, Path::new(path)).await.unwrap() {
                Loaded::Unpacked(done) => assert_eq!(done.entries, 644),
                Loaded::Directory(moved) => assert_eq!(moved.objects, 642),
                other => panic!("{other:?}"),
            },
        }
    });
    println!("peak {} KiB", peak());
}

async fn run(server: &common::Server, verb: &str, archive: &str, key: &str, path: &Path) -> u64 {
    let secret = server.server.secret_key().expose();
    let order =
        [verb, archive, key, server.server.endpoint(), server.server.access_key(), secret, path.to_str().unwrap()];
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, order.join("|")).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find(|line| line.contains("peak ")).unwrap();
    let peak = line.split("peak ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    println!("{verb} {key}: {peak} KiB");
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_300_mib_moves_within_64_mib() {
    let server = common::s3().await;
    let folder = tempfile::tempdir().unwrap();
    let (large, small) = (folder.path().join("large"), folder.path().join("small"));
    sample(&large, 200, 90);
    sample(&small, 40, 10);
    // Stored, not compressed, so that all bytes travel. Unpacking is slow in a debug build: a smaller one will do.
    let tar = r#"{"tar":{"compressionLevel":0}}"#;
    let none = r#"{"none":{}}"#;
    assert!(run(&server, "save", tar, "large.tgz", &large).await < MOST);
    assert!(run(&server, "save", tar, "small.tgz", &small).await < MOST);
    assert!(run(&server, "save", none, "dir", &large).await < MOST);
    let dest = folder.path().join("dest");
    assert!(run(&server, "load", tar, "small.tgz", &dest).await < MOST);
    assert_eq!(dest.join("large").metadata().unwrap().len(), 40 << 20);
    assert!(run(&server, "load", none, "dir", &dest).await < MOST);
    assert_eq!(dest.join("large").metadata().unwrap().len(), 200 << 20);
}

#[test]
fn packing_alone_needs_little() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("file");
    File::create(&source).unwrap().set_len(40 << 20).unwrap();
    let mut out = Vec::new();
    write_tgz(&source, Level::DEFAULT, &mut out).unwrap();
    assert!(out.len() < 1 << 20);
}
