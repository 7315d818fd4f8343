//! The client of the Kubernetes API against a real server on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;

use std::fs;
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Fate, tls};
use serde_json::{Value, json};
use tiphys_executor::cluster::{
    Cluster, ClusterError, Config, Credentials, Event, ListOptions, Patch, Patience, Resource,
};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn cluster(server: &ApiServer) -> Cluster {
    Cluster::new(Config::new(server.url()), Patience::endless()).unwrap()
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}}})
}

#[test]
fn objects_are_made_changed_and_deleted() {
    let server = ApiServer::start();
    let cluster = cluster(&server);
    block_on(async {
        let pods = cluster.objects(&Resource::POD);
        assert!(pods.get("a").await.unwrap_err().is_not_found());
        assert_eq!(pods.create(&pod("a"), &[]).await.unwrap()["metadata"]["namespace"], "default");
        let error = pods.create(&pod("a"), &[("dryRun", "All")]).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot create pods/a: pods \"a\" already exists (HTTP 409, AlreadyExists)");
        assert!(error.is_already_exists());
        let labels = json!({"metadata": {"labels": {"app": null, "b": "c"}}});
        pods.patch("a", &Patch::Merge(labels), &[]).await.unwrap();
        pods.patch("a", &Patch::Json(json!([{"op": "add", "path": "/spec", "value": {"x": 1}}])), &[]).await.unwrap();
        pods.patch("a", &Patch::Strategic(json!({"spec": {"y": 2}})), &[]).await.unwrap();
        let apply = Patch::Apply { object: json!({"spec": {"z": 3}}), manager: "me".into(), force: true };
        let mut object = pods.patch("a", &apply, &[]).await.unwrap();
        assert_eq!(object["spec"], json!({"x": 1, "y": 2, "z": 3}));
        assert_eq!(object["metadata"]["labels"], json!({"b": "c"}));
        object["spec"] = json!({});
        pods.replace("a", &object, &[]).await.unwrap();
        assert!(pods.replace("a", &object, &[]).await.unwrap_err().is_conflict(), "the version has passed");
        let status = json!({"status": {"phase": "Running"}, "spec": {"lost": true}});
        pods.clone().status().patch("a", &Patch::Merge(status), &[]).await.unwrap();
        let stored = server.object(&format!("{PODS}/a")).unwrap();
        assert_eq!((&stored["spec"], &stored["status"]), (&json!({}), &json!({"phase": "Running"})));
        let options = json!({"propagationPolicy": "Background"});
        pods.delete("a", &options, &[]).await.unwrap();
        assert!(pods.delete("a", &Value::Null, &[]).await.unwrap_err().is_not_found());
    });
    let calls = server.calls();
    let dry = calls.iter().find(|call| call.query.get("dryRun").is_some_and(|value| value == "All"));
    assert_eq!(dry.unwrap().method, "POST");
    let applied = calls.iter().find(|call| call.content_type() == "application/apply-patch+yaml").unwrap();
    assert_eq!((applied.query["fieldManager"].as_str(), applied.query["force"].as_str()), ("me", "true"));
    let deleted = calls.iter().find(|call| call.method == "DELETE").unwrap();
    assert_eq!(deleted.body, json!({"propagationPolicy": "Background"}));
}

#[test]
fn a_long_list_comes_whole() {
    let server = ApiServer::start();
    (0..1234).for_each(|number| server.put(PODS, pod(&format!("p{number}"))));
    server.put(PODS, json!({"metadata": {"name": "other", "labels": {"app": "y"}}}));
    let cluster = cluster(&server);
    let list = block_on(cluster.objects(&Resource::POD).list(&ListOptions::labelled("app=x"))).unwrap();
    assert_eq!((list["items"].as_array().unwrap().len(), server.calls().len()), (1234, 3));
    let named = block_on(cluster.objects(&Resource::POD).list(&ListOptions::named("other"))).unwrap();
    assert_eq!(named["items"][0]["metadata"]["name"], "other");
}

#[test]
fn kinds_are_discovered_once() {
    let server = ApiServer::start();
    server.know("apps/v1", "deployments", "Deployment", true);
    server.know("example.com/v1", "galaxies", "Galaxy", false);
    let cluster = cluster(&server);
    block_on(async {
        let galaxy = cluster.discover("example.com/v1", "Galaxy").await.unwrap();
        assert_eq!(galaxy.path("ns"), "/apis/example.com/v1/galaxies");
        cluster.objects(&galaxy).create(&json!({"metadata": {"name": "m31"}}), &[]).await.unwrap();
        assert_eq!(cluster.discover("v1", "Pod").await.unwrap(), Resource::POD);
        assert!(cluster.discover("apps/v1", "Deployment").await.unwrap().namespaced);
        let calls = server.calls().len();
        let error = cluster.discover("apps/v1", "Deploiment").await.unwrap_err();
        assert_eq!(error.to_string(), "no matches for kind \"Deploiment\" in version \"apps/v1\"");
        assert_eq!(server.calls().len(), calls, "what the server told is remembered");
        assert!(cluster.discover("nobody.io/v1", "X").await.is_err());
    });
    assert!(server.object("/apis/example.com/v1/galaxies/m31").is_some());
}

#[test]
fn what_fails_for_now_is_repeated() {
    let server = ApiServer::start();
    server.plan(|number, _| match number {
        0 => Fate::Refuse(503, "ServiceUnavailable", "starting"),
        1 => Fate::Drop,
        _ => Fate::Pass,
    });
    let begin = Instant::now();
    block_on(cluster(&server).objects(&Resource::POD).create(&pod("a"), &[])).unwrap();
    assert_eq!(server.calls().len(), 3);
    assert!(begin.elapsed() >= Duration::from_millis(1500), "pauses of 0.5 s and 1 s at least");
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let server = ApiServer::start();
    server.plan(|number, _| if number == 0 { Fate::Later(2) } else { Fate::Pass });
    let begin = Instant::now();
    block_on(cluster(&server).objects(&Resource::POD).create(&pod("a"), &[])).unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(2));
}

#[test]
fn what_must_happen_once_is_not_sent_twice() {
    let server = ApiServer::start();
    server.plan(|number, _| if number == 0 { Fate::LoseAnswer } else { Fate::Pass });
    let generated = json!({"metadata": {"generateName": "p-"}});
    let cluster = cluster(&server);
    let error = block_on(cluster.objects(&Resource::POD).create(&generated, &[])).unwrap_err();
    assert!(matches!(&error, ClusterError::Unreachable { unsent: false, .. }), "{error}");
    assert_eq!(server.calls().len(), 1);
    server.plan(|number, _| if number == 0 { Fate::LoseAnswer } else { Fate::Pass });
    let error = block_on(cluster.objects(&Resource::POD).create(&pod("a"), &[])).unwrap_err();
    assert!(error.is_already_exists(), "a named object is sent again, and found");
}

#[test]
fn refusals_are_not_repeated() {
    let server = ApiServer::start();
    server.plan(|_, _| Fate::Refuse(403, "Forbidden", "User \"x\" cannot get resource \"pods\""));
    let error = block_on(cluster(&server).objects(&Resource::POD).get("a")).unwrap_err();
    let expected = "cannot get pods/a: User \"x\" cannot get resource \"pods\" (HTTP 403, Forbidden)";
    assert_eq!((error.to_string().as_str(), error.status(), server.calls().len()), (expected, Some(403), 1));
}

#[test]
fn the_time_may_run_out() {
    let server = ApiServer::start();
    server.plan(|_, _| Fate::Refuse(503, "ServiceUnavailable", "down"));
    let (patience, limit) = Patience::limited();
    let cluster = Cluster::new(Config::new(server.url()), patience).unwrap();
    let get = std::thread::spawn(move || block_on(cluster.objects(&Resource::POD).get("a")).unwrap_err());
    server.until("a first try", |calls| calls.len() == 1);
    limit.set(Instant::now() + Duration::from_millis(100));
    assert_eq!(
        get.join().unwrap().to_string(),
        "gave up, since the Pod must end now: cannot get pods/a: down (HTTP 503, ServiceUnavailable)"
    );
}

#[test]
fn a_server_that_stalls_is_asked_again() {
    let server = ApiServer::start();
    server.plan(|number, _| if number == 0 { Fate::Stall } else { Fate::Pass });
    let config = Config { timeout: Some(Duration::from_millis(200)), ..Config::new(server.url()) };
    let cluster = Cluster::new(config, Patience::endless()).unwrap();
    server.put(PODS, pod("a"));
    block_on(cluster.objects(&Resource::POD).get("a")).unwrap();
    assert_eq!(server.calls().len(), 2);
}

#[test]
fn an_answer_that_is_no_json_is_asked_for_again() {
    let server = ApiServer::start();
    server.put(PODS, pod("a"));
    server.plan(|number, _| if number == 0 { Fate::Garbage } else { Fate::Pass });
    block_on(cluster(&server).objects(&Resource::POD).get("a")).unwrap();
}

#[test]
fn a_rotated_token_is_used_at_once() {
    let server = ApiServer::start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let config = Config { credentials: Credentials::TokenFile(token.clone()), ..Config::new(server.url()) };
    let cluster = Cluster::new(config, Patience::endless()).unwrap();
    for text in ["first", "second\n"] {
        fs::write(&token, text).unwrap();
        let _ = block_on(cluster.objects(&Resource::POD).get("a"));
    }
    let sent: Vec<_> = server.calls().iter().map(|call| call.headers["authorization"].clone()).collect();
    assert_eq!(sent, ["Bearer first", "Bearer second"]);
}

#[test]
fn a_watch_tells_every_change_through_interruptions() {
    let server = ApiServer::start();
    server.put(PODS, pod("a"));
    let cluster = cluster(&server);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    block_on(async {
        let mut watch = cluster.objects(&Resource::POD).watch(ListOptions::labelled("app=x"));
        let Event::Listed(items) = watch.next().await.unwrap() else { panic!("no list") };
        assert_eq!(items.iter().map(name).collect::<Vec<_>>(), ["a"]);
        server.put(PODS, pod("b"));
        assert!(matches!(watch.next().await.unwrap(), Event::Added(object) if name(&object) == "b"));

        // The server ends the watch; what happens meanwhile is not lost.
        server.close_watches();
        server.put(PODS, json!({"metadata": {"name": "other", "labels": {"app": "y"}}}));
        server.put(PODS, pod("b"));
        assert!(matches!(watch.next().await.unwrap(), Event::Modified(object) if name(&object) == "b"));
        server.remove(&format!("{PODS}/b"));
        assert!(matches!(watch.next().await.unwrap(), Event::Deleted(object) if name(&object) == "b"));

        // The server is away for a moment.
        server.plan(|number, _| if number == 0 { Fate::Refuse(503, "", "") } else { Fate::Pass });
        server.close_watches();
        server.put(PODS, pod("c"));
        assert!(matches!(watch.next().await.unwrap(), Event::Added(object) if name(&object) == "c"));

        // The server has forgotten: all is listed anew.
        server.forget();
        server.close_watches();
        let Event::Listed(items) = watch.next().await.unwrap() else { panic!("no list") };
        assert_eq!(items.iter().map(name).collect::<Vec<_>>(), ["a", "c"]);

        server.plan(|_, _| Fate::Refuse(403, "Forbidden", "no"));
        server.close_watches();
        assert_eq!(watch.next().await.unwrap_err().status(), Some(403));
    });
    let watched = server.calls().into_iter().find(|call| call.query.contains_key("watch")).unwrap();
    assert_eq!(watched.query["allowWatchBookmarks"], "true");
}

#[test]
fn a_server_is_trusted_by_its_authority_alone() {
    let server = ApiServer::serve(tls::server());
    server.put(PODS, pod("a"));
    let url = format!("https://{}", server.address());
    let get = |config: Config| {
        let (patience, limit) = Patience::limited();
        limit.set(Instant::now() + Duration::from_secs(2));
        let cluster = Cluster::new(config, patience).unwrap();
        block_on(cluster.objects(&Resource::POD).get("a"))
    };
    let trusting = Config { authority: Some(tls::AUTHORITY.into()), ..Config::new(&url) };
    assert_eq!(get(trusting).unwrap()["metadata"]["name"], "a");
    assert!(get(Config { insecure: true, ..Config::new(&url) }).is_ok());
    let other = include_str!("apiserver/tls/server.crt");
    let error = get(Config { authority: Some(other.into()), ..Config::new(&url) }).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let broken = Config { authority: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()), ..Config::new(&url) };
    let error = Cluster::new(broken, Patience::endless()).err().unwrap().to_string();
    assert!(error.contains("certificate authority"), "{error}");
}
