//! Getting an image from a registry.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;

use crate::digest::Digest;
use crate::error::{At as _, Error};
use crate::folder::{Folder, MAX_DOCUMENT, NewBlob};
use crate::manifest::{
    ConfigFile, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Document, ImageConfig, Manifest, OCI_INDEX, OCI_MANIFEST,
};
use crate::reference::Reference;
use crate::registry::{Registries, Remote, reason};
use crate::store::{Image, blocking, image};

/// Layers fetched at the same time.
const PARALLEL: usize = 3;
/// How often a download that breaks off is begun.
const ATTEMPTS: u32 = 3;
/// Pieces of a download that wait for the disk at most.
const QUEUE: usize = 16;

/// Gets an image from the first place that has it and keeps it under its name.
pub(crate) async fn pull(folder: &Arc<Folder>, reference: &Reference, registries: &Registries) -> Result<Image, Error> {
    let adding = {
        let folder = Arc::clone(folder);
        blocking(move || folder.adding()).await?
    };
    let mut failures = Failures::default();
    for remote in registries.remotes(reference)? {
        match pull_from(folder, reference, &remote).await {
            Ok(image) => {
                drop(adding);
                return Ok(image);
            }
            Err(error) => failures.add(&remote, error),
        }
    }
    Err(failures.tell(reference))
}

impl Registries {
    /// What an image runs by itself, as the first place that has it says. Nothing is stored.
    ///
    /// # Errors
    /// No place has it, or what one says cannot be understood.
    pub async fn image_config(&self, reference: &Reference) -> Result<ImageConfig, Error> {
        let mut failures = Failures::default();
        for remote in self.remotes(reference)? {
            match config_from(reference, &remote).await {
                Ok(config) => return Ok(config),
                Err(error) => failures.add(&remote, error),
            }
        }
        Err(failures.tell(reference))
    }
}

/// Why the places that were asked do not give an image.
#[derive(Default)]
struct Failures(Option<Error>);

impl Failures {
    fn add(&mut self, remote: &Remote, error: Error) {
        tracing::debug!(registry = remote.registry, %error, "a registry does not give the image");
        self.0 = Some(match self.0.take() {
            Some(earlier) => more_telling(earlier, error),
            None => error,
        });
    }

    fn tell(self, reference: &Reference) -> Error {
        self.0.unwrap_or_else(|| Error::NotStored { image: reference.to_string() })
    }
}

async fn config_from(reference: &Reference, remote: &Remote) -> Result<ImageConfig, Error> {
    let Chosen { manifest, .. } = choose(reference, remote).await?;
    let path = format!("blobs/{}", manifest.config.digest);
    let what = format!("the configuration of {reference} from {}", remote.registry);
    let bytes = document(remote, &path, "*/*", &what).await?.1;
    let found = Digest::of(&bytes);
    if found != manifest.config.digest {
        let (expected, found) = (manifest.config.digest.to_string(), found.to_string());
        return Err(Error::Digest { what, expected, found });
    }
    Ok(ConfigFile::parse(&reference.to_string(), &bytes)?.config)
}

/// The manifest of an image for this machine.
struct Chosen {
    /// The digest that the name stands for: the manifest's, or that of the index it is in.
    first: Digest,
    digest: Digest,
    bytes: Vec<u8>,
    manifest: Manifest,
}

async fn choose(reference: &Reference, remote: &Remote) -> Result<Chosen, Error> {
    let (first, document) = manifest(remote, reference, &reference.version(), reference.digest()).await?;
    match document {
        (bytes, Document::Image(manifest)) => Ok(Chosen { digest: first.clone(), first, bytes, manifest }),
        (_, Document::Index(index)) => {
            let chosen = index.choose(&reference.to_string())?.digest.clone();
            match manifest(remote, reference, &chosen.to_string(), Some(&chosen)).await? {
                (digest, (bytes, Document::Image(manifest))) => Ok(Chosen { first, digest, bytes, manifest }),
                _ => Err(Error::malformed(reference.to_string(), "its index refers to another index")),
            }
        }
    }
}

/// The error to show when several places failed: what went wrong rather than that nobody is there. That a mirror lacks
/// the image says nothing about the registry behind it.
fn more_telling(earlier: Error, later: Error) -> Error {
    match (&earlier, &later) {
        (Error::NotReachable { .. } | Error::NotFound { .. }, _) => later,
        (_, Error::NotReachable { .. } | Error::NotFound { .. }) => earlier,
        _ => later,
    }
}

async fn pull_from(folder: &Arc<Folder>, reference: &Reference, remote: &Remote) -> Result<Image, Error> {
    let Chosen { first, digest, bytes, manifest } = choose(reference, remote).await?;
    fetch_parts(folder, remote, &manifest).await?;

    let folder = Arc::clone(folder);
    let names: Vec<String> = [reference.clone(), reference.at(first), reference.at(digest.clone())]
        .iter()
        .map(Reference::index_key)
        .collect();
    blocking(move || {
        folder.keep_bytes(&bytes)?;
        let image = image(&folder, digest, &manifest)?;
        folder.change_names(|index| index.extend(names.into_iter().map(|name| (name, image.digest.clone()))))?;
        Ok(image)
    })
    .await
}

/// A manifest or an index with its bytes and their digest.
async fn manifest(
    remote: &Remote,
    reference: &Reference,
    version: &str,
    expected: Option<&Digest>,
) -> Result<(Digest, (Vec<u8>, Document)), Error> {
    let accept = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(", ");
    let path = format!("manifests/{version}");
    let (declared, bytes) = document(remote, &path, &accept, "the manifest").await?;
    let found = Digest::of(&bytes);
    if let Some(expected) = expected.filter(|expected| **expected != found) {
        let what = format!("the manifest of {reference} from {}", remote.registry);
        return Err(Error::Digest { what, expected: expected.to_string(), found: found.to_string() });
    }
    let document = Document::parse(&format!("the manifest of {reference}"), &bytes, declared.as_deref())?;
    Ok((found, (bytes, document)))
}

/// A small document and the type that it is said to have.
async fn document(remote: &Remote, path: &str, accept: &str, what: &str) -> Result<(Option<String>, Vec<u8>), Error> {
    let mut answer = remote.get(path, accept, Remote::patience()).await?;
    let declared = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| remote.failed(path, reason(error)))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(remote.failed(path, format!("{what} is larger than 4 MiB")));
        }
    }
    Ok((declared, bytes))
}

async fn fetch_parts(folder: &Arc<Folder>, remote: &Remote, manifest: &Manifest) -> Result<(), Error> {
    let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
    let mut missing: Vec<&Descriptor> = parts.filter(|part| !folder.has(&part.digest)).collect();
    missing.sort_by(|a, b| a.digest.cmp(&b.digest));
    missing.dedup_by(|a, b| a.digest == b.digest);
    stream::iter(missing).map(|part| fetch(folder, remote, part)).buffer_unordered(PARALLEL).try_collect().await
}

/// Fetches a blob, again when the connection breaks.
async fn fetch(folder: &Arc<Folder>, remote: &Remote, part: &Descriptor) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match fetch_once(folder, remote, part).await {
            Err(error @ (Error::Registry { .. } | Error::NotReachable { .. })) if attempt < ATTEMPTS => {
                tracing::debug!(%error, attempt, "a download is begun again");
                tokio::time::sleep(Duration::from_millis(250) * attempt).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

async fn fetch_once(folder: &Arc<Folder>, remote: &Remote, part: &Descriptor) -> Result<(), Error> {
    let path = format!("blobs/{}", part.digest);
    let mut answer = remote.get(&path, "*/*", None).await?;
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(QUEUE);
    let (folder, expected) = (Arc::clone(folder), part.digest.clone());
    let what = format!("the blob {expected} from {}", remote.registry);
    // The pieces end with an empty one; without it the download broke off and the file is dropped.
    let writer = tokio::task::spawn_blocking(move || {
        let mut blob: NewBlob = folder.new_blob()?;
        while let Some(piece) = receiver.blocking_recv() {
            if piece.is_empty() {
                return folder.keep(blob, &what, Some(&expected)).map(drop);
            }
            blob.write_all(&piece).at("write", &blob.path)?;
        }
        Ok(())
    });
    let mut size = 0;
    while let Some(piece) = answer.chunk().await.map_err(|error| remote.failed(&path, reason(error)))? {
        size += piece.len() as u64;
        if size > part.size {
            return Err(remote.failed(&path, format!("it sends more than the {} bytes promised", part.size)));
        }
        // A writer that gave up says why itself.
        if !piece.is_empty() && sender.send(piece.into()).await.is_err() {
            break;
        }
    }
    let _ = sender.send(Vec::new()).await;
    drop(sender);
    match writer.await {
        Ok(done) => done,
        Err(error) => Err(Error::malformed("the runtime", error)),
    }
}
