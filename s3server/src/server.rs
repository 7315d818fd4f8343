//! A running server: listener, connections, credentials, end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::layout::Layout;
use crate::secret::Secret;
use crate::service::Service;
use crate::store::Store;

/// How long [`S3Server::stop`] waits for requests under way.
const GRACE: Duration = Duration::from_secs(5);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be made, read or written.
    #[error("the folder {} of the S3 server cannot be used", path.display())]
    Folder {
        /// The folder given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process serves this folder; two would sweep each other's files.
    #[error("the folder {} is in use by another S3 server; wait for that run to end or stop it", path.display())]
    InUse {
        /// The folder given.
        path: PathBuf,
    },
    /// A bucket's name breaks S3's rules.
    #[error("{name:?} cannot name a bucket: 3 to 63 lower-case letters, digits, dots and hyphens are allowed")]
    BucketName {
        /// The name given.
        name: String,
    },
    /// No loopback port can be had.
    #[error("cannot listen on a port of 127.0.0.1")]
    Listen {
        /// What the system says.
        source: io::Error,
    },
}

/// An S3 server on a loopback port, until it is stopped or dropped.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    access_key: String,
    secret_key: Secret,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    /// Ends when the last step on the folder has.
    released: oneshot::Receiver<()>,
}

impl S3Server {
    /// Serves the objects below `root`, which is created if it is missing, with at least these buckets.
    ///
    /// Uploads that an earlier server left half done are removed. The work runs as tasks of the calling runtime.
    ///
    /// # Errors
    /// The folder cannot be used or is served already, a name is no bucket name, no port is free.
    pub async fn start(root: &Path, buckets: &[&str]) -> Result<Self, StartError> {
        if let Some(name) = buckets.iter().find(|name| !s3s::path::check_bucket_name(name)) {
            return Err(StartError::BucketName { name: (*name).to_owned() });
        }
        let (store, released) = open(root, buckets).await?;
        let access_key = format!("{:020X}", rand::random::<u128>() >> 48);
        let secret_key = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());

        let mut service = S3ServiceBuilder::new(Service { store: Arc::new(store) });
        service.set_auth(SimpleAuth::from_single(access_key.as_str(), secret_key.as_str()));
        let listen = |source| StartError::Listen { source };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(listen)?;
        let endpoint = listener.local_addr().map_err(listen)?.to_string();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, service.build(), stopped));
        Ok(Self { endpoint, access_key, secret_key: Secret::new(secret_key), stop, task: Some(task), released })
    }

    /// Where it listens, as `127.0.0.1:PORT`; plain HTTP, path-style requests, any region.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The access key, made for this server.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret key, made for this server.
    pub fn secret_key(&self) -> &Secret {
        &self.secret_key
    }

    /// Takes no more requests and waits up to five seconds for those under way. Afterwards the folder is free.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the S3 server did not end well");
        }
        // A request whose client is gone may still be cleaning up on a blocking thread.
        if tokio::time::timeout(GRACE, &mut self.released).await.is_err() {
            tracing::warn!("the S3 server's folder is still in use");
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn open(root: &Path, buckets: &[&str]) -> Result<(Store, oneshot::Receiver<()>), StartError> {
    let path = root.to_owned();
    let buckets: Vec<String> = buckets.iter().map(|&name| name.to_owned()).collect();
    let opened = tokio::task::spawn_blocking(move || {
        let Some((layout, released)) = Layout::open(&path)? else { return Ok(None) };
        for bucket in buckets {
            std::fs::create_dir_all(layout.bucket(&bucket))?;
        }
        Ok(Some((Store::new(layout), released)))
    });
    match opened.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => Err(StartError::InUse { path: root.to_owned() }),
        Err(source) => Err(StartError::Folder { path: root.to_owned(), source }),
    }
}

/// Accepts connections until told to stop, then lets them finish their requests.
async fn serve(listener: TcpListener, service: S3Service, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, service.clone(), stopped.clone()));
                }
                // Out of file descriptors, or the client is gone already: others may do better.
                Err(error) => {
                    tracing::warn!(%error, "the S3 server could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_done).await.is_err() {
        tracing::warn!("the S3 server ends with requests still under way");
    }
}

async fn connection(stream: TcpStream, service: S3Service, mut stopped: watch::Receiver<bool>) {
    // Answers are small and clients wait for them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the S3 server broke off");
    }
}
