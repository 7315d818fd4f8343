//! Workflows on a cluster: what the Argo CLI does without Argo's server, by the Kubernetes API alone.

mod address;
mod again;
mod archive;
mod backfill;
mod container_log;
mod cp;
mod cron;
mod database;
mod delete;
mod filter;
mod follow;
mod get;
mod kept_log;
mod list;
mod location;
mod logs;
mod node;
mod objects;
mod orders;
mod outside;
mod printed;
mod secrets;
mod submit;
mod templates;
mod wait;
mod watch;
mod workflow;

pub use again::{resubmit, retry};
pub use archive::archive;
pub use cp::copy;
pub use cron::cron;
pub use delete::delete;
pub use get::get;
pub use list::list;
pub use logs::{logs, pattern};
pub use node::set as set_nodes;
pub use objects::problems;
pub use orders::{resume, stop, suspend, terminate};
pub use submit::submit;
pub use templates::{Fetched, cluster_template, template};
pub use wait::wait;
pub use watch::watch;

use tiphys_contract::label;
use tiphys_kubernetes::{Access, Api, ApiError, Collection, ConnectError, Kind, connect};
use tiphys_local::RunName;

use database::{Database, DatabaseError, Source};
use tokio::sync::OnceCell;

use crate::args::{Global, Place};
use crate::failure::Failure;
use crate::settings::{self, local_run};

/// The name that stands for the workflow created last.
const LATEST: &str = "@latest";

/// A namespace of a cluster.
pub struct Cluster {
    api: Api,
    namespace: String,
    /// The controller's instance ID; empty where there is but one controller.
    instance_id: String,
    /// Where the controller's database is to be looked for.
    source: Source,
    /// That database, once it is needed.
    database: OnceCell<Database>,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::failed(Some(error.to_string()))
    }
}

/// Does something on the cluster that is meant.
///
/// # Errors
/// There is none, or what is done says so.
pub fn within<T>(global: &Global, act: impl AsyncFnOnce(Cluster) -> Result<T, Failure>) -> Result<T, Failure> {
    running(async || act(Cluster::connect(global).await?).await)
}

/// Does something that waits for others.
fn running<T>(act: impl AsyncFnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(Some(format!("cannot start: {error}"))))?;
    let done = runtime.block_on(act());
    // A blocking read of standard input, or a name that is being looked up, is not waited for.
    runtime.shutdown_background();
    done
}

/// Names of runs on this machine, and of workflows on a cluster.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Runs.
    pub local: Vec<String>,
    /// Workflows.
    pub remote: Vec<String>,
}

impl Sorted {
    /// Sorts names by the rule that the help tells: flags that name a cluster first, then this machine, then the cluster.
    ///
    /// # Errors
    /// One that neither can have.
    pub fn of(global: &Global, names: &[String]) -> Result<Sorted, Failure> {
        let mut sorted = Sorted::default();
        for name in names {
            if name != LATEST {
                RunName::new(name).map_err(Failure::usage)?;
            }
            let is_local = global.place.given().is_none() && local_run(global, name).is_some();
            if is_local { &mut sorted.local } else { &mut sorted.remote }.push(name.clone());
        }
        Ok(sorted)
    }

    /// Refuses flags that mean nothing to runs on this machine; each with whether it was given.
    ///
    /// # Errors
    /// One was given, and a name is a run's.
    pub fn refuse(&self, flags: &[(&str, bool)]) -> Result<(), Failure> {
        let flag = flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
        match (flag, self.local.first()) {
            (Some(flag), Some(run)) => Err(Failure::usage(format!(
                "{flag} is for workflows on a cluster, and {run} is a run on this machine; name a cluster with --namespace, \
                 --context or --kubeconfig, or leave out {flag}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Refuses names that are runs on this machine, for a command that only a cluster understands.
///
/// # Errors
/// A name is a run's, and no flag says that a cluster is meant.
pub fn none_local(global: &Global, command: &str, names: &[String]) -> Result<(), Failure> {
    match Sorted::of(global, names)?.local.first() {
        None => Ok(()),
        Some(run) => Err(Failure::usage(format!(
            "{run} is a run on this machine, which `tiphys {command}` knows nothing of; for a workflow of that name on a \
             cluster, add --namespace, --context or --kubeconfig"
        ))),
    }
}

/// Where there is no cluster, what has been looked for on this machine as well.
pub fn neither(error: Failure, names: &[String]) -> Failure {
    match names.first() {
        Some(name) if error.is_nowhere() => Failure::usage(format!(
            "there is no run {name:?} on this machine (`tiphys runs` lists what there is), and {}",
            error.message().unwrap_or_default()
        )),
        _ => error,
    }
}

impl Cluster {
    async fn connect(global: &Global) -> Result<Cluster, Failure> {
        let Place { kubeconfig, context, cluster, user, impersonate, impersonate_groups, .. } = global.place.clone();
        let access = Access { kubeconfig, context, cluster, user, impersonate, impersonate_groups };
        let (api, namespace) = connect(&access).await.map_err(|error| match error {
            ConnectError::Nowhere => Failure::nowhere(error),
            error => Failure::usage(error),
        })?;
        let namespace = settings::namespace(global).unwrap_or(namespace);
        let (instance_id, source) = (settings::instance_id(global), Source::of(global)?);
        Ok(Cluster { api, namespace, instance_id, source, database: OnceCell::new() })
    }

    /// The same cluster, and another of its namespaces.
    fn of(&self, namespace: String) -> Cluster {
        let Cluster { api, instance_id, source, database, .. } = self;
        Cluster {
            api: api.clone(),
            namespace,
            instance_id: instance_id.clone(),
            source: source.clone(),
            database: database.clone(),
        }
    }

    /// The controller's database.
    async fn database(&self) -> Result<&Database, DatabaseError> {
        let open = || async {
            match &self.source {
                Source::Named(address) => Database::named(address, &self.instance_id).await,
                Source::Configured(namespace, name) => {
                    let place = (namespace.as_deref(), name.as_str());
                    Database::configured(&self.api, place, &self.namespace, &self.instance_id).await
                }
            }
        };
        self.database.get_or_try_init(open).await
    }

    /// The objects of a kind in the namespace, or in the cluster where the kind has none.
    fn objects(&self, kind: Kind) -> Collection {
        kind.within(if kind == Kind::ClusterWorkflowTemplate { "" } else { &self.namespace })
    }

    /// What makes an object this controller's, as a label selector.
    fn instance_selector(&self) -> String {
        match self.instance_id.as_str() {
            "" => format!("!{}", label::CONTROLLER_INSTANCE_ID),
            instance => format!("{}={instance}", label::CONTROLLER_INSTANCE_ID),
        }
    }
}
