//! Bytes on their way: async streams, and the two bridges between them and code that reads or writes synchronously.
//!
//! Both bridges hold a handful of chunks at most; that is what bounds the memory of a transfer of any size.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::opened::Opened;

/// Chunks of an object, in order. After an `Err` nothing follows; an end without `Err` is a complete object.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// The usual size of a chunk that we make ourselves.
pub(crate) const CHUNK: usize = 256 << 10;
/// Chunks waiting in a bridge.
const WAITING: usize = 4;

/// A stream of one chunk.
pub fn once(bytes: Bytes) -> ByteStream {
    stream::once(async move { Ok(bytes) }).boxed()
}

/// Collects a stream; for small objects and tests.
///
/// # Errors
/// The stream's.
pub async fn collect(mut stream: ByteStream) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.freeze())
}

/// Runs `consume` on a blocking thread with a reader of `stream`, which goes on arriving meanwhile.
pub(crate) async fn read_blocking<T, F>(mut stream: ByteStream, consume: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(StreamReader) -> Result<T> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    let reader = StreamReader { receiver, current: Bytes::new(), state: ReadState::Going };
    let consumer = tokio::task::spawn_blocking(move || consume(reader));
    let feed = async move {
        while let Some(chunk) = stream.next().await {
            let failed = chunk.is_err();
            if sender.send(chunk.map(Some)).await.is_err() || failed {
                return;
            }
        }
        // The reader may be gone already; then it did not need the end.
        let _ = sender.send(Ok(None)).await;
    };
    let (_, outcome) = tokio::join!(feed, consumer);
    outcome.unwrap_or_else(|panic| Err(Error::permanent("reading an artifact", panic)))
}

enum ReadState {
    Going,
    Ended,
}

/// `Read` over a [`ByteStream`]; only for blocking threads.
pub(crate) struct StreamReader {
    receiver: mpsc::Receiver<Result<Option<Bytes>>>,
    current: Bytes,
    state: ReadState,
}

impl StreamReader {
    /// Reads what comes through the channel, up to its `None`.
    #[cfg(feature = "git")]
    pub(crate) fn new(receiver: mpsc::Receiver<Result<Option<Bytes>>>) -> Self {
        StreamReader { receiver, current: Bytes::new(), state: ReadState::Going }
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if matches!(self.state, ReadState::Ended) {
                return Ok(0);
            }
            match self.receiver.blocking_recv() {
                Some(Ok(Some(chunk))) => self.current = chunk,
                Some(Ok(None)) => self.state = ReadState::Ended,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Error::transient("reading an artifact", "the transfer was cancelled").into()),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Runs `produce` on a blocking thread; what it writes is the stream. Its error, or a panic, ends the stream with an
/// `Err`, so that a part of the output never looks like the whole.
pub(crate) fn write_blocking<F>(produce: F) -> ByteStream
where
    F: FnOnce(&mut StreamWriter) -> Result<()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut writer = StreamWriter { sender, buffer: BytesMut::new() };
        let outcome = produce(&mut writer)
            .and_then(|()| writer.flush().map_err(|source| Error::io(|| "writing a stream".into(), source)));
        // Nobody listens when the transfer was given up: nothing is left to tell.
        let _ = writer.sender.blocking_send(outcome.map(|()| None));
    });
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(chunk))) => Some((Ok(chunk), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(Error::permanent("writing a stream", "the writing thread ended early")), None)),
        }
    })
    .boxed()
}

/// `Write` whose output is a [`ByteStream`].
pub(crate) struct StreamWriter {
    sender: mpsc::Sender<Result<Option<Bytes>>>,
    buffer: BytesMut,
}

impl Write for StreamWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(CHUNK);
        }
        let count = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..count]);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer).freeze();
        self.sender
            .blocking_send(Ok(Some(chunk)))
            .map_err(|_| Error::permanent("writing a stream", "the upload was given up").into())
    }
}

/// The file's bytes, as many as it had when it was opened.
pub(crate) fn file(file: &Opened) -> ByteStream {
    let file = file.clone();
    write_blocking(move |writer| {
        let mut content = file.reader().take(file.size());
        let copied = io::copy(&mut content, writer);
        copied.map_err(|source| Error::io(|| format!("reading {}", file.path().display()), source))?;
        file.check_read(content.limit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_writer_is_an_error_at_the_end() {
        let mut stream = write_blocking(|writer| {
            writer.write_all(b"half").map_err(|e| Error::io(String::new, e))?;
            Err(Error::Archive("broken".into()))
        });
        assert!(matches!(stream.next().await, Some(Err(Error::Archive(_)))));
        assert!(stream.next().await.is_none());
        let mut stream = write_blocking(|_| panic!("a bug"));
        assert!(matches!(stream.next().await, Some(Err(_))));
    }

    #[tokio::test]
    async fn bytes_pass_both_bridges_unchanged() {
        let data: Vec<u8> = (0..3_000_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        let sent = data.clone();
        let stream = write_blocking(move |w| w.write_all(&sent).map_err(|e| Error::io(String::new, e)));
        let got = read_blocking(stream, |mut reader| {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map_err(|e| Error::io(String::new, e))?;
            Ok(all)
        })
        .await
        .unwrap();
        assert!(got == data);
    }

    #[tokio::test]
    async fn an_error_in_the_stream_keeps_its_class() {
        let stream = stream::iter([Ok(Bytes::from_static(b"a")), Err(Error::transient("get", "reset"))]).boxed();
        let error = read_blocking(stream, |mut reader| {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map_err(|e| Error::io(|| "x".into(), e))
        })
        .await
        .unwrap_err();
        assert!(error.retry());
    }
}
