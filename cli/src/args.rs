//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Runs Argo Workflows on this machine: no cluster, no container engine, no root.
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
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn", hide_possible_values = true)]
    pub log_level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
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
    /// Run a workflow and show it
    Run(Box<RunArgs>),
    /// List the runs
    Runs(RunsArgs),
    /// Show a run
    Get(GetArgs),
    /// Print what a run's steps wrote
    Logs(LogsArgs),
    /// Go on with a suspended run, or with one whose process was killed
    Resume(ResumeArgs),
    /// Run a failed run again from where it failed
    Retry(RetryArgs),
    /// Start nothing more of a run until it is resumed
    Suspend(RunName),
    /// End a run gracefully: its exit handlers run
    Stop(RunName),
    /// End a run at once
    Terminate(RunName),
    /// Find mistakes in manifests
    Lint(LintArgs),
    /// Manage the images that steps run in
    #[command(subcommand)]
    Image(ImageCommand),
    /// Print the version
    Version,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct RunName {
    /// The run
    pub run: String,
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

#[derive(Debug, Args)]
pub struct GetArgs {
    /// The run
    pub run: String,
    /// How to print it
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run
    pub run: String,
    /// Only of this node: its id, name or short name
    pub node: Option<String>,
    /// Go on until the run ends
    #[arg(long, short)]
    pub follow: bool,
    /// Only of this container; init and wait are the executor's own
    #[arg(long, short)]
    pub container: Option<String>,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run
    pub run: String,
    /// Only this suspended node: its id, name or short name
    #[arg(long)]
    pub node: Option<String>,
    /// Supply an output parameter of the suspended node
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Print the finished Workflow on standard output, where this process drives the run
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The run
    pub run: String,
    /// Set a parameter of the workflow
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Run steps that went well again, too: those that --node-field-selector selects
    #[arg(long, requires = "node_field_selector")]
    pub restart_successful: bool,
    /// Steps, such as displayName=build,templateName!=test
    #[arg(long, value_name = "SELECTOR", default_value = "")]
    pub node_field_selector: String,
    /// Print the finished Workflow on standard output
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct LintArgs {
    #[command(flatten)]
    pub manifests: Manifests,
    /// Unknown fields are mistakes too
    #[arg(long)]
    pub strict: bool,
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
