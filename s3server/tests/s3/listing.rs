//! Pages of keys, held against a plain sorted list.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::{Running, failure};

/// Keys and common prefixes, page after page.
async fn list(run: &Running, prefix: &str, delimiter: &str, page: i32) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let ask = run.client.list_objects_v2().bucket("bucket").prefix(prefix).max_keys(page);
        let ask = if delimiter.is_empty() { ask } else { ask.delimiter(delimiter) };
        let answer = ask.set_continuation_token(token).send().await.unwrap();
        assert!(answer.key_count().unwrap() <= page);
        keys.extend(answer.contents().iter().map(|object| object.key().unwrap().to_owned()));
        prefixes.extend(answer.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
        assert_eq!(answer.is_truncated(), Some(answer.next_continuation_token().is_some()));
        token = answer.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            return (keys, prefixes);
        }
    }
}

fn expected(all: &BTreeSet<String>, prefix: &str, delimiter: &str) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes) = (Vec::new(), BTreeSet::new());
    for key in all.iter().filter(|key| key.starts_with(prefix)) {
        match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => drop(prefixes.insert(key[..prefix.len() + at + delimiter.len()].to_owned())),
            None => keys.push(key.clone()),
        }
    }
    (keys, prefixes.into_iter().collect())
}

#[tokio::test]
async fn pages_hold_what_a_sorted_list_holds() {
    let run = Running::new().await;
    let mut all = BTreeSet::new();
    for a in ["a", "a-b", "a!", "b", "ab"] {
        for rest in ["", "/", "/x", "/x/y", "-z/w", "/x.y", "//"] {
            all.insert(format!("{a}{rest}"));
        }
    }
    let piece = "p".repeat(200);
    for rest in ["", "/x", "q", "!/x", "q/x"] {
        all.insert(format!("{piece}{rest}"));
    }
    for key in &all {
        run.put(key, "").await;
    }
    for prefix in ["", "a", "a/", "a/x", "a/x/", "a//", "a-", "b/x.", "none", "none/at/all", &piece, &piece[..190]] {
        for delimiter in ["", "/", "x", "/x"] {
            for page in [1, 2, 7, 1000] {
                let found = list(&run, prefix, delimiter, page).await;
                assert_eq!(found, expected(&all, prefix, delimiter), "{prefix:?} {delimiter:?} {page}");
            }
        }
    }
}

#[tokio::test]
async fn version_one_and_start_after() {
    let run = Running::new().await;
    for key in ["a", "b/1", "b/2", "c"] {
        run.put(key, "x").await;
    }
    let first = run.client.list_objects().bucket("bucket").delimiter("/").max_keys(2).send().await.unwrap();
    assert_eq!((first.is_truncated(), first.next_marker()), (Some(true), Some("b/")));
    let second = run.client.list_objects().bucket("bucket").delimiter("/").marker("b/").send().await.unwrap();
    assert_eq!(second.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["c"]);
    assert!(second.common_prefixes().is_empty());
    let after = run.client.list_objects_v2().bucket("bucket").start_after("b/1").send().await.unwrap();
    assert_eq!(after.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["b/2", "c"]);
    assert_eq!(after.contents()[0].size(), Some(1));
    let head = run.client.head_object().bucket("bucket").key("b/2").send().await.unwrap();
    assert_eq!(after.contents()[0].e_tag(), head.e_tag());
    let none = run.client.list_objects_v2().bucket("bucket").max_keys(0).send().await.unwrap();
    assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
    let bad = run.client.list_objects_v2().bucket("bucket").continuation_token("zz").send().await;
    assert_eq!(failure(bad), ("InvalidRequest".into(), 400));
    assert_eq!(failure(run.client.list_objects_v2().bucket("nowhere").send().await), ("NoSuchBucket".into(), 404));
}

#[tokio::test]
async fn many_objects_go_at_once() {
    let run = Running::new().await;
    for at in 0..30 {
        run.put(&format!("d/{at}/x"), "x").await;
    }
    let identifiers = (0..40).map(|at| ObjectIdentifier::builder().key(format!("d/{at}/x")).build().unwrap());
    let delete = Delete::builder().set_objects(Some(identifiers.collect())).build().unwrap();
    let answer = run.client.delete_objects().bucket("bucket").delete(delete).send().await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors().len()), (40, 0));
    assert_eq!(run.tree(), Vec::<String>::new());
}

#[tokio::test]
async fn foreign_files_in_the_folder_are_no_objects() {
    let run = Running::new().await;
    run.put("a", "x").await;
    std::fs::write(run.file("bucket/%zz"), "").unwrap();
    std::fs::create_dir(run.file("bucket/empty")).unwrap();
    std::os::unix::fs::symlink("/etc", run.file("bucket/link")).unwrap();
    assert_eq!(list(&run, "", "/", 10).await, (vec!["a".to_owned()], vec![]));
}
