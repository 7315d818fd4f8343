//! The command line.

mod archive;
mod cluster;
mod files;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use archive::*;
pub use cluster::*;
pub use files::*;

/// Runs Argo Workflows: on this machine, with no cluster, no container engine and no root; or on a cluster.
///
/// `run`, `runs` and `image` are about this machine; `submit`, `list`, `watch`, `wait`, `delete`, `resubmit`, `node`,
/// `cp`, `template`, `cluster-template`, `cron` and `archive` about a cluster. The others take a NAME of either: with --namespace, --context or
/// --kubeconfig it is a workflow on that cluster; else a run on this machine where there is one of that name; else a
/// workflow on the cluster of the kubeconfig, or of the Pod that this program is in.
#[derive(Debug, Parser)]
#[command(name = "tiphys", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Folder for runs and images [default: $XDG_DATA_HOME/tiphys or ~/.local/share/tiphys]
    #[arg(long, global = true, value_name = "FOLDER", env = "TIPHYS_DATA", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Show only what went wrong
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show more
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Do not use colours (nor does it when NO_COLOR is set)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Least important messages to show of the program's own workings and of its executors
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "warn",
        hide_possible_values = true,
        alias = "loglevel"
    )]
    pub log_level: Level,
    /// Form of those messages
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = LogFormat::Text, hide_default_value = true)]
    pub log_format: LogFormat,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workflow on this machine and show it
    Run(Box<RunArgs>),
    /// List the runs on this machine
    Runs(RunsArgs),
    /// Submit workflows to a cluster
    Submit(Box<SubmitArgs>),
    /// List the workflows on a cluster
    List(ListArgs),
    /// Show a run or workflow
    Get(GetArgs),
    /// Show a workflow on a cluster until it is over
    Watch(WatchArgs),
    /// Wait until workflows on a cluster are over
    Wait(WaitArgs),
    /// Print what the steps of a run or workflow wrote
    Logs(Box<LogsArgs>),
    /// Start nothing more of a run or workflow until it is resumed
    Suspend(NamesArgs),
    /// Go on with a suspended run or workflow, or with a run whose process was killed
    Resume(ResumeArgs),
    /// End a run or workflow gracefully: its exit handlers run
    Stop(StopArgs),
    /// End a run or workflow at once
    Terminate(TerminateArgs),
    /// Run a failed run or workflow again from where it failed
    Retry(RetryArgs),
    /// Submit workflows on a cluster once more, as new ones
    Resubmit(ResubmitArgs),
    /// Delete workflows on a cluster
    Delete(DeleteArgs),
    /// Copy artifacts of a workflow on a cluster into a folder
    #[command(name = "cp")]
    Copy(CopyArgs),
    /// Change nodes of a workflow on a cluster
    #[command(subcommand)]
    Node(NodeCommand),
    /// Manage workflow templates on a cluster
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Manage cluster workflow templates
    #[command(subcommand, visible_aliases = ["cwftmpl", "cwft"])]
    ClusterTemplate(TemplateCommand),
    /// Manage cron workflows on a cluster
    #[command(subcommand, visible_aliases = ["cronwf", "cwf"])]
    Cron(CronCommand),
    /// Ask the archive of finished workflows
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Find mistakes in manifests
    Lint(LintArgs),
    /// Manage the images that steps run in
    #[command(subcommand)]
    Image(ImageCommand),
    /// Write manifests with fields of old versions as they are written today
    Convert(ConvertArgs),
    /// Make what declares an executor plugin
    #[command(subcommand)]
    ExecutorPlugin(ExecutorPluginCommand),
    /// Print the version
    Version {
        /// Print the number alone
        #[arg(long)]
        short: bool,
    },
    /// Print completions for a shell
    #[command(visible_alias = "completion")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Runs or workflows; @latest is the workflow created last
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Runs or workflows; @latest is the workflow created last
    #[arg(value_name = "NAME", required_unless_present_any = ["selector", "field_selector"])]
    pub names: Vec<String>,
    #[command(flatten)]
    pub selectors: Selectors,
    /// Fail these suspend nodes instead, such as displayName=approve; on a cluster
    #[arg(long, value_name = "SELECTOR")]
    pub node_field_selector: Option<String>,
    /// Message of those nodes
    #[arg(long, requires = "node_field_selector", default_value = "", hide_default_value = true)]
    pub message: String,
    /// Stop nothing, but print what would be stopped; on a cluster
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct TerminateArgs {
    /// Runs or workflows; @latest is the workflow created last
    #[arg(value_name = "NAME", required_unless_present_any = ["selector", "field_selector"])]
    pub names: Vec<String>,
    #[command(flatten)]
    pub selectors: Selectors,
    /// Terminate nothing, but print what would be terminated; on a cluster
    #[arg(long)]
    pub dry_run: bool,
}

/// Where manifests come from.
#[derive(Debug, Clone, Args)]
pub struct Manifests {
    /// Files, folders or addresses (http, https) of manifests, - for standard input; the first Workflow in them runs
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// A further file or folder whose documents (templates, ConfigMaps, Secrets) can be referred to
    #[arg(long = "with", value_name = "PATH")]
    pub with: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub manifests: Manifests,
    /// Run this instead: workflowtemplate/NAME, clusterworkflowtemplate/NAME or cronworkflow/NAME
    #[arg(long, value_name = "KIND/NAME")]
    pub from: Option<String>,
    /// Set a parameter of the workflow
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Take parameters from a YAML or JSON file
    #[arg(long, value_name = "FILE")]
    pub parameter_file: Option<PathBuf>,
    /// Begin with this template
    #[arg(long, value_name = "TEMPLATE")]
    pub entrypoint: Option<String>,
    /// Name of the run
    #[arg(long)]
    pub name: Option<String>,
    /// How many steps run at once [default: 4 a processor, at least 16]
    #[arg(long, value_name = "N")]
    pub parallelism: Option<NonZeroUsize>,
    /// Fail the workflow when it takes longer, for instance 90s, 5m or 1h30m
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// What steps run in: their image (oci), this machine (host), or this machine where there is no image (auto)
    #[arg(long, value_enum, default_value_t = RuntimeArg::Auto)]
    pub runtime: RuntimeArg,
    /// Make a file, or the files of a folder, a ConfigMap and a Secret; configmap/ or secret/ before NAME makes it one
    #[arg(long, value_name = "NAME=PATH")]
    pub from_file: Vec<String>,
    /// Ask this registry first for images of HOST
    #[arg(long, value_name = "HOST=URL")]
    pub registry_mirror: Vec<String>,
    /// Keep artifacts in this repository: a file with the controller's `artifactRepository`
    #[arg(long, value_name = "FILE")]
    pub artifact_repository: Option<PathBuf>,
    /// Do not keep the steps' logs as artifacts
    #[arg(long)]
    pub no_archive_logs: bool,
    /// Print the finished Workflow on standard output, and all else on standard error
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuntimeArg {
    Auto,
    Host,
    Oci,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Json,
    Yaml,
    Name,
    Wide,
}

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// How to print them
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Default, Args)]
pub struct GetArgs {
    /// Runs or workflows; @latest is the workflow created last
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How to print them; short is the tree alone
    #[arg(long, short, value_enum)]
    pub output: Option<GetOutput>,
    #[command(flatten)]
    pub nodes: ShownNodes,
    /// Draw the tree in plain ASCII
    #[arg(long)]
    pub no_utf8: bool,
}

/// Which nodes of a workflow are shown.
#[derive(Debug, Clone, Default, Args)]
pub struct ShownNodes {
    /// Only nodes in this phase
    #[arg(long, value_enum, conflicts_with = "node_field_selector")]
    pub status: Option<PhaseArg>,
    /// Only these nodes, such as displayName=build,phase!=Skipped
    #[arg(long, value_name = "SELECTOR")]
    pub node_field_selector: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GetOutput {
    Name,
    Json,
    Yaml,
    Short,
    Wide,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run or workflow; @latest is the workflow created last
    pub name: String,
    /// Only of this node or Pod: a node's id, name or short name, or a Pod's name
    pub node: Option<String>,
    /// Go on until it is over
    #[arg(long, short)]
    pub follow: bool,
    /// Only of this container; init and wait are the executor's own
    #[arg(long, short)]
    pub container: Option<String>,
    /// Only of Pods with these labels; on a cluster
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Of containers that were restarted, what they wrote before; on a cluster
    #[arg(long, short, conflicts_with = "follow")]
    pub previous: bool,
    /// Only what is newer, such as 5s, 2m or 3h; on a cluster
    #[arg(long, value_name = "DURATION", conflicts_with = "since_time")]
    pub since: Option<String>,
    /// Only what was written after this time (RFC 3339); on a cluster
    #[arg(long, value_name = "TIME")]
    pub since_time: Option<String>,
    /// Only the last lines of each container; on a cluster
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Only lines that match this pattern
    #[arg(long, value_name = "PATTERN")]
    pub grep: Option<String>,
    /// With the time of each line; on a cluster
    #[arg(long)]
    pub timestamps: bool,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Runs or workflows; @latest is the workflow created last
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Only this suspended node: its id, name or short name
    #[arg(long, conflicts_with = "node_field_selector")]
    pub node: Option<String>,
    /// Only these suspended nodes, such as displayName=approve; on a cluster
    #[arg(long, value_name = "SELECTOR")]
    pub node_field_selector: Option<String>,
    /// Supply an output parameter of the suspended node
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Print the finished Workflow on standard output, where this process drives the run
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Runs or workflows; @latest is the workflow created last
    #[arg(value_name = "NAME", required_unless_present_any = ["selector", "field_selector"])]
    pub names: Vec<String>,
    #[command(flatten)]
    pub selectors: Selectors,
    #[command(flatten)]
    pub rerun: Rerun,
    #[command(flatten)]
    pub afterwards: Afterwards,
    /// Print the Workflow on standard output: of a run when it is over
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

/// What of a workflow that failed runs again, and with what.
#[derive(Debug, Clone, Args)]
pub struct Rerun {
    /// Set a parameter of the workflow
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Run steps that went well again, too: those that --node-field-selector selects
    #[arg(long, requires = "node_field_selector")]
    pub restart_successful: bool,
    /// Steps, such as displayName=build,templateName!=test
    #[arg(long, value_name = "SELECTOR", default_value = "")]
    pub node_field_selector: String,
}

#[derive(Debug, Args)]
pub struct LintArgs {
    #[command(flatten)]
    pub manifests: Manifests,
    /// Unknown fields are mistakes too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub strict: bool,
    /// How to print mistakes; simple is a line each
    #[arg(long, short, value_enum, default_value_t = LintOutput::Pretty)]
    pub output: LintOutput,
    /// Kinds to look at
    #[arg(long, value_enum, value_name = "KIND,…", value_delimiter = ',', default_value = "all")]
    pub kinds: Vec<LintKind>,
    /// Ask no cluster for templates that are not among the files; with --namespace, --context or --kubeconfig one is asked
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintOutput {
    Pretty,
    Simple,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintKind {
    All,
    Workflows,
    Workflowtemplates,
    Clusterworkflowtemplates,
    Cronworkflows,
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Take images from an OCI layout or a docker archive
    Import {
        /// The archive or folder
        file: PathBuf,
        /// The image's name, where the archive does not say it
        name: Option<String>,
    },
    /// List the images
    List,
    /// Forget images, and free what only they need
    Rm {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Get images from their registries
    Pull {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Ask this registry first for images of HOST
        #[arg(long, value_name = "HOST=URL")]
        registry_mirror: Vec<String>,
    },
}
