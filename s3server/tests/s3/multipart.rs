//! Objects in parts.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::{Running, failure, pattern};

const MIB: usize = 1024 * 1024;

async fn begin(run: &Running, key: &str) -> String {
    let create = run.client.create_multipart_upload().bucket("bucket").key(key).content_type("text/x");
    create.send().await.unwrap().upload_id().unwrap().to_owned()
}

async fn part(run: &Running, key: &str, id: &str, number: i32, data: &[u8]) -> CompletedPart {
    let put = run.client.upload_part().bucket("bucket").key(key).upload_id(id).part_number(number);
    let answer = put.body(data.to_vec().into()).send().await.unwrap();
    CompletedPart::builder().part_number(number).e_tag(answer.e_tag().unwrap()).build()
}

macro_rules! complete {
    ($run:expr, $key:expr, $id:expr, $parts:expr) => {{
        let upload = CompletedMultipartUpload::builder().set_parts(Some($parts.to_vec())).build();
        $run.client.complete_multipart_upload().bucket("bucket").key($key).upload_id($id).multipart_upload(upload)
    }};
}

#[tokio::test]
async fn parts_in_any_order_become_one_object() {
    let run = Running::new().await;
    let data = pattern(12 * MIB);
    let id = begin(&run, "dir/big").await;
    let third = part(&run, "dir/big", &id, 30, &data[10 * MIB..]).await;
    let stale = part(&run, "dir/big", &id, 2, b"replaced").await;
    let first = part(&run, "dir/big", &id, 1, &data[..5 * MIB]).await;
    let second = part(&run, "dir/big", &id, 2, &data[5 * MIB..10 * MIB]).await;
    assert_eq!(run.tree(), Vec::<String>::new());

    let listed =
        run.client.list_parts().bucket("bucket").key("dir/big").upload_id(&id).max_parts(2).send().await.unwrap();
    let numbers: Vec<_> =
        listed.parts().iter().map(|part| (part.part_number().unwrap(), part.size().unwrap())).collect();
    assert_eq!(numbers, [(1, 5 * MIB as i64), (2, 5 * MIB as i64)]);
    assert_eq!((listed.is_truncated(), listed.next_part_number_marker()), (Some(true), Some("2")));

    let parts = [first.clone(), stale, third.clone()];
    assert_eq!(failure(complete!(run, "dir/big", &id, parts).send().await), ("InvalidPart".into(), 400));
    let parts = [second.clone(), first.clone()];
    assert_eq!(failure(complete!(run, "dir/big", &id, parts).send().await), ("InvalidPartOrder".into(), 400));

    let parts = [first, second, third];
    let done = complete!(run, "dir/big", &id, parts).send().await.unwrap();
    let got = run.client.get_object().bucket("bucket").key("dir/big").send().await.unwrap();
    assert_eq!((got.content_type(), got.e_tag()), (Some("text/x"), done.e_tag()));
    assert!(got.body.collect().await.unwrap().to_vec() == data);
    assert_eq!(run.leftovers(), 0);
    assert_eq!(failure(complete!(run, "dir/big", &id, parts).send().await), ("NoSuchUpload".into(), 404));
}

#[tokio::test]
async fn a_refused_completion_can_be_tried_again() {
    let run = Running::new().await;
    run.put("k", "there").await;
    let id = begin(&run, "k").await;
    let parts = [part(&run, "k", &id, 1, &pattern(5 * MIB)).await, part(&run, "k", &id, 2, b"end").await];
    let refused = complete!(run, "k", &id, parts).if_none_match("*").send().await;
    assert_eq!(failure(refused), ("PreconditionFailed".into(), 412));
    assert_eq!(run.get("k").await, "there");
    complete!(run, "k", &id, parts).send().await.unwrap();
    assert_eq!(std::fs::metadata(run.file("bucket/k")).unwrap().len(), 5 * MIB as u64 + 3);
}

#[tokio::test]
async fn small_parts_and_wrong_ids_are_refused() {
    let run = Running::new().await;
    let id = begin(&run, "k").await;
    let parts = [part(&run, "k", &id, 1, b"small").await, part(&run, "k", &id, 2, b"end").await];
    assert_eq!(failure(complete!(run, "k", &id, parts).send().await), ("EntityTooSmall".into(), 400));
    assert_eq!(failure(complete!(run, "other", &id, parts).send().await), ("NoSuchUpload".into(), 404));
    for id in ["../../../etc", "", "0123", &id.to_uppercase()] {
        let put = run.client.upload_part().bucket("bucket").key("k").upload_id(id).part_number(1);
        assert!(put.body(ByteStream::from_static(b"x")).send().await.is_err(), "{id}");
    }
    let put = run.client.upload_part().bucket("bucket").key("k").upload_id(&id).part_number(10_001);
    assert_eq!(failure(put.send().await).1, 400);
}

#[tokio::test]
async fn uploads_are_listed_until_aborted() {
    let run = Running::new().await;
    let ids = [begin(&run, "a").await, begin(&run, "b/x").await, begin(&run, "b/x").await];
    part(&run, "a", &ids[0], 1, b"data").await;
    let list = || run.client.list_multipart_uploads().bucket("bucket");
    let page = list().max_uploads(2).send().await.unwrap();
    assert_eq!((page.uploads().len(), page.is_truncated()), (2, Some(true)));
    let next = list().set_key_marker(page.next_key_marker().map(Into::into));
    let next = next.set_upload_id_marker(page.next_upload_id_marker().map(Into::into)).send().await.unwrap();
    assert_eq!((next.uploads().len(), next.is_truncated()), (1, Some(false)));
    assert_eq!(list().prefix("b/").send().await.unwrap().uploads().len(), 2);
    for (key, id) in [("a", &ids[0]), ("b/x", &ids[1]), ("b/x", &ids[2])] {
        run.client.abort_multipart_upload().bucket("bucket").key(key).upload_id(id).send().await.unwrap();
    }
    assert!(list().send().await.unwrap().uploads().is_empty());
    assert_eq!(run.leftovers(), 0);
}

#[tokio::test]
async fn parts_copied_from_objects() {
    let run = Running::new().await;
    let data = pattern(6 * MIB);
    run.client.put_object().bucket("bucket").key("source").body(data.clone().into()).send().await.unwrap();
    let id = begin(&run, "target").await;
    let copy = |number: i32, range: &str| {
        let copy = run.client.upload_part_copy().bucket("bucket").key("target").upload_id(&id).part_number(number);
        copy.copy_source("bucket/source").copy_source_range(range).send()
    };
    let mut parts = Vec::new();
    for (number, range) in [(1, "bytes=0-5242879"), (2, "bytes=100-199")] {
        let answer = copy(number, range).await.unwrap();
        let etag = answer.copy_part_result().unwrap().e_tag().unwrap().to_owned();
        parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
    }
    complete!(run, "target", &id, parts).send().await.unwrap();
    let expected = [&data[..5 * MIB], &data[100..200]].concat();
    assert!(std::fs::read(run.file("bucket/target")).unwrap() == expected);
}
