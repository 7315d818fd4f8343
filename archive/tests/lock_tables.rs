//! Locks that controllers share, on PostgreSQL and MySQL or MariaDB where a server is named, as for the archive
//! (`databases.rs`). `recorded/locks-*.sql` is what Argo 4.1.2 made of an empty database, while one of its workflows held a
//! mutex and a place of a semaphore, and another one waited for both.

#![allow(clippy::unwrap_used)] // A failed set-up fails the test.

mod servers;

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{AnyPool, AssertSqlSafe};
use tiphys_archive::{
    Database, Engine, Error, LockKey, LockLimit, LockPlace, LockRow, LockTables, Standing, TableNames, Took,
};

use servers::{Named, described, script, settings};

const POSTGRES: (&str, &str) = ("TIPHYS_TEST_POSTGRES", include_str!("recorded/locks-postgresql.sql"));
const MYSQL: (&str, &str) = ("TIPHYS_TEST_MYSQL", include_str!("recorded/locks-mariadb.sql"));

const LONG: Duration = Duration::from_secs(600);

fn tables(engine: &Engine, controller: &str) -> LockTables {
    let database = Database::new(&settings(engine.clone())).unwrap();
    LockTables::new(database, TableNames::default(), controller, LONG).unwrap()
}

fn place(holder: &str, priority: i64, created: i64) -> LockPlace {
    LockPlace { holder: holder.into(), priority, created: Timestamp::from_second(1_800_000_000 + created).unwrap() }
}

fn mutex(name: &str) -> LockKey {
    LockKey { key: format!("mtx/ns/{name}"), limit: LockLimit::Mutex }
}

fn semaphore(name: &str, last: Option<i64>) -> LockKey {
    LockKey { key: format!("sem/ns/{name}"), limit: LockLimit::Table { name: format!("ns/{name}"), last } }
}

/// Holders and limit of each lock, and whether all was taken.
fn words(took: Took) -> String {
    let one = |standing: &Standing| format!("{}/{}", standing.holders.join("+"), standing.limit);
    let all = |standings: Vec<Standing>| standings.iter().map(one).collect::<Vec<_>>().join(" ");
    match took {
        Took::All(standings) => format!("all: {}", all(standings)),
        Took::None(standings) => format!("none: {}", all(standings)),
        Took::NoLimit { key } => format!("no limit: {key}"),
    }
}

async fn execute(pool: &AnyPool, statement: &str) {
    sqlx::query(AssertSqlSafe(statement)).execute(pool).await.unwrap();
}

async fn count(pool: &AnyPool, from: &str) -> usize {
    sqlx::query(AssertSqlSafe(format!("select name from {from}"))).fetch_all(pool).await.unwrap().len()
}

/// Two controllers, and whose turn it is.
async fn turns(plain: &AnyPool, engine: &Engine) {
    let (one, other) = (tables(engine, "one"), tables(engine, "other"));
    assert!(one.are_there().await.is_err());
    one.migrate().await.unwrap();
    other.migrate().await.unwrap();
    one.are_there().await.unwrap();
    for controller in [&one, &other, &one] {
        controller.heartbeat().await.unwrap();
    }
    let m = [mutex("m")];
    let take = async |tables: &LockTables, place: &LockPlace, keys: &[LockKey]| {
        tables.queue(place, keys).await.unwrap();
        words(tables.take(place, keys).await.unwrap())
    };
    let (old, young, important) = (place("ns/old", 0, 1), place("ns/young", 0, 2), place("ns/important", 1, 3));
    assert_eq!(take(&one, &young, &m).await, "all: ns/young/1");
    // What one has one keeps; a workflow of the same name under another controller is another one.
    assert_eq!(take(&one, &young, &m).await, "all: ns/young/1");
    assert_eq!(take(&other, &young, &m).await, "none: ns/young/1");
    other.release("ns/young", &["mtx/ns/m".into()]).await.unwrap();
    assert_eq!(one.held().await.unwrap(), [LockRow { key: "mtx/ns/m".into(), holder: "ns/young".into() }]);
    // Priority first, then age, whoever asks first when it is free.
    for (tables, waiting) in [(&one, &old), (&other, &important)] {
        assert_eq!(take(tables, waiting, &m).await, "none: ns/young/1");
    }
    one.release("ns/young", &["mtx/ns/m".into()]).await.unwrap();
    assert_eq!(take(&one, &old, &m).await, "none: /1");
    assert_eq!(take(&other, &important, &m).await, "all: ns/important/1");
    other.release("ns/important", &["mtx/ns/m".into()]).await.unwrap();
    let later = place("ns/later", 0, 9);
    assert_eq!(take(&other, &later, &m).await, "none: /1");
    // A priority that has changed changes the place.
    assert_eq!(take(&other, &LockPlace { priority: 5, ..later.clone() }, &m).await, "all: ns/later/1");
    other.release("ns/later", &["mtx/ns/m".into()]).await.unwrap();
    assert_eq!(take(&one, &old, &m).await, "all: ns/old/1");
    assert_eq!(count(plain, "sync_lock").await, 0);

    // Several are had together or not at all.
    let both = [mutex("free"), mutex("m")];
    assert_eq!(take(&other, &young, &both).await, "none: /1 ns/old/1");
    one.release("ns/old", &["mtx/ns/m".into()]).await.unwrap();
    assert_eq!(take(&other, &young, &both).await, "all: ns/young/1 ns/young/1");

    // Who is dead waits for nothing, and holds what it holds.
    let dead = tables(engine, "dead");
    assert_eq!(take(&dead, &place("ns/dead", 9, 0), &m).await, "none: ns/young/1");
    other.release("ns/young", &["mtx/ns/m".into()]).await.unwrap();
    assert_eq!(take(&one, &old, &m).await, "all: ns/old/1");
    let again = tables(engine, "other");
    assert_eq!(again.held().await.unwrap().len(), 1);
    assert_eq!(take(&again, &later, &[mutex("free")]).await, "none: ns/young/1");
    again.leave_lines().await.unwrap();
    assert_eq!(count(plain, "sync_state where controller = 'other'").await, 1);

    // What was held is had again if nobody else has it.
    let had = |took: Took| words(took);
    assert_eq!(had(one.take_again("ns/old", &m).await.unwrap()), "all: ns/old/1");
    assert_eq!(had(other.take_again("ns/young", &m).await.unwrap()), "none: ns/old/1");
    execute(plain, "delete from sync_state where name = 'mtx/ns/m'").await;
    take(&other, &important, &m).await;
    other.release("ns/important", &["mtx/ns/m".into()]).await.unwrap();
    other.queue(&important, &m).await.unwrap();
    assert_eq!(had(one.take_again("ns/old", &m).await.unwrap()), "all: ns/old/1");
}

/// Where the limits of semaphores come from.
async fn limits(plain: &AnyPool, engine: &Engine) {
    let one = tables(engine, "one");
    let take = async |name: &str, key: LockKey| {
        let place = place(name, 0, 0);
        one.queue(&place, std::slice::from_ref(&key)).await.unwrap();
        words(one.take(&place, &[key]).await.unwrap())
    };
    assert_eq!(take("a", semaphore("s", None)).await, "no limit: sem/ns/s");
    assert_eq!(one.look(&[semaphore("s", None), mutex("s")]).await.unwrap()[0], None);
    execute(plain, "insert into sync_limit values ('ns/s', 2)").await;
    assert_eq!(take("a", semaphore("s", None)).await, "all: a/2");
    assert_eq!(take("b", semaphore("s", Some(2))).await, "all: a+b/2");
    assert_eq!(take("c", semaphore("s", Some(2))).await, "none: a+b/2");
    let seen = one.look(&[semaphore("s", None)]).await.unwrap();
    assert_eq!(seen[0].as_ref().map(|one| (one.limit, one.holders.len(), one.free)), Some((2, 2, false)));
    execute(plain, "update sync_limit set sizelimit = 3").await;
    assert_eq!(take("c", semaphore("s", Some(2))).await, "all: a+b+c/3");
    // One that is gone is what it was; 0 lets nobody in, and is no limit where there was none.
    execute(plain, "update sync_limit set sizelimit = 0").await;
    assert_eq!(take("d", semaphore("s", Some(3))).await, "none: a+b+c/0");
    assert_eq!(take("d", semaphore("s", None)).await, "no limit: sem/ns/s");
    execute(plain, "delete from sync_limit").await;
    assert_eq!(take("d", semaphore("s", Some(3))).await, "none: a+b+c/3");
    let given = LockKey { limit: LockLimit::Given(4), ..semaphore("s", None) };
    assert_eq!(take("d", given).await, "all: a+b+c+d/4");
    // No name is cut to fit: two that begin alike are two.
    let long = mutex(&"x".repeat(300));
    let refused = one.queue(&place("a", 0, 0), std::slice::from_ref(&long)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(one.take(&place("a", 0, 0), &[long]).await.is_err());
}

/// What other controllers have put into the lock table.
async fn others_decide(plain: &AnyPool, engine: &Engine) {
    let one = tables(engine, "one");
    let m = [mutex("decided")];
    let place = place("ns/a", 0, 0);
    one.queue(&place, &m).await.unwrap();
    execute(plain, "insert into sync_controller values ('gone', '2020-01-01 00:00:00')").await;
    execute(plain, "insert into sync_lock values ('mtx/ns/decided', 'gone', '2020-01-01 00:00:00')").await;
    let held_up = one.take(&place, &m).await.unwrap_err();
    assert!(matches!(&held_up, Error::Contended(_)) && held_up.is_transient(), "{held_up}");
    one.expire().await.unwrap();
    assert_eq!(words(one.take(&place, &m).await.unwrap()), "all: ns/a/1");
    one.release("ns/a", &["mtx/ns/decided".into()]).await.unwrap();
    // Our own stands for nobody else.
    execute(plain, "insert into sync_lock values ('mtx/ns/decided', 'one', '2020-01-01 00:00:00')").await;
    assert_eq!(words(one.take(&place, &m).await.unwrap()), "all: ns/a/1");
    assert_eq!(count(plain, "sync_lock").await, 0);
}

/// Many at once: never more holders than a limit allows, and everybody gets what he waits for.
async fn crowd(plain: &AnyPool, engine: &Engine) {
    const EACH: usize = 4;
    execute(plain, "insert into sync_limit values ('ns/crowd', 2)").await;
    let keys = [mutex("crowd"), semaphore("crowd", None)];
    let work = |controller: &'static str| {
        let (tables, keys) = (tables(engine, controller), keys.clone());
        async move {
            tables.heartbeat().await.unwrap();
            let mut seen = 0;
            for number in 0..EACH {
                let place = place(&format!("ns/{controller}-{number}"), 0, 0);
                // The mutex alone, or both.
                let keys = &keys[..1 + number % 2];
                tables.queue(&place, keys).await.unwrap();
                let standings = loop {
                    match tables.take(&place, keys).await {
                        Ok(Took::All(standings)) => break standings,
                        Ok(Took::None(_)) | Err(Error::Contended(_)) => tokio::task::yield_now().await,
                        other => panic!("{other:?}"),
                    }
                };
                assert_eq!(standings[0].holders.join("+"), place.holder);
                seen += 1;
                let names: Vec<String> = keys.iter().map(|key| key.key.clone()).collect();
                tables.release(&place.holder, &names).await.unwrap();
            }
            seen
        }
    };
    let all = tokio::join!(tokio::spawn(work("a")), tokio::spawn(work("b")), tokio::spawn(work("c")));
    assert_eq!([all.0.unwrap(), all.1.unwrap(), all.2.unwrap()], [EACH; 3]);
    assert_eq!(count(plain, "sync_state where name like '%crowd'").await, 0);
}

async fn everything(named: &Named) {
    let (plain, engine) = named.make("tiphys_locks").await;
    turns(&plain, &engine).await;
    limits(&plain, &engine).await;
    others_decide(&plain, &engine).await;
    crowd(&plain, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let Some(named) = Named::find(POSTGRES.0) else { return };
    everything(&named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql() {
    let Some(named) = Named::find(MYSQL.0) else { return };
    everything(&named).await;
}

/// What Argo has made is taken as it is, and what we make is the same.
async fn is_argos(named: &Named, recorded: &str) {
    let postgres = named.url.scheme() == "postgres";
    let (plain, engine) = named.make("tiphys_argos_locks").await;
    script(&plain, recorded).await;
    let argos = described(&plain, postgres).await;
    assert!(argos.len() > 15, "{argos:#?}");
    let ours = tables(&engine, "ours");
    ours.are_there().await.unwrap();
    ours.migrate().await.unwrap();
    ours.heartbeat().await.unwrap();
    let key = |key: &str, limit| LockKey { key: key.into(), limit };
    let table = LockLimit::Table { name: "db-locks/places".into(), last: None };
    let keys = [key("mtx/db-locks/shared", LockLimit::Mutex), key("sem/db-locks/places", table)];
    let place = place("ns/ours", 9, 0);
    ours.queue(&place, &keys).await.unwrap();
    assert_eq!(words(ours.take(&place, &keys).await.unwrap()), "none: db-locks/a1/1 db-locks/a1/2");
    // Under the name of Argo's controller we are in its place, and one of it that lives is before us.
    let argo = tables(&engine, "argos");
    assert_eq!(argo.held().await.unwrap().len(), 2);
    argo.heartbeat().await.unwrap();
    let names: Vec<String> = keys.iter().map(|key| key.key.clone()).collect();
    argo.release("db-locks/a1", &names).await.unwrap();
    ours.queue(&LockPlace { priority: 3, ..place.clone() }, &keys).await.unwrap();
    assert_eq!(words(ours.take(&place, &keys).await.unwrap()), "none: /1 /2");
    argo.leave_lines().await.unwrap();
    assert_eq!(words(ours.take(&place, &keys).await.unwrap()), "all: ns/ours/1 ns/ours/2");

    let (made, engine) = named.make("tiphys_made_locks").await;
    let all = ["one", "two", "three", "four"].map(|name| tables(&engine, name));
    let [one, two, three, four] = &all;
    // Those that begin at once may get into each other's way; then they have to ask again.
    let _ = tokio::join!(one.migrate(), two.migrate(), three.migrate(), four.migrate());
    for one in &all {
        one.migrate().await.unwrap();
    }
    assert_eq!(described(&made, postgres).await, argos);
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

#[test]
fn tables_have_plain_names() {
    for wrong in ["", "a b", "a;drop", "1a", "a'"] {
        let names = TableNames { lock: wrong.into(), ..TableNames::default() };
        let error = names.check().unwrap_err().to_string();
        assert!(error.starts_with("lockTableName '"), "{error}");
    }
    TableNames::default().check().unwrap();
}
