//! One object at a time: bodies, headers, ranges, conditions, copies, digests, presigned requests.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, MetadataDirective};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Running, client, failure, pattern};

#[tokio::test]
async fn an_object_comes_back_with_its_headers_and_lies_on_disk_under_its_key() {
    let run = Running::new().await;
    let put = run
        .client
        .put_object()
        .bucket("bucket")
        .key("wf/pod/main.log")
        .content_type("text/plain")
        .cache_control("no-store")
        .metadata("owner", "me")
        .body(ByteStream::from_static(b"hello world"))
        .send()
        .await
        .unwrap();
    assert_eq!(std::fs::read(run.file("bucket/wf/pod/main.log")).unwrap(), b"hello world");

    let got = run.client.get_object().bucket("bucket").key("wf/pod/main.log").send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/plain"));
    assert_eq!(got.cache_control(), Some("no-store"));
    assert_eq!(got.metadata().unwrap()["owner"], "me");
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello world");

    let head = run.client.head_object().bucket("bucket").key("wf/pod/main.log").send().await.unwrap();
    assert_eq!((head.content_length(), head.e_tag()), (Some(11), put.e_tag()));
    assert_eq!(head.metadata().unwrap()["owner"], "me");
    assert!(head.last_modified().is_some());

    // Written again without headers, none of the old ones are left.
    run.put("wf/pod/main.log", "again").await;
    let head = run.client.head_object().bucket("bucket").key("wf/pod/main.log").send().await.unwrap();
    assert_eq!(head.content_type(), Some("application/octet-stream"));
    assert_ne!(head.e_tag(), put.e_tag());
    assert!(head.metadata().unwrap().is_empty());
}

#[tokio::test]
async fn ranges_of_a_large_object() {
    let run = Running::new().await;
    let data = pattern(3 * 1024 * 1024 + 17);
    run.client.put_object().bucket("bucket").key("big").body(data.clone().into()).send().await.unwrap();
    let size = data.len();
    for (range, span) in [
        ("bytes=0-0", 0..1),
        ("bytes=1000-2000999", 1000..2_001_000),
        ("bytes=3145000-", 3_145_000..size),
        ("bytes=-5", size - 5..size),
        ("bytes=10-99999999", 10..size),
    ] {
        let got = run.client.get_object().bucket("bucket").key("big").range(range).send().await.unwrap();
        let expected = format!("bytes {}-{}/{size}", span.start, span.end - 1);
        assert_eq!(got.content_range(), Some(expected.as_str()));
        assert_eq!(got.content_length(), Some(span.len() as i64));
        assert!(got.body.collect().await.unwrap().to_vec() == data[span], "{range}");
    }
    let beyond = run.client.get_object().bucket("bucket").key("big").range("bytes=99999999-").send().await;
    assert_eq!(failure(beyond), ("InvalidRange".into(), 416));
    run.put("empty", "").await;
    assert_eq!(run.get("empty").await, "");
}

#[tokio::test]
async fn conditions() {
    let run = Running::new().await;
    let put = |key: &str| run.client.put_object().bucket("bucket").key(key);
    let first = put("lock").if_none_match("*").body(ByteStream::from_static(b"1")).send().await.unwrap();
    let etag = first.e_tag().unwrap();
    assert_eq!(failure(put("lock").if_none_match("*").send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(failure(put("lock").if_match("\"other\"").send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(failure(put("none").if_match("*").send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(run.get("lock").await, "1");
    put("lock").if_match(etag).body(ByteStream::from_static(b"2")).send().await.unwrap();
    assert_eq!(run.get("lock").await, "2");

    let get = || run.client.get_object().bucket("bucket").key("lock");
    assert_eq!(failure(get().if_match(etag).send().await).1, 412);
    assert_eq!(failure(get().if_none_match("*").send().await).1, 304);
    get().if_none_match(etag).send().await.unwrap();
    let long_ago = aws_sdk_s3::primitives::DateTime::from_secs(1_000_000);
    assert_eq!(failure(get().if_unmodified_since(long_ago).send().await).1, 412);
    get().if_modified_since(long_ago).send().await.unwrap();
    assert_eq!(run.leftovers(), 0);
}

#[tokio::test]
async fn of_many_writers_that_want_to_be_first_one_is() {
    let run = Running::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let put = run.client.put_object().bucket("bucket").key("first").if_none_match("*");
        tasks.spawn(async move { put.send().await.is_ok() });
    }
    let won = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn missing_things_have_their_names() {
    let run = Running::new().await;
    let get = |bucket: &str, key: &str| run.client.get_object().bucket(bucket).key(key).send();
    assert_eq!(failure(get("bucket", "no").await), ("NoSuchKey".into(), 404));
    assert_eq!(failure(get("elsewhere", "no").await), ("NoSuchBucket".into(), 404));
    assert_eq!(failure(run.client.head_object().bucket("bucket").key("no").send().await).1, 404);
    let put = run.client.put_object().bucket("elsewhere").key("k").send().await;
    assert_eq!(failure(put), ("NoSuchBucket".into(), 404));
    run.client.delete_object().bucket("bucket").key("no").send().await.unwrap();
}

#[tokio::test]
async fn every_digest_is_checked() {
    let run = Running::new().await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
        ChecksumAlgorithm::Crc64Nvme,
    ] {
        let put = run.client.put_object().bucket("bucket").key("sum").checksum_algorithm(algorithm.clone());
        put.body(pattern(700_000).into()).send().await.unwrap();
    }
    let put = || run.client.put_object().bucket("bucket").key("bad").body(ByteStream::from_static(b"abc"));
    assert_eq!(failure(put().checksum_crc32("AAAAAA==").send().await), ("BadDigest".into(), 400));
    assert_eq!(failure(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await), ("BadDigest".into(), 400));
    put().content_md5("kAFQmDzST7DWlj99KOF/cg==").send().await.unwrap();
    assert_eq!(run.leftovers(), 0);
}

#[tokio::test]
async fn a_streamed_body_ends_in_a_trailer_with_its_digest() {
    let run = Running::new().await;
    let data = pattern(900_000);
    let path = run.file("source");
    std::fs::write(&path, &data).unwrap();
    let body = ByteStream::from_path(&path).await.unwrap();
    run.client.put_object().bucket("bucket").key("streamed").body(body).send().await.unwrap();
    assert!(std::fs::read(run.file("bucket/streamed")).unwrap() == data);
}

#[tokio::test]
async fn copies_keep_or_replace_headers() {
    let run = Running::new().await;
    let put = run.client.put_object().bucket("bucket").key("a b/ü").content_type("text/css").metadata("k", "v");
    put.body(ByteStream::from_static(b"body")).send().await.unwrap();
    let copy = |to: &str| run.client.copy_object().bucket("bucket").key(to).copy_source("bucket/a%20b/%C3%BC");
    copy("copy").send().await.unwrap();
    let got = run.client.get_object().bucket("bucket").key("copy").send().await.unwrap();
    assert_eq!((got.content_type(), &got.metadata().unwrap()["k"][..]), (Some("text/css"), "v"));
    copy("other").metadata_directive(MetadataDirective::Replace).content_type("text/html").send().await.unwrap();
    let got = run.client.get_object().bucket("bucket").key("other").send().await.unwrap();
    assert_eq!((got.content_type(), got.metadata().unwrap().len()), (Some("text/html"), 0));
    assert_eq!(run.get("other").await, "body");
    assert_eq!(failure(copy("a b/ü").send().await), ("InvalidRequest".into(), 400));
    let missing = run.client.copy_object().bucket("bucket").key("x").copy_source("bucket/none").send().await;
    assert_eq!(failure(missing), ("NoSuchKey".into(), 404));
}

#[tokio::test]
async fn what_is_not_kept_is_refused_by_name() {
    let run = Running::new().await;
    let put = run.client.put_object().bucket("bucket").key("k").tagging("a=b").send().await;
    assert_eq!(failure(put), ("NotImplemented".into(), 501));
    assert_eq!(run.tree(), Vec::<String>::new());
}

#[tokio::test]
async fn only_who_knows_the_secret_gets_in() {
    let run = Running::new().await;
    run.put("k", "v").await;
    let stranger = client(run.server.endpoint(), run.server.access_key(), "wrong");
    let got = stranger.get_object().bucket("bucket").key("k").send().await;
    assert_eq!(failure(got), ("SignatureDoesNotMatch".into(), 403));
    assert!(plain_get(run.server.endpoint(), "/bucket/k").await.starts_with("HTTP/1.1 403"));

    let valid = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let signed = run.client.get_object().bucket("bucket").key("k").presigned(valid).await.unwrap();
    let path = signed.uri().split_once(run.server.endpoint()).unwrap().1;
    let answer = plain_get(run.server.endpoint(), path).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nv"), "{answer}");
    let tampered = plain_get(run.server.endpoint(), &path.replace("/k?", "/l?")).await;
    assert!(tampered.starts_with("HTTP/1.1 403"), "{tampered}");
    assert!(!format!("{:?}", run.server).contains(run.server.secret_key().expose()));
}

#[tokio::test]
async fn buckets() {
    let run = Running::new().await;
    run.client.create_bucket().bucket("second").send().await.unwrap();
    let again = run.client.create_bucket().bucket("second").send().await;
    assert_eq!(failure(again), ("BucketAlreadyOwnedByYou".into(), 409));
    let names = run.client.list_buckets().send().await.unwrap();
    let names: Vec<_> = names.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["bucket", "second"]);
    run.client.head_bucket().bucket("second").send().await.unwrap();
    run.put("a/b", "c").await;
    let full = run.client.delete_bucket().bucket("bucket").send().await;
    assert_eq!(failure(full), ("BucketNotEmpty".into(), 409));
    run.client.delete_bucket().bucket("second").send().await.unwrap();
    assert_eq!(failure(run.client.head_bucket().bucket("second").send().await).1, 404);
}

async fn plain_get(endpoint: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(endpoint).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
