//! Manifests, indexes and image configurations: the JSON documents that make up an image.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A part of an image, by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// Machines an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// One image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// Several images under one name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Index {
    pub manifests: Vec<Descriptor>,
}

/// What a document said to be a manifest turns out to be.
#[derive(Debug)]
pub(crate) enum Document {
    Image(Manifest),
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index; `declared` is the type its sender gave it.
    pub fn parse(what: &str, bytes: &[u8], declared: Option<&str>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            media_type: Option<String>,
            #[serde(default)]
            schema_version: u32,
            config: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let malformed = |error: serde_json::Error| Error::malformed(what, error);
        let probe: Probe = serde_json::from_slice(bytes).map_err(malformed)?;
        // OCI documents need not name their type.
        let shape = match (probe.schema_version, &probe.config, &probe.manifests) {
            (2, Some(_), None) => Some(OCI_MANIFEST),
            (2, None, Some(_)) => Some(OCI_INDEX),
            _ => None,
        };
        let declared = declared.map(|text| text.split(';').next().unwrap_or(text).trim()).filter(|text| is_known(text));
        let media_type = probe.media_type.as_deref().or(declared).or(shape).unwrap_or("");
        match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => {
                let manifest: Manifest = serde_json::from_slice(bytes).map_err(malformed)?;
                manifest.check(what)?;
                Ok(Self::Image(manifest))
            }
            OCI_INDEX | DOCKER_LIST => Ok(Self::Index(serde_json::from_slice(bytes).map_err(malformed)?)),
            _ => {
                let media_type = match probe.schema_version {
                    1 => "application/vnd.docker.distribution.manifest.v1+json",
                    _ => media_type,
                };
                Err(Error::MediaType { what: what.to_owned(), media_type: media_type.to_owned() })
            }
        }
    }
}

fn is_known(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST)
}

impl Manifest {
    /// The manifest of an image from parts that had none.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: OCI_MANIFEST.to_owned(), config, layers }
    }

    fn check(&self, what: &str) -> Result<(), Error> {
        if !matches!(self.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
            let media_type = self.config.media_type.clone();
            return Err(Error::MediaType { what: format!("the configuration of {what}"), media_type });
        }
        for layer in &self.layers {
            if !is_layer(&layer.media_type) {
                let (what, media_type) = (format!("layer {} of {what}", layer.digest), layer.media_type.clone());
                return Err(Error::MediaType { what, media_type });
            }
        }
        Ok(())
    }
}

/// Layers are tar archives; how they are compressed shows in their first bytes.
fn is_layer(media_type: &str) -> bool {
    let base = media_type.strip_suffix("+gzip").or(media_type.strip_suffix("+zstd")).unwrap_or(media_type);
    matches!(base, OCI_LAYER | "application/vnd.oci.image.layer.nondistributable.v1.tar")
        || matches!(
            media_type,
            "application/vnd.docker.image.rootfs.diff.tar"
                | "application/vnd.docker.image.rootfs.diff.tar.gzip"
                | "application/vnd.docker.image.rootfs.diff.tar.zstd"
        )
}

impl Index {
    /// The image for this machine among several.
    pub fn choose(&self, image: &str) -> Result<&Descriptor, Error> {
        let images = || self.manifests.iter().filter(|entry| is_image(entry));
        let (architecture, variant) = host();
        let fits = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture)
        };
        let same_variant = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|p| p.variant.is_none() || p.variant.as_deref() == variant)
        };
        let mut unnamed = images().filter(|entry| entry.platform.is_none());
        let chosen =
            images().filter(fits).find(same_variant).or_else(|| images().find(fits)).or_else(|| unnamed.next());
        chosen.ok_or_else(|| Error::Platform {
            image: image.to_owned(),
            wanted: format!("linux/{architecture}"),
            found: images()
                .filter_map(|entry| entry.platform.as_ref())
                .map(|p| format!("{}/{}", p.os, p.architecture))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

/// Builders add attestations, which look like images for an unknown machine.
pub(crate) fn is_image(entry: &Descriptor) -> bool {
    !entry.annotations.contains_key("vnd.docker.reference.type")
        && entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

/// This machine's architecture in Go's words, which images use.
fn host() -> (&'static str, Option<&'static str>) {
    match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "aarch64" => ("arm64", Some("v8")),
        "arm" => ("arm", Some("v7")),
        "x86" => ("386", None),
        "powerpc64" => ("ppc64le", None),
        other => (other, None),
    }
}

/// How a container of an image is started, from the image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// Program and first arguments; Kubernetes' `command` replaces it.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// Further arguments; Kubernetes' `args` replaces it, and `command` without `args` drops it.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Environment as `NAME=value`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// Folder to start in; empty means `/`.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// User to run as: empty (root), `name`, `uid`, each perhaps with `:group` or `:gid`. See
    /// [`resolve_user`](crate::resolve_user).
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// Signal that asks the program to end; empty means SIGTERM.
    #[serde(deserialize_with = "null_is_default")]
    pub stop_signal: String,
}

fn null_is_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The image's configuration document.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ImageConfig,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    pub rootfs: LayerDigests,
}

/// Digests of the layers' uncompressed archives.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LayerDigests {
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

impl ConfigFile {
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::malformed(format!("the configuration of {what}"), error))
    }
}
