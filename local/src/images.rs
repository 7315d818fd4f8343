//! Which root a container gets: its image, or this machine's own.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tiphys_oci::{Error, Image, Reference, Registries, Rootfs, Store, resolve_user};
use tiphys_podspec::ImageCommand;
use tokio::sync::OnceCell;

use crate::settings::Runtime;
use crate::view::{Happening, Observer};

/// An image, unpacked, with its configuration.
#[derive(Debug)]
pub(crate) struct ImageRoot {
    /// Its layers, lowest first.
    pub layers: Vec<PathBuf>,
    pub env: Vec<(String, String)>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub user: Option<(u32, u32)>,
    pub working_dir: Option<PathBuf>,
    /// Keeps the unpacked folder from being removed.
    _in_use: Rootfs,
}

/// What a container sees as `/`.
#[derive(Debug, Clone)]
pub(crate) enum Root {
    /// This machine's own root.
    Host,
    /// Its image.
    Image(Arc<ImageRoot>),
}

type Decision = Result<Root, String>;

/// The images of a run: each is looked for once.
pub(crate) struct Images {
    runtime: Runtime,
    observer: Observer,
    store: PathBuf,
    registries: Registries,
    opened: OnceCell<Store>,
    decided: Mutex<HashMap<String, Arc<OnceCell<Decision>>>>,
    /// Registries that do not answer: waiting for them once is enough.
    silent: Mutex<HashSet<String>>,
}

impl Images {
    /// Images of the store in that folder, and of those registries. The store is opened when it is first needed. What
    /// the user should know goes to the observer.
    pub fn new(runtime: Runtime, store: PathBuf, registries: Registries, observer: Observer) -> Images {
        Images {
            runtime,
            observer,
            store,
            registries,
            opened: OnceCell::new(),
            decided: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// The root for an image.
    ///
    /// # Errors
    /// The runtime is `oci` and the image cannot be had, or it is here and cannot be used; the text is for the node's
    /// message.
    pub async fn root(&self, image: &str) -> Result<Root, String> {
        if self.runtime == Runtime::Host {
            return Ok(Root::Host);
        }
        let cell = lock(&self.decided).entry(image.to_owned()).or_default().clone();
        cell.get_or_init(|| self.look_for(image)).await.clone()
    }

    async fn look_for(&self, name: &str) -> Decision {
        match self.image(name).await {
            Ok(image) => self.unpack(name, &image).await.map(|root| Root::Image(Arc::new(root))),
            Err(reason) if self.runtime == Runtime::Auto => {
                (self.observer)(Happening::Warning(format!(
                    "{reason}; steps with the image {name:?} run on this machine's own root instead (get it with \
                     `tiphys image import FILE` or `tiphys image pull {name}`, or choose --runtime host)"
                )));
                Ok(Root::Host)
            }
            Err(reason) => Err(reason),
        }
    }

    async fn image(&self, name: &str) -> Result<Image, String> {
        let reference: Reference = name.parse().map_err(|error: Error| error.to_string())?;
        let store = self.store().await?;
        if let Some(image) = store.get(&reference).await.map_err(|error| error.to_string())? {
            return Ok(image);
        }
        let registry = reference.registry();
        if lock(&self.silent).contains(registry) {
            return Err(format!("the registry {registry} is not reachable"));
        }
        (self.observer)(Happening::Note(format!("pulling {reference}")));
        self.pull(store.clone(), reference.clone()).await.map_err(|error| {
            if matches!(error, Error::NotReachable { .. }) {
                lock(&self.silent).insert(registry.to_owned());
            }
            error.to_string()
        })
    }

    /// On a thread of its own, since unpacking as it goes keeps one busy.
    async fn pull(&self, store: Store, reference: Reference) -> Result<Image, Error> {
        let (registries, registry) = (self.registries.clone(), reference.registry().to_owned());
        let runtime = tokio::runtime::Handle::current();
        let pulled = tokio::task::spawn_blocking(move || runtime.block_on(store.pull(&reference, &registries)));
        match pulled.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::NotReachable { registry, reason: "this program is ending".to_owned() }),
            },
        }
    }

    async fn unpack(&self, name: &str, image: &Image) -> Result<ImageRoot, String> {
        let wrong = |error: Error| format!("the image {name:?} cannot be used: {error}");
        let rootfs = self.store().await?.rootfs(image).await.map_err(wrong)?;
        let config = &image.config;
        let user = match config.user.as_str() {
            "" => None,
            user => Some(resolve_user(rootfs.path(), user).map_err(wrong)?),
        };
        Ok(ImageRoot {
            layers: vec![rootfs.path().to_owned()],
            env: config
                .env
                .iter()
                .map(|variable| variable.split_once('=').unwrap_or((variable, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            user: user.map(|user| (user.uid, user.gid)),
            working_dir: Some(&config.working_dir).filter(|folder| !folder.is_empty()).map(PathBuf::from),
            _in_use: rootfs,
        })
    }

    async fn store(&self) -> Result<&Store, String> {
        let path = self.store.clone();
        self.opened.get_or_try_init(|| Store::open(path)).await.map_err(|error| error.to_string())
    }

    /// The command of an image, for a container that names none; None where it is not known.
    ///
    /// # Errors
    /// As [`Images::root`].
    pub async fn command(&self, image: &str) -> Result<Option<ImageCommand>, String> {
        Ok(match self.root(image).await? {
            Root::Host => None,
            Root::Image(root) => Some(ImageCommand { entrypoint: root.entrypoint.clone(), cmd: root.cmd.clone() }),
        })
    }
}

/// What to do about a command that this machine lacks, for a container of `image` that ran on this machine's root.
pub(crate) fn advice(image: &str, message: &str) -> Option<String> {
    message.contains("executable file not found").then(|| {
        format!(
            "the step ran on this machine's own root, not in its image {image:?}: install the command on this machine, \
             or get the image with `tiphys image import FILE` or `tiphys image pull {image}`"
        )
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
