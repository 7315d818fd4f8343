//! What the executor asks for: an input on disk, an output in its store.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use tiphys_api::Artifact;

use crate::archive::{self, Codec, Content, Level, Strategy, Unpacked, sniff};
use crate::budget::Budget;
use crate::disk::{self, beside};
use crate::error::{Error, Result};
use crate::journal::{Journal, NoJournal};
use crate::location::{self, Place};
use crate::mode;
use crate::opened::Opened;
use crate::options::Options;
use crate::plugin::Plugins;
use crate::retry::Retry;
use crate::secret::Secrets;
use crate::store::{Body, Entry, Object, Store};
use crate::stream::{ByteStream, file as stream_of_file, read_blocking, write_blocking};
use crate::transfer::{self, Moved, blocking};

/// Bytes of an object that are looked at to know what it is.
const BEGINNING: usize = 64 << 10;
/// Whole transfers of one artifact, should a body break off that no request can go on with, or bytes come damaged.
const TRANSFERS: u32 = 3;
/// Objects deleted together.
const DELETED_TOGETHER: usize = 16;

/// Loads and saves artifacts. Cheap to clone; clones share connections and memory.
#[derive(Clone)]
pub struct Artifacts {
    inner: Arc<Inner>,
    plugins: Option<Arc<dyn Plugins>>,
    journal: Arc<dyn Journal>,
}

struct Inner {
    secrets: Box<dyn Secrets>,
    options: Options,
    budget: Arc<Budget>,
    /// One client a bucket, by its settings without the key.
    buckets: Mutex<HashMap<String, Arc<dyn Store>>>,
}

impl fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifacts").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is optional and not there: nothing was written.
    Skipped,
    /// A file as it was stored, of so many bytes.
    File(u64),
    /// A directory of objects.
    Directory(Moved),
    /// An archive that was unpacked.
    Unpacked(Unpacked),
}

/// An output on disk.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The file or directory itself.
    Itself(&'a Opened),
    /// A tar that holds it.
    Tar(&'a Opened),
    /// A tar in gzip that holds it: stored as it is where that is what is wanted.
    Tgz(&'a Opened),
}

/// What became of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its key in the store; empty for stores of one object.
    pub key: String,
    /// Objects stored and their bytes.
    pub moved: Moved,
}

impl Artifacts {
    /// Transfers that find their credentials in `secrets`.
    pub fn new(secrets: impl Secrets + 'static, options: Options) -> Self {
        let budget = Budget::new(options.memory, options.part_size);
        let inner = Inner { secrets: Box::new(secrets), options, budget, buckets: Mutex::default() };
        Artifacts { inner: Arc::new(inner), plugins: None, journal: Arc::new(NoJournal) }
    }

    /// The same transfers with stores of `plugins` for artifacts that a plugin keeps; without, those are refused.
    pub fn with_plugins(self, plugins: impl Plugins + 'static) -> Self {
        Artifacts { plugins: Some(Arc::new(plugins)), ..self }
    }

    /// The same transfers with uploads in parts noted in `journal`, so that a process that is started again does not
    /// send again what arrived. Without, uploads that fail are removed from the server at once.
    pub fn with_journal(self, journal: impl Journal + 'static) -> Self {
        Artifacts { journal: Arc::new(journal), ..self }
    }

    /// The store and key of an artifact. Artifacts in one bucket share a client.
    ///
    /// # Errors
    /// As [`location::place`].
    pub fn place(&self, artifact: &Artifact) -> Result<Place> {
        if let (Some(plugin), Some(plugins)) = (&artifact.plugin, &self.plugins) {
            return Ok(Place { store: plugins.store(plugin, artifact)?, key: plugin.key.clone() });
        }
        let place = || location::place_within(artifact, &*self.inner.secrets, &self.inner.options, &self.inner.budget);
        let Some((bucket, key)) = location::shared(artifact) else { return place() };
        // A map of stores is whole after any panic.
        let known = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner).get(&bucket).cloned();
        if let Some(store) = known {
            return Ok(Place { store, key: key? });
        }
        let Place { store, key } = place()?;
        let mut buckets = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let store = buckets.entry(bucket).or_insert(store).clone();
        Ok(Place { store, key })
    }

    /// Brings an input to `dest`, which appears only when it is complete, in place of whatever an earlier attempt left
    /// there; then gives it the artifact's mode. An archive is unpacked while it arrives.
    ///
    /// # Errors
    /// Those of location, store, archive and disk; after an error there is nothing at `dest` but what was before.
    pub async fn load_input(&self, artifact: &Artifact, dest: &Path) -> Result<Loaded> {
        if !location::has_location(artifact) {
            return match artifact.optional {
                true => Ok(Loaded::Skipped),
                false => Err(Error::Refused(format!("required artifact {:?} not supplied", artifact.name))),
            };
        }
        let place = self.place(artifact)?;
        let strategy = location::strategy(artifact)?;
        let loaded = self.whole_transfers().run("loading an artifact", || self.load(&place, strategy, dest)).await;
        let loaded = match loaded {
            Err(gone) if gone.is_not_found() && artifact.optional => return Ok(Loaded::Skipped),
            loaded => loaded?,
        };
        if let Some(bits) = artifact.mode {
            let (dest, recurse) = (dest.to_owned(), artifact.recurse_mode);
            blocking(move || mode::set(&dest, bits, recurse)).await?;
        }
        Ok(loaded)
    }

    fn whole_transfers(&self) -> Retry {
        let retry = self.inner.options.retry.clone();
        Retry { tries: TRANSFERS.min(retry.tries), ..retry }
    }

    async fn load(&self, place: &Place, strategy: Option<Strategy>, dest: &Path) -> Result<Loaded> {
        let store = &*place.store;
        if let Some(loaded) = self.load_itself(place, strategy, dest).await? {
            return Ok(loaded);
        }
        let object = match place.key.ends_with('/') {
            true => Err(Error::NotFound { what: store.describe(&place.key) }),
            false => store.open(&place.key).await,
        };
        match object {
            Ok(object) => self.load_object(object, strategy, dest).await,
            Err(gone) if gone.is_not_found() && store.is_directory(&place.key).await? => {
                refuse_packed(place, strategy)?;
                self.load_folder(place, dest).await
            }
            Err(error) => Err(error),
        }
    }

    /// Loads from a store that writes to the disk itself; `None` where the store does not.
    async fn load_itself(&self, place: &Place, strategy: Option<Strategy>, dest: &Path) -> Result<Option<Loaded>> {
        let partial = beside(dest, ".tmpload");
        clear(partial.clone()).await?;
        let outcome = match place.store.load(&place.key, &partial).await {
            Ok(None) => return Ok(None),
            Ok(Some(moved)) => self.land(place, &partial, moved, strategy, dest).await.map(Some),
            Err(error) => Err(error),
        };
        clear(partial).await?;
        outcome
    }

    /// Makes what a store wrote to `partial` the input.
    async fn land(
        &self,
        place: &Place,
        partial: &Path,
        moved: Moved,
        strategy: Option<Strategy>,
        dest: &Path,
    ) -> Result<Loaded> {
        let at = partial.to_owned();
        let found = blocking(move || Opened::at(&at)).await?;
        if found.is_dir() {
            refuse_packed(place, strategy)?;
            let (partial, dest) = (partial.to_owned(), dest.to_owned());
            blocking(move || disk::publish(&partial, &dest)).await?;
            return Ok(Loaded::Directory(moved));
        }
        let object = Object { size: Some(found.size()), stream: stream_of_file(&found) };
        self.load_object(object, strategy, dest).await
    }

    async fn load_folder(&self, place: &Place, dest: &Path) -> Result<Loaded> {
        let partial = beside(dest, ".tmpdir");
        clear(partial.clone()).await?;
        match transfer::load_directory(&*place.store, &place.key, &partial).await {
            Ok(moved) => {
                let dest = dest.to_owned();
                blocking(move || disk::publish(&partial, &dest)).await?;
                Ok(Loaded::Directory(moved))
            }
            Err(error) => {
                clear(partial).await?;
                Err(error)
            }
        }
    }

    async fn load_object(&self, object: Object, strategy: Option<Strategy>, dest: &Path) -> Result<Loaded> {
        let limits = self.inner.options.limits;
        let to = dest.to_owned();
        match strategy {
            Some(Strategy::None) => Ok(Loaded::File(transfer::to_file(object.stream, dest).await?)),
            Some(Strategy::Zip) => {
                // A zip file's directory is at its end: it must be on disk first.
                let partial = beside(dest, ".tmp");
                transfer::write_file(object.stream, &partial).await?;
                let unpack = move || {
                    let opened = File::open(&partial);
                    let file =
                        opened.map_err(|source| Error::io(|| format!("opening {}", partial.display()), source))?;
                    // Its name is not needed any more, whatever comes.
                    let _ = std::fs::remove_file(&partial);
                    archive::unpack_zip(file, &to, &limits)
                };
                Ok(Loaded::Unpacked(blocking(unpack).await?))
            }
            Some(Strategy::Tar(_)) => self.unpack(object.stream, dest).await,
            None => {
                let (beginning, stream) = peek(object.stream).await?;
                match sniff(&beginning) {
                    Content::TarGzip | Content::TarZstd => self.unpack(stream, dest).await,
                    _ => Ok(Loaded::File(transfer::to_file(stream, dest).await?)),
                }
            }
        }
    }

    async fn unpack(&self, stream: ByteStream, dest: &Path) -> Result<Loaded> {
        let limits = self.inner.options.limits;
        let dest = dest.to_owned();
        let unpacked = read_blocking(stream, move |reader| archive::unpack_tar(reader, &dest, &limits)).await?;
        if !unpacked.skipped.is_empty() {
            tracing::warn!(entries = ?unpacked.skipped, "devices, pipes and sockets in an archive are left out");
        }
        Ok(Loaded::Unpacked(unpacked))
    }

    /// Stores an output at the artifact's location, packed as it declares (tar in gzip if it does not). A directory
    /// without archive becomes one object a file below the key.
    ///
    /// # Errors
    /// Those of location, store and disk.
    pub async fn save_output(&self, source: Source<'_>, artifact: &Artifact) -> Result<Saved> {
        let place = self.place(artifact)?;
        let strategy = location::strategy(artifact)?.unwrap_or(Strategy::Tar(Level::DEFAULT));
        // What is made on its way cannot be sent again by the store, only made again.
        let moved =
            self.whole_transfers().run("saving an artifact", || self.save(&place, source, artifact, strategy)).await?;
        Ok(Saved { key: place.key, moved })
    }

    async fn save(&self, place: &Place, source: Source<'_>, artifact: &Artifact, strategy: Strategy) -> Result<Moved> {
        match (source, strategy) {
            (Source::Tgz(tgz), Strategy::Tar(_)) if Codec::of_name(&place.key) == Codec::Gzip => {
                self.put(place, Body::File(tgz.clone())).await
            }
            (Source::Tar(tar) | Source::Tgz(tar), Strategy::Tar(level)) => {
                let (tar, codec) = (io::BufReader::with_capacity(64 << 10, tar.reader()), Codec::of_name(&place.key));
                // Compressed on its way to the store.
                let packed = write_blocking(move |writer| archive::compress(tar, codec, level, writer));
                self.put(place, Body::Stream(packed)).await
            }
            (Source::Itself(source), strategy) => self.save_itself(place, source, strategy).await,
            (Source::Tar(tar) | Source::Tgz(tar), strategy) => self.repack(place, tar, artifact, strategy).await,
        }
    }

    async fn put(&self, place: &Place, body: Body) -> Result<Moved> {
        let bytes = place.store.put_with(&place.key, body, &*self.journal).await?;
        Ok(Moved { objects: 1, bytes })
    }

    /// Unpacks what the emissary packed, because another form is wanted. This is the one case that needs space for a
    /// second copy on disk.
    async fn repack(&self, place: &Place, tar: &Opened, artifact: &Artifact, strategy: Strategy) -> Result<Moved> {
        let folder = beside(tar.path(), ".unpacked");
        let dest = folder.join(if artifact.name.is_empty() { "artifact" } else { &artifact.name });
        let limits = self.inner.options.limits;
        let (from, parent) = (tar.clone(), folder.clone());
        let unpacked = blocking(move || {
            let at = |source| Error::io(|| parent.display().to_string(), source);
            std::fs::create_dir_all(&parent).map_err(at)?;
            archive::unpack_tar(from.reader(), &dest, &limits)?;
            Opened::at(&dest)
        });
        let moved = self.save_itself(place, &unpacked.await?, strategy).await;
        // The copy served its purpose; should removing it fail, the volume goes with the Pod.
        let _ = blocking(move || Ok(std::fs::remove_dir_all(&folder))).await;
        moved
    }

    async fn save_itself(&self, place: &Place, source: &Opened, strategy: Strategy) -> Result<Moved> {
        source.check_kind()?;
        if strategy == Strategy::None
            && let Some(moved) = place.store.save(&place.key, source).await?
        {
            return Ok(moved);
        }
        let (packed, codec) = (source.clone(), Codec::of_name(&place.key));
        let body = match strategy {
            Strategy::None if source.is_dir() => {
                return transfer::save_directory(&*place.store, &place.key, source).await;
            }
            Strategy::None => Body::File(packed),
            Strategy::Tar(level) => {
                Body::Stream(write_blocking(move |writer| archive::write_tar(&packed, codec, level, writer)))
            }
            Strategy::Zip => Body::Stream(write_blocking(move |writer| archive::write_zip(&packed, writer))),
        };
        self.put(place, body).await
    }

    /// Stores bytes as they are, such as a log; for streams of any length.
    ///
    /// # Errors
    /// Those of location and store.
    pub async fn save_body(&self, body: Body, artifact: &Artifact) -> Result<Saved> {
        let place = self.place(artifact)?;
        let moved = self.put(&place, body).await?;
        Ok(Saved { key: place.key, moved })
    }

    /// Removes from the stores what arrived of uploads that did not come to their end, and from the journal what it has of
    /// them. To be called when nothing is under way and nobody will go on; a process that is killed before leaves all to the
    /// one that is started again.
    pub async fn give_up(&self) {
        let stores: Vec<_> = {
            let buckets = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            buckets.values().cloned().collect()
        };
        for store in stores {
            store.give_up(&*self.journal).await;
        }
    }

    /// Opens an artifact as it is stored.
    ///
    /// # Errors
    /// Those of location and store.
    pub async fn open(&self, artifact: &Artifact) -> Result<Object> {
        let place = self.place(artifact)?;
        place.store.open(&place.key).await
    }

    /// The objects below the artifact's key.
    ///
    /// # Errors
    /// Those of location and store; `NotFound` if there is neither a directory nor an object of that key
    /// (argo: s3.go, listObjects).
    pub async fn list(&self, artifact: &Artifact) -> Result<Vec<Entry>> {
        let place = self.place(artifact)?;
        let entries: Vec<Entry> = place.store.list(&place.key).try_concat().await?;
        if entries.is_empty() {
            place.store.open(&place.key).await?;
        }
        Ok(entries)
    }

    /// Deletes the artifact's object, or all objects below its key if that ends in `/`.
    ///
    /// # Errors
    /// Those of location and store; what is not there counts as deleted.
    pub async fn delete(&self, artifact: &Artifact) -> Result<()> {
        let Place { store, key } = self.place(artifact)?;
        // For Azure the directory needs no slash (argo: azure.go, Delete).
        let directory = key.ends_with('/') || artifact.azure.is_some() && store.is_directory(&key).await?;
        if !directory || store.deletes_directories() {
            return store.delete(&key).await;
        }
        let entries = store.list(&key).map_ok(|page| stream::iter(page).map(Ok::<Entry, Error>)).try_flatten();
        let store = &store;
        entries
            .try_for_each_concurrent(DELETED_TOGETHER, |entry| async move { store.delete(&entry.key).await })
            .await?;
        store.delete(&key).await
    }
}

/// A directory cannot be unpacked.
fn refuse_packed(place: &Place, strategy: Option<Strategy>) -> Result<()> {
    match strategy {
        None | Some(Strategy::None) => Ok(()),
        Some(_) => Err(Error::Refused(format!(
            "{} is a directory of objects, but an archive is declared: set archive.none",
            place.store.describe(&place.key)
        ))),
    }
}

/// Removes a file or folder that an attempt left; usually there is none.
async fn clear(path: PathBuf) -> Result<()> {
    blocking(move || {
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(there) if there.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(other) => Err(other),
        };
        removed.map_err(|source| Error::io(|| format!("removing {}", path.display()), source))
    })
    .await
}

/// The first bytes of a stream, and the stream with them still in it.
async fn peek(stream: ByteStream) -> Result<(Bytes, ByteStream)> {
    let mut stream = stream.fuse();
    let mut beginning = BytesMut::new();
    while beginning.len() < BEGINNING {
        let Some(chunk) = stream.next().await else { break };
        beginning.extend_from_slice(&chunk?);
    }
    let beginning = beginning.freeze();
    let whole = stream::iter([Ok(beginning.clone())]).chain(stream).boxed();
    Ok((beginning, whole))
}

/// Whether a file holds tar in gzip, as an input without declared archive is judged.
///
/// # Errors
/// When the file cannot be read.
pub fn is_tgz(path: &Path) -> Result<bool> {
    let at = |source| Error::io(|| format!("reading {}", path.display()), source);
    let mut beginning = Vec::new();
    File::open(path).map_err(at)?.take(BEGINNING as u64).read_to_end(&mut beginning).map_err(at)?;
    Ok(sniff(&beginning) == Content::TarGzip)
}
