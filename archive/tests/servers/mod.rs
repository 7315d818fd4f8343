//! Servers of databases on which tests run, where the environment names one.

#![allow(clippy::unwrap_used)] // A failed set-up fails the test.

use std::io::Write as _;
use std::time::Duration;

use sqlx::{AnyPool, AssertSqlSafe, Row as _};
use tiphys_archive::{Credentials, Encryption, Engine, PoolSize, Reconnection, Server, Settings};

pub fn settings(engine: Engine) -> Settings {
    let reconnection = Reconnection { retries: 1, first: Duration::from_millis(1), ..Reconnection::default() };
    let pool = PoolSize { most: 4, idle: Some(1), lifetime: Some(Duration::from_secs(60)) };
    Settings { engine, pool, timeout: Duration::from_secs(10), reconnection }
}

/// A server that is named, and the way to it for somebody who knows nothing of this crate.
pub struct Named {
    pub url: url::Url,
}

impl Named {
    pub fn find(variable: &str) -> Option<Named> {
        let Ok(url) = std::env::var(variable) else {
            // Not by a macro: the reason must be seen though the test passes.
            let words = format!("skipped: set {variable} to scheme://user:password@host:port of a server\n");
            std::io::stderr().write_all(words.as_bytes()).unwrap();
            return None;
        };
        sqlx::any::install_default_drivers();
        Some(Named { url: url.parse().unwrap() })
    }

    /// A new database of this name, by the plain driver and by us.
    pub async fn make(&self, name: &str) -> (AnyPool, Engine) {
        let mut url = self.url.clone();
        url.set_path(if url.scheme() == "postgres" { "postgres" } else { "" });
        let admin = AnyPool::connect(url.as_str()).await.unwrap();
        for statement in [format!("drop database if exists {name}"), format!("create database {name}")] {
            sqlx::query(AssertSqlSafe(statement)).execute(&admin).await.unwrap();
        }
        admin.close().await;
        url.set_path(name);
        (AnyPool::connect(url.as_str()).await.unwrap(), self.engine(name))
    }

    pub fn engine(&self, name: &str) -> Engine {
        let server = Server {
            host: self.url.host_str().unwrap().into(),
            port: self.url.port(),
            database: name.into(),
            credentials: Credentials {
                user: self.url.username().into(),
                password: self.url.password().unwrap_or_default().into(),
            },
            encryption: Encryption::Off,
        };
        match self.url.scheme() {
            "postgres" => Engine::PostgreSql(server),
            _ => Engine::MySql(server),
        }
    }
}

/// Columns and indexes, as the server tells them.
pub async fn described(pool: &AnyPool, postgres: bool) -> Vec<String> {
    let asked = match postgres {
        true => {
            "select concat_ws(' ', table_name, column_name, data_type, character_maximum_length, is_nullable, column_default) \
             from information_schema.columns where table_schema = 'public' \
             union all select indexdef from pg_indexes where schemaname = 'public' \
             union all select pg_get_constraintdef(oid) from pg_constraint where contype = 'f' order by 1"
        }
        false => {
            "select cast(concat_ws(' ', table_name, column_name, column_type, is_nullable, column_default, extra) as char) \
             from information_schema.columns where table_schema = database() \
             union all select cast(concat_ws(' ', table_name, index_name, column_name, seq_in_index, collation, non_unique) as char) \
             from information_schema.statistics where table_schema = database() \
             union all select cast(concat_ws(' ', table_name, delete_rule) as char) \
             from information_schema.referential_constraints where constraint_schema = database() order by 1"
        }
    };
    let rows = sqlx::query(asked).fetch_all(pool).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

/// Carries out statements that end with a semicolon at the end of a line.
pub async fn script(pool: &AnyPool, text: &str) {
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}
