//! Artifacts behind URLs, against a small server that answers as each test says.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{opened, quick};
use futures_util::{StreamExt, stream};
use tiphys_api::Artifact;
use tiphys_artifact::{
    Artifacts, BasicAuth, Body, Class, HttpConfig, HttpStore, NoSecrets, Options, Retry, Secret, Source, Store, collect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request: its head in lower case, and its body.
type Request = (String, Vec<u8>);

struct Site {
    url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// Serves with what `answer` gives for the number of the request and its first line: status line, headers and body.
async fn site(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let log = seen.clone();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (log, answer) = (log.clone(), answer.clone());
            tokio::spawn(async move {
                let request = read(&mut client).await;
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len()
                };
                let text = answer(number, request.0.lines().next().unwrap_or_default());
                // A client may have enough of an answer before its end.
                let _ = client.write_all(text.as_bytes()).await;
                let _ = client.shutdown().await;
            });
        }
    });
    Site { url, seen }
}

async fn read(client: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return (String::new(), Vec::new());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length: Option<usize> =
        text.lines().find_map(|l| l.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
    let chunked = text.contains("transfer-encoding: chunked");
    loop {
        let body = &bytes[head..];
        let done = match (length, chunked) {
            (Some(length), _) => body.len() >= length,
            (None, true) => body.ends_with(b"0\r\n\r\n"),
            (None, false) => true,
        };
        if done || client.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return (text, bytes[head..].to_vec());
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

fn config(url: String) -> HttpConfig {
    HttpConfig { retry: quick(), ..HttpConfig::new(url) }
}

fn chunks(text: &'static str) -> Body {
    Body::Stream(stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed())
}

#[tokio::test]
async fn a_url_is_loaded_with_headers_and_credentials() {
    let site = site(|number, _| if number < 3 { status("503 Busy") } else { ok("content") }).await;
    let auth = BasicAuth { username: Secret::new("user"), password: Secret::new("p4ss") };
    let mut config = config(format!("{}/file?token=hidden", site.url));
    config.headers = vec![("X-One".into(), Secret::new("1")), ("x-one".into(), Secret::new("2"))];
    config.basic_auth = Some(auth);
    assert!(!format!("{config:?}").contains("p4ss"));
    let store = HttpStore::new(config).unwrap();
    assert!(!format!("{store:?}").contains("p4ss") && !store.describe("").contains("hidden"));
    assert_eq!(collect(store.open("").await.unwrap().stream).await.unwrap(), "content");
    let seen = site.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    let head = &seen[0].0;
    assert!(head.starts_with("get /file?token=hidden ") && head.contains("x-one: 1\r\nx-one: 2"), "{head}");
    assert!(head.contains("authorization: basic dxnlcjpwnhnz"), "{head}");
}

#[tokio::test]
async fn answers_have_their_classes() {
    for (line, class, requests) in [
        ("404 Not Found", Class::NotFound, 1),
        ("403 Forbidden", Class::Permanent, 1),
        ("500 Oops", Class::Transient, 3),
        ("429 Slow", Class::Transient, 3),
        ("307 Elsewhere", Class::Permanent, 1),
    ] {
        let site = site(move |_, _| status(line)).await;
        let mut config = config(format!("{}/x?secret", site.url));
        config.retry = Retry { tries: 3, ..quick() };
        let store = HttpStore::new(config).unwrap();
        let error = store.put("", Body::Bytes(Bytes::from_static(b"x"))).await.unwrap_err();
        assert_eq!((error.class(), site.seen.lock().unwrap().len()), (class, requests), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nshort";
    let site = site(move |_, _| short.to_owned()).await;
    let store = HttpStore::new(config(site.url.clone())).unwrap();
    let error = collect(store.open("").await.unwrap().stream).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error}");
}

#[tokio::test]
async fn bodies_are_saved_in_each_form() {
    let site = site(|_, _| status("201 Created")).await;
    let store = HttpStore::new(config(format!("{}/put", site.url))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "from disk").unwrap();
    assert_eq!(store.put("", Body::Bytes(Bytes::from_static(b"memory"))).await.unwrap(), 6);
    assert_eq!(store.put("", Body::File(opened(&path))).await.unwrap(), 9);
    assert_eq!(store.put("", chunks("stream")).await.unwrap(), 6);
    let seen = site.seen.lock().unwrap();
    assert!(seen.iter().all(|(head, _)| head.starts_with("put /put ")));
    assert_eq!((seen[0].1.as_slice(), seen[1].1.as_slice()), (&b"memory"[..], &b"from disk"[..]));
    assert!(seen[1].0.contains("content-length: 9"), "{}", seen[1].0);
    assert_eq!(seen[2].1, b"6\r\nstream\r\n0\r\n\r\n");
}

#[tokio::test]
async fn redirects_of_uploads_keep_the_body_but_not_the_credentials() {
    let target = site(|_, _| status("201 Created")).await;
    let location = format!("{}/datanode", target.url);
    let name = site(move |_, _| {
        format!("HTTP/1.1 307 X\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    })
    .await;
    let mut config = config(name.url.clone());
    config.headers = vec![("authorization".into(), Secret::new("Bearer token")), ("x-kept".into(), Secret::new("1"))];
    let once = HttpStore::new(config.clone()).unwrap();
    let error = once.put("", chunks("stream")).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].http.saveStreamViaFile"), "{error}");
    config.save_via_file = true;
    let store = HttpStore::new(config).unwrap();
    assert_eq!(store.put("", chunks("stream")).await.unwrap(), 6);
    let seen = target.seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].0.starts_with("put /datanode ") && seen[0].0.contains("x-kept: 1"), "{}", seen[0].0);
    assert!(!seen[0].0.contains("token"), "{}", seen[0].0);
    assert_eq!(seen[0].1, b"stream");
}

#[tokio::test]
async fn what_urls_cannot_do_is_said() {
    let store = HttpStore::new(config("http://127.0.0.1:1/x".into())).unwrap();
    assert!(store.delete("").await.unwrap_err().to_string().contains("artifacts[].http cannot be deleted"));
    assert!(store.list("").next().await.unwrap().unwrap_err().to_string().contains("cannot be listed"));
    let mut bad = config("http://h".into());
    bad.headers = vec![("bad name".into(), Secret::new("x"))];
    assert!(HttpStore::new(bad).unwrap_err().to_string().contains("artifacts[].http.headers"));
}

fn saver() -> Artifacts {
    Artifacts::new(NoSecrets, Options { retry: quick(), ..Options::default() })
}

fn artifact(url: &str) -> Artifact {
    serde_json::from_value(serde_json::json!({"name": "a", "http": {"url": url}})).unwrap()
}

#[tokio::test]
async fn what_is_made_on_its_way_is_made_again_for_a_redirect() {
    let target = site(|_, _| status("201 Created")).await;
    let location = format!("{}/there", target.url);
    let name = site(move |number, _| match number {
        1 => status("503 Busy"),
        _ => format!("HTTP/1.1 308 X\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let source = folder.path().join("file");
    saver().save_output(Source::Itself(&opened(&source)), &artifact(&name.url)).await.unwrap();
    let seen = target.seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    std::fs::write(folder.path().join("saved"), &seen[0].1).unwrap();
    assert!(tiphys_artifact::is_tgz(&folder.path().join("saved")).unwrap(), "a whole tar, with its length");
    assert!(seen[0].0.contains(&format!("content-length: {}", seen[0].1.len())), "{}", seen[0].0);
}

#[tokio::test]
async fn an_upload_that_would_become_a_download_is_an_error() {
    let site = site(|_, line| match line.starts_with("put") {
        true => "HTTP/1.1 302 X\r\nlocation: /login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
        false => ok("please log in"),
    })
    .await;
    let store = HttpStore::new(config(site.url.clone())).unwrap();
    let error = store.put("", Body::Bytes(Bytes::from_static(b"x"))).await.unwrap_err();
    assert!(error.to_string().contains("302") && error.class() == Class::Permanent, "{error}");
    assert_eq!(site.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn redirects_that_never_end_are_given_up() {
    let around = "HTTP/1.1 302 X\r\nlocation: /again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let site = site(move |_, _| around.to_owned()).await;
    let store = HttpStore::new(config(site.url.clone())).unwrap();
    let error = store.open("").await.err().unwrap();
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
    assert_eq!(site.seen.lock().unwrap().len(), 11);
}

#[tokio::test]
async fn a_directory_without_archive_is_refused() {
    let site = site(|_, _| status("201 Created")).await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let mut artifact = artifact(&site.url);
    artifact.archive = serde_json::from_value(serde_json::json!({"none": {}})).unwrap();
    let error = saver().save_output(Source::Itself(&opened(folder.path())), &artifact).await.unwrap_err();
    assert!(error.to_string().contains("artifacts[].http is one file"), "{error}");
    assert!(site.seen.lock().unwrap().is_empty(), "nothing was sent");
}
