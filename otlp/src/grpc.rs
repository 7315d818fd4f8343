//! gRPC as far as it takes: one message there, one back. HTTP/2 does the rest.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode, Uri};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use crate::connect::connect;
use crate::exporter::{ExportError, LONGEST_ANSWER, shown};
use crate::settings::Settings;

/// A collector's server. Connects at the first call, and again when the connection has broken.
pub struct Channel {
    endpoint: Uri,
    headers: HeaderMap,
    gzip: bool,
    tls: Option<TlsConnector>,
    sender: Mutex<Option<SendRequest<Bytes>>>,
}

/// Scheme, host and port.
pub fn address(endpoint: &Uri) -> String {
    let authority = endpoint.authority().map(|authority| authority.as_str()).unwrap_or_default();
    format!("{}://{authority}", endpoint.scheme_str().unwrap_or_default())
}

impl Channel {
    /// Nothing is sent yet.
    pub fn new(settings: &Settings, headers: HeaderMap, tls: Option<TlsConnector>) -> Channel {
        Channel { endpoint: settings.endpoint.clone(), headers, gzip: settings.gzip, tls, sender: Mutex::default() }
    }

    fn unreachable(&self, reason: impl ToString) -> ExportError {
        ExportError::Unreachable { address: address(&self.endpoint), reason: reason.to_string() }
    }

    async fn sender(&self) -> Result<SendRequest<Bytes>, ExportError> {
        let mut known = self.sender.lock().await;
        if let Some(sender) = known.take()
            && let Ok(ready) = sender.ready().await
        {
            *known = Some(ready.clone());
            return Ok(ready);
        }
        let stream = connect(&self.endpoint, self.tls.as_ref()).await.map_err(|error| self.unreachable(error))?;
        let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| self.unreachable(error))?;
        // Ends with the connection; calls notice that themselves.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the collector ended");
            }
        });
        let sender = sender.ready().await.map_err(|error| self.unreachable(error))?;
        *known = Some(sender.clone());
        Ok(sender)
    }

    /// Sends a message, which is compressed already if it is to be; gives the answer.
    ///
    /// # Errors
    /// As [`ExportError`] tells.
    pub async fn call(&self, method: &str, message: &[u8]) -> Result<Bytes, ExportError> {
        let mut sender = self.sender().await?;
        let mut request = Request::post(format!("{}{method}", address(&self.endpoint)))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("tiphys/", env!("CARGO_PKG_VERSION")));
        if self.gzip {
            request = request.header("grpc-encoding", "gzip");
        }
        let mut request = request.body(()).map_err(|error| ExportError::Setup(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let broken = |error: h2::Error| self.unreachable(error);
        let (response, mut stream) = sender.send_request(request, false).map_err(broken)?;
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(u8::from(self.gzip));
        frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        frame.put_slice(message);
        stream.send_data(frame.freeze(), true).map_err(broken)?;
        let (head, mut body) = response.await.map_err(broken)?.into_parts();
        if head.status != StatusCode::OK {
            let transient = matches!(head.status.as_u16(), 429 | 502 | 503 | 504);
            return Err(self.refused(format!("HTTP status {}", head.status), transient));
        }
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(broken)?;
            let _ = body.flow_control().release_capacity(chunk.len());
            if answer.len() + chunk.len() > LONGEST_ANSWER {
                return Err(self.refused("its answer is too long".to_owned(), false));
            }
            answer.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.map_err(broken)?;
        // A failure without any message comes with the head.
        self.check(trailers.as_ref().unwrap_or(&head.headers))?;
        // Answers are never compressed: nothing says that we would take that.
        if answer.len() >= 5 {
            answer.advance(5);
        }
        Ok(answer.freeze())
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ExportError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match text("grpc-status").and_then(|code| code.parse::<u32>().ok()) {
            Some(0) => Ok(()),
            // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS. OTLP, "Failures".
            Some(code) => {
                let reason = format!("{} (gRPC status {code})", shown(text("grpc-message").unwrap_or_default()));
                Err(self.refused(reason, matches!(code, 1 | 4 | 10 | 11 | 14 | 15)))
            }
            None => Err(self.refused("its answer is not gRPC's".to_owned(), false)),
        }
    }

    fn refused(&self, reason: String, transient: bool) -> ExportError {
        ExportError::Refused { address: address(&self.endpoint), reason, transient, after: None }
    }
}
