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
use crate::manifest::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Document, Manifest, OCI_INDEX, OCI_MANIFEST};
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
    let mut worst = None;
    for remote in registries.remotes(reference)? {
        match pull_from(folder, reference, &remote).await {
            Ok(image) => {
                drop(adding);
                return Ok(image);
            }
            Err(error) => {
                tracing::debug!(registry = remote.registry, %error, "a registry does not give the image");
                worst = Some(match worst {
                    Some(earlier) => more_telling(earlier, error),
                    None => error,
                });
            }
        }
    }
    Err(worst.unwrap_or_else(|| Error::NotStored { image: reference.to_string() }))
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
    let (first, document) = manifest(remote, reference, &reference.version(), reference.digest()).await?;
    let (digest, bytes, manifest) = match document {
        (bytes, Document::Image(manifest)) => (first.clone(), bytes, manifest),
        (_, Document::Index(index)) => {
            let chosen = index.choose(&reference.to_string())?.digest.clone();
            match manifest(remote, reference, &chosen.to_string(), Some(&chosen)).await? {
                (digest, (bytes, Document::Image(manifest))) => (digest, bytes, manifest),
                _ => return Err(Error::malformed(reference.to_string(), "its index refers to another index")),
            }
        }
    };
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
    let mut answer = remote.get(&path, &accept, Remote::patience()).await?;
    let declared = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| remote.failed(&path, reason(error)))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(remote.failed(&path, "the manifest is larger than 4 MiB"));
        }
    }
    let found = Digest::of(&bytes);
    if let Some(expected) = expected.filter(|expected| **expected != found) {
        let what = format!("the manifest of {reference} from {}", remote.registry);
        return Err(Error::Digest { what, expected: expected.to_string(), found: found.to_string() });
    }
    let document = Document::parse(&format!("the manifest of {reference}"), &bytes, declared.as_deref())?;
    Ok((found, (bytes, document)))
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
