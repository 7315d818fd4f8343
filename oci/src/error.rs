//! What can go wrong with images, in words for the user who asked for one.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the image store or of a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no image reference.
    #[error("{text:?} is not an image reference: {reason}")]
    Reference {
        /// The text given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store's folder, or a file to import, cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A stored file does not hold what it should.
    #[error("{} is damaged: {reason}; remove it and get the image again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file to import is neither an OCI image layout nor a docker archive.
    #[error(
        "{} holds no image: neither an OCI image layout (index.json) nor a docker archive (manifest.json)",
        path.display()
    )]
    NoImage {
        /// The file or folder given.
        path: PathBuf,
    },
    /// The archive does not name its image and the caller did not either.
    #[error("the image in {} has no name; give it one (for example NAME:TAG)", path.display())]
    Unnamed {
        /// The file or folder given.
        path: PathBuf,
    },
    /// One name was given for an archive with several images.
    #[error("{} holds {count} images; import it without a name of your own", path.display())]
    SeveralImages {
        /// The file or folder given.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// Bytes do not have the digest under which they were asked for.
    #[error("{what} is corrupt: its digest is {found}, not {expected}")]
    Digest {
        /// What was read.
        what: String,
        /// The digest promised.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
    /// A manifest, configuration or layer is of a kind we do not know.
    #[error("{what} has the media type {media_type:?}, which is not supported")]
    MediaType {
        /// What it was.
        what: String,
        /// Its type.
        media_type: String,
    },
    /// A manifest or configuration cannot be understood.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What it was.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The image exists, but not for this machine.
    #[error("{image} is not available for {wanted}; it exists for {found}")]
    Platform {
        /// The image.
        image: String,
        /// This machine's platform.
        wanted: String,
        /// The platforms there are.
        found: String,
    },
    /// A Secret with which images are pulled cannot be understood.
    #[error("the Secret {name} holds no logins of registries: in {key}, {reason}")]
    PullSecret {
        /// The Secret.
        name: String,
        /// The key in it.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer would write outside the image's root, or contradicts itself.
    #[error("layer {layer} is refused: the entry {entry:?} {reason}")]
    Layer {
        /// Digest of the layer.
        layer: String,
        /// Name of the entry.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The image is not in the store.
    #[error("the image {image} is not in the store")]
    NotStored {
        /// The image.
        image: String,
    },
    /// The registry has no such image.
    #[error("the image {image} was not found in the registry {registry}")]
    NotFound {
        /// The image.
        image: String,
        /// Host of the registry.
        registry: String,
    },
    /// The registry wants other credentials, or any.
    #[error(
        "the registry {registry} does not let us have {image}: it may not exist there, or needs a login: \
         {advice}"
    )]
    Unauthorised {
        /// The image.
        image: String,
        /// Host of the registry.
        registry: String,
        /// How to log in.
        advice: String,
    },
    /// Nobody answers in time. Another way to get on may be tried.
    #[error("the registry {registry} is not reachable: {reason}")]
    NotReachable {
        /// Host of the registry.
        registry: String,
        /// What happened.
        reason: String,
    },
    /// The registry answered with an error.
    #[error("the registry {registry} failed on {what}: {reason}")]
    Registry {
        /// Host of the registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What it answered.
        reason: String,
    },
    /// The docker configuration cannot be used.
    #[error("the docker configuration {} cannot be used: {reason}", path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A mirror is not of the form HOST=URL.
    #[error("{text:?} is not a registry mirror: write HOST=URL, for example docker.io=http://127.0.0.1:5000")]
    Mirror {
        /// The text given.
        text: String,
    },
    /// A user or group name is not in the image.
    #[error("the image has no {kind} {name:?} in {file}")]
    NoSuchUser {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The file that was searched, inside the image.
        file: &'static str,
    },
}

impl Error {
    /// Whether the image cannot be had here and now, though nothing is wrong with the request: no registry answers.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::NotReachable { .. })
    }

    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Error::Malformed { what: what.into(), reason: reason.to_string() }
    }
}

/// Puts the path and the deed to an error of the system.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}
