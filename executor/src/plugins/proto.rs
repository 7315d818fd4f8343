//! The messages of Argo's artifact service, as far as both sides must agree on them: names of fields are ours, numbers and
//! types are the wire's (argo: pkg/apiclient/artifact/artifact.proto).

use tiphys_api as api;

/// The service's path; a method's name follows.
pub const SERVICE: &str = "/artifact.ArtifactService/";

/// How the plugin keeps an artifact.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PluginArtifact {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub configuration: String,
    #[prost(int32, tag = "3")]
    pub connection_timeout_seconds: i32,
    #[prost(string, tag = "4")]
    pub key: String,
}

/// An artifact.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifact {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub path: String,
    #[prost(int32, tag = "3")]
    pub mode: i32,
    #[prost(string, tag = "4")]
    pub from: String,
    #[prost(message, optional, tag = "5")]
    pub plugin: Option<PluginArtifact>,
    #[prost(bool, tag = "6")]
    pub optional: bool,
    #[prost(string, tag = "7")]
    pub sub_path: String,
    #[prost(bool, tag = "8")]
    pub recurse_mode: bool,
    #[prost(string, tag = "9")]
    pub from_expression: String,
    #[prost(bool, tag = "10")]
    pub deleted: bool,
}

impl Artifact {
    /// The artifact as the plugin is told of it, with another key where a listing gave one.
    pub fn of(artifact: &api::Artifact, plugin: &api::PluginArtifact, key: &str) -> Self {
        Self {
            name: artifact.name.clone(),
            path: artifact.path.clone(),
            mode: artifact.mode.and_then(|mode| mode.try_into().ok()).unwrap_or_default(),
            from: artifact.from.clone(),
            plugin: Some(PluginArtifact {
                name: plugin.name.clone(),
                configuration: plugin.configuration.clone(),
                connection_timeout_seconds: plugin.connection_timeout_seconds.try_into().unwrap_or_default(),
                key: key.to_owned(),
            }),
            optional: artifact.optional,
            sub_path: artifact.sub_path.clone(),
            recurse_mode: artifact.recurse_mode,
            from_expression: artifact.from_expression.clone(),
            deleted: artifact.deleted,
        }
    }
}

/// `Load`: bring the artifact to a path.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LoadRequest {
    #[prost(message, optional, tag = "1")]
    pub artifact: Option<Artifact>,
    #[prost(string, tag = "2")]
    pub path: String,
}

/// `Save`: keep what lies at a path.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SaveRequest {
    #[prost(string, tag = "1")]
    pub path: String,
    #[prost(message, optional, tag = "2")]
    pub artifact: Option<Artifact>,
}

/// `OpenStream`, `Delete`, `ListObjects` and `IsDirectory` ask for an artifact and nothing else.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArtifactRequest {
    #[prost(message, optional, tag = "1")]
    pub artifact: Option<Artifact>,
}

/// Answer of `Load`, `Save`, `SaveStream` and `Delete`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Outcome {
    #[prost(bool, tag = "1")]
    pub success: bool,
    #[prost(string, tag = "2")]
    pub error: String,
}

/// A piece of the answer of `OpenStream`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Piece {
    #[prost(bytes = "bytes", tag = "1")]
    pub data: bytes::Bytes,
    #[prost(bool, tag = "2")]
    pub is_end: bool,
    #[prost(string, tag = "3")]
    pub error: String,
}

/// Answer of `ListObjects`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Objects {
    #[prost(string, repeated, tag = "1")]
    pub objects: Vec<String>,
    #[prost(string, tag = "2")]
    pub error: String,
}

/// Answer of `IsDirectory`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IsDirectory {
    #[prost(bool, tag = "1")]
    pub is_directory: bool,
    #[prost(string, tag = "2")]
    pub error: String,
}

/// `SaveStream`: first the artifact alone, then its content piece by piece.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SaveStreamRequest {
    #[prost(message, optional, tag = "1")]
    pub artifact: Option<Artifact>,
    #[prost(bytes = "bytes", tag = "2")]
    pub chunk: bytes::Bytes,
}

/// `GetCapabilities` asks nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CapabilitiesRequest {}

/// Answer of `GetCapabilities`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Capabilities {
    #[prost(bool, tag = "1")]
    pub supports_save_stream: bool,
}
