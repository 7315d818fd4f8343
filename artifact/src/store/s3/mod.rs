//! S3 and what speaks its protocol, through AWS's SDK. Its own repetitions are off: each request is repeated here, by
//! the class of its error ([`failure`]), and bytes are not sent again that arrived already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use tokio::sync::OnceCell;

use super::objects::Objects;
use super::{Body, Listing, Object, Store};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::retry::Retry;
use crate::secret::Secret;

mod client;
mod customer_key;
mod encryption;
mod failure;
mod identity;
mod requests;

use failure::fault;
pub use identity::Identity;

/// How a bucket's name gets into the URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// Virtual host for the large clouds' own endpoints, path for all others.
    #[default]
    Auto,
    /// `endpoint/bucket/key`.
    Path,
    /// `bucket.endpoint/key`.
    VirtualHosted,
}

/// Encryption at rest by the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Encryption {
    /// None asked for.
    #[default]
    None,
    /// With keys of the store (SSE-S3).
    Managed,
    /// With a key of its key service (SSE-KMS).
    Kms {
        /// The key's id.
        key: String,
        /// A JSON object, or empty.
        context: String,
    },
    /// With a key derived from this password and sent with each request (SSE-C).
    Customer(Secret),
}

/// One bucket and how to reach it.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Host with optional port and scheme; empty is AWS.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// Its region; empty is `us-east-1`.
    pub region: String,
    /// Plain HTTP.
    pub insecure: bool,
    /// Who asks.
    pub identity: Identity,
    /// How the bucket is addressed.
    pub addressing: Addressing,
    /// Encryption at rest.
    pub encryption: Encryption,
    /// Make the bucket before the first upload if it is missing; the value says whether with object locking.
    pub create_bucket: Option<bool>,
    /// PEM certificates that are trusted instead of the machine's.
    pub ca: Option<String>,
    /// Bytes in memory for parts of all of this store's transfers together, where it does not share them with others.
    pub memory: usize,
    /// Size of an upload's parts in bytes; at least 5 MiB.
    pub part_size: usize,
    /// Repetition of each request.
    pub retry: Retry,
}

impl S3Config {
    /// A bucket with keys; all else as usual: 8 MiB parts, three of them in memory.
    pub fn new(endpoint: impl Into<String>, bucket: impl Into<String>, access: Secret, secret: Secret) -> Self {
        S3Config {
            endpoint: endpoint.into(),
            bucket: bucket.into(),
            region: String::new(),
            insecure: false,
            identity: Identity::Keys { access, secret, token: None },
            addressing: Addressing::Auto,
            encryption: Encryption::None,
            create_bucket: None,
            ca: None,
            memory: 24 << 20,
            part_size: 8 << 20,
            retry: Retry::default(),
        }
    }
}

/// A bucket.
#[derive(Clone, Debug)]
pub struct S3Store {
    objects: Objects<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    config: S3Config,
    /// Payloads are signed only where nothing else keeps them from being changed on the way: plain HTTP that leaves
    /// the machine.
    sign_payload: bool,
    /// Whether the server takes CRC32 checksums; some that only resemble S3 do not.
    checksums: AtomicBool,
    /// Whether the server compares the checksum of a whole object that came in parts.
    compares_whole: AtomicBool,
    bucket_made: OnceCell<()>,
}

impl S3Store {
    /// A client for the bucket, with a memory of its own. Nothing is sent yet, not even to find out who asks; for a
    /// plain HTTP endpoint no certificates are loaded, and no configuration files are ever consulted.
    ///
    /// # Errors
    /// Class `Permanent` for settings that contradict each other or are not acceptable.
    pub fn new(config: S3Config) -> Result<Self> {
        let budget = Budget::new(config.memory, config.part_size);
        S3Store::within(config, budget)
    }

    /// The same, within a memory that others share.
    pub(crate) fn within(config: S3Config, budget: Arc<Budget>) -> Result<Self> {
        let (client, sign_payload) = client::build(&config)?;
        let retry = config.retry.clone();
        let (checksums, compares_whole) = (AtomicBool::new(true), AtomicBool::new(true));
        let inner = Inner { client, sign_payload, checksums, compares_whole, bucket_made: OnceCell::new(), config };
        Ok(S3Store { objects: Objects::new(inner, retry, budget) })
    }
}

impl Inner {
    fn describe(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.config.bucket)
    }

    fn checksums(&self) -> bool {
        self.checksums.load(Ordering::Relaxed)
    }

    fn forget_checksums(&self) {
        tracing::warn!(endpoint = %self.config.endpoint, "the server does not take CRC32 checksums: sending none");
        self.checksums.store(false, Ordering::Relaxed);
    }

    /// Makes the bucket once, where the artifact asks for it (argo: s3.go, saveS3Artifact).
    async fn ensure_bucket(&self) -> Result<()> {
        let Some(locking) = self.config.create_bucket else { return Ok(()) };
        let make = || async move {
            let mut request = self.client.create_bucket().bucket(&self.config.bucket);
            if locking {
                request = request.object_lock_enabled_for_bucket(true);
            }
            let region = self.config.region.as_str();
            if !matches!(region, "" | "us-east-1") {
                let place = BucketLocationConstraint::from(region);
                let placed = CreateBucketConfiguration::builder().location_constraint(place).build();
                request = request.create_bucket_configuration(placed);
            }
            match request.send().await {
                Ok(_) => Ok(true),
                Err(error) if failure::code_is(&error, &["BucketAlreadyExists", "BucketAlreadyOwnedByYou"]) => {
                    Ok(false)
                }
                Err(error) => Err(fault(format!("creating bucket {:?}", self.config.bucket), error)),
            }
        };
        let ensure = || async {
            if self.config.retry.run("creating a bucket", make).await? {
                encryption::of_bucket(self).await?;
            }
            Ok(())
        };
        self.bucket_made.get_or_try_init(ensure).await.map(|_| ())
    }
}

#[async_trait]
impl Store for S3Store {
    fn describe(&self, key: &str) -> String {
        self.objects.describe(key)
    }

    async fn open(&self, key: &str) -> Result<Object> {
        self.objects.open(key).await
    }

    async fn put(&self, key: &str, body: Body) -> Result<u64> {
        self.objects.put(key, body).await
    }

    async fn put_with(&self, key: &str, body: Body, journal: &dyn Journal) -> Result<u64> {
        self.objects.put_with(key, body, journal).await
    }

    async fn give_up(&self, journal: &dyn Journal) {
        self.objects.give_up(journal).await;
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.objects.delete(key).await
    }

    fn list<'a>(&'a self, key: &str) -> Listing<'a> {
        self.objects.list(key)
    }
}

fn region(config: &S3Config) -> Region {
    Region::new(if config.region.is_empty() { "us-east-1".to_owned() } else { config.region.clone() })
}

fn refused(text: impl Into<String>) -> Error {
    Error::Refused(text.into())
}
