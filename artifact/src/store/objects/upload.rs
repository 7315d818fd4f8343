//! Uploads: one request for what fits a part, else parts of which a few are in flight. A part that fails is sent again
//! alone; an upload that fails for good is removed from the server. One that fails for now or is dropped in the middle can
//! be gone on with, or given up together with all others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crc_fast::{CrcAlgorithm, Digest};
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;

use super::parts::{Part, Parts};
use super::unfinished::Begun;
use super::{Inner, Protocol, Sent, Upload, Whole};
use crate::error::{Class, Error, Result};
use crate::journal::{Journal, Resume};
use crate::store::Body;

/// Uploads given up together.
const TOGETHER: usize = 8;

/// Stores `body` under `key`.
pub(super) async fn put<P: Protocol>(
    inner: &Arc<Inner<P>>,
    key: &str,
    body: Body,
    journal: &dyn Journal,
) -> Result<u64> {
    inner.protocol.prepare().await?;
    let what = inner.protocol.describe(key);
    let target = Arc::new(inner.protocol.target(key)?);
    let again = match &body {
        Body::Bytes(bytes) => Some(Body::Bytes(bytes.clone())),
        Body::File(file) => Some(Body::File(file.clone())),
        Body::Stream(_) => None,
    };
    let outcome = put_once(inner, &target, &what, body, journal).await;
    let outcome = match (outcome, again) {
        (Err(lost), Some(body)) if lost.class() == Class::NotFound => {
            tracing::warn!("the server lost the upload of {what}: it begins anew");
            put_once(inner, &target, &what, body, journal).await
        }
        (outcome, _) => outcome,
    };
    outcome.map_err(|error| match error.class() {
        // The object is what is being made: that something else is missing is no "not found" of it.
        Class::NotFound => Error::transient(format!("storing {what}"), "the server lost the upload"),
        _ => error,
    })
}

async fn put_once<P: Protocol>(
    inner: &Arc<Inner<P>>,
    target: &Arc<P::Target>,
    what: &str,
    body: Body,
    journal: &dyn Journal,
) -> Result<u64> {
    let known = journal.unfinished(what);
    let part_size = known.as_ref().map_or(inner.budget.part_size(), |known| known.part_size);
    let mut parts = Parts::of(&inner.budget, part_size, body);
    let first = parts.next().await?;
    if parts.ended() {
        let size = first.bytes.len() as u64;
        let sum = checksum(P::SUM, &first.bytes);
        let put = || inner.protocol.put(target, first.bytes.clone(), sum);
        inner.retry.run("an upload", put).await?;
        return Ok(size);
    }
    let transfer = match known {
        Some(resume) => {
            tracing::info!("the upload of {what} goes on: {} parts are there already", resume.sent.len());
            Transfer::new(inner, target, what, journal, resume)
        }
        None => {
            let upload = inner.retry.run("beginning an upload", || inner.protocol.begin(target)).await?;
            let resume = Resume { upload, part_size, sent: BTreeMap::new() };
            journal.note(what, &resume);
            Transfer::new(inner, target, what, journal, resume)
        }
    };
    transfer.run(first, parts).await
}

/// The checksum of one piece.
fn checksum(algorithm: CrcAlgorithm, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new(algorithm);
    digest.update(bytes);
    digest.finalize()
}

/// An upload in parts.
struct Transfer<'a, P: Protocol> {
    inner: Arc<Inner<P>>,
    target: Arc<P::Target>,
    what: &'a str,
    journal: &'a dyn Journal,
    resume: Resume,
}

impl<'a, P: Protocol> Transfer<'a, P> {
    fn new(
        inner: &Arc<Inner<P>>,
        target: &Arc<P::Target>,
        what: &'a str,
        journal: &'a dyn Journal,
        resume: Resume,
    ) -> Self {
        Transfer { inner: inner.clone(), target: target.clone(), what, journal, resume }
    }

    async fn run(mut self, first: Part, parts: Parts) -> Result<u64> {
        let begun = Begun { target: self.target.clone(), upload: self.resume.upload.clone() };
        if let Some(Begun { target, upload }) = self.inner.unfinished.add(self.what, begun) {
            abort(&self.inner, &target, &upload, self.what).await;
        }
        let outcome = self.send_all(first, parts).await;
        match outcome.as_ref().map_err(Error::class) {
            Err(Class::Transient) if self.journal.remembers() => return outcome,
            Ok(_) | Err(Class::NotFound) => {}
            Err(_) => drop(abort(&self.inner, &self.target, &self.resume.upload, self.what).await),
        }
        self.inner.unfinished.remove(self.what);
        self.journal.forget(self.what);
        outcome
    }

    async fn send_all(&mut self, first: Part, mut parts: Parts) -> Result<u64> {
        let mut flying = JoinSet::new();
        let mut all: Vec<Sent> = Vec::new();
        let mut part = first;
        for number in 1.. {
            let (size, sum) = (part.bytes.len() as u64, checksum(P::SUM, &part.bytes));
            match self.resume.sent.get(&number) {
                Some(there) if (there.size, there.sum) == (size, sum) => {
                    all.push(there.clone());
                    drop(part);
                }
                _ => {
                    let (inner, target) = (self.inner.clone(), self.target.clone());
                    let upload = self.resume.upload.clone();
                    flying.spawn(async move { send_part(&inner, &target, &upload, number, part, sum).await });
                }
            }
            if parts.ended() {
                break;
            }
            // Not in a select with the parts under way: given up in the middle, it would lose what it has read.
            part = parts.next().await?;
            while let Some(done) = flying.try_join_next() {
                all.push(self.flown(done)?);
            }
        }
        while let Some(done) = flying.join_next().await {
            all.push(self.flown(done)?);
        }
        all.sort_by_key(|sent| sent.number);
        self.complete(all).await
    }

    fn flown(&mut self, done: Result<Result<Sent>, tokio::task::JoinError>) -> Result<Sent> {
        let sent = done.unwrap_or_else(|panic| Err(Error::permanent("sending a part", panic)))?;
        if self.journal.remembers() {
            self.resume.sent.insert(sent.number, sent.clone());
            self.journal.note(self.what, &self.resume);
        }
        Ok(sent)
    }

    async fn complete(&self, all: Vec<Sent>) -> Result<u64> {
        let whole = all.iter().fold(Whole { size: 0, sum: 0 }, |whole, part| Whole {
            size: whole.size + part.size,
            sum: match whole.size {
                0 => part.sum,
                _ => crc_fast::checksum_combine(P::SUM, whole.sum, part.sum, part.size),
            },
        });
        // Set when an earlier answer may have been lost.
        let again = AtomicBool::new(false);
        let complete = || async {
            match self.inner.protocol.complete(&self.target, &self.resume.upload, &all, whole).await {
                Err(gone) if gone.is_not_found() && again.load(Ordering::Relaxed) => self.is_there(whole.size).await,
                Err(error) => {
                    again.store(true, Ordering::Relaxed);
                    Err(error)
                }
                Ok(()) => Ok(()),
            }
        };
        self.inner.retry.run("completing an upload", complete).await?;
        Ok(whole.size)
    }

    /// Whether the upload was completed by a request whose answer was lost.
    async fn is_there(&self, size: u64) -> Result<()> {
        match self.inner.protocol.size(&self.target).await? == Some(size) {
            true => Ok(()),
            false => Err(Error::permanent(format!("completing {}", self.what), "the server lost the upload")),
        }
    }
}

async fn send_part<P: Protocol>(
    inner: &Inner<P>,
    target: &P::Target,
    upload: &Upload,
    number: u32,
    part: Part,
    sum: u64,
) -> Result<Sent> {
    let send = || inner.protocol.put_part(target, upload, number, part.bytes.clone(), sum);
    let tag = inner.retry.run("sending a part", send).await?;
    Ok(Sent { number, size: part.bytes.len() as u64, sum, tag })
}

/// Gives up what is not finished.
pub(super) async fn give_up<P: Protocol>(inner: &Arc<Inner<P>>, journal: &dyn Journal) {
    let unfinished = stream::iter(inner.unfinished.take());
    let give_up = async |(what, Begun { target, upload }): (String, Begun<P>)| {
        if abort(inner, &target, &upload, &what).await {
            journal.forget(&what);
        }
    };
    unfinished.for_each_concurrent(TOGETHER, give_up).await;
}

/// Lets the server forget the parts, and says whether it has. If not they cost space until the store's own rules remove
/// them.
async fn abort<P: Protocol>(inner: &Inner<P>, target: &P::Target, upload: &Upload, what: &str) -> bool {
    match inner.protocol.abort(target, upload).await {
        Err(error) if !error.is_not_found() => {
            tracing::warn!("the parts of {what} stay on the server: {error}");
            false
        }
        _ => true,
    }
}
