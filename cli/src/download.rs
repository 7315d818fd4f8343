//! Manifests that are named by their address.

use futures_util::StreamExt;
use tiphys_artifact::{Error, HttpConfig, HttpStore, Retry, Store};

use crate::failure::Failure;

/// The largest manifest that is taken from an address, in bytes: far more than a Kubernetes object can have.
const LARGEST: usize = 64 << 20;

/// Whether a manifest is named by its address, and not by a path.
pub fn is_address(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// Gets a manifest; proxies are taken from the environment, as curl does.
///
/// # Errors
/// It cannot be had (bad usage).
pub fn get(url: &str) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| {
        Failure::usage(format!("cannot get the manifest: {why}; or save it to a file, and name that or pipe it to `-`"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(read(url)).map_err(|error| failed(error.to_string()))
}

async fn read(url: &str) -> Result<Vec<u8>, Error> {
    let config = HttpConfig { field: "FILE", retry: Retry::never(), ..HttpConfig::new(url) };
    let store = HttpStore::new(config)?;
    let mut stream = store.open("").await?.stream;
    let mut text = Vec::new();
    while let Some(chunk) = stream.next().await {
        text.extend_from_slice(&chunk?);
        if text.len() > LARGEST {
            let (shown, limit) = (store.describe(""), LARGEST >> 20);
            return Err(Error::Refused(format!("{shown} is larger than {limit} MiB, too large for a manifest")));
        }
    }
    Ok(text)
}
