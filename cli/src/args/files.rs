//! Arguments of commands that write files or read nothing else, with the Argo CLI's names.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct CopyArgs {
    /// The workflow; @latest is the one created last
    pub workflow: String,
    /// Folder that the artifacts come into
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Only of this node
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Only of nodes of this template
    #[arg(long, value_name = "TEMPLATE")]
    pub template_name: Option<String>,
    /// Only artifacts of this name
    #[arg(long, value_name = "NAME")]
    pub artifact_name: Option<String>,
    /// Where in the folder an artifact's file comes; {namespace}, {workflowName}, {nodeId}, {templateName} and {artifactName}
    /// are put in
    #[arg(long, value_name = "PATH", default_value = "{namespace}/{workflowName}/{nodeId}/outputs/{artifactName}")]
    pub path: String,
}

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Files, folders or addresses (http, https) of manifests, - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t = ConvertOutput::Yaml)]
    pub output: ConvertOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConvertOutput {
    Yaml,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum ExecutorPluginCommand {
    /// Make the ConfigMap that declares a plugin, and its README, from a folder with plugin.yaml and server.*
    Build {
        /// The folder
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}
