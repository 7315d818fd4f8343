//! A plugin as a store of artifacts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tiphys_api as api;
use tiphys_artifact::{Body, ByteStream, Entry, Error, Listing, Moved, Object, Opened, Result, Store};

use super::grpc::{Channel, GrpcError, NOT_FOUND, UNIMPLEMENTED};
use super::proto::{
    Artifact, ArtifactRequest, Capabilities, CapabilitiesRequest, IsDirectory, LoadRequest, Objects, Outcome, Piece,
    SaveRequest, SaveStreamRequest,
};
use super::tree;

/// Time to connect, unless the artifact says otherwise (argo: workflowpod.go).
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest piece of an artifact in one message; gRPC takes 4 MiB.
const PIECE: usize = 2 << 20;

/// The store that a plugin is for one artifact.
#[derive(Debug)]
pub struct PluginStore {
    channel: Arc<Channel>,
    artifact: api::Artifact,
    plugin: api::PluginArtifact,
    /// A folder that this container and the plugin's share, for content that has no file yet.
    staging: PathBuf,
}

impl PluginStore {
    /// Nothing is sent yet.
    pub fn new(channel: Arc<Channel>, artifact: api::Artifact, plugin: api::PluginArtifact, staging: PathBuf) -> Self {
        Self { channel, artifact, plugin, staging }
    }

    fn message(&self, key: &str) -> Option<Artifact> {
        Some(Artifact::of(&self.artifact, &self.plugin, key))
    }

    fn timeout(&self) -> Duration {
        match u64::try_from(self.plugin.connection_timeout_seconds) {
            Ok(0) | Err(_) => CONNECT_WITHIN,
            Ok(seconds) => Duration::from_secs(seconds),
        }
    }

    fn failed(&self, error: GrpcError) -> Error {
        let doing = format!("plugin {}", self.plugin.name);
        match error {
            GrpcError::Status { code: NOT_FOUND, .. } => Error::NotFound { what: self.describe(&self.plugin.key) },
            // UNAVAILABLE and RESOURCE_EXHAUSTED are gRPC's words for: try again.
            GrpcError::Status { code: 8 | 14, .. } | GrpcError::Unreachable { .. } | GrpcError::Broken { .. } => {
                Error::Transient { doing, source: error.into() }
            }
            error => Error::Permanent { doing, source: error.into() },
        }
    }

    /// The plugin's own word on a call that came through.
    fn refused(&self, what: &str, reason: &str) -> Error {
        Error::Permanent { doing: format!("plugin {} {what} failed", self.plugin.name), source: reason.into() }
    }

    fn settled(&self, what: &str, outcome: Outcome) -> Result<()> {
        match outcome.success {
            true => Ok(()),
            false => Err(self.refused(what, &outcome.error)),
        }
    }

    async fn save_path(&self, key: &str, path: &Path) -> Result<()> {
        let request = SaveRequest { path: path.display().to_string(), artifact: self.message(key) };
        let outcome = self.channel.unary("Save", &request, self.timeout()).await;
        self.settled("save", outcome.map_err(|error| self.failed(error))?)
    }

    async fn takes_streams(&self) -> Result<bool> {
        let capabilities = self.channel.unary("GetCapabilities", &CapabilitiesRequest {}, self.timeout()).await;
        match capabilities {
            Ok(Capabilities { supports_save_stream }) => Ok(supports_save_stream),
            Err(GrpcError::Status { code: UNIMPLEMENTED, .. }) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn send(&self, key: &str, mut content: ByteStream) -> Result<u64> {
        let opened = self.channel.client_stream("SaveStream", self.timeout()).await;
        let mut requests = opened.map_err(|error| self.failed(error))?;
        let head = SaveStreamRequest { artifact: self.message(key), chunk: Bytes::new() };
        let mut sent = 0;
        let mut broken = requests.send(&head).await.is_err();
        while !broken && let Some(bytes) = content.next().await {
            let mut bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    requests.cancel();
                    return Err(error);
                }
            };
            while !broken && !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(PIECE));
                sent += chunk.len() as u64;
                broken = requests.send(&SaveStreamRequest { artifact: None, chunk }).await.is_err();
            }
        }
        // Of a stream that the plugin has given up the answer tells why.
        let outcome = requests.finish(!broken).await.map_err(|error| self.failed(error))?;
        self.settled("save stream", outcome)?;
        match broken {
            false => Ok(sent),
            true => Err(self.refused("save stream", "it took only a part of the artifact")),
        }
    }

    /// For plugins that know files only.
    async fn put_by_file(&self, key: &str, content: ByteStream) -> Result<u64> {
        let file = tree::Staged::write(&self.staging, content).await?;
        self.save_path(key, &file.path).await?;
        Ok(file.size)
    }
}

#[async_trait]
impl Store for PluginStore {
    fn describe(&self, key: &str) -> String {
        format!("plugin {}:{key}", self.plugin.name)
    }

    async fn open(&self, key: &str) -> Result<Object> {
        let request = ArtifactRequest { artifact: self.message(key) };
        let opened = self.channel.server_stream("OpenStream", &request, self.timeout()).await;
        let answers = opened.map_err(|error| self.failed(error))?;
        let (name, what) = (self.plugin.name.clone(), self.describe(key));
        let pieces = stream::unfold(Some(answers), move |answers| {
            let (name, what) = (name.clone(), what.clone());
            async move {
                let mut answers = answers?;
                let damaged = |why: String| Error::Corrupt { what, why };
                loop {
                    let piece: Piece = match answers.next().await {
                        Ok(Some(piece)) => piece,
                        Ok(None) => return None,
                        Err(error) => return Some((Err(damaged(error.to_string())), None)),
                    };
                    if !piece.error.is_empty() {
                        let doing = format!("plugin {name} stream failed");
                        return Some((Err(Error::Permanent { doing, source: piece.error.into() }), None));
                    }
                    if piece.is_end {
                        return None;
                    }
                    if !piece.data.is_empty() {
                        return Some((Ok(piece.data), Some(answers)));
                    }
                }
            }
        });
        Ok(Object { size: None, stream: pieces.boxed() })
    }

    async fn put(&self, key: &str, body: Body) -> Result<u64> {
        if let Body::File(file) = &body {
            self.save_path(key, &file.present_path()?).await?;
            return Ok(file.size());
        }
        match self.takes_streams().await? {
            true => self.send(key, body.into_stream()).await,
            false => self.put_by_file(key, body.into_stream()).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let request = ArtifactRequest { artifact: self.message(key) };
        let outcome = self.channel.unary("Delete", &request, self.timeout()).await;
        match outcome.map_err(|error| self.failed(error)) {
            Err(gone) if gone.is_not_found() => Ok(()),
            outcome => self.settled("delete", outcome?),
        }
    }

    fn list<'a>(&'a self, key: &str) -> Listing<'a> {
        let request = ArtifactRequest { artifact: self.message(key) };
        let listing = async move {
            let objects = self.channel.unary("ListObjects", &request, self.timeout()).await;
            let Objects { objects, error } = objects.map_err(|error| self.failed(error))?;
            match error.is_empty() {
                // Plugins tell no sizes.
                true => Ok(objects.into_iter().map(|key| Entry { key, size: 0 }).collect()),
                false => Err(self.refused("list objects", &error)),
            }
        };
        stream::once(listing).boxed()
    }

    async fn is_directory(&self, key: &str) -> Result<bool> {
        let request = ArtifactRequest { artifact: self.message(key) };
        let answer = self.channel.unary("IsDirectory", &request, self.timeout()).await;
        let IsDirectory { is_directory, error } = answer.map_err(|error| self.failed(error))?;
        match error.is_empty() {
            true => Ok(is_directory),
            false => Err(self.refused("is directory check", &error)),
        }
    }

    async fn load(&self, key: &str, dest: &Path) -> Result<Option<Moved>> {
        let request = LoadRequest { artifact: self.message(key), path: dest.display().to_string() };
        let outcome = self.channel.unary("Load", &request, self.timeout()).await;
        self.settled("load", outcome.map_err(|error| self.failed(error))?)?;
        tree::open_to_all(dest).await.map(Some)
    }

    async fn save(&self, key: &str, source: &Opened) -> Result<Option<Moved>> {
        // Without the links that led there: the plugin's container has files of its own.
        let path = source.present_path()?;
        let moved = tree::measure(&path).await?;
        self.save_path(key, &path).await?;
        Ok(Some(moved))
    }

    fn deletes_directories(&self) -> bool {
        true
    }
}
