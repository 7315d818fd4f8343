//! `git-upload-pack` on the server, whose input and output git has on a blocking thread.

use std::any::Any;
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use gix::bstr::BStr;
use gix_transport::client::blocking_io::{RequestWriter, SetServiceResponse, Transport};
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection;
use gix_transport::client::{self as git, MessageKind, TransportWithoutIO, WriteMode};
use gix_transport::{Protocol, Service};
use russh::client::{Handle as Session, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::super::fault::{Body, Fault};
use super::{ANSWER, Guard, in_time};
use crate::error::{Error, Result};
use crate::stream::StreamReader;

/// Chunks of an answer that wait to be read.
const WAITING: usize = 8;
/// Bytes of an order that are sent together.
const TOGETHER: usize = 32 << 10;
/// What is kept of the server's own words.
const WORDS: usize = 4 << 10;

/// One fetch's connection.
pub(in super::super) struct UploadPack {
    inner: Connection<Body, Orders>,
    older: Older,
}

/// Whether the server turned out to speak one of git's older protocols.
pub(in super::super) type Older = Arc<AtomicBool>;

impl UploadPack {
    /// Reads and writes what runs in the channel.
    pub(super) fn new(
        session: Session<Guard>,
        channel: Channel<Msg>,
        doing: String,
        url: &str,
        runtime: &Handle,
        fault: &Fault,
    ) -> Self {
        let (answers, orders) = channel.split();
        let (sender, chunks) = mpsc::channel(WAITING);
        runtime.spawn(async move {
            pump(answers, sender, &doing).await;
            // The server may be gone already.
            let _ = session.disconnect(Disconnect::ByApplication, "", "").await;
        });
        let read = Body { reader: StreamReader::new(chunks), fault: fault.clone() };
        let write = Orders { channel: orders, runtime: runtime.clone(), waiting: Vec::new(), fault: fault.clone() };
        // The path went with the command.
        let inner = Connection::new(read, write, Protocol::V2, "", None::<(String, _)>, ConnectMode::Process, false);
        UploadPack { inner: inner.custom_url(Some(url.into())), older: Older::default() }
    }

    pub(in super::super) fn older(&self) -> Older {
        self.older.clone()
    }
}

impl TransportWithoutIO for UploadPack {
    fn to_url(&self) -> Cow<'_, BStr> {
        self.inner.to_url()
    }

    fn connection_persists_across_multiple_requests(&self) -> bool {
        true
    }

    fn configure(&mut self, config: &dyn Any) -> gix_error::Result {
        self.inner.configure(config)
    }
}

impl Transport for UploadPack {
    fn handshake<'a>(
        &mut self,
        service: Service,
        parameters: &'a [(&'a str, Option<&'a str>)],
    ) -> std::result::Result<SetServiceResponse<'_>, git::Error> {
        let response = self.inner.handshake(service, parameters)?;
        self.older.store(response.actual_protocol != Protocol::V2, Ordering::Relaxed);
        Ok(response)
    }

    fn request(
        &mut self,
        mode: WriteMode,
        end: MessageKind,
        trace: bool,
    ) -> std::result::Result<RequestWriter<'_>, git::Error> {
        self.inner.request(mode, end, trace)
    }
}

/// Carries the server's answer to who reads it, until it is complete or nobody reads it any more.
async fn pump(mut answers: ChannelReadHalf, to: mpsc::Sender<Result<Option<Bytes>>>, doing: &str) {
    let mut words = Vec::new();
    let mut status = None;
    let end = loop {
        let message = tokio::select! {
            message = answers.wait() => message,
            () = to.closed() => return,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                if to.send(Ok(Some(data))).await.is_err() {
                    return;
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                words.extend_from_slice(&data);
                words.drain(..words.len().saturating_sub(WORDS));
            }
            Some(ChannelMsg::Failure) => {
                break Err(Error::permanent(doing, "the server runs no commands for this user"));
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
            Some(ChannelMsg::Close) | None => {
                break match status {
                    Some(0) => Ok(None),
                    Some(code) => Err(Error::permanent(doing, said(&words, code))),
                    None => Err(Error::transient(doing, "the connection broke off")),
                };
            }
            Some(_) => {}
        }
    };
    // Who waits may be gone meanwhile.
    let _ = to.send(end).await;
}

/// Why git failed on the server, in its own words.
fn said(words: &[u8], code: u32) -> String {
    let words = String::from_utf8_lossy(words);
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.is_empty() {
        true => format!("git on the server ended with status {code}"),
        false => format!("git on the server says: {} (status {code})", lines.join("; ")),
    }
}

/// What git tells the server.
struct Orders {
    channel: ChannelWriteHalf<Msg>,
    runtime: Handle,
    waiting: Vec<u8>,
    fault: Fault,
}

impl Write for Orders {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(data);
        if self.waiting.len() >= TOGETHER {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.waiting));
        let sent = in_time("asking for a repository", ANSWER, self.channel.data_bytes(bytes));
        self.runtime.block_on(sent).map_err(|error| self.fault.keep(error))
    }
}

/// The path as one word of a shell, as git itself quotes it.
pub(super) fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''").replace('!', "'\\!'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word() {
        assert_eq!(quoted("/srv/a b"), "'/srv/a b'");
        assert_eq!(quoted("a'; rm -rf !"), "'a'\\''; rm -rf '\\!''");
    }
}
