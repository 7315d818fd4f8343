//! The command line. Names are Argo's where it has the option.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser};
use jiff::tz::TimeZone;
use serde_json::json;
use tiphys_api::{Field as _, WorkflowSpec};
use tiphys_contract::env;
use tiphys_engine::EngineConfig;
use tiphys_kubernetes::Access;
use tiphys_oci::Registries;
use tiphys_podspec::{Layout, PodConfig};

use crate::argo_options::ArgoOptions;
use crate::cluster::Limits;
use crate::config::{Config, Propagation};
use crate::engine_options::EngineOptions;
use crate::persistence::PersistenceOptions;
use crate::pod_options::PodOptions;
use crate::pprof::PprofOptions;
use crate::shards::TermOptions;
use crate::workflow::{CacheGc, ExecutorPlugins, Memoization};

/// Runs the workflows of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "tiphys-controller", version)]
pub struct Options {
    /// Name of the ConfigMap with the configuration
    #[arg(long, default_value = "workflow-controller-configmap", env = "ARGO_CONFIGMAP")]
    pub configmap: String,
    /// Image of the executor, whatever the ConfigMap names; where neither does, the one of this version
    #[arg(long, env = "ARGO_EXECUTOR_IMAGE", value_name = "IMAGE")]
    pub executor_image: Option<String>,
    /// Pull policy of the executor's image, whatever the ConfigMap names
    #[arg(long, env = "ARGO_EXECUTOR_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub executor_image_pull_policy: Option<String>,
    /// Look at the controller's own namespace only
    #[arg(long, env = "ARGO_NAMESPACED")]
    pub namespaced: bool,
    /// Look at this namespace only
    #[arg(long, env = "ARGO_MANAGED_NAMESPACE", default_value = "")]
    pub managed_namespace: String,
    /// The controller's own namespace, where its ConfigMap is; in a Pod the Pod's
    #[arg(long, short = 'n', env = "TIPHYS_NAMESPACE")]
    pub namespace: Option<String>,
    /// The kubeconfig that is used, in place of `KUBECONFIG`, `~/.kube/config` or what the Pod has
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig in place of its current one
    #[arg(long)]
    pub context: Option<String>,
    /// A cluster of the kubeconfig in place of the context's
    #[arg(long)]
    pub cluster: Option<String>,
    /// A user of the kubeconfig in place of the context's
    #[arg(long)]
    pub user: Option<String>,
    /// Where executors deliver results: auto, annotations, termination-message or taskresult
    #[arg(long, env = "TIPHYS_RESULTS", default_value = "auto", value_parser = ["auto", "annotations", "termination-message", "taskresult"])]
    pub results: String,
    /// Shape of steps' Pods: `legacy` (init, wait and main, as Argo makes them), `image-volume` (no init container; for
    /// clusters that mount images), `solo` (main alone where nothing is wanted of a step but how it ends, else legacy),
    /// `auto` (main alone where that will do, else image-volume where the cluster mounts images, else legacy). Where nothing is
    /// said it is `solo`, and `legacy` for a shadow
    #[arg(long, env = "TIPHYS_LAYOUT", value_enum)]
    pub layout: Option<PodLayout>,
    /// Where memoized results are kept: in ConfigMaps, of at most 1 MiB each, or in the artifact repository, as
    /// `caches/NAMESPACE/NAME/KEY`
    #[arg(long, env = "TIPHYS_MEMOIZATION", default_value = "config-map", value_enum)]
    pub memoization: Memoization,
    /// Time zone of CronWorkflows' schedules that name none, as `Europe/Berlin`
    #[arg(long, env = "TZ", default_value = "UTC", value_parser = time_zone)]
    pub timezone: TimeZone,
    /// Into how many shards workflows are divided, which replicas share among them; with 1 one replica works at a time.
    /// The same for all replicas
    #[arg(long, env = "TIPHYS_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub shards: u32,
    /// Tells replicas apart; in a Pod its name
    #[arg(long, env = "LEADER_ELECTION_IDENTITY")]
    pub identity: Option<String>,
    /// Works without waiting for other replicas to end
    #[arg(long, env = "LEADER_ELECTION_DISABLE")]
    pub no_leader_election: bool,
    /// How long replicas wait for each other
    #[command(flatten)]
    pub terms: TermOptions,
    /// Looks on while another controller works, changes nothing, and tells where this one would do something else. No request
    /// but get, list and watch leaves it
    #[arg(long, env = "TIPHYS_SHADOW")]
    pub shadow: bool,
    /// What others add to Pods, and is no difference: how its place in the Pod begins, as `.spec.containers[2]`
    #[arg(long, env = "TIPHYS_SHADOW_IGNORE", value_delimiter = ',', value_name = "PLACE", requires = "shadow")]
    pub shadow_ignore: Vec<String>,
    /// Looks for images of HOST at URL first, to learn what they run; may be given more than once
    #[arg(long, value_name = "HOST=URL", env = "TIPHYS_REGISTRY_MIRRORS", value_delimiter = ',')]
    pub registry_mirror: Vec<String>,
    /// Fields of a spec that a workflow may set in spite of workflowRestrictions, beside Argo's
    #[arg(long, env = "WORKFLOW_USER_OVERRIDE_ALLOWLIST", value_delimiter = ',', value_parser = field, value_name = "FIELD")]
    pub allow_override: Vec<String>,
    /// Runs the executor plugins that ConfigMaps declare beside the agents of workflows
    #[arg(long, env = "ARGO_EXECUTOR_PLUGINS")]
    pub executor_plugins: bool,
    /// Lets workflows bring executor plugins of their own (spec.executorPlugins)
    #[arg(long, env = "ARGO_WORKFLOW_LEVEL_EXECUTOR_PLUGINS")]
    pub workflow_level_executor_plugins: bool,
    /// Does not estimate how long workflows and their nodes will take
    #[arg(long, env = "SKIP_WORKFLOW_DURATION_ESTIMATION")]
    pub no_estimates: bool,
    /// Whether the artifacts of workflows that say so are deleted (artifactGC)
    #[arg(long, env = "ARGO_ARTIFACT_GC_ENABLED", default_value_t = true, action = ArgAction::Set, value_parser = unless_no, value_name = "BOOL")]
    pub artifact_gc: bool,
    /// Whether the finalizer of workflows' volume claims is removed, so that they go while Pods that are over name them
    #[arg(long, env = "ARGO_REMOVE_PVC_PROTECTION_FINALIZER", default_value_t = true, action = ArgAction::Set, value_parser = unless_no, value_name = "BOOL")]
    pub remove_claim_protection: bool,
    /// How what belongs to a workflow goes that is deleted when its time is over, or there are too many
    #[arg(long, env = "WF_DEL_PROPAGATION_POLICY", default_value = "Background", value_parser = propagation, value_name = "Background|Foreground|Orphan")]
    pub delete_propagation: Propagation,
    /// Port of /healthz and /readyz; 0 for none
    #[arg(long, env = "TIPHYS_HEALTH_PORT", default_value_t = 6060)]
    pub health_port: u16,
    /// Whether it can be profiled
    #[command(flatten)]
    pub pprof: PprofOptions,
    /// What is logged, by the controller and by its executors
    #[arg(long, env = "ARGO_LOGLEVEL", default_value = "info", value_parser = level, value_name = "error|warn|info|debug")]
    pub loglevel: String,
    /// Form of the log
    #[arg(long, env = "ARGO_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"], ignore_case = true)]
    pub log_format: String,
    /// What Pods are told and given
    #[command(flatten)]
    pub pods: PodOptions,
    /// How workflows are run
    #[command(flatten)]
    pub engine: EngineOptions,
    /// How many requests are under way at a time
    #[command(flatten)]
    pub limits: Limits,
    /// When entries of caches are removed
    #[command(flatten)]
    pub cache_gc: CacheGc,
    /// How often the database is tidied up
    #[command(flatten)]
    pub persistence: PersistenceOptions,
    /// What Argo's controller takes besides
    #[command(flatten)]
    pub argo: ArgoOptions,
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    tiphys_engine::cron::time_zone(name, &TimeZone::UTC)
}

/// Yes or no, in the words of Go; nothing is no, as Argo leaves out variables that are empty.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// The same, where nothing is yes.
fn unless_no(text: &str) -> Result<bool, String> {
    if text.is_empty() { Ok(true) } else { switch(text) }
}

fn propagation(text: &str) -> Result<Propagation, String> {
    match text {
        "" | "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        _ => Err("expected Background, Foreground or Orphan".to_owned()),
    }
}

/// A field of a workflow's spec. argo: workflow/util/merge.go, parseUserOverrideAllowlist
fn field(text: &str) -> Result<String, String> {
    let field = text.trim();
    let spec = WorkflowSpec::schema(&mut Vec::new());
    if field.is_empty() || spec["properties"].get(field).is_some() {
        return Ok(field.to_owned());
    }
    Err("a workflow's spec has no such field".to_owned())
}

/// What is logged, also by names that Argo had before. argo: util/logging/logging.go, `ParseLevel`
fn level(text: &str) -> Result<String, String> {
    let level = match text.to_lowercase().as_str() {
        "trace" | "debug" => "debug",
        "" | "info" | "print" => "info",
        "warn" => "warn",
        "error" | "fatal" | "panic" => "error",
        _ => return Err("expected error, warn, info or debug".to_owned()),
    };
    Ok(level.to_owned())
}

/// The shape of Pods, by the names of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PodLayout {
    /// init, wait and main
    Legacy,
    /// supervisor and main
    ImageVolume,
    /// main alone where that will do, else as legacy
    Solo,
    /// main alone where that will do, else whatever the cluster can do
    Auto,
}

impl Options {
    /// Reads the command line and the environment. What is yes or no may have a value, as `--namespaced=true`; a variable that is
    /// empty is as good as unset, as with Argo.
    ///
    /// # Errors
    /// It is not understood, or asks for the help or the version.
    pub fn read(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Options, clap::Error> {
        let matches = Options::definition().try_get_matches_from(arguments)?;
        Options::from_arg_matches(&matches)
    }

    fn definition() -> clap::Command {
        let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        let set = Options::command().mut_args(|argument| {
            let unset = argument.get_env().is_some_and(is_empty);
            if unset { argument.env(Resettable::Reset) } else { argument }
        });
        set.mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true)
                .value_parser(switch)
                .value_name("BOOL"),
            _ => argument,
        })
    }

    /// Which cluster is meant.
    pub fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            ..Access::default()
        }
    }

    /// The shape of steps' Pods.
    pub fn layout(&self) -> PodLayout {
        // As the controller has it that a shadow looks at.
        self.layout.unwrap_or(if self.shadow { PodLayout::Legacy } else { PodLayout::Solo })
    }

    /// The registries that are asked what images run.
    ///
    /// # Errors
    /// A mirror is not `HOST=URL`.
    pub fn registries(&self) -> Result<Registries, tiphys_oci::Error> {
        self.registry_mirror.iter().try_fold(Registries::new(), |registries, mirror| registries.with_mirror(mirror))
    }

    /// Who this replica is.
    pub fn identity(&self) -> String {
        let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        let named = self.identity.clone().or_else(host).unwrap_or_else(|| "tiphys-controller".to_owned());
        // Two on one machine, and one that is started again, are not the same.
        format!("{named}_{}", std::process::id())
    }

    /// What they say about the configuration.
    pub fn config(&self) -> Config {
        let mut pod = PodConfig {
            layout: match self.layout() {
                PodLayout::ImageVolume => Layout::ImageVolume,
                // What the cluster can do is found out while the controller runs.
                PodLayout::Legacy | PodLayout::Solo | PodLayout::Auto => Layout::Legacy,
            },
            solo: matches!(self.layout(), PodLayout::Solo | PodLayout::Auto),
            executor_image: self.executor_image.clone().unwrap_or_default(),
            executor_image_pull_policy: self.executor_image_pull_policy.clone().unwrap_or_default(),
            log_level: self.loglevel.clone(),
            log_format: self.log_format.clone(),
            ..self.pods.apply(PodConfig::default())
        };
        pod.executor.env.push(json!({"name": env::RESULT_SINK, "value": self.results}));
        let allowed_overrides = self.allow_override.iter().filter(|field| !field.is_empty()).cloned().collect();
        Config {
            pod,
            allowed_overrides,
            executor_plugins: ExecutorPlugins {
                declared: self.executor_plugins,
                of_workflows: self.workflow_level_executor_plugins,
            },
            limits: self.persistence.limits(),
            shards: self.shards,
            memoization: self.memoization,
            cache_gc: self.cache_gc.clone(),
            shadow: self.shadow,
            no_estimates: self.no_estimates,
            keeps_artifacts: !self.artifact_gc,
            protects_claims: !self.remove_claim_protection,
            propagation: self.delete_propagation,
            engine_base: self.engine.apply(EngineConfig::default()),
            time_zone: Some(self.timezone.clone()),
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[&str]) -> Result<Options, clap::Error> {
        Options::read(["tiphys-controller"].iter().chain(more))
    }

    #[test]
    fn options_do_not_get_in_each_others_way() {
        Options::definition().debug_assert();
    }

    #[test]
    fn artifacts_are_collected_unless_that_is_switched_off() {
        let kept = |more: &[&str]| read(more).unwrap().config().keeps_artifacts;
        assert!(!kept(&[]) && !kept(&["--artifact-gc", "true"]) && kept(&["--artifact-gc", "false"]));
    }

    #[test]
    fn what_is_yes_or_no_may_have_a_value() {
        let namespaced = |more: &[&str]| read(more).map(|options| options.namespaced).ok();
        assert_eq!(namespaced(&[]), Some(false));
        for (flag, means) in [
            ("--namespaced", Some(true)),
            ("--namespaced=true", Some(true)),
            ("--namespaced=1", Some(true)),
            ("--namespaced=False", Some(false)),
            ("--namespaced=yes", None),
        ] {
            assert_eq!(namespaced(&[flag, "--configmap", "c"]), means, "{flag}");
        }
        // A word that follows is not its value.
        assert_eq!(namespaced(&["--namespaced", "true"]), None);
    }

    #[test]
    fn fields_that_may_be_overridden_are_fields() {
        let allowed =
            |fields: &str| read(&["--allow-override", fields]).map(|options| options.config().allowed_overrides);
        assert_eq!(
            allowed("volumes, podSpecPatch,").unwrap(),
            ["podSpecPatch".to_owned(), "volumes".to_owned()].into()
        );
        assert!(allowed("volumes,podSpecPach").unwrap_err().to_string().contains("'podSpecPach'"));
    }

    #[test]
    fn what_is_deleted_and_how() {
        let config = |more: &[&str]| read(more).map(|options| options.config());
        let usual = config(&[]).unwrap();
        assert_eq!((usual.propagation, usual.protects_claims), (Propagation::Background, false));
        let other = config(&["--delete-propagation=Foreground", "--remove-claim-protection=false"]).unwrap();
        assert_eq!((other.propagation, other.protects_claims), (Propagation::Foreground, true));
        assert!(config(&["--delete-propagation", "background"]).is_err());
        // Variables that are empty are as good as unset.
        assert_eq!(config(&["--delete-propagation="]).unwrap().propagation, Propagation::Background);
        assert!(!config(&["--remove-claim-protection=", "--artifact-gc="]).unwrap().protects_claims);
    }

    #[test]
    fn a_shadow_makes_pods_as_the_controller_that_it_looks_at() {
        let layout = |more: &[&str]| read(more).unwrap().layout();
        assert_eq!(layout(&[]), PodLayout::Solo);
        assert_eq!(layout(&["--shadow"]), PodLayout::Legacy);
        assert_eq!(layout(&["--shadow=true", "--layout", "auto"]), PodLayout::Auto);
    }

    #[test]
    fn levels_have_the_names_that_argo_takes() {
        let level = |level: &str| read(&["--loglevel", level]).map(|options| options.loglevel).ok();
        for (named, means) in [("WARN", "warn"), ("trace", "debug"), ("print", "info"), ("fatal", "error")] {
            assert_eq!(level(named).as_deref(), Some(means));
        }
        assert_eq!(level("loud"), None);
    }

    #[test]
    fn the_cluster_is_found_as_kubectl_finds_it() {
        let options = read(&["--kubeconfig=/k", "--context", "c", "--cluster=l", "--user", "u"]).unwrap();
        let Access { kubeconfig, context, cluster, user, .. } = options.access();
        assert_eq!(kubeconfig.as_deref(), Some(std::path::Path::new("/k")));
        assert_eq!((context.as_deref(), cluster.as_deref(), user.as_deref()), (Some("c"), Some("l"), Some("u")));
    }
}
