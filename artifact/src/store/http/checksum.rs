//! Checksums that Artifactory tells of a file: in headers where it is loaded, in the answer's body where it was saved.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use reqwest::header::HeaderMap;
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde_json::Value;

use crate::error::Error;
use crate::stream::ByteStream;

/// A checksum that a server told.
pub(super) struct Checksum {
    algorithm: &'static Algorithm,
    text: String,
}

impl Checksum {
    /// The strongest one that the headers have.
    pub(super) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let found = |name| headers.get(name)?.to_str().ok();
        Checksum::of(found("x-checksum-sha256"), found("x-checksum-sha1"))
    }

    /// The strongest one that the answer to an upload has.
    pub(super) fn of_answer(body: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let sums = &answer["checksums"];
        Checksum::of(sums["sha256"].as_str(), sums["sha1"].as_str())
    }

    fn of(sha256: Option<&str>, sha1: Option<&str>) -> Option<Self> {
        let hex = |text: Option<&str>, bytes: usize| {
            let text = text?.trim().to_ascii_lowercase();
            (text.len() == 2 * bytes && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
        };
        let sha256 = hex(sha256, 32).map(|text| Checksum { algorithm: &SHA256, text });
        sha256.or_else(|| Some(Checksum { algorithm: &SHA1_FOR_LEGACY_USE_ONLY, text: hex(sha1, 20)? }))
    }

    /// The stream, which fails at its end when it was not what the server promised.
    pub(super) fn verify(self, stream: ByteStream, what: String) -> ByteStream {
        let context = Context::new(self.algorithm);
        stream::unfold(Some((stream, context, self.text, what)), |state| async {
            let (mut stream, mut context, text, what) = state?;
            match stream.next().await {
                Some(Ok(chunk)) => {
                    context.update(&chunk);
                    Some((Ok(chunk), Some((stream, context, text, what))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => {
                    let found = hex(context);
                    let why = || format!("its checksum is {found} where the server has {text}");
                    (found != text).then(|| (Err(Error::corrupt(what, why())), None))
                }
            }
        })
        .boxed()
    }

    /// Whether this is the checksum of what was sent.
    pub(super) fn is_of(&self, sums: &Sums) -> bool {
        let sums = sums.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |context: &Context| hex(context.clone());
        self.text == if self.algorithm == &SHA256 { of(&sums.0) } else { of(&sums.1) }
    }
}

/// SHA-256 and SHA-1 of what was sent so far: which one the server will tell is not known before.
#[derive(Clone)]
pub(super) struct Sums(Arc<Mutex<(Context, Context)>>);

impl Sums {
    pub(super) fn new() -> Self {
        Sums(Arc::new(Mutex::new((Context::new(&SHA256), Context::new(&SHA1_FOR_LEGACY_USE_ONLY)))))
    }

    pub(super) fn update(&self, chunk: &[u8]) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.0.update(chunk);
        sums.1.update(chunk);
    }
}

fn hex(context: Context) -> String {
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
