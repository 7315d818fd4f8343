//! Every legal key works, none leaves its bucket, and neighbours do not disturb each other.

use crate::{Running, failure};

#[tokio::test]
async fn odd_keys_are_kept_apart_and_inside() {
    let run = Running::new().await;
    let long_segment = "s".repeat(1024);
    let deep = format!("{}x", "d/".repeat(511));
    let control = "c".to_owned() + &"\u{1}".repeat(300);
    let keys = [
        "a/../../b",
        "../../../etc/x",
        "..",
        ".",
        "/",
        "//",
        "/lead",
        "trail/",
        "mid//dle",
        "a",
        "a/",
        "a//",
        "a/b",
        "%",
        "%2E",
        "%2E./x",
        "%empty",
        "%file",
        "a%file",
        "x%more/y",
        "sp ace",
        "plus+&=?#;",
        "größe",
        "データ",
        "\u{1F680}",
        "new\nline",
        "back\\slash",
        ".tiphys-s3/tmp/x",
        "quote\"'<>",
        "~",
        "*",
        &long_segment,
        &deep,
        &control,
    ];
    for key in keys {
        run.put(key, key).await;
    }
    for key in keys {
        assert_eq!(run.get(key).await, key);
    }
    // Nothing lies outside the bucket's folder.
    assert!(run.tree().iter().all(|path| path.starts_with("bucket/")));
    assert_eq!(std::fs::read_dir(run.root.path()).unwrap().count(), 2);

    let listed = all_keys(&run).await;
    let mut expected = keys.map(str::to_owned);
    expected.sort();
    assert_eq!(listed, expected);

    for (index, key) in keys.iter().enumerate() {
        run.client.delete_object().bucket("bucket").key(*key).send().await.unwrap();
        let gone = run.client.get_object().bucket("bucket").key(*key).send().await;
        assert_eq!(failure(gone), ("NoSuchKey".into(), 404), "{key}");
        assert_eq!(all_keys(&run).await.len(), keys.len() - index - 1);
    }
    assert_eq!(std::fs::read_dir(run.file("bucket")).unwrap().count(), 0);
}

async fn all_keys(run: &Running) -> Vec<String> {
    let answer = run.client.list_objects_v2().bucket("bucket").encoding_type(aws_sdk_s3::types::EncodingType::Url);
    let answer = answer.send().await.unwrap();
    answer.contents().iter().map(|object| decode(object.key().unwrap())).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_key_too_long_is_refused() {
    let run = Running::new().await;
    let put = run.client.put_object().bucket("bucket").key("k".repeat(1025)).send().await;
    assert_eq!(failure(put).1, 400);
}

#[tokio::test]
async fn an_object_and_keys_below_it_in_either_order() {
    let run = Running::new().await;
    run.put("one", "file").await;
    run.put("one/two/three", "below").await;
    run.put("one/two", "middle").await;
    assert_eq!(run.tree(), ["bucket/one%file", "bucket/one/two%file", "bucket/one/two/three"]);
    run.put("one", "new").await;
    for (key, text) in [("one", "new"), ("one/two", "middle"), ("one/two/three", "below")] {
        assert_eq!(run.get(key).await, text);
    }
    run.client.delete_object().bucket("bucket").key("one/two/three").send().await.unwrap();
    run.put("one/two", "alone").await;
    assert_eq!((run.get("one").await, run.get("one/two").await), ("new".into(), "alone".into()));
    run.client.delete_object().bucket("bucket").key("one").send().await.unwrap();
    assert_eq!(run.tree(), ["bucket/one/two%file"]);
}

#[tokio::test]
async fn writers_of_a_key_and_of_keys_below_it_at_the_same_time() {
    let run = Running::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..20 {
        for key in ["k", "k/l", "k/l/m", "k/l/m/n"] {
            let put = run.client.put_object().bucket("bucket").key(format!("{round}/{key}"));
            tasks.spawn(async move { put.body(key.as_bytes().to_vec().into()).send().await.map(|_| ()) });
        }
    }
    tasks.join_all().await.into_iter().for_each(|done| done.unwrap());
    for round in 0..20 {
        for key in ["k", "k/l", "k/l/m", "k/l/m/n"] {
            assert_eq!(run.get(&format!("{round}/{key}")).await, key);
        }
    }
}
