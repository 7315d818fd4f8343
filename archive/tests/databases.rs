//! The same on every database: SQLite always, PostgreSQL and MySQL or MariaDB where a server is named, as
//! `cargo xtask e2e` does.
//!
//! `TIPHYS_TEST_POSTGRES` and `TIPHYS_TEST_MYSQL` are addresses with the name and password of somebody who may make
//! databases: `postgres://root:secret@127.0.0.1:5432`. `recorded/` holds what Argo 4.1.2 made of an empty database and one
//! workflow.

#![allow(clippy::unwrap_used)] // A failed set-up fails the test.

mod servers;

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};
use tiphys_api::{Nodes, Workflow};
use tiphys_archive::{
    Archive, Credentials, Database, Encryption, Engine, Error, Filter, NameFilter, OffloadedNodes, Requirement, Server,
    Version,
};

use servers::{Named, described, script, settings};

const NODES: &str = "argo_workflows";
const POSTGRES: (&str, &str) = ("TIPHYS_TEST_POSTGRES", include_str!("recorded/postgresql.sql"));
const MYSQL: (&str, &str) = ("TIPHYS_TEST_MYSQL", include_str!("recorded/mariadb.sql"));

fn workflow(number: u32, labels: Value) -> Workflow {
    let at = |second: u32| format!("2026-03-04T05:{number:02}:{second:02}Z");
    serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {
            "name": format!("flow-{number}"), "namespace": "one", "uid": format!("uid-{number}"), "labels": labels,
            "annotations": {"note": "é \\u0000"}, "creationTimestamp": at(0),
        },
        "spec": {"entrypoint": "main", "arguments": {"parameters": [{"name": "p", "value": "a\u{0}b"}]}, "suspend": false},
        "status": {
            "phase": if number.is_multiple_of(2) { "Succeeded" } else { "Failed" }, "message": "why \"not\"",
            "startedAt": at(1), "finishedAt": at(2), "progress": "1/2", "resourcesDuration": {"cpu": 3},
            "nodes": {"n": {"id": "n", "phase": "Succeeded"}},
        },
    }))
    .unwrap()
}

async fn names(archive: &Archive, filter: Filter) -> Vec<String> {
    let listed = archive.list(&filter).await.unwrap();
    assert!(archive.count(&filter).await.unwrap() >= listed.len() as u64);
    listed.into_iter().map(|workflow| workflow.metadata.name).collect()
}

/// All that an archive does.
async fn archives(database: &Database) {
    let archive = Archive::new(database.clone(), "here", "", "");
    for number in 1..=4 {
        let workflow =
            workflow(number, json!({"team": if number < 3 { "blue" } else { "red" }, "size": number.to_string()}));
        archive.archive(&workflow).await.unwrap();
        archive.archive(&workflow).await.unwrap();
    }
    // What was archived comes out again, whole.
    let mut expected = workflow(2, json!({"team": "blue", "size": "2"}));
    expected.metadata.labels.insert(tiphys_archive::ARCHIVING_STATUS.into(), "Persisted".into());
    assert_eq!(archive.by_uid("uid-2").await.unwrap(), Some(expected.clone()));
    assert_eq!(archive.by_name("one", "flow-2").await.unwrap(), Some(expected.clone()));
    assert_eq!(archive.by_uid("uid-9").await.unwrap(), None);
    assert_eq!(archive.by_name("two", "flow-2").await.unwrap(), None);
    // A list has what it shows of them.
    let listed = &archive.list(&Filter { name: "flow-2".into(), ..Filter::default() }).await.unwrap()[0];
    assert_eq!(listed.metadata, expected.metadata);
    assert_eq!(listed.spec.arguments, expected.spec.arguments);
    let head =
        |one: &Workflow| (one.status.phase, one.status.started_at, one.status.finished_at, one.status.message.clone());
    assert_eq!(head(listed), head(&expected));
    assert_eq!((listed.status.progress.as_str(), listed.status.resources_duration["cpu"]), ("1/2", 3));
    assert!(listed.status.nodes.is_empty());
    // Filters.
    let all = ["flow-4", "flow-3", "flow-2", "flow-1"];
    assert_eq!(names(&archive, Filter::default()).await, all);
    let labels = |selector: &str| Filter { labels: Requirement::parse(selector).unwrap(), ..Filter::default() };
    let named = |name: &str, name_filter| Filter { name: name.into(), name_filter, ..Filter::default() };
    let moment = |text: &str| Some(text.parse().unwrap());
    for (filter, expected) in [
        (labels("team=blue"), &all[2..]),
        (labels("team!=blue"), &all[..2]),
        (labels("team in (blue,red),size>1,size<4"), &all[1..3]),
        (labels("other"), &[]),
        (labels("!other,team notin (red)"), &all[2..]),
        (labels("team>1"), &[]),
        (labels("team=x' or '1'='1"), &[]),
        (named("low-3", NameFilter::Contains), &all[1..2]),
        (named("flow", NameFilter::Prefix), &all),
        (named("flow_", NameFilter::Prefix), &[]),
        (named("flow-4", NameFilter::NotEquals), &all[1..]),
        (Filter { name_prefix: "flow-1".into(), ..Filter::default() }, &all[3..]),
        (Filter { namespace: "one".into(), ..Filter::default() }, &all),
        (Filter { namespace: "one".into(), other_namespaces: true, ..Filter::default() }, &[]),
        (Filter { phase: "Failed".into(), limit: 1, ..Filter::default() }, &all[1..2]),
        (Filter { limit: 2, offset: 1, ..Filter::default() }, &all[1..3]),
        (Filter { started_from: moment("2026-03-04T05:03:01Z"), ..Filter::default() }, &all[..2]),
        (Filter { started_to: moment("2026-03-04T05:02:01Z"), ..Filter::default() }, &all[2..]),
        (Filter { created_after: moment("2026-03-04T05:04:00Z"), ..Filter::default() }, &all[..1]),
        (Filter { finished_before: moment("2026-03-04T05:01:02Z"), ..Filter::default() }, &all[3..]),
    ] {
        assert_eq!(names(&archive, filter.clone()).await, expected, "{filter:?}");
    }
    assert_eq!(archive.count(&labels("team=blue")).await.unwrap(), 2);
    // Labels.
    assert_eq!(archive.label_values("team").await.unwrap(), ["blue", "red"]);
    assert_eq!(archive.label_keys().await.unwrap(), ["size", "team", tiphys_archive::ARCHIVING_STATUS]);
    // Another cluster, another instance, another managed namespace see nothing of it.
    for (cluster, instance, namespace) in [("there", "", ""), ("here", "other", ""), ("here", "", "two")] {
        let other = Archive::new(database.clone(), cluster, instance, namespace);
        assert!(names(&other, Filter::default()).await.is_empty());
        assert_eq!(other.by_uid("uid-2").await.unwrap(), None);
        assert!(!other.delete("uid-2").await.unwrap());
    }
    // One of the same name that came later is the one that its name means.
    let mut later = workflow(5, json!({}));
    later.metadata.name = "flow-2".into();
    archive.archive(&later).await.unwrap();
    assert_eq!(archive.by_name("one", "flow-2").await.unwrap().unwrap().metadata.uid, "uid-5");
    // What is archived again has the labels that it has now.
    archive.archive(&workflow(1, json!({"team": "green"}))).await.unwrap();
    assert_eq!(names(&archive, labels("team=green")).await, ["flow-1"]);
    assert!(names(&archive, labels("size=1")).await.is_empty());
    assert!(archive.delete("uid-5").await.unwrap());
    assert!(!archive.delete("uid-5").await.unwrap());
    // What is not over for that long stays.
    let mut fresh = workflow(6, json!({"team": "fresh"}));
    fresh.status.finished_at = Some(tiphys_api::Time(jiff::Timestamp::now()));
    archive.archive(&fresh).await.unwrap();
    assert_eq!(archive.delete_expired(Duration::from_secs(3600)).await.unwrap(), 4);
    assert_eq!(names(&archive, Filter::default()).await, ["flow-6"]);
    // Labels go with their workflow.
    assert_eq!(archive.label_values("team").await.unwrap(), ["fresh"]);
}

/// All that offloading does.
async fn offloads(database: &Database) {
    let nodes = OffloadedNodes::new(database.clone(), "here", NODES).unwrap();
    let text = |message: &str| json!({"n": {"id": "n", "message": message}}).to_string();
    let first = nodes.save("uid", "one", text("a")).await.unwrap();
    let second = nodes.save("uid", "one", text("b")).await.unwrap();
    assert_eq!(nodes.save("uid", "one", text("a")).await.unwrap(), first);
    assert_ne!(first, second);
    let found = nodes.get("uid", &second).await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["n"]["message"], "b");
    assert!(nodes.get("uid", &Version::from("fnv:0")).await.unwrap().is_none());
    assert!(nodes.get("other", &second).await.unwrap().is_none());
    assert!(nodes.old("", Duration::from_secs(3600)).await.unwrap().is_empty());
    // Everything is older than the clock's next second.
    let none = Duration::ZERO;
    while nodes.old("one", none).await.unwrap().len() < 2 {}
    assert!(nodes.old("two", none).await.unwrap().is_empty());
    nodes.delete("uid", &first, Duration::from_secs(3600)).await.unwrap();
    assert!(nodes.get("uid", &first).await.unwrap().is_some());
    nodes.delete("uid", &first, none).await.unwrap();
    assert!(nodes.get("uid", &first).await.unwrap().is_none());
    assert!(nodes.get("uid", &second).await.unwrap().is_some());
}

async fn everything(engine: Engine) {
    let database = Database::new(&settings(engine)).unwrap();
    assert!(database.is_migrated(NODES).await.is_err());
    let (one, other) = tokio::join!(database.migrate(NODES), database.migrate(NODES));
    // Two that begin at once may get into each other's way; then one of them has to ask again.
    one.or(other).unwrap();
    database.migrate(NODES).await.unwrap();
    database.is_migrated(NODES).await.unwrap();
    archives(&database).await;
    offloads(&database).await;
    database.close().await;
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    everything(Engine::Sqlite(folder.path().join("an archive?.db"))).await;
}

#[tokio::test]
async fn postgres() {
    let Some(named) = Named::find(POSTGRES.0) else { return };
    let (_, engine) = named.make("tiphys_everything").await;
    everything(engine).await;
}

#[tokio::test]
async fn mysql() {
    let Some(named) = Named::find(MYSQL.0) else { return };
    let (_, engine) = named.make("tiphys_everything").await;
    everything(engine).await;
}

/// What Argo has made is taken as it is; what we make is the same; what an older Argo has made becomes so.
async fn is_argos(named: &Named, recorded: &str) {
    let postgres = named.url.scheme() == "postgres";
    let (plain, engine) = named.make("tiphys_argo").await;
    script(&plain, recorded).await;
    let argos = described(&plain, postgres).await;
    assert!(argos.len() > 30, "{argos:#?}");
    let database = Database::new(&settings(engine)).unwrap();
    database.is_migrated(NODES).await.unwrap();
    database.migrate(NODES).await.unwrap();
    let archive = Archive::new(database.clone(), "here", "", "archive");
    let listed =
        archive.list(&Filter { labels: Requirement::parse("team=blue").unwrap(), ..Filter::default() }).await.unwrap();
    let [listed] = &listed[..] else { panic!("{listed:?}") };
    assert!(listed.metadata.name.starts_with("old-") && listed.metadata.annotations["note"] == "by hand");
    let whole = archive.by_uid(&listed.metadata.uid).await.unwrap().unwrap();
    assert_eq!(whole.status.nodes.len(), 4);
    let parameter = &whole.spec.arguments.parameters[0];
    assert_eq!(parameter.value.as_ref().unwrap().as_str(), "a \u{0}");
    // Its nodes were offloaded: Argo's version of them is ours.
    let versions =
        sqlx::query(AssertSqlSafe(format!("select uid, version from {NODES}"))).fetch_all(&plain).await.unwrap();
    let version =
        versions.iter().find(|row| row.get::<String, _>(0) == whole.metadata.uid).unwrap().get::<String, _>(1);
    let nodes = OffloadedNodes::new(database.clone(), "here", NODES).unwrap();
    let offloaded = nodes.get(&whole.metadata.uid, &Version::from(version.as_str())).await.unwrap().unwrap();
    let offloaded: Nodes = serde_json::from_str(&offloaded).unwrap();
    assert_eq!(offloaded, whole.status.nodes);
    archive.archive(&workflow(1, json!({}))).await.unwrap();

    let (made, engine) = named.make("tiphys_made").await;
    Database::new(&settings(engine)).unwrap().migrate(NODES).await.unwrap();
    assert_eq!(described(&made, postgres).await, argos);

    // Back to the tables of Argo 3.5, and forth again.
    script(&plain, match postgres {
        true => {
            "drop index argo_archived_workflows_i1;\ndrop index argo_archived_workflows_i4;\ndrop index argo_archived_workflows_i5;\n\
             alter table argo_archived_workflows drop column creationtimestamp;\n\
             alter table argo_archived_workflows alter column workflow type json using workflow::json;\n\
             create index argo_archived_workflows_i1 on argo_archived_workflows (clustername,instanceid,namespace);\n\
             create index argo_archived_workflows_i4 on argo_archived_workflows (startedat);\nupdate schema_history set schema_version = 59;\n"
        }
        false => {
            "drop index argo_archived_workflows_i1 on argo_archived_workflows;\ndrop index argo_archived_workflows_i4 on argo_archived_workflows;\n\
             drop index argo_archived_workflows_i5 on argo_archived_workflows;\nalter table argo_archived_workflows drop column creationtimestamp;\n\
             create index argo_archived_workflows_i1 on argo_archived_workflows (clustername,instanceid,namespace);\n\
             create index argo_archived_workflows_i4 on argo_archived_workflows (startedat);\nupdate schema_history set schema_version = 59;\n"
        }
    })
    .await;
    assert_ne!(described(&plain, postgres).await, argos);
    assert!(matches!(database.is_migrated(NODES).await, Err(Error::NotMigrated { version: 59 })));
    database.migrate(NODES).await.unwrap();
    assert_eq!(described(&plain, postgres).await, argos);
    assert_eq!(archive.count(&Filter { namespace: "archive".into(), ..Filter::default() }).await.unwrap(), 1);
    script(&plain, "update schema_history set schema_version = 58;\n").await;
    assert!(matches!(database.migrate(NODES).await, Err(Error::TooOld { version: 58 })));
    database.close().await;
}

#[tokio::test]
async fn postgres_is_argos() {
    let Some(named) = Named::find(POSTGRES.0) else { return };
    is_argos(&named, POSTGRES.1).await;
}

#[tokio::test]
async fn mysql_is_argos() {
    let Some(named) = Named::find(MYSQL.0) else { return };
    is_argos(&named, MYSQL.1).await;
}

/// Who is not let in learns it without reading who tried.
async fn keeps_strangers_out(named: &Named) {
    let (Engine::PostgreSql(server) | Engine::MySql(server)) = named.engine("tiphys_everything") else {
        unreachable!()
    };
    let server = Server { credentials: Credentials { user: "nobody".into(), password: "wrong".into() }, ..server };
    let engine = match named.url.scheme() {
        "postgres" => Engine::PostgreSql(server),
        _ => Engine::MySql(server),
    };
    let error = Database::new(&settings(engine)).unwrap().migrate(NODES).await.unwrap_err();
    assert!(matches!(error, Error::Credentials), "{error:?}");
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains("nobody") && !printed.contains("wrong"), "{printed}");
}

#[tokio::test]
async fn strangers() {
    for variable in [POSTGRES.0, MYSQL.0] {
        if let Some(named) = Named::find(variable) {
            keeps_strangers_out(&named).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_may_come_back() {
    // Nobody listens where nobody is any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = |host: &str| Server {
        host: host.into(),
        port: Some(port),
        database: "d".into(),
        credentials: Credentials { user: "u".into(), password: "p".into() },
        encryption: Encryption::Off,
    };
    for engine in [Engine::PostgreSql(server("127.0.0.1")), Engine::MySql(server("127.0.0.1"))] {
        let mut settings = settings(engine);
        settings.timeout = Duration::from_millis(300);
        let error = Database::new(&settings).unwrap().migrate(NODES).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn tables_have_plain_names() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new(&settings(Engine::Sqlite(folder.path().join("a.db")))).unwrap();
    for wrong in ["", "a b", "a;drop", "1a", "a'"] {
        assert!(matches!(database.migrate(wrong).await, Err(Error::Settings(_))), "{wrong}");
        assert!(OffloadedNodes::new(database.clone(), "here", wrong).is_err(), "{wrong}");
    }
}
