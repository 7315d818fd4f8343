//! Taking locks: all of those that are asked for, or none.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};

use super::{LockKey, LockLimit, LockPlace, LockTables, Standing, Took};
use crate::Error;
use crate::database::text;
use crate::statement::Statement;

/// What is wanted, in an error's words.
const WHAT: &str = "to take a lock";
/// How often it is tried again while other controllers are deciding about the same lock.
const ATTEMPTS: u32 = 6;

/// Whom somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Those who hold the lock, and those who stand before him in line.
    InLine,
    /// Those who hold it.
    Again,
}

impl LockTables {
    /// Takes all of these locks for somebody who stands in line for them, if there is room and nobody of another controller
    /// stands before this controller's first. Who that is among this controller's own is not looked at. What he has already
    /// he keeps.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take(&self, place: &LockPlace, keys: &[LockKey]) -> Result<Took, Error> {
        self.decide(place, keys, Turn::InLine).await
    }

    /// Takes locks again for somebody who had them, whoever stands in line for them.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_again(&self, holder: &str, keys: &[LockKey]) -> Result<Took, Error> {
        let place = LockPlace { holder: holder.into(), priority: 0, created: Timestamp::now() };
        self.decide(&place, keys, Turn::Again).await
    }

    /// How these locks are; None for one of which nobody says how many may hold it.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn look(&self, keys: &[LockKey]) -> Result<Vec<Option<Standing>>, Error> {
        let nobody = LockPlace { holder: String::new(), priority: 0, created: Timestamp::now() };
        let attempt = || async {
            let mut transaction = self.database.serializable(WHAT).await?;
            let mut found = Vec::new();
            for key in keys {
                found.push(self.standing(&mut transaction, &nobody, key, Turn::InLine).await?);
            }
            transaction.rollback().await.map_err(|error| Error::of(WHAT, error))?;
            Ok(found)
        };
        self.database.patiently(attempt).await
    }

    async fn decide(&self, place: &LockPlace, keys: &[LockKey], turn: Turn) -> Result<Took, Error> {
        let names: Vec<&str> = keys.iter().map(|key| &*key.key).chain([&*place.holder]).collect();
        self.fits(&names)?;
        let attempt = || async {
            let mut attempts = 0;
            loop {
                match self.decide_once(place, keys, turn).await {
                    Ok(None) | Err(Error::Contended(_)) if attempts < ATTEMPTS => {
                        tokio::time::sleep(pause(attempts)).await;
                        attempts += 1;
                    }
                    Ok(None) => return Err(Error::Contended("another controller is deciding about the lock".into())),
                    Ok(Some(took)) => return Ok(took),
                    Err(error) => return Err(error),
                }
            }
        };
        self.database.patiently(attempt).await
    }

    /// None where another controller is deciding about one of the locks.
    async fn decide_once(&self, place: &LockPlace, keys: &[LockKey], turn: Turn) -> Result<Option<Took>, Error> {
        let refused = |error| Error::of(WHAT, error);
        let mut transaction = self.database.serializable(WHAT).await?;
        // Everybody in the same order, so that nobody waits for somebody who waits for him.
        let mut sorted: Vec<&str> = keys.iter().map(|key| &*key.key).collect();
        sorted.sort_unstable();
        for key in &sorted {
            if !self.reserve(&mut transaction, key).await? {
                transaction.rollback().await.map_err(refused)?;
                return Ok(None);
            }
        }
        let mut standings = Vec::new();
        for key in keys {
            let Some(standing) = self.standing(&mut transaction, place, key, turn).await? else {
                transaction.rollback().await.map_err(refused)?;
                return Ok(Some(Took::NoLimit { key: key.key.clone() }));
            };
            standings.push(standing);
        }
        if standings.iter().any(|standing| !standing.free) {
            transaction.rollback().await.map_err(refused)?;
            return Ok(Some(Took::None(standings)));
        }
        for (key, standing) in keys.iter().zip(&mut standings).filter(|(_, standing)| !standing.held) {
            let held = self.database.statement(format!("update {} set held = true where true", self.names.state));
            if execute(&mut transaction, &self.of(held, &key.key, &place.holder)).await? == 0 {
                execute(&mut transaction, &self.row(place, &key.key, true)).await?;
            }
            standing.held = true;
            standing.holders.push(place.holder.clone());
        }
        for key in sorted {
            let delete = self.database.statement(format!("delete from {} where name = ", self.names.lock)).value(key);
            let delete = delete.sql(" and controller = ").value(&*self.controller);
            execute(&mut transaction, &delete).await?;
        }
        transaction.commit().await.map_err(refused)?;
        Ok(Some(Took::All(standings)))
    }

    /// Keeps others from deciding about a lock until the transaction ends. One of our name that is there was left by an Argo
    /// controller that we have come after.
    async fn reserve(&self, transaction: &mut Transaction<'static, Any>, key: &str) -> Result<bool, Error> {
        let table = &self.names.lock;
        let (insert, end) = self.database.dialect.insert_if_new();
        let insert = self.database.statement(format!("{insert} {table} (name, controller, time) values ("));
        let insert = insert.value(key).sql(", ").value(&*self.controller).sql(", ").plain_moment(Timestamp::now());
        if execute(transaction, &insert.sql(")").sql(end)).await? > 0 {
            return Ok(true);
        }
        let asked = self.database.statement(format!("select controller from {table} where name = ")).value(key);
        let rows = rows(transaction, &asked).await?;
        Ok(rows.first().map(|row| text(row, 0)).transpose()?.is_some_and(|controller| controller == self.controller))
    }

    async fn standing(
        &self,
        transaction: &mut Transaction<'static, Any>,
        place: &LockPlace,
        key: &LockKey,
        turn: Turn,
    ) -> Result<Option<Standing>, Error> {
        let Some(limit) = self.limit(transaction, &key.limit).await? else { return Ok(None) };
        let state = &self.names.state;
        let asked = format!("select workflowkey, controller from {state} where held = true and name = ");
        let found = rows(transaction, &self.database.statement(asked).value(&*key.key)).await?;
        let found = found.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?)));
        let found = found.collect::<Result<Vec<(String, String)>, Error>>()?;
        let held = found.iter().any(|(holder, controller)| *holder == place.holder && *controller == self.controller);
        let holders: Vec<String> = found.into_iter().map(|(holder, _)| holder).collect();
        let has_room = i64::try_from(holders.len()).is_ok_and(|count| count < limit);
        let free = held
            || has_room
                && match turn {
                    Turn::Again => true,
                    Turn::InLine => self.is_first(transaction, &key.key).await?,
                };
        Ok(Some(Standing { limit, holders, free, held }))
    }

    async fn limit(
        &self,
        transaction: &mut Transaction<'static, Any>,
        limit: &LockLimit,
    ) -> Result<Option<i64>, Error> {
        let (name, last) = match limit {
            LockLimit::Mutex => return Ok(Some(1)),
            LockLimit::Given(limit) => return Ok(Some(*limit)),
            LockLimit::Table { name, last } => (name, *last),
        };
        let as_text = self.database.dialect.integer_as_text("sizelimit");
        let asked = format!("select {as_text} from {} where name = ", self.names.limit);
        let found = rows(transaction, &self.database.statement(asked).value(&**name)).await?;
        let found = found.first().map(|row| text(row, 0)).transpose()?.and_then(|text| text.parse().ok());
        // argo: newDatabaseSemaphore. A limit of 0 is none, until there has been one.
        Ok(found.filter(|limit| *limit != 0 || last.is_some()).or(last))
    }

    /// Whether nobody of another controller that is alive stands before the first of ours. argo: GetOrderedQueue. Where two
    /// have the same priority and the same age, either may go on: whom the database tells first is another one for each lock,
    /// so that those who need two of them could wait for each other.
    async fn is_first(&self, transaction: &mut Transaction<'static, Any>, key: &str) -> Result<bool, Error> {
        let super::TableNames { state, controller, .. } = &self.names;
        let asked = self.database.statement(format!("select controller from {state} where name = ")).value(key);
        let asked = asked
            .sql(&format!(" and held = false and controller in (select controller from {controller} where time > "));
        let asked = asked.plain_moment(self.since()).sql(") order by priority desc, time asc, ");
        let asked = asked.sql("case when controller = ").value(&*self.controller).sql(" then 0 else 1 end limit 1");
        let found = rows(transaction, &asked).await?;
        let first = found.first().map(|row| text(row, 0)).transpose()?;
        Ok(first.is_none_or(|first| first == self.controller))
    }
}

async fn execute(transaction: &mut Transaction<'static, Any>, statement: &Statement) -> Result<u64, Error> {
    let done = statement.query().execute(&mut **transaction).await;
    done.map(|done| done.rows_affected()).map_err(|error| Error::of(WHAT, error))
}

async fn rows(transaction: &mut Transaction<'static, Any>, statement: &Statement) -> Result<Vec<AnyRow>, Error> {
    statement.query().fetch_all(&mut **transaction).await.map_err(|error| Error::of(WHAT, error))
}

/// Grows, and is another one for each controller, so that they do not meet again.
fn pause(attempts: u32) -> Duration {
    let most = 10_u64 << attempts;
    let some = u64::try_from(Timestamp::now().subsec_nanosecond()).unwrap_or_default();
    Duration::from_millis(most / 2 + some % most)
}
