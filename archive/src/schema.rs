//! The tables, as Argo 4.1.2 has them (argo: persist/sqldb/migrate.go), and the ways to them from older ones.
//!
//! Argo counts its changes in `schema_history`; the number there says how many of them a database has seen. A database that
//! has seen none gets the tables at once, with the number that they have.

use crate::dialect::Dialect;

/// The number of the last change.
pub(crate) const NOW: i64 = 68;
/// The oldest that can be brought up to date: Argo 3.5's.
pub(crate) const OLDEST: i64 = 59;

/// The tables' names.
pub(crate) const ARCHIVED: &str = "argo_archived_workflows";
/// See [`ARCHIVED`].
pub(crate) const LABELS: &str = "argo_archived_workflows_labels";
/// See [`ARCHIVED`].
pub(crate) const HISTORY: &str = "schema_history";

/// The table with one number.
pub(crate) fn history(name: &str) -> String {
    format!("create table if not exists {name} (schema_version int not null, primary key (schema_version))")
}

/// All tables, for a database that has none; what is there already stays. `nodes` is the name of the table of nodes.
pub(crate) fn tables(dialect: Dialect, nodes: &str) -> Vec<String> {
    let (json, jsonb) = match dialect {
        Dialect::PostgreSql => ("json", "jsonb"),
        Dialect::MySql => ("json", "json"),
        Dialect::Sqlite => ("text", "text"),
    };
    // Argo's changes have left it so; MySQL wants to hear that a moment may be null.
    let (maybe, created) = match dialect {
        Dialect::MySql => ("null ", "not null "),
        Dialect::PostgreSql | Dialect::Sqlite => ("", ""),
    };
    let nodes_index = format!("{nodes}_i1");
    let tables = [
        (
            nodes,
            format!(
                "uid varchar(128) not null, namespace varchar(256) not null, \
                 creationtimestamp timestamp {maybe}default current_timestamp, clustername varchar(64) not null, \
                 version varchar(64) not null, nodes {json} not null, \
                 updatedat timestamp not null default current_timestamp, primary key (clustername, uid, version)"
            ),
            vec![(nodes_index.as_str(), "clustername, namespace, updatedat")],
        ),
        (
            ARCHIVED,
            format!(
                "uid varchar(128) not null, name varchar(256) not null, phase varchar(25) not null, \
                 namespace varchar(256) not null, workflow {jsonb} not null, \
                 startedat timestamp not null default current_timestamp, \
                 finishedat timestamp not null default current_timestamp, clustername varchar(64) not null, \
                 instanceid varchar(64) not null, creationtimestamp timestamp {created}default current_timestamp, \
                 primary key (clustername, uid)"
            ),
            vec![
                ("argo_archived_workflows_i1", "clustername, instanceid, namespace, startedat desc"),
                ("argo_archived_workflows_i2", "clustername, instanceid, finishedat"),
                ("argo_archived_workflows_i3", "clustername, instanceid, name"),
                ("argo_archived_workflows_i4", "clustername, startedat"),
                ("argo_archived_workflows_i5", "creationtimestamp"),
            ],
        ),
        (
            LABELS,
            format!(
                "clustername varchar(64) not null, uid varchar(128) not null, name varchar(317) not null, \
                 value varchar(63) not null, primary key (clustername, uid, name), \
                 foreign key (clustername, uid) references {ARCHIVED} (clustername, uid) on delete cascade"
            ),
            vec![("argo_archived_workflows_labels_i1", "name, value")],
        ),
    ];
    let mut made = Vec::new();
    for (table, mut columns, indexes) in tables {
        let mut beside = Vec::new();
        for (name, of) in indexes {
            match dialect {
                // MySQL knows no `if not exists` for an index alone.
                Dialect::MySql => columns.push_str(&format!(", index {name} ({of})")),
                Dialect::PostgreSql | Dialect::Sqlite => {
                    beside.push(format!("create index if not exists {name} on {table} ({of})"));
                }
            }
        }
        made.push(format!("create table if not exists {table} ({columns})"));
        made.append(&mut beside);
    }
    made
}

fn index(name: &str, of: &str) -> String {
    format!("create index {name} on {ARCHIVED} ({of})")
}

/// The change with a number; None where the dialect needs nothing.
pub(crate) fn change(number: i64, dialect: Dialect) -> Option<String> {
    let drop_index = |name: &str| match dialect {
        Dialect::MySql => format!("drop index {name} on {ARCHIVED}"),
        Dialect::PostgreSql | Dialect::Sqlite => format!("drop index {name}"),
    };
    let postgres = |sql: String| (dialect == Dialect::PostgreSql).then_some(sql);
    match number {
        60 => postgres(format!("alter table {ARCHIVED} alter column workflow type jsonb using workflow::jsonb")),
        61 => Some(drop_index("argo_archived_workflows_i4")),
        62 => Some(index("argo_archived_workflows_i4", "clustername, startedat")),
        63 => Some(format!("alter table {ARCHIVED} add column creationtimestamp timestamp null")),
        64 => Some(format!("update {ARCHIVED} set creationtimestamp = startedat where creationtimestamp is null")),
        65 => match dialect {
            Dialect::PostgreSql => {
                Some(format!("alter table {ARCHIVED} alter column creationtimestamp set default current_timestamp"))
            }
            Dialect::MySql => Some(format!(
                "alter table {ARCHIVED} modify column creationtimestamp timestamp not null default current_timestamp"
            )),
            Dialect::Sqlite => None,
        },
        66 => Some(index("argo_archived_workflows_i5", "creationtimestamp")),
        67 => Some(drop_index("argo_archived_workflows_i1")),
        68 => Some(index("argo_archived_workflows_i1", "clustername, instanceid, namespace, startedat desc")),
        _ => None,
    }
}
