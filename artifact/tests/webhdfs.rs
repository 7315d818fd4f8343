//! WebHDFS through `artifacts[].http`, against a namenode and a datanode on loopback, with each way to say who asks.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[path = "common/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{noise, opened, quick, tree};
use serde_json::{Value, json};
use site::{Answer, Request, Site, answer};
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Body, Class, Error, HttpConfig, HttpStore, Options, Retry, Secret, Source, Store};

/// A cluster: the namenode sends every reader and writer to the datanode, which has the files.
struct Cluster {
    names: Site,
    data: Site,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Bytes of bodies that the namenode was sent.
    misplaced: Arc<AtomicUsize>,
    folder: tempfile::TempDir,
}

fn exception(status: u16, name: &str) -> Answer {
    answer(
        status,
        json!({"RemoteException": {"exception": name, "message": "in the server's words\n\tat java"}}).to_string(),
    )
}

/// A cluster whose namenode answers requests first with what `gate` gives.
async fn cluster(gate: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Cluster {
    let files: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let misplaced = Arc::new(AtomicUsize::new(0));
    let kept = files.clone();
    let data = Site::start(move |request| {
        let (query, path) = (request.query(), request.path().to_owned());
        if query.get("namenoderpcaddress").map(String::as_str) != Some("nn:8020") {
            return exception(400, "IllegalArgumentException");
        }
        let mut files = kept.lock().unwrap();
        match (request.method.as_str(), query["op"].as_str()) {
            ("GET", "OPEN") => files.get(&path).map_or(answer(404, ""), |bytes| answer(200, bytes.clone())),
            ("PUT", "CREATE") => {
                files.insert(path, request.body.clone());
                answer(201, "").with("location", "hdfs://nn:8020/x")
            }
            _ => answer(400, ""),
        }
    })
    .await;
    let (datanode, kept, lost) = (data.url.clone(), files.clone(), misplaced.clone());
    let names = Site::start(move |request| {
        lost.fetch_add(request.body.len(), Ordering::Relaxed);
        if let Some(answer) = gate(request) {
            return answer;
        }
        if request.method == "GET" && !kept.lock().unwrap().contains_key(request.path()) {
            return exception(404, "FileNotFoundException");
        }
        let target = format!("{datanode}{}&namenoderpcaddress=nn:8020", request.target);
        answer(307, "").with("location", target)
    })
    .await;
    Cluster { names, data, files, misplaced, folder: tempfile::tempdir().unwrap() }
}

impl Cluster {
    /// The artifact `path` with the operation `op`, and more fields of `http`.
    fn at(&self, path: &str, op: &str, more: Value) -> Artifact {
        let mut http = json!({"url": format!("{}/webhdfs/v1/{path}?op={op}&user.name=me", self.names.url)});
        http.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({"name": "a", "path": "/a", "http": http})).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn artifacts() -> Artifacts {
    let secrets = |_: &str, key: &str| {
        Ok(Secret::new(match key {
            "user" => "robot".into(),
            "password" => "p4ss".into(),
            other => std::fs::read_to_string(data(other)).unwrap_or_else(|_| other.to_owned()),
        }))
    };
    Artifacts::new(secrets, Options { retry: Retry { tries: 3, ..quick() }, ..Options::default() })
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn key(key: &str) -> Value {
    json!({"name": "s", "key": key})
}

/// The headers `authorization` that a server saw, one a request.
fn shown(site: &Site) -> Vec<String> {
    site.seen.lock().unwrap().iter().map(|request| request.header("authorization").to_owned()).collect()
}

#[tokio::test]
async fn files_and_directories_go_to_the_datanode_and_come_back() {
    let cluster = cluster(|_| None).await;
    let artifacts = artifacts();
    let source = cluster.path("source");
    std::fs::create_dir_all(source.join("deep")).unwrap();
    std::fs::write(source.join("one"), "1").unwrap();
    std::fs::write(source.join("deep/noise"), noise(3 << 20, 1)).unwrap();
    // A tar that is made on its way: neither a flag nor a file is needed for it.
    let auth = json!({"auth": {"basicAuth": {"usernameSecret": key("user"), "passwordSecret": key("password")}}});
    let there = cluster.at("dir.tgz", "CREATE&overwrite=true", auth.clone());
    artifacts.save_output(Source::Itself(&opened(&source)), &there).await.unwrap();
    artifacts.load_input(&cluster.at("dir.tgz", "OPEN", auth), &cluster.path("dest")).await.unwrap();
    assert_eq!(tree(&cluster.path("dest")), tree(&source));
    let mut plain = cluster.at("file", "CREATE", json!({}));
    plain.archive = serde_json::from_value(json!({"none": {}})).unwrap();
    artifacts.save_output(Source::Itself(&opened(&source.join("deep/noise"))), &plain).await.unwrap();
    assert!(cluster.files.lock().unwrap()["/webhdfs/v1/file"] == noise(3 << 20, 1));
    assert_eq!(cluster.misplaced.load(Ordering::Relaxed), 0, "the namenode gets no bodies");
    // robot:p4ss, which is not for the datanode.
    let basic = "Basic cm9ib3Q6cDRzcw==";
    assert_eq!(shown(&cluster.names), [basic, basic, ""]);
    assert_eq!(shown(&cluster.data), ["", "", ""]);
    let seen = cluster.data.seen.lock().unwrap();
    assert_eq!(seen[0].query()["overwrite"], "true", "{}", seen[0].target);
    assert!(seen.iter().all(|request| request.query()["user.name"] == "me"));
    assert_eq!(seen[0].header("content-type"), "application/octet-stream");
    assert_eq!((seen[0].header("transfer-encoding"), seen[2].header("content-length")), ("chunked", "3145728"));
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_shown_to_the_whole_cluster() {
    for in_header in [true, false] {
        let asked: Arc<Mutex<Vec<BTreeMap<String, String>>>> = Arc::default();
        let log = asked.clone();
        let login = Site::start(move |request| {
            // te+id:the secret, each escaped; some servers read the form only.
            let header = request.header("authorization") == "Basic dGUlMkJpZDp0aGUrc2VjcmV0";
            let form = request.form();
            let allowed = match in_header {
                true => header && !form.contains_key("client_secret"),
                false => form.get("client_secret").is_some_and(|secret| secret == "the secret"),
            };
            if !allowed {
                return answer(401, json!({"error": "invalid_client"}).to_string());
            }
            log.lock().unwrap().push(form);
            answer(200, json!({"access_token": "t0ken", "token_type": "bearer", "expires_in": 3600}).to_string())
        })
        .await;
        let gate = |request: &Request| (request.header("authorization") != "Bearer t0ken").then(|| answer(401, ""));
        let cluster = cluster(gate).await;
        let url = format!("{}/token", login.url);
        let secrets = move |_: &str, key: &str| {
            Ok(Secret::new(match key {
                "id" => "te+id\n",
                "secret" => "the secret",
                _ => &url,
            }))
        };
        let artifacts = Artifacts::new(secrets, Options { retry: quick(), ..Options::default() });
        let oauth2 = json!({
            "clientIDSecret": key("id"), "clientSecretSecret": key("secret"), "tokenURLSecret": key("url"),
            "scopes": ["some", "scopes"], "endpointParams": [{"key": "custom", "value": "a&b"}],
        });
        let there = cluster.at("x", "CREATE", json!({"auth": {"oauth2": oauth2}}));
        std::fs::write(cluster.path("x"), "content").unwrap();
        artifacts.save_output(Source::Itself(&opened(&cluster.path("x"))), &there).await.unwrap();
        assert_eq!(
            (shown(&cluster.names), shown(&cluster.data)),
            (vec!["Bearer t0ken".into()], vec!["Bearer t0ken".into()])
        );
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "one token for both requests");
        let field = |name: &str| asked[0].get(name).map_or("", String::as_str);
        assert_eq!(
            (field("grant_type"), field("scope"), field("custom")),
            ("client_credentials", "some scopes", "a&b")
        );
    }
}

#[tokio::test]
async fn a_token_stays_with_its_host_elsewhere() {
    let login = Site::start(|_| answer(200, r#"{"access_token": "t0ken", "expires_in": 3600}"#)).await;
    let other = Site::start(|_| answer(200, "content")).await;
    let target = format!("{}/presigned?sig=1", other.url);
    let own = Site::start(move |request| match request.path() {
        "/moved" => answer(302, "").with("location", "/here"),
        _ => answer(303, "").with("location", target.clone()),
    })
    .await;
    let url = login.url.clone();
    let secrets = move |_: &str, _: &str| Ok(Secret::new(&*url));
    let artifacts = Artifacts::new(secrets, Options { retry: quick(), ..Options::default() });
    let oauth2 = json!({"clientIDSecret": key("a"), "clientSecretSecret": key("b"), "tokenURLSecret": key("c")});
    let http = json!({"url": format!("{}/moved", own.url), "auth": {"oauth2": oauth2}});
    let artifact = serde_json::from_value(json!({"name": "a", "http": http})).unwrap();
    let folder = tempfile::tempdir().unwrap();
    artifacts.load_input(&artifact, &folder.path().join("x")).await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("x")).unwrap(), "content");
    assert_eq!((shown(&own), shown(&other)), (vec!["Bearer t0ken".into(), "Bearer t0ken".into()], vec![String::new()]));
}

#[tokio::test]
async fn what_the_namenode_says_decides() {
    let count = AtomicUsize::new(0);
    let cluster = cluster(move |request| match (request.path(), count.fetch_add(1, Ordering::Relaxed)) {
        ("/webhdfs/v1/denied", _) => Some(exception(403, "AccessControlException")),
        (_, 0) => Some(exception(403, "StandbyException")),
        (_, 1) => Some(exception(403, "RetriableException")),
        _ => None,
    })
    .await;
    let artifacts = artifacts();
    let body = || Body::Bytes("x".into());
    // A namenode that is not in charge yet.
    artifacts.save_body(body(), &cluster.at("x", "CREATE", json!({}))).await.unwrap();
    assert_eq!(cluster.names.count("PUT"), 3);
    let error = artifacts.save_body(body(), &cluster.at("denied", "CREATE", json!({}))).await.unwrap_err();
    assert!(error.to_string().ends_with("403 Forbidden, AccessControlException: in the server's words"), "{error}");
    assert_eq!(error.class(), Class::Permanent);
    let missing = cluster.at("none", "OPEN", json!({}));
    let error = artifacts.load_input(&missing, &cluster.path("y")).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
}

#[tokio::test]
async fn gateways_that_take_the_body_at_once() {
    let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let log = bodies.clone();
    let site = Site::start(move |request| {
        log.lock().unwrap().push(request.body.clone());
        answer(201, "")
    })
    .await;
    for query in ["op=CREATE&data=true", "op=CREATE&write=true", "op=CREATE"] {
        let store = HttpStore::new(HttpConfig::new(format!("{}/webhdfs/v1/x?{query}", site.url))).unwrap();
        store.put("", Body::Bytes("body".into())).await.unwrap();
    }
    assert_eq!(*bodies.lock().unwrap(), [&b"body"[..], b"body", b"", b"body"]);
}

/// The server of TLS wants a certificate that its authority signed, and tells whose it was.
fn secured() -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
    use std::io::{Read, Write};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data("ca.crt")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
    let own = CertificateDer::from_pem_file(data("server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data("server.key")).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(clients).with_single_cert(vec![own], key);
    let config = Arc::new(config.unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, client.unwrap());
            // Who shows no certificate is told so by TLS.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let shown = stream.conn.peer_certificates().map_or(0, <[_]>::len);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n{shown}");
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    url
}

/// Whom a process trusts is read from its environment, so this runs a second time as a process that trusts the tests'
/// authority.
#[test]
fn a_client_shows_its_certificate() {
    if std::env::var_os("SSL_CERT_FILE").is_none_or(|file| Path::new(&file) != data("ca.crt")) {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "a_client_shows_its_certificate", "--nocapture"]).env("SSL_CERT_FILE", data("ca.crt"));
        assert!(again.status().unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = secured();
        let folder = tempfile::tempdir().unwrap();
        let load = async |auth: Value| -> Result<String, Error> {
            let http = json!({"url": url, "auth": auth});
            let artifact: Artifact = serde_json::from_value(json!({"name": "a", "http": http})).unwrap();
            artifacts().load_input(&artifact, &folder.path().join("x")).await?;
            Ok(std::fs::read_to_string(folder.path().join("x")).unwrap())
        };
        let pair =
            |cert: &str, own: &str| json!({"clientCert": {"clientCertSecret": key(cert), "clientKeySecret": key(own)}});
        assert_eq!(load(pair("client.crt", "client.key")).await.unwrap(), "1");
        let error = load(json!({})).await.unwrap_err().to_string();
        assert!(error.contains("CertificateRequired"), "{error}");
        for wrong in [pair("client.crt", "server.key"), pair("client.crt", "no PEM")] {
            let error = load(wrong).await.unwrap_err().to_string();
            assert!(error.contains("artifacts[].http.auth.clientCert"), "{error}");
        }
    });
}
