//! Nodes that are too many for an object of Kubernetes. argo: persist/sqldb/offload_node_status_repo.go.

use std::fmt;
use std::time::Duration;

use crate::database::text;
use crate::dialect::Dialect;
use crate::migrate::is_name;
use crate::statement::Statement;
use crate::{Database, Error};

/// Which nodes a row has: `fnv:` and a hash of their JSON, as `status.offloadNodeStatusVersion` has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// The version of nodes as JSON. argo: FNV-1 of 32 bits.
    pub fn of(json: &str) -> Version {
        let hash = json.bytes().fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
        Version(format!("fnv:{hash}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Version {
        Version(text.to_owned())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The table of nodes, as one cluster sees it.
#[derive(Clone, Debug)]
pub struct OffloadedNodes {
    database: Database,
    cluster: String,
    table: String,
}

impl OffloadedNodes {
    /// The nodes in a table of a database (`tableName`).
    ///
    /// # Errors
    /// The table's name is none.
    pub fn new(database: Database, cluster: &str, table: &str) -> Result<OffloadedNodes, Error> {
        is_name(table)?;
        Ok(OffloadedNodes { database, cluster: cluster.into(), table: table.into() })
    }

    /// Saves a workflow's nodes, given as JSON; gives the version under which they are found. What has the same version is
    /// replaced: hashes of 32 bits meet, and what is saved last is what the workflow names.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn save(&self, uid: &str, namespace: &str, nodes: String) -> Result<Version, Error> {
        let version = Version::of(&nodes);
        let statement = self
            .database
            .statement(format!("insert into {} (clustername, uid, version, namespace, nodes) values (", self.table));
        let texts = [&*self.cluster, uid, version.as_str(), namespace];
        let statement = texts.into_iter().fold(statement, |statement, text| statement.value(text).sql(", "));
        let statement = statement.json("json", nodes).sql(match self.database.dialect {
            Dialect::MySql => {
                ") on duplicate key update nodes = values(nodes), updatedat = current_timestamp"
            }
            Dialect::PostgreSql | Dialect::Sqlite => {
                ") on conflict (clustername, uid, version) do update set nodes = excluded.nodes, updatedat = current_timestamp"
            }
        });
        self.database.execute("to save a workflow's nodes", &statement).await?;
        Ok(version)
    }

    /// The nodes of a version, as JSON; None where there is none.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn get(&self, uid: &str, version: &Version) -> Result<Option<String>, Error> {
        let nodes = self.database.dialect.json_as_text("nodes");
        let asked = self.ours(&format!("select {nodes}")).sql(" and uid = ").value(uid);
        let asked = asked.sql(" and version = ").value(version.as_str());
        let rows = self.database.rows("to tell a workflow's nodes", &asked).await?;
        rows.first().map(|row| text(row, 0)).transpose()
    }

    /// What was saved longer ago than `ttl` by the database's clock, as uids and versions. `namespace` is the one that is
    /// looked at, empty for all.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn old(&self, namespace: &str, ttl: Duration) -> Result<Vec<(String, Version)>, Error> {
        let mut asked = self.ours("select uid, version");
        if !namespace.is_empty() {
            asked = asked.sql(" and namespace = ").value(namespace);
        }
        let asked = self.older(asked, ttl);
        let rows = self.database.rows("to list old nodes", &asked).await?;
        rows.iter().map(|row| Ok((text(row, 0)?, Version(text(row, 1)?)))).collect()
    }

    /// Removes a version, if it still is older than `ttl`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete(&self, uid: &str, version: &Version, ttl: Duration) -> Result<(), Error> {
        let statement = self.ours("delete").sql(" and uid = ").value(uid);
        let statement = self.older(statement.sql(" and version = ").value(version.as_str()), ttl);
        self.database.execute("to delete old nodes", &statement).await.map(|_| ())
    }

    fn older(&self, statement: Statement, ttl: Duration) -> Statement {
        let ago = self.database.dialect.ago(ttl.as_secs());
        statement.sql(" and updatedat < ").sql(&ago)
    }

    fn ours(&self, verb: &str) -> Statement {
        let statement = self.database.statement(format!("{verb} from {} where clustername = ", self.table));
        statement.value(&*self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_those_of_go() {
        // hash/fnv, New32.
        assert_eq!(Version::of("").as_str(), "fnv:2166136261");
        assert_eq!(Version::of("{}").as_str(), "fnv:1450640401");
    }
}
