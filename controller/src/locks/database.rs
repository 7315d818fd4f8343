//! The locks that controllers share: what the table of locks wants of the database is done there, one thing after the other,
//! and what it says is told to the table.
//!
//! While the database is away what is wanted waits, and so do the workflows that wait for a lock in it; nobody gets one. What
//! other controllers have done is seen by looking again every `pollSeconds`: Argo's controllers tell nobody. What this one lets
//! go of is passed on at once.
//!
//! Rows outlive the process. After a restart, and when the first shard comes from another replica, who stands in line is put
//! there anew, and what nobody is known to hold is let go of, unless its workflow may be about to ask for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tiphys_api::Workflow;
use tiphys_archive::config::Synchronization;
use tiphys_archive::{Database, Error, LockKey, LockLimit, LockPlace, LockRow, LockTables, Standing, Took};
use tiphys_contract::label;
use tiphys_engine::{
    LockHolder, LockKind, LockName, LockNews, Locks, SharedLock, SharedRequest, SharedState, SharedWork,
};
use tiphys_kubernetes::{Backoff, Kind};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cluster::Cluster;
use crate::persistence::{self, PersistenceError};
use crate::workflow::make_whole;

/// The longest that one thing may take. A server that accepts connections and answers nothing is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something to be done in the database.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// What the table of locks wants.
    Work(SharedWork),
    /// All who held locks at the start have said so.
    Opened,
}

/// Why the database is left.
enum Left {
    /// It cannot be used.
    Failed(PersistenceError),
    /// It has not answered.
    Silent,
}

impl From<Error> for Left {
    fn from(error: Error) -> Left {
        Left::Failed(error.into())
    }
}

/// Does what is wanted, for as long as it is polled.
pub async fn keep(cluster: Arc<Cluster>) {
    let Some(jobs) = cluster.locks.state().jobs.take() else { return };
    let mut keeper =
        Keeper { cluster, jobs, next: None, limits: FxHashMap::default(), away: String::new(), failures: 0 };
    loop {
        let Some(settings) = keeper.cluster.config().synchronization.clone() else {
            let reason = "the configuration has no synchronization any more";
            keeper.cluster.locks.told(&keeper.cluster, |table| table.away(reason));
            keeper.cluster.until(|config| config.synchronization.is_some()).await;
            continue;
        };
        let cluster = keeper.cluster.clone();
        let reconfigured = cluster.until(|config| config.synchronization.as_ref() != Some(&settings));
        tokio::pin!(reconfigured);
        let left = tokio::select! {
            () = &mut reconfigured => continue,
            left = keeper.work(&settings) => left,
        };
        match left {
            Left::Failed(error) => keeper.is_away(&error.to_string()),
            Left::Silent => keeper.is_away(&format!("the database has not answered for {} s", PATIENCE.as_secs())),
        }
        tokio::select! {
            () = &mut reconfigured => {}
            () = tokio::time::sleep(keeper.pause(&settings)) => {}
        }
    }
}

struct Keeper {
    cluster: Arc<Cluster>,
    jobs: UnboundedReceiver<Job>,
    /// What is being done, until it is.
    next: Option<Job>,
    /// Limits that were read, by the name of the semaphore, and when.
    limits: FxHashMap<String, (i64, Instant)>,
    /// Why the database is away; empty while it is not.
    away: String,
    /// How often it was tried since it was there.
    failures: u32,
}

impl Keeper {
    /// Works with the database until that is no longer possible.
    async fn work(&mut self, settings: &Synchronization) -> Left {
        let database = async {
            let mut settings = persistence::connection_settings(&self.cluster, &settings.database).await?;
            // Whoever waits is told of the first failure; it is tried again here, for as long as it takes.
            settings.reconnection.retries = 0;
            Ok::<_, PersistenceError>(Database::new(&settings)?)
        };
        let database = match database.await {
            Ok(database) => database,
            Err(error) => return Left::Failed(error),
        };
        let Err(left) = self.use_it(&database, settings).await;
        // Connections on which nobody answers are not waited for.
        tokio::spawn(async move { database.close().await });
        left
    }

    async fn use_it(&mut self, database: &Database, settings: &Synchronization) -> Result<Infallible, Left> {
        let names = settings.tables.clone();
        let tables = LockTables::new(database.clone(), names, &settings.controller, settings.inactive)?;
        in_time(async {
            match settings.skip_migration {
                true => tables.are_there().await,
                false => tables.migrate().await,
            }
        })
        .await?;
        // Others pass by those who wait for a controller that is not heard of.
        in_time(tables.heartbeat()).await?;
        self.is_back();
        let (mut beats, mut looks) = (every(settings.heartbeat), every(settings.poll));
        beats.reset();
        loop {
            if let Some(job) = self.next.clone() {
                in_time(self.act(&tables, job, settings.limit_cache)).await?;
                self.next = None;
            }
            tokio::select! {
                biased;
                _ = beats.tick() => in_time(tables.heartbeat()).await?,
                _ = looks.tick() => {
                    in_time(tables.expire()).await?;
                    self.limits.retain(|_, (_, read)| read.elapsed() < settings.limit_cache);
                    self.cluster.locks.told(&self.cluster, Locks::look_again);
                }
                Some(job) = self.jobs.recv() => self.next = Some(job),
            }
        }
    }

    fn is_away(&mut self, reason: &str) {
        if self.away != reason {
            tracing::warn!(reason, "locks of the database of `synchronization` are not to be had");
            reason.clone_into(&mut self.away);
        }
        self.cluster.locks.told(&self.cluster, |table| table.away(reason));
    }

    fn is_back(&mut self) {
        tracing::info!("the database of `synchronization` is ready");
        self.away.clear();
        self.failures = 0;
        self.cluster.locks.told(&self.cluster, |table| {
            table.back();
            LockNews::default()
        });
    }

    /// Until it is tried again.
    fn pause(&mut self, settings: &Synchronization) -> Duration {
        let pause = settings.database.reconnection().pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    async fn act(&mut self, tables: &LockTables, job: Job, cache: Duration) -> Result<(), Error> {
        match job {
            Job::Opened => self.find_what_is_left(tables).await,
            Job::Work(SharedWork::Queue(request)) => {
                let queued = tables.queue(&place(&request), &self.keys(&request.locks, cache)).await;
                self.unless_refused(&request.holder, queued).map(|_| ())
            }
            Job::Work(SharedWork::Take { request, attempt }) => self.take(tables, &request, attempt, cache).await,
            Job::Work(SharedWork::Look(locks)) => {
                let found = tables.look(&self.keys(&locks, cache)).await?;
                let found = locks.iter().zip(found).filter_map(|(lock, standing)| Some(state(lock, standing?)));
                let states: Vec<SharedState> = found.collect();
                self.cluster.locks.told(&self.cluster, |table| table.seen(&states));
                Ok(())
            }
            Job::Work(SharedWork::GiveUp { holder, locks }) => {
                let keys: Vec<String> = locks.iter().map(LockName::database_key).collect();
                tables.release(&holder.to_string(), &keys).await
            }
            Job::Work(SharedWork::Keep { holder, lock }) => self.keep(tables, &holder, lock).await,
        }
    }

    async fn take(
        &mut self,
        tables: &LockTables,
        request: &SharedRequest,
        attempt: u64,
        cache: Duration,
    ) -> Result<(), Error> {
        let keys = self.keys(&request.locks, cache);
        let took = tables.take(&place(request), &keys).await;
        let took = match took {
            // Others are at it: whoever asks the next time finds what has come of that.
            Err(Error::Contended(_)) => {
                let standings = tables.look(&keys).await?.into_iter().collect::<Option<Vec<_>>>();
                standings.map(|mut standings| {
                    standings.iter_mut().for_each(|standing| standing.free = false);
                    Took::None(standings)
                })
            }
            took => self.unless_refused(&request.holder, took)?,
        };
        let states = |standings: Vec<Standing>| -> Vec<SharedState> {
            request.locks.iter().zip(standings).map(|(lock, standing)| state(lock, standing)).collect()
        };
        let (holder, desk) = (&request.holder, &self.cluster.locks);
        match took {
            Some(Took::All(standings)) => {
                self.limits.extend(limits(&keys, &standings));
                let states = states(standings);
                desk.told(&self.cluster, |table| table.taken(holder, attempt, &states));
            }
            Some(Took::None(standings)) => {
                self.limits.extend(limits(&keys, &standings));
                let states = states(standings);
                desk.told(&self.cluster, |table| table.not_taken(holder, attempt, &states));
            }
            Some(Took::NoLimit { key }) => {
                let lock = LockName::parse_database_key(&key).map_or(key, |name| name.to_string());
                let message = format!("failed to initialize semaphore {lock} with limit");
                desk.told(&self.cluster, |table| table.refused(holder, &message));
            }
            None => {}
        }
        Ok(())
    }

    /// What the database will never do is nothing to wait for.
    fn unless_refused<T>(&self, holder: &LockHolder, outcome: Result<T, Error>) -> Result<Option<T>, Error> {
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(error @ Error::Refused { .. }) => {
                let message = error.to_string();
                self.cluster.locks.told(&self.cluster, |table| table.refused(holder, &message));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a status says is held is so in the database, or becomes so where nobody else has it. argo: sync_manager.go,
    /// Initialize; there a row that is missing fails the workflow in any case.
    async fn keep(&self, tables: &LockTables, holder: &LockHolder, lock: LockName) -> Result<(), Error> {
        // Where nobody says how many may hold it, whoever has it keeps it, and nobody gets it.
        let known = SharedLock { name: lock.clone(), limit: Some(0) };
        if let Took::All(_) = tables.take_again(&holder.to_string(), &[key(&known)]).await? {
            return Ok(());
        }
        let kind = if lock.kind() == LockKind::Mutex { "mutex" } else { "semaphore" };
        let message = format!(
            "could not re-establish {kind} \"{lock}\" at controller startup: hold on {} for {holder} is not present in the database",
            lock.database_key()
        );
        tracing::error!(%lock, %holder, "held by somebody else, although the status says otherwise");
        self.cluster.locks.told(&self.cluster, |table| table.lost(holder, &lock, &message));
        Ok(())
    }

    /// What an earlier process of this name has left: places in line are taken anew, and of what is held some may have been let
    /// go of, or have got to workflows that are gone.
    async fn find_what_is_left(&self, tables: &LockTables) -> Result<(), Error> {
        tables.leave_lines().await?;
        for LockRow { key, holder } in tables.held().await? {
            let (Some(lock), Some(known)) = (LockName::parse_database_key(&key), LockHolder::parse(&holder)) else {
                tracing::warn!(key, holder, "a row of this controller in the table of locks is none; it stays");
                continue;
            };
            if self.cluster.locks.state().table.holds(&known, &lock) {
                continue;
            }
            if may_need(&self.cluster, &known).await {
                self.cluster.locks.told(&self.cluster, |table| table.found(known, lock));
            } else {
                tracing::info!(key, holder, "let go of: its holder is over");
                tables.release(&holder, &[key]).await?;
            }
        }
        Ok(())
    }

    /// With limits that need not be read again.
    fn keys(&self, locks: &[SharedLock], cache: Duration) -> Vec<LockKey> {
        let known = |key: &LockKey| {
            let LockLimit::Table { name, .. } = &key.limit else { return None };
            let (limit, read) = self.limits.get(name)?;
            (read.elapsed() < cache).then_some(*limit)
        };
        let keys = locks.iter().map(key).map(|key| match known(&key) {
            Some(limit) => LockKey { limit: LockLimit::Given(limit), ..key },
            None => key,
        });
        keys.collect()
    }
}

/// Whether a holder of whom nothing is known may ask for what it has, as what it got before was not written.
async fn may_need(cluster: &Arc<Cluster>, holder: &LockHolder) -> bool {
    let Some((namespace, name)) = holder.workflow.split_once('/') else { return true };
    let path = Kind::Workflow.within(namespace).named(name);
    let mut backoff = Backoff::default();
    let mut workflow: Workflow = loop {
        match cluster.api.get(&path).await {
            Ok(workflow) => break workflow,
            Err(error) if error.is_not_found() => return false,
            Err(error) if error.is_transient() => error.wait(&mut backoff).await,
            Err(_) => return true,
        }
    };
    if workflow.metadata.labels.get(label::COMPLETED).is_some_and(|completed| completed == "true") {
        return false;
    }
    let Some(node) = &holder.node else { return true };
    match make_whole(cluster, &mut workflow, "").await {
        Ok(_) => !workflow.status.nodes.get(node.as_str()).is_some_and(|node| node.phase.is_fulfilled()),
        Err(_) => true,
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Left> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Left::Silent),
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn place(request: &SharedRequest) -> LockPlace {
    LockPlace { holder: request.holder.to_string(), priority: request.priority, created: request.created }
}

fn key(lock: &SharedLock) -> LockKey {
    let limit = match &lock.name {
        LockName::Database { namespace, key, kind: LockKind::Semaphore } => {
            LockLimit::Table { name: format!("{namespace}/{key}"), last: lock.limit }
        }
        _ => LockLimit::Mutex,
    };
    LockKey { key: lock.name.database_key(), limit }
}

/// Limits that were read just now.
fn limits<'a>(keys: &'a [LockKey], standings: &'a [Standing]) -> impl Iterator<Item = (String, (i64, Instant))> {
    keys.iter().zip(standings).filter_map(|(key, standing)| match &key.limit {
        LockLimit::Table { name, .. } => Some((name.clone(), (standing.limit, Instant::now()))),
        LockLimit::Mutex | LockLimit::Given(_) => None,
    })
}

fn state(lock: &SharedLock, standing: Standing) -> SharedState {
    // A name that is no workflow's is somebody all the same.
    let holder = |text: &String| {
        LockHolder::parse(text).unwrap_or_else(|| LockHolder { workflow: text.as_str().into(), node: None })
    };
    let holders = standing.holders.iter().map(holder).collect();
    SharedState { name: lock.name.clone(), limit: standing.limit, holders, free: standing.free }
}
