//! Arguments of commands that a cluster answers, with the Argo CLI's names.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{LintOutput, Output, ShownNodes};

/// Which cluster, and where in it.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// Namespace on the cluster [default: $ARGO_NAMESPACE or the context's]
    #[arg(long, short, global = true, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "CONTEXT", help_heading = "Cluster")]
    pub context: Option<String>,
    /// Kubeconfig [default: $KUBECONFIG or ~/.kube/config, else the Pod's service account]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Cluster of the kubeconfig [default: the context's]
    #[arg(long, global = true, value_name = "CLUSTER", help_heading = "Cluster")]
    pub cluster: Option<String>,
    /// User of the kubeconfig [default: the context's]
    #[arg(long, global = true, value_name = "USER", help_heading = "Cluster")]
    pub user: Option<String>,
    /// Act as this user, where the cluster lets you
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Cluster")]
    pub impersonate: Option<String>,
    /// Act as a member of this group
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate", help_heading = "Cluster")]
    pub impersonate_groups: Vec<String>,
    /// Instance ID of the controller that workflows are for [default: $ARGO_INSTANCEID]
    #[arg(long = "instanceid", global = true, value_name = "ID", help_heading = "Cluster")]
    pub instance_id: Option<String>,
    /// Where the controller's ConfigMap is, which names its database [default: $TIPHYS_CONTROLLER, the namespace or argo]
    #[arg(long, global = true, value_name = "NAMESPACE[/NAME]", help_heading = "Cluster")]
    pub controller: Option<String>,
    /// The controller's database: postgres://USER@HOST/NAME, mysql://USER@HOST/NAME or sqlite:FILE, its password in
    /// $TIPHYS_ARCHIVE_PASSWORD [default: $TIPHYS_ARCHIVE, else what the ConfigMap says]
    #[arg(long, global = true, value_name = "ADDRESS", help_heading = "Cluster")]
    pub archive: Option<String>,
}

impl Place {
    /// The first of the flags that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.namespace.is_some(), "--namespace"),
            (self.context.is_some(), "--context"),
            (self.kubeconfig.is_some(), "--kubeconfig"),
            (self.instance_id.is_some(), "--instanceid"),
            (self.cluster.is_some(), "--cluster"),
            (self.user.is_some(), "--user"),
            (self.impersonate.is_some(), "--as"),
            (self.controller.is_some(), "--controller"),
            (self.archive.is_some(), "--archive"),
        ];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}

/// What a workflow that is submitted gets besides what its manifest says.
#[derive(Debug, Clone, Default, Args)]
pub struct SubmitOptions {
    /// Name of the workflow
    #[arg(long)]
    pub name: Option<String>,
    /// Beginning of the name of the workflow
    #[arg(long, value_name = "PREFIX")]
    pub generate_name: Option<String>,
    /// Begin with this template
    #[arg(long, value_name = "TEMPLATE")]
    pub entrypoint: Option<String>,
    /// Set a parameter of the workflow
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Take parameters from a YAML or JSON file
    #[arg(long, short = 'f', value_name = "FILE")]
    pub parameter_file: Option<PathBuf>,
    /// Labels of the workflow
    #[arg(long, short, value_name = "NAME=VALUE,…", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Service account of the workflow's Pods
    #[arg(long = "serviceaccount", value_name = "NAME")]
    pub service_account: Option<String>,
}

/// What is done once a workflow is there.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Afterwards {
    /// Wait until it is over; exit status 1 if it failed
    #[arg(long, short, conflicts_with = "watch")]
    pub wait: bool,
    /// Show it until it is over; exit status 1 if it failed
    #[arg(long)]
    pub watch: bool,
    /// Print what its steps write until it is over; exit status 1 if it failed
    #[arg(long)]
    pub log: bool,
}

/// Which workflows, besides those that are named.
#[derive(Debug, Clone, Default, Args)]
pub struct Selectors {
    /// Workflows with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// Workflows with these fields, such as metadata.name
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub field_selector: String,
}

impl Selectors {
    /// Whether anything is selected.
    pub fn is_given(&self) -> bool {
        !self.selector.is_empty() || !self.field_selector.is_empty()
    }
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Files, folders or addresses (http, https) of manifests, - for standard input; each Workflow in them is submitted
    #[arg(value_name = "FILE", required_unless_present = "from", conflicts_with = "from")]
    pub files: Vec<String>,
    /// Submit this instead: workflowtemplate/NAME, clusterworkflowtemplate/NAME or cronworkflow/NAME of the cluster
    #[arg(long, value_name = "KIND/NAME")]
    pub from: Option<String>,
    #[command(flatten)]
    pub options: SubmitOptions,
    #[command(flatten)]
    pub afterwards: Afterwards,
    #[command(flatten)]
    pub nodes: ShownNodes,
    /// Priority of the workflow
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Time for which the workflow runs (RFC 3339), with --from cronworkflow/NAME
    #[arg(long, value_name = "TIME", requires = "from")]
    pub scheduled_time: Option<String>,
    /// Unknown fields are mistakes too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub strict: bool,
    /// Make no workflow, but print what would be sent
    #[arg(long, requires = "output", conflicts_with_all = ["wait", "watch", "log", "server_dry_run"])]
    pub dry_run: bool,
    /// Make no workflow, but print what the server would make of it
    #[arg(long, requires = "output", conflicts_with_all = ["wait", "watch", "log"])]
    pub server_dry_run: bool,
    /// How to print the workflow
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

/// Which workflows of a list.
#[derive(Debug, Clone, Default, Args)]
pub struct Filters {
    /// Of all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Whose name begins so
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// That were over before this time, such as 10m, 3h or 1d
    #[arg(long, value_name = "DURATION")]
    pub older: Option<String>,
    /// In one of these phases
    #[arg(long, value_name = "PHASE,…", value_delimiter = ',')]
    pub status: Vec<String>,
    /// That are over
    #[arg(long)]
    pub completed: bool,
    /// That were made from another one by resubmit
    #[arg(long)]
    pub resubmitted: bool,
    #[command(flatten)]
    pub selectors: Selectors,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub filters: Filters,
    /// That are not over
    #[arg(long, conflicts_with = "completed")]
    pub running: bool,
    /// That were created within this time, such as 10m, 3h or 1d
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Get so many from the server at a time; 0 means all
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub chunk_size: u32,
    /// Print no line with the columns' names
    #[arg(long)]
    pub no_headers: bool,
    /// How to print them
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The workflow; @latest is the one created last
    pub workflow: String,
    #[command(flatten)]
    pub nodes: ShownNodes,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Workflows; @latest is the one created last
    #[arg(value_name = "WORKFLOW", required = true)]
    pub workflows: Vec<String>,
    /// Do not wait for one that is not there
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Workflows; @latest is the one created last
    #[arg(value_name = "WORKFLOW", required_unless_present_any = [
        "all", "all_namespaces", "prefix", "older", "status", "completed", "resubmitted", "selector", "field_selector",
    ])]
    pub workflows: Vec<String>,
    /// All of the namespace
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filters: Filters,
    /// Get so many from the server at a time; 0 means all
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub query_chunk_size: u32,
    /// Delete nothing, but print what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Remove finalizers, so that they are gone at once
    #[arg(long)]
    pub force: bool,
}

/// What a workflow that is submitted once more gets besides what the old one has.
#[derive(Debug, Args)]
pub struct Again {
    /// Take over what went well in a workflow that failed
    #[arg(long)]
    pub memoized: bool,
    /// Set a parameter of the workflow
    #[arg(long = "parameter", short, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Priority of the workflow
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub priority: Option<i32>,
}

#[derive(Debug, Args)]
pub struct ResubmitArgs {
    /// Workflows; @latest is the one created last
    #[arg(value_name = "WORKFLOW", required_unless_present_any = ["selector", "field_selector"])]
    pub workflows: Vec<String>,
    #[command(flatten)]
    pub selectors: Selectors,
    #[command(flatten)]
    pub again: Again,
    #[command(flatten)]
    pub afterwards: Afterwards,
    /// How to print the workflow
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Set phase, message or outputs of suspend nodes that wait
    Set(NodeSetArgs),
}

#[derive(Debug, Args)]
pub struct NodeSetArgs {
    /// The workflow; @latest is the one created last
    pub workflow: String,
    /// Which suspend nodes, such as displayName=approve
    #[arg(long, value_name = "SELECTOR")]
    pub node_field_selector: String,
    /// Phase to set
    #[arg(long, value_enum)]
    pub phase: Option<PhaseArg>,
    /// Message to set
    #[arg(long, short, default_value = "", hide_default_value = true)]
    pub message: String,
    /// Value of an output parameter that is to be supplied
    #[arg(long = "output-parameter", short = 'p', value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
}

/// Phases of nodes, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PhaseArg {
    Pending,
    Running,
    Succeeded,
    Skipped,
    Failed,
    Error,
}

#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List templates
    List(ObjectListArgs),
    /// Show templates
    Get(ObjectGetArgs),
    /// Create templates
    Create(ObjectFileArgs),
    /// Put templates in place of those of the same name
    Update(ObjectFileArgs),
    /// Delete templates
    Delete(ObjectDeleteArgs),
    /// Find mistakes in manifests of templates
    Lint(ObjectLintArgs),
}

#[derive(Debug, Subcommand)]
pub enum CronCommand {
    /// List cron workflows
    List(ObjectListArgs),
    /// Show cron workflows
    Get(ObjectGetArgs),
    /// Create cron workflows
    Create(Box<CronFileArgs>),
    /// Put cron workflows in place of those of the same name
    Update(Box<CronFileArgs>),
    /// Delete cron workflows
    Delete(ObjectDeleteArgs),
    /// Start nothing on schedule until it is resumed
    Suspend(ObjectNames),
    /// Start on schedule again
    Resume(ObjectNames),
    /// Run a cron workflow for times that have passed
    Backfill(BackfillArgs),
    /// Find mistakes in manifests of cron workflows
    Lint(ObjectLintArgs),
}

#[derive(Debug, Args)]
pub struct ObjectNames {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ObjectListArgs {
    /// Of all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// With these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// How to print them
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct ObjectGetArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How to print them
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct ObjectFileArgs {
    /// Files, folders or addresses (http, https) of manifests, - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// Unknown fields are mistakes too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub strict: bool,
    /// How to print what was made
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct CronFileArgs {
    #[command(flatten)]
    pub file: ObjectFileArgs,
    /// Schedule in place of those of the manifest
    #[arg(long)]
    pub schedule: Option<String>,
    #[command(flatten)]
    pub options: SubmitOptions,
}

#[derive(Debug, Args)]
pub struct ObjectDeleteArgs {
    /// Their names
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// All there are
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct ObjectLintArgs {
    #[command(flatten)]
    pub manifests: super::Manifests,
    /// How to print mistakes; simple is a line each
    #[arg(long, short, value_enum, default_value_t = LintOutput::Pretty)]
    pub output: LintOutput,
    /// Unknown fields are mistakes too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// The cron workflow
    pub name: String,
    /// Name of the backfill, in the names of its workflows [default: random]
    #[arg(long = "name", value_name = "NAME")]
    pub backfill: Option<String>,
    /// First time (RFC 3339, or as in Mon, 02 Jan 2006 15:04:05 UTC)
    #[arg(long, value_name = "TIME")]
    pub start: String,
    /// Last time [default: now]
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// Run all at once, and not one after the other
    #[arg(long)]
    pub parallel: bool,
    /// Parameter of the workflow that says for which time it runs
    #[arg(long = "argname", value_name = "NAME", default_value = "cronScheduleTime")]
    pub argument: String,
    /// Most times that one workflow takes on; more workflows are made for more times
    #[arg(long = "maxworkflowcount", value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub most: u32,
}
