//! The image store: what the rest of Tiphys asks for.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive;
use crate::digest::Digest;
use crate::error::{At as _, Error};
use crate::folder::Folder;
use crate::manifest::{ConfigFile, Document, ImageConfig, Manifest};
use crate::pull;
use crate::reference::Reference;
use crate::registry::Registries;
use crate::rootfs::{self, Rootfs};

/// Images in a folder. Cheap to clone; any number of processes may use the same folder at the same time.
#[derive(Debug, Clone)]
pub struct Store {
    folder: Arc<Folder>,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of its manifest: its identity.
    pub digest: Digest,
    /// How a container of it is started.
    pub config: ImageConfig,
    /// The machines it is for, in Go's words: `linux/amd64`. An archive may hold an image for another machine; its
    /// programs then fail to start.
    pub platform: String,
    /// Size of its configuration and layers as they are stored, in bytes.
    pub size: u64,
    pub(crate) layers: Vec<Digest>,
    pub(crate) diff_ids: Vec<Digest>,
}

/// A name in the store and the image it stands for.
#[derive(Debug, Clone)]
pub struct Named {
    /// The complete name.
    pub reference: Reference,
    /// What it stands for.
    pub image: Image,
}

/// What [`Store::gc`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs: manifests, configurations, layers.
    pub blobs: usize,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// Unpacked roots.
    pub roots: usize,
}

impl Store {
    /// Uses the folder `root`, which is made if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made, read or written.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        let folder = blocking(move || Folder::open(&root)).await?;
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Takes in the images of an OCI image layout (a folder or a tar archive) or of a docker archive (`docker save`),
    /// each perhaps compressed with gzip or zstd, under the names the archive gives them, or under `name`.
    ///
    /// # Errors
    /// No image in it, none for this machine, damaged or unknown content; an image without any name; a name for
    /// several images.
    pub async fn import(&self, path: &Path, name: Option<&Reference>) -> Result<Vec<Named>, Error> {
        let (path, name) = (path.to_owned(), name.cloned());
        self.run(move |folder| archive::import(folder, &path, name.as_ref())).await
    }

    /// Gets an image from its registry or a mirror of it, and keeps it under its name. What is stored already is not
    /// fetched again.
    ///
    /// # Errors
    /// [`Error::NotReachable`] within a few seconds when nobody answers; [`Error::NotFound`],
    /// [`Error::Unauthorised`], and what else a registry may do wrong.
    pub async fn pull(&self, reference: &Reference, registries: &Registries) -> Result<Image, Error> {
        pull::pull(&self.folder, reference, registries).await
    }

    /// The image of this name, if it is stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, reference: &Reference) -> Result<Option<Image>, Error> {
        let key = reference.index_key();
        self.run(move |folder| match folder.names()?.get(&key) {
            Some(digest) => load(folder, digest).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// The image's root folder, unpacked when it is asked for the first time. Unpacking needs no privileges; owners
    /// are kept by root only.
    ///
    /// # Errors
    /// A layer is damaged or hostile; the disk is full.
    pub async fn rootfs(&self, image: &Image) -> Result<Rootfs, Error> {
        let image = image.clone();
        self.run(move |folder| rootfs::unpacked(folder, &image)).await
    }

    /// All names with their images, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<Named>, Error> {
        self.run(|folder| {
            let named = |(name, digest): (String, Digest)| {
                Ok(Named { reference: name.parse()?, image: load(folder, &digest)? })
            };
            folder.names()?.into_iter().map(named).collect()
        })
        .await
    }

    /// Forgets a name; [`Store::gc`] then removes what no name needs. With a tag go the names by digest that the same
    /// pull made, unless another tag of the repository stands for the same image.
    ///
    /// # Errors
    /// [`Error::NotStored`] if there is no such name.
    pub async fn remove(&self, reference: &Reference) -> Result<(), Error> {
        let reference = reference.clone();
        self.run(move |folder| {
            folder.change_names(|names| {
                let Some(digest) = names.remove(&reference.index_key()) else {
                    return Err(Error::NotStored { image: reference.to_string() });
                };
                let repository = format!("{}/{}", reference.registry(), reference.repository());
                let is_of =
                    |name: &str, mark| name.strip_prefix(&repository).is_some_and(|rest| rest.starts_with(mark));
                let tagged = names.iter().any(|(name, other)| *other == digest && is_of(name, ':'));
                if !tagged {
                    names.retain(|name, other| *other != digest || !is_of(name, '@'));
                }
                Ok(())
            })?
        })
        .await
    }

    /// Removes what no name needs: blobs, and unpacked roots that nobody uses. Waits for imports and pulls under way.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn gc(&self) -> Result<Freed, Error> {
        self.run(collect).await
    }

    async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Folder) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = Arc::clone(&self.folder);
        blocking(move || step(&folder)).await
    }
}

/// Runs a step where blocking is allowed. A panic in it is one here.
pub(crate) async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(step).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::malformed("the runtime", error)),
    }
}

/// Reads an image that is in the store.
pub(crate) fn load(folder: &Folder, digest: &Digest) -> Result<Image, Error> {
    let what = format!("the image {digest}");
    match Document::parse(&what, &folder.document(digest)?, None)? {
        Document::Image(manifest) => image(folder, digest.clone(), &manifest),
        Document::Index(_) => Err(Error::malformed(what, "it is an index of images")),
    }
}

/// The image of a manifest whose configuration is in the store.
pub(crate) fn image(folder: &Folder, digest: Digest, manifest: &Manifest) -> Result<Image, Error> {
    let what = format!("the image {digest}");
    let file = ConfigFile::parse(&what, &folder.document(&manifest.config.digest)?)?;
    let (layers, named) = (manifest.layers.len(), file.rootfs.diff_ids.len());
    if layers != named {
        return Err(Error::malformed(what, format!("its manifest has {layers} layers, its configuration {named}")));
    }
    Ok(Image {
        digest,
        config: file.config,
        platform: format!("{}/{}", file.os, file.architecture),
        size: manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
        layers: manifest.layers.iter().map(|layer| layer.digest.clone()).collect(),
        diff_ids: file.rootfs.diff_ids,
    })
}

fn collect(folder: &Folder) -> Result<Freed, Error> {
    let _alone = folder.removing()?;
    folder.sweep()?;
    let mut needed = HashSet::new();
    let mut images = Vec::new();
    for digest in folder.names()?.into_values() {
        if !needed.insert(digest.clone()) {
            continue;
        }
        if let Document::Image(manifest) = Document::parse("an image", &folder.document(&digest)?, None)? {
            images.push(image(folder, digest, &manifest)?);
            needed.extend(manifest.layers.into_iter().chain([manifest.config]).map(|part| part.digest));
        }
    }
    let mut freed = Freed { roots: rootfs::remove_others(folder, &images)?, ..Freed::default() };
    let blobs = folder.blobs();
    for entry in fs::read_dir(&blobs).at("read", &blobs)? {
        let path = entry.at("read", &blobs)?.path();
        let keep = path.file_name().is_some_and(|name| needed.iter().any(|digest| name == digest.hex()));
        if !keep {
            freed.bytes += fs::metadata(&path).at("read", &path)?.len();
            freed.blobs += 1;
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(freed)
}
