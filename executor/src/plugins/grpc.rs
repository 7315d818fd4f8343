//! gRPC over a unix socket, as much as the artifact service needs: one request message and one answer, a stream of answers,
//! or a stream of requests. HTTP/2 does the rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::proto::SERVICE;
use super::socket;

/// A plugin may take this long to make its socket (argo: plugin.go).
const SOCKET_WITHIN: Duration = Duration::from_secs(120);
/// Longest message in bytes that is taken; gRPC's own limit is 4 MiB unless both sides raise it.
const LONGEST_MESSAGE: usize = 16 << 20;
/// Bytes that may be on their way to us before we have taken them.
const WINDOW: u32 = 1 << 20;

/// `NOT_FOUND` of gRPC.
pub const NOT_FOUND: u32 = 5;
/// `UNIMPLEMENTED` of gRPC.
pub const UNIMPLEMENTED: u32 = 12;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The plugin's socket is not there, or nobody answers at it.
    #[error("cannot reach the plugin at {}: {reason}", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// The connection broke during a call.
    #[error("{method}: the connection to the plugin broke: {reason}")]
    Broken {
        /// The call.
        method: &'static str,
        /// Why.
        reason: String,
    },
    /// The plugin answered with a failure.
    #[error("{method}: {message} (gRPC status {code})")]
    Status {
        /// The call.
        method: &'static str,
        /// gRPC's number of the failure.
        code: u32,
        /// What the plugin says.
        message: String,
    },
    /// The answer is not gRPC.
    #[error("{method}: the plugin's answer is unusable: {reason}")]
    Unusable {
        /// The call.
        method: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A plugin's server. Connects at the first call, and again when the connection has broken.
#[derive(Debug)]
pub struct Channel {
    socket: PathBuf,
    sender: Mutex<Option<SendRequest<Bytes>>>,
}

impl Channel {
    /// Nothing is sent yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, sender: Mutex::new(None) }
    }

    async fn sender(&self, timeout: Duration) -> Result<SendRequest<Bytes>, GrpcError> {
        let mut known = self.sender.lock().await;
        if let Some(sender) = known.clone()
            && let Ok(ready) = sender.ready().await
        {
            return Ok(ready);
        }
        *known = None;
        let sender = connect(&self.socket, timeout).await?;
        *known = Some(sender.clone());
        Ok(sender)
    }

    async fn open(
        &self,
        method: &'static str,
        timeout: Duration,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), GrpcError> {
        let mut sender = self.sender(timeout).await?;
        let request = Request::post(format!("http://localhost{SERVICE}{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(());
        let unusable = |error: http::Error| GrpcError::Unusable { method, reason: error.to_string() };
        sender.send_request(request.map_err(unusable)?, false).map_err(|error| broken(method, &error))
    }

    /// One message there and one back. `timeout` is for connecting only.
    ///
    /// # Errors
    /// As [`GrpcError`] tells.
    pub async fn unary<A: Message + Default>(
        &self,
        method: &'static str,
        request: &impl Message,
        timeout: Duration,
    ) -> Result<A, GrpcError> {
        let mut answers = self.server_stream(method, request, timeout).await?;
        answers.single().await
    }

    /// One message there, and many back.
    ///
    /// # Errors
    /// As [`GrpcError`] tells.
    pub async fn server_stream(
        &self,
        method: &'static str,
        request: &impl Message,
        timeout: Duration,
    ) -> Result<Answers, GrpcError> {
        let (response, mut send) = self.open(method, timeout).await?;
        send_all(method, &mut send, frame(request), true).await?;
        Answers::of(method, response).await
    }

    /// Many messages there, and one back.
    ///
    /// # Errors
    /// As [`GrpcError`] tells.
    pub async fn client_stream(&self, method: &'static str, timeout: Duration) -> Result<Requests, GrpcError> {
        let (response, send) = self.open(method, timeout).await?;
        Ok(Requests { method, response, send })
    }
}

async fn connect(socket: &Path, timeout: Duration) -> Result<SendRequest<Bytes>, GrpcError> {
    let unreachable = |reason: String| GrpcError::Unreachable { socket: socket.to_owned(), reason };
    let awaited = socket.to_owned();
    let there = tokio::task::spawn_blocking(move || socket::wait(&awaited, SOCKET_WITHIN)).await;
    there.map_err(|error| unreachable(error.to_string()))?.map_err(|error| unreachable(error.to_string()))?;
    let handshake = async {
        let stream = listening(socket).await.map_err(|error| error.to_string())?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(4 * WINDOW);
        builder.handshake(stream).await.map_err(|error| error.to_string())
    };
    let late = |_| unreachable(format!("no answer within {timeout:?}"));
    let (sender, connection) = tokio::time::timeout(timeout, handshake).await.map_err(late)?.map_err(&unreachable)?;
    // Ends with the connection; calls notice that themselves.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to a plugin ended: {error}");
        }
    });
    sender.ready().await.map_err(|error| unreachable(error.to_string()))
}

/// Connects. A socket can be seen a moment before its server listens at it, or be left from a server before this one,
/// which then takes its place; nothing tells when it listens.
async fn listening(socket: &Path) -> std::io::Result<UnixStream> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if matches!(error.kind(), ConnectionRefused | NotFound) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(250));
            }
            connected => return connected,
        }
    }
}

/// Messages on their way to the plugin, and the answer that comes after the last.
pub struct Requests {
    method: &'static str,
    response: ResponseFuture,
    send: h2::SendStream<Bytes>,
}

impl Requests {
    /// Sends a message, as fast as the plugin takes it.
    ///
    /// # Errors
    /// When the plugin has given up; [`Requests::finish`] tells why.
    pub async fn send(&mut self, request: &impl Message) -> Result<(), GrpcError> {
        send_all(self.method, &mut self.send, frame(request), false).await
    }

    /// Awaits the answer; `whole` says that all has been sent.
    ///
    /// # Errors
    /// As [`GrpcError`] tells.
    pub async fn finish<A: Message + Default>(mut self, whole: bool) -> Result<A, GrpcError> {
        if whole {
            self.send.send_data(Bytes::new(), true).map_err(|error| broken(self.method, &error))?;
        }
        Answers::of(self.method, self.response).await?.single().await
    }

    /// Gives up: what was sent is not the whole.
    pub fn cancel(mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }
}

/// Messages as they come.
pub struct Answers {
    method: &'static str,
    body: RecvStream,
    buffer: BytesMut,
}

impl Answers {
    async fn of(method: &'static str, response: ResponseFuture) -> Result<Self, GrpcError> {
        let response = response.await.map_err(|error| broken(method, &error))?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(GrpcError::Unusable { method, reason: format!("HTTP status {}", head.status) });
        }
        // A failure without any message comes with the head.
        if head.headers.contains_key("grpc-status") {
            check(method, &head.headers)?;
        }
        Ok(Self { method, body, buffer: BytesMut::new() })
    }

    /// The next message; none at the end of a stream that succeeded.
    ///
    /// # Errors
    /// As [`GrpcError`] tells.
    pub async fn next<A: Message + Default>(&mut self) -> Result<Option<A>, GrpcError> {
        let method = self.method;
        let unusable = |reason: String| GrpcError::Unusable { method, reason };
        loop {
            if self.buffer.len() >= 5 {
                let length =
                    u32::from_be_bytes([self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]]) as usize;
                if self.buffer[0] != 0 {
                    return Err(unusable("it is compressed, which was not asked for".to_owned()));
                }
                if length > LONGEST_MESSAGE {
                    return Err(unusable(format!("a message is longer than {LONGEST_MESSAGE} bytes")));
                }
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    let message = self.buffer.split_to(length).freeze();
                    return A::decode(message).map(Some).map_err(|error| unusable(error.to_string()));
                }
            }
            match self.body.data().await {
                Some(Ok(data)) => {
                    // What is taken makes room for more.
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.buffer.extend_from_slice(&data);
                }
                Some(Err(error)) => return Err(broken(method, &error)),
                None => {
                    let trailers = self.body.trailers().await.map_err(|error| broken(method, &error))?;
                    if let Some(trailers) = trailers {
                        check(method, &trailers)?;
                    }
                    return match self.buffer.is_empty() {
                        true => Ok(None),
                        false => Err(unusable("it ends within a message".to_owned())),
                    };
                }
            }
        }
    }

    async fn single<A: Message + Default>(&mut self) -> Result<A, GrpcError> {
        let unusable = |reason: &str| GrpcError::Unusable { method: self.method, reason: reason.to_owned() };
        let (none, more) = (unusable("there is no message in it"), unusable("there is more than one message"));
        let answer = self.next().await?.ok_or(none)?;
        // What the status says counts more than the message.
        match self.next::<A>().await? {
            None => Ok(answer),
            Some(_) => Err(more),
        }
    }
}

/// Tells a failure that headers or trailers tell.
fn check(method: &'static str, headers: &HeaderMap) -> Result<(), GrpcError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status").parse() {
        Ok(0) => Ok(()),
        Ok(code) => Err(GrpcError::Status { method, code, message: decoded(text("grpc-message")) }),
        Err(_) => Err(GrpcError::Unusable { method, reason: "it has no gRPC status".to_owned() }),
    }
}

/// A message in a header: bytes beyond ASCII are written as in URLs.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn broken(method: &'static str, error: &h2::Error) -> GrpcError {
    GrpcError::Broken { method, reason: error.to_string() }
}

/// A message with its length before it.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer has room for all of it.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

/// Sends bytes as the other side makes room for them.
async fn send_all(
    method: &'static str,
    send: &mut h2::SendStream<Bytes>,
    mut bytes: Bytes,
    last: bool,
) -> Result<(), GrpcError> {
    while !bytes.is_empty() {
        send.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        let room = match capacity {
            Some(Ok(room)) => room.min(bytes.len()),
            Some(Err(error)) => return Err(broken(method, &error)),
            None => return Err(GrpcError::Broken { method, reason: "the plugin takes no more".to_owned() }),
        };
        let part = bytes.split_to(room);
        let end = last && bytes.is_empty();
        send.send_data(part, end).map_err(|error| broken(method, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_listen_yet_is_waited_for() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        // What a server leaves that is no longer there: a socket at which nobody listens.
        drop(UnixListener::bind(&socket).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let late = runtime.block_on(connect(&socket, Duration::from_millis(20))).unwrap_err();
        assert!(late.to_string().ends_with("no answer within 20ms"), "{late}");
        let at = socket.clone();
        let server = std::thread::spawn(move || {
            std::fs::remove_file(&at).unwrap();
            UnixListener::bind(&at).unwrap()
        });
        runtime.block_on(listening(&socket)).unwrap();
        drop(server.join().unwrap());
    }

    #[test]
    fn messages_in_headers_are_decoded() {
        for (text, expected) in [("plain", "plain"), ("a%20b%C3%BC", "a bü"), ("100%", "100%"), ("%zz", "%zz")] {
            assert_eq!(decoded(text), expected);
        }
    }
}
