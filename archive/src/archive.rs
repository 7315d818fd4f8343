//! The finished workflows. argo: persist/sqldb/workflow_archive.go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use tiphys_api::{Time, Workflow};

use crate::database::{number, text};
use crate::dialect::Dialect;
use crate::filter::Filter;
use crate::schema::{ARCHIVED, LABELS};
use crate::statement::{Statement, moment_of};
use crate::{ARCHIVING_STATUS, Database, Error, PERSISTED};

/// PostgreSQL's `jsonb` holds no NUL character; Argo writes this in its place.
const NUL: &str = "ARGO_POSTGRES_NULL_REPLACEMENT";
/// What a list tells of a workflow's JSON, and nothing more of it.
const PARTS: [&[&str]; 9] = [
    &["metadata", "labels"],
    &["metadata", "annotations"],
    &["metadata", "generateName"],
    &["spec", "suspend"],
    &["spec", "arguments"],
    &["status", "progress"],
    &["status", "message"],
    &["status", "estimatedDuration"],
    &["status", "resourcesDuration"],
];
/// Labels a statement: fewer values than any of the databases takes at a time.
const LABELS_A_STATEMENT: usize = 200;

/// The archive of one controller: its cluster, its instance, the namespace that it manages.
#[derive(Clone, Debug)]
pub struct Archive {
    database: Database,
    cluster: String,
    instance: String,
    namespace: String,
}

impl Archive {
    /// An archive in a database. `cluster` and `instance` keep several controllers in one database apart; `namespace` is
    /// the one that is managed, empty for all.
    pub fn new(database: Database, cluster: &str, instance: &str, namespace: &str) -> Archive {
        Archive { database, cluster: cluster.into(), instance: instance.into(), namespace: namespace.into() }
    }

    /// Archives a workflow, with all its nodes; one of the same uid is replaced.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn archive(&self, workflow: &Workflow) -> Result<(), Error> {
        let mut workflow = workflow.clone();
        workflow.metadata.labels.insert(ARCHIVING_STATUS.into(), PERSISTED.into());
        let json = serde_json::to_string(&workflow)
            .map_err(|error| Error::Damaged { what: workflow.metadata.name.clone(), reason: error.to_string() })?;
        let json = match self.database.dialect {
            Dialect::PostgreSql => without_nul(&json),
            Dialect::MySql | Dialect::Sqlite => json,
        };
        let metadata = &workflow.metadata;
        let removed = |table: &str| {
            let statement = self.database.statement(format!("delete from {table} where clustername = "));
            statement.value(&*self.cluster).sql(" and uid = ").value(&*metadata.uid)
        };
        let created = metadata.creation_timestamp.unwrap_or_default();
        let started = workflow.status.started_at.unwrap_or(created);
        let finished = workflow.status.finished_at.unwrap_or(started);
        let row = self.database.statement(format!(
            "insert into {ARCHIVED} (clustername, instanceid, uid, name, namespace, phase, startedat, finishedat, \
             creationtimestamp, workflow) values ("
        ));
        let texts = [&self.cluster, &self.instance, &metadata.uid, &metadata.name, &metadata.namespace];
        let row = texts.into_iter().fold(row, |row, text| row.value(text.as_str()).sql(", "));
        let row = row.value(workflow.status.phase.as_str());
        let row = [started, finished, created].into_iter().fold(row, |row, time| row.sql(", ").moment(time.0));
        let row = row.sql(", ").json("jsonb", json).sql(")");
        let mut statements = vec![removed(LABELS), removed(ARCHIVED), row];
        statements.extend(self.labelled(&metadata.uid, &metadata.labels));
        self.database.together("to archive a workflow", &statements).await
    }

    fn labelled(&self, uid: &str, labels: &BTreeMap<String, String>) -> Vec<Statement> {
        let labels: Vec<(&String, &String)> = labels.iter().collect();
        let rows = |some: &[(&String, &String)]| {
            let mut statement =
                self.database.statement(format!("insert into {LABELS} (clustername, uid, name, value) values "));
            for (index, (name, value)) in some.iter().enumerate() {
                statement = statement.sql(if index == 0 { "(" } else { ", (" });
                statement = statement.value(&*self.cluster).sql(", ").value(uid);
                statement = statement.sql(", ").value(name.as_str()).sql(", ").value(value.as_str()).sql(")");
            }
            statement
        };
        labels.chunks(LABELS_A_STATEMENT).map(rows).collect()
    }

    /// The workflow with this uid.
    ///
    /// # Errors
    /// The database refuses, or what it has is no workflow.
    pub async fn by_uid(&self, uid: &str) -> Result<Option<Workflow>, Error> {
        self.one(|statement| statement.sql(" and uid = ").value(uid)).await
    }

    /// The workflow with this name that started last.
    ///
    /// # Errors
    /// As [`Archive::by_uid`].
    pub async fn by_name(&self, namespace: &str, name: &str) -> Result<Option<Workflow>, Error> {
        let named = |statement: Statement| {
            let statement = statement.sql(" and namespace = ").value(namespace).sql(" and name = ").value(name);
            statement.sql(" order by startedat desc limit 1")
        };
        self.one(named).await
    }

    async fn one(&self, wanted: impl Fn(Statement) -> Statement) -> Result<Option<Workflow>, Error> {
        let columns = self.database.dialect.json_as_text("workflow");
        let asked = wanted(self.ours(&format!("select {columns}")));
        let rows = self.database.rows("to tell an archived workflow", &asked).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let json = self.json(row, 0)?;
        let mut workflow: Workflow = serde_json::from_str(&json).map_err(damaged)?;
        workflow.metadata.labels.insert(ARCHIVING_STATUS.into(), PERSISTED.into());
        Ok(Some(workflow))
    }

    /// The workflows that a filter selects, the newest first: what a list shows of them, without spec and nodes.
    ///
    /// # Errors
    /// As [`Archive::by_uid`].
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Workflow>, Error> {
        let dialect = self.database.dialect;
        let moments = ["startedat", "finishedat", "creationtimestamp"].map(|column| dialect.moment_as_text(column));
        let parts = PARTS.map(|path| dialect.part(path));
        let columns = format!("select uid, name, namespace, phase, {}, {}", moments.join(", "), parts.join(", "));
        let asked = filter.page(filter.conditions(self.ours(&columns)));
        let rows = self.database.rows("to list archived workflows", &asked).await?;
        let listed = |row| {
            let moment = |index| Ok::<_, Error>(moment_of(&text(row, index)?).map(Time));
            let mut whole = json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
                "metadata": {
                    "uid": text(row, 0)?, "name": text(row, 1)?, "namespace": text(row, 2)?,
                    "creationTimestamp": moment(6)?,
                },
                "spec": {},
                "status": {"phase": text(row, 3)?, "startedAt": moment(4)?, "finishedAt": moment(5)?},
            });
            for (index, path) in PARTS.iter().enumerate() {
                let part = self.json(row, 7 + index)?;
                if !part.is_empty() {
                    let value: Value = serde_json::from_str(&part).map_err(damaged)?;
                    put(&mut whole, path, value);
                }
            }
            put(&mut whole, &["metadata", "labels", ARCHIVING_STATUS], PERSISTED.into());
            serde_json::from_value(whole).map_err(damaged)
        };
        rows.iter().map(listed).collect()
    }

    /// How many workflows a filter selects, whatever its limit.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let asked = filter.conditions(self.ours("select count(*)"));
        let rows = self.database.rows("to count archived workflows", &asked).await?;
        let count = rows.first().map(|row| number(row, 0)).transpose()?;
        Ok(u64::try_from(count.unwrap_or_default()).unwrap_or_default())
    }

    /// Removes a workflow; tells whether it was there.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete(&self, uid: &str) -> Result<bool, Error> {
        let statement = self.ours("delete").sql(" and uid = ").value(uid);
        Ok(self.database.execute("to delete an archived workflow", &statement).await? > 0)
    }

    /// Removes the workflows that have been over for longer than `ttl` by the database's clock; tells how many.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_expired(&self, ttl: Duration) -> Result<u64, Error> {
        let ago = self.database.dialect.ago(ttl.as_secs());
        let statement = self.ours("delete").sql(" and finishedat < ").sql(&ago);
        self.database.execute("to delete old archived workflows", &statement).await
    }

    /// Which labels archived workflows have.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn label_keys(&self) -> Result<Vec<String>, Error> {
        let asked = self.database.statement(format!("select distinct name from {LABELS} where clustername = "));
        self.texts(asked.value(&*self.cluster)).await
    }

    /// Which values a label has.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn label_values(&self, key: &str) -> Result<Vec<String>, Error> {
        let asked = self.database.statement(format!("select distinct value from {LABELS} where clustername = "));
        self.texts(asked.value(&*self.cluster).sql(" and name = ").value(key)).await
    }

    async fn texts(&self, asked: Statement) -> Result<Vec<String>, Error> {
        let rows = self.database.rows("to tell labels", &asked.sql(" order by 1")).await?;
        rows.iter().map(|row| text(row, 0)).collect()
    }

    /// A column with a workflow's JSON, or a part of it.
    fn json(&self, row: &AnyRow, index: usize) -> Result<String, Error> {
        let json = text(row, index)?;
        match self.database.dialect {
            Dialect::PostgreSql => Ok(json.replace(NUL, "\\u0000")),
            Dialect::MySql | Dialect::Sqlite => Ok(json),
        }
    }

    /// A statement on the rows that are ours.
    fn ours(&self, verb: &str) -> Statement {
        let statement = self.database.statement(format!("{verb} from {ARCHIVED} where clustername = "));
        let statement = statement.value(&*self.cluster).sql(" and instanceid = ").value(&*self.instance);
        match self.namespace.as_str() {
            "" => statement,
            namespace => statement.sql(" and namespace = ").value(namespace),
        }
    }
}

fn damaged(error: serde_json::Error) -> Error {
    Error::Damaged { what: "an archived workflow".into(), reason: error.to_string() }
}

/// JSON with [`NUL`] for every escaped NUL. What a backslash stands before is counted, so that the text `\u0000` stays.
fn without_nul(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (kept, skipped) = match escape.starts_with("\\u0000") {
            true => (NUL, 6),
            // An escape is a backslash and one more character, all of them ASCII.
            false => (&escape[..2], 2),
        };
        out.push_str(kept);
        rest = &escape[skipped..];
    }
    out.push_str(rest);
    out
}

/// Puts a value at a path, and makes the objects on the way.
fn put(whole: &mut Value, path: &[&str], value: Value) {
    let mut at = whole;
    for name in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[*name];
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_replaced_and_nothing_else() {
        for (json, expected) in [
            (r#"{"a":"b\u0000c"}"#, r#"{"a":"bARGO_POSTGRES_NULL_REPLACEMENTc"}"#),
            (r#"{"a":"b\\u0000c"}"#, r#"{"a":"b\\u0000c"}"#),
            (r#"{"a":"\\\u0000\"\n"}"#, r#"{"a":"\\ARGO_POSTGRES_NULL_REPLACEMENT\"\n"}"#),
        ] {
            assert_eq!(without_nul(json), expected);
        }
    }
}
