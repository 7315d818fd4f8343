//! Artifact transfers: the runtime they need, started only when there are any.

use std::future::Future;
use std::time::Duration;

use futures_util::stream;
use tiphys_artifact::{Artifacts, MountedSecrets, Opened, Options};

use super::ending::Ending;
use super::settings::Settings;
use super::uploads::Uploads;
use crate::paths::Paths;
use crate::plugins::Sockets;

/// Transfers of one process under way together.
const TOGETHER: usize = 4;
/// A file up to this size in bytes costs a request and little memory. What is larger, and every folder, compresses on
/// several threads and has many requests in flight of its own: one of them at a time fills the machine.
const SMALL: u64 = 1 << 20;

/// Results do not wait longer for a store to forget what has failed.
const REMOVALS: Duration = Duration::from_secs(5);

/// Why a transfer was given up.
pub const OUT_OF_TIME: &str = "gave up, since the Pod must end now";

/// Whether saving a file or folder is so little work that others go on beside it.
pub fn is_small(opened: &Opened) -> bool {
    opened.is_file() && opened.size() <= SMALL
}

/// Runs transfers of inputs to their end on this thread and a few for disks.
///
/// # Errors
/// The text for the user when the runtime cannot be started.
pub fn run<T>(paths: &Paths, settings: &Settings, transfers: impl AsyncFnOnce(&Artifacts) -> T) -> Result<T, String> {
    run_with(paths, settings.transfers.clone(), transfers)
}

/// As [`run`], for what is saved: requests are repeated for longer, uploads that a process before this one has begun are
/// gone on with, and of those that come to nothing nothing stays in the stores.
///
/// # Errors
/// The text for the user when the runtime cannot be started.
pub fn run_saving<T>(
    paths: &Paths,
    settings: &Settings,
    ending: &Ending,
    transfers: impl AsyncFnOnce(&Artifacts) -> T,
) -> Result<T, String> {
    run_with(paths, settings.outgoing(), async |artifacts| {
        let artifacts = artifacts.clone().with_journal(Uploads::of(paths));
        let result = transfers(&artifacts).await;
        let removed = tokio::time::timeout(REMOVALS, ending.removals.bound(artifacts.give_up())).await;
        if !matches!(removed, Ok(Some(()))) {
            tracing::warn!("there is no time to remove what arrived of uploads that failed: it stays in the store");
        }
        result
    })
}

fn run_with<T>(paths: &Paths, options: Options, transfers: impl AsyncFnOnce(&Artifacts) -> T) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(|error| format!("cannot start the runtime for artifact transfers: {error}"))?;
    let artifacts = open(paths, options);
    let result = runtime.block_on(transfers(&artifacts));
    // All that matters has been awaited; a thread that still waits for a stalled disk must not hold the process.
    runtime.shutdown_background();
    Ok(result)
}

/// Transfers with all stores, those of plugins included.
pub fn open(paths: &Paths, options: Options) -> Artifacts {
    Artifacts::new(MountedSecrets::new(&paths.secrets), options).with_plugins(Sockets::new(paths))
}

/// Awaits all, some at a time; results in the order given.
pub async fn all<T>(transfers: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    use futures_util::StreamExt;
    stream::iter(transfers).buffered(TOGETHER).collect().await
}
