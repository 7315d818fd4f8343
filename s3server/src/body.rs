//! A request's body on its way into a file: streamed, counted, and checked against every digest the client gave.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3Result, TrailingHeaders};
use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::layout::Tmp;
use crate::store::Store;

/// A body up to this size is gathered first, so that writing and committing it is one hop to a blocking thread.
const SMALL: usize = 256 * 1024;
/// Pieces of a larger body that wait for the disk at most: the bound on an upload's memory.
const QUEUE: usize = 4;

/// What the client said about its body.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub md5: Option<String>,
    /// Digests in the request's headers.
    pub sums: Checksum,
    /// Where digests appear once the body has been read, and what the client announced to be there.
    pub trailers: Option<TrailingHeaders>,
    pub announced: String,
    pub length: Option<u64>,
}

impl Claims {
    /// Adds what stands in the request's headers.
    pub fn with_request(mut self, headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        self.announced = text("x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
        self.length = text("x-amz-decoded-content-length").and_then(|text| text.parse().ok());
        self.trailers = trailers;
        self
    }
}

/// A piece of a body, or the mark that it arrived whole.
enum Piece {
    Data(Bytes),
    End,
}

/// Writes a body to a temporary file and, when it is whole and matches its claims, hands it to `then` on a blocking
/// thread. A client that goes away in the middle leaves nothing.
pub(crate) async fn receive<T: Send + 'static>(
    store: &Arc<Store>,
    body: Option<StreamingBlob>,
    claims: Claims,
    then: impl FnOnce(&Store, Tmp) -> Result<T, Fault> + Send + 'static,
) -> S3Result<(T, Checksum)> {
    let mut small = Vec::new();
    let mut size = 0;
    let mut rest = None;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(unreadable)?;
            size += bytes.len();
            small.push(Piece::Data(bytes));
            if size > SMALL {
                rest = Some(body);
                break;
            }
        }
    }
    let store = Arc::clone(store);
    let Some(mut rest) = rest else {
        small.push(Piece::End);
        return blocking(move || write(&store, small.into_iter(), claims, then)).await;
    };
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let pieces = small.into_iter().chain(std::iter::from_fn(move || receiver.blocking_recv()));
    let writer = tokio::task::spawn_blocking(move || write(&store, pieces, claims, then));
    while let Some(bytes) = rest.next().await {
        // A writer that gave up says why itself.
        if sender.send(Piece::Data(bytes.map_err(unreadable)?)).await.is_err() {
            break;
        }
    }
    let _ = sender.send(Piece::End).await;
    drop(sender);
    Ok(writer.await.map_err(S3Error::internal_error)??)
}

/// Runs a step of the store where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> S3Result<T> {
    Ok(tokio::task::spawn_blocking(step).await.map_err(S3Error::internal_error)??)
}

/// The body broke off, or its signature or digest does not fit.
fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> S3Error {
    Fault::InvalidRequest(format!("the request's body could not be read: {error}")).into()
}

fn write<T>(
    store: &Store,
    pieces: impl Iterator<Item = Piece>,
    claims: Claims,
    then: impl FnOnce(&Store, Tmp) -> Result<T, Fault>,
) -> Result<(T, Checksum), Fault> {
    let mut tmp = store.layout.tmp()?;
    let mut md5 = claims.md5.as_ref().map(|_| Md5::new());
    let mut hasher = hasher(&claims);
    let mut length = 0;
    let mut whole = false;
    for piece in pieces {
        match piece {
            Piece::Data(bytes) => {
                hasher.update(&bytes);
                if let Some(md5) = &mut md5 {
                    md5.update(&bytes);
                }
                tmp.file.write_all(&bytes)?;
                length += bytes.len() as u64;
            }
            Piece::End => whole = true,
        }
    }
    if !whole || claims.length.is_some_and(|claimed| claimed != length) {
        return Err(Fault::IncompleteBody);
    }
    if md5.map(|md5| STANDARD.encode(md5.finalize())) != claims.md5 {
        return Err(Fault::BadDigest { name: "Content-MD5" });
    }
    let sums = hasher.finalize();
    verify(&sums, &claims)?;
    Ok((then(store, tmp)?, sums))
}

/// Computes what is claimed and nothing else.
fn hasher(claims: &Claims) -> ChecksumHasher {
    let Claims { sums, announced, .. } = claims;
    let wanted = |claim: &Option<String>, name: &str| claim.is_some() || is_announced(announced, name);
    ChecksumHasher {
        crc32: wanted(&sums.checksum_crc32, "x-amz-checksum-crc32").then(Default::default),
        crc32c: wanted(&sums.checksum_crc32c, "x-amz-checksum-crc32c").then(Default::default),
        sha1: wanted(&sums.checksum_sha1, "x-amz-checksum-sha1").then(Default::default),
        sha256: wanted(&sums.checksum_sha256, "x-amz-checksum-sha256").then(Default::default),
        crc64nvme: wanted(&sums.checksum_crc64nvme, "x-amz-checksum-crc64nvme").then(Default::default),
    }
}

fn verify(found: &Checksum, claims: &Claims) -> Result<(), Fault> {
    let trailers = claims.trailers.as_ref().and_then(TrailingHeaders::take).unwrap_or_default();
    let claimed = &claims.sums;
    for (name, found, claimed) in [
        ("x-amz-checksum-crc32", &found.checksum_crc32, &claimed.checksum_crc32),
        ("x-amz-checksum-crc32c", &found.checksum_crc32c, &claimed.checksum_crc32c),
        ("x-amz-checksum-sha1", &found.checksum_sha1, &claimed.checksum_sha1),
        ("x-amz-checksum-sha256", &found.checksum_sha256, &claimed.checksum_sha256),
        ("x-amz-checksum-crc64nvme", &found.checksum_crc64nvme, &claimed.checksum_crc64nvme),
    ] {
        let Some(found) = found else { continue };
        let announced = is_announced(&claims.announced, name);
        let trailer = trailers.get(name).and_then(|value| value.to_str().ok());
        let fits = |claim: Option<&str>| claim == Some(found.as_str());
        if (claimed.is_some() && !fits(claimed.as_deref())) || (announced && !fits(trailer)) {
            return Err(Fault::BadDigest { name });
        }
    }
    Ok(())
}

/// Whether the client named this trailer.
fn is_announced(announced: &str, name: &str) -> bool {
    announced.split(',').any(|part| part.trim() == name)
}
