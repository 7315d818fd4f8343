//! Clients that vanish, servers that are killed, folders in use.

use std::process::Stdio;

use tiphys_s3server::{S3Server, StartError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::{Running, client, failure, pattern};

/// Set for the process that is to be killed: the folder it serves.
const SERVED: &str = "TIPHYS_TEST_SERVED";

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let run = Running::new().await;
    run.put("k", "old").await;
    let valid = aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_secs(60)).unwrap();
    let signed = run.client.put_object().bucket("bucket").key("k").presigned(valid).await.unwrap();
    let path = signed.uri().split_once(run.server.endpoint()).unwrap().1;
    for sent in [10, 1_000_000] {
        let mut stream = TcpStream::connect(run.server.endpoint()).await.unwrap();
        let host = run.server.endpoint();
        let head = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&pattern(sent)).await.unwrap();
        stream.shutdown().await.unwrap();
        // The server hangs up once it has given up.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert_eq!(run.get("k").await, "old");
    let root = run.root;
    run.server.stop().await;
    let server = S3Server::start(root.path(), &[]).await.unwrap();
    assert_eq!(std::fs::read_dir(root.path().join(".tiphys-s3/tmp")).unwrap().count(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_folder_has_one_server_at_a_time() {
    let run = Running::new().await;
    let second = S3Server::start(run.root.path(), &[]).await;
    assert!(matches!(second, Err(StartError::InUse { .. })));
    run.put("k", "v").await;
    let Running { server, client: old, root } = run;
    server.stop().await;
    let server = S3Server::start(root.path(), &["bucket"]).await.unwrap();
    assert!(old.get_object().bucket("bucket").key("k").send().await.is_err(), "the old credentials and port are void");
    let new = client(server.endpoint(), server.access_key(), server.secret_key().expose());
    new.get_object().bucket("bucket").key("k").send().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_served_is_said() {
    let root = tempfile::tempdir().unwrap();
    let name = S3Server::start(root.path(), &["No_Bucket"]).await.unwrap_err();
    assert_eq!(
        name.to_string(),
        "\"No_Bucket\" cannot name a bucket: 3 to 63 lower-case letters, digits, dots and hyphens are allowed"
    );
    std::fs::write(root.path().join("file"), "").unwrap();
    let folder = S3Server::start(&root.path().join("file/below"), &[]).await.unwrap_err();
    assert!(matches!(folder, StartError::Folder { .. }));
}

/// The process to kill. Run as a test of its own it has nothing to serve and ends.
#[tokio::test]
async fn served_in_a_process_of_its_own() {
    let Some(root) = std::env::var_os(SERVED) else { return };
    let server = S3Server::start(root.as_ref(), &["bucket"]).await.unwrap();
    println!("\nserving {} {} {}", server.endpoint(), server.access_key(), server.secret_key().expose());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn killed_in_the_middle_of_uploads_it_starts_again_with_whole_objects_only() {
    let root = tempfile::tempdir().unwrap();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::served_in_a_process_of_its_own", "--nocapture"])
        .env(SERVED, root.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(rest) = line.strip_prefix("serving ") {
            break rest.to_owned();
        }
    };
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap();
    let remote = client(word(), word(), word());
    let body = pattern(400_000);
    remote.put_object().bucket("bucket").key("before").body(body.clone().into()).send().await.unwrap();
    let id = remote.create_multipart_upload().bucket("bucket").key("parts").send().await.unwrap();
    let put = remote.upload_part().bucket("bucket").key("parts").upload_id(id.upload_id().unwrap()).part_number(1);
    put.body(body.clone().into()).send().await.unwrap();

    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..64 {
        let put = remote.put_object().bucket("bucket").key(format!("d/{at}")).metadata("at", at.to_string());
        let body = body.clone();
        tasks.spawn(async move { put.body(body.into()).send().await.is_ok().then_some(at) });
    }
    // The first that is done says that the others are under way.
    let first = tasks.join_next().await.unwrap().unwrap();
    child.start_kill().unwrap();
    let mut stored: Vec<i32> = tasks.join_all().await.into_iter().chain([first]).flatten().collect();
    stored.sort();
    child.wait().await.unwrap();

    let server = S3Server::start(root.path(), &["bucket"]).await.unwrap();
    let local = client(server.endpoint(), server.access_key(), server.secret_key().expose());
    let listed = local.list_objects_v2().bucket("bucket").send().await.unwrap();
    for object in listed.contents() {
        let got = local.get_object().bucket("bucket").key(object.key().unwrap()).send().await.unwrap();
        if let Some(at) = object.key().unwrap().strip_prefix("d/") {
            assert_eq!(got.metadata().unwrap()["at"], at);
        }
        assert!(got.body.collect().await.unwrap().to_vec() == body, "{:?}", object.key());
    }
    for at in stored {
        assert!(
            listed.contents().iter().any(|object| object.key() == Some(&format!("d/{at}"))),
            "{at} was acknowledged"
        );
    }
    let parts = local.list_parts().bucket("bucket").key("parts").upload_id(id.upload_id().unwrap()).send().await;
    assert_eq!(failure(parts), ("NoSuchUpload".into(), 404));
    assert_eq!(std::fs::read_dir(root.path().join(".tiphys-s3/tmp")).unwrap().count(), 0);
}
