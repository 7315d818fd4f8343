//! Arguments of `tiphys archive`, with the Argo CLI's names.

use clap::{Args, Subcommand};

use super::{Afterwards, Again, GetOutput, Output, Rerun, Selectors};

#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// List archived workflows
    List(ArchiveListArgs),
    /// Show archived workflows
    Get(ArchiveGetArgs),
    /// Delete workflows from the archive
    Delete(ArchiveDeleteArgs),
    /// Submit archived workflows once more, as new ones
    Resubmit(ArchiveResubmitArgs),
    /// Bring failed workflows back from the archive and run them again from where they failed
    Retry(ArchiveRetryArgs),
    /// List the names of labels that archived workflows have
    ListLabelKeys,
    /// List the values that a label has in the archive
    ListLabelValues(LabelValuesArgs),
}

/// What the names of archived workflows are.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Identified {
    /// They are names, whatever they look like
    #[arg(long = "name", conflicts_with = "uid")]
    pub by_name: bool,
    /// They are UIDs, whatever they look like
    #[arg(long = "uid")]
    pub uid: bool,
}

#[derive(Debug, Args)]
pub struct ArchiveListArgs {
    /// Of all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Workflows with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub selector: String,
    /// Get so many from the database at a time; 0 means all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub chunk_size: u32,
    /// How to print them
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct ArchiveGetArgs {
    /// Names or UIDs of workflows
    #[arg(value_name = "WORKFLOW", required = true)]
    pub workflows: Vec<String>,
    #[command(flatten)]
    pub identified: Identified,
    /// How to print them; short is the tree alone
    #[arg(long, short, value_enum)]
    pub output: Option<GetOutput>,
}

#[derive(Debug, Args)]
pub struct ArchiveDeleteArgs {
    /// Names or UIDs of workflows
    #[arg(value_name = "WORKFLOW", required = true)]
    pub workflows: Vec<String>,
    #[command(flatten)]
    pub identified: Identified,
}

#[derive(Debug, Args)]
pub struct ArchiveResubmitArgs {
    /// Names or UIDs of workflows
    #[arg(value_name = "WORKFLOW", required_unless_present_any = ["selector", "field_selector"])]
    pub workflows: Vec<String>,
    #[command(flatten)]
    pub identified: Identified,
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

#[derive(Debug, Args)]
pub struct ArchiveRetryArgs {
    /// Names or UIDs of workflows
    #[arg(value_name = "WORKFLOW", required_unless_present_any = ["selector", "field_selector"])]
    pub workflows: Vec<String>,
    #[command(flatten)]
    pub identified: Identified,
    #[command(flatten)]
    pub selectors: Selectors,
    #[command(flatten)]
    pub rerun: Rerun,
    #[command(flatten)]
    pub afterwards: Afterwards,
    /// How to print the workflow
    #[arg(long, short, value_enum)]
    pub output: Option<Output>,
}

#[derive(Debug, Args)]
pub struct LabelValuesArgs {
    /// The label's name
    #[arg(long, short = 'l', value_name = "LABEL")]
    pub selector: String,
}
