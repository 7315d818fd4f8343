//! A proxy in front of a server on loopback, one request a connection, that does to requests what a test asks for.
#![allow(dead_code, clippy::unwrap_used)] // Each binary uses its own part; a failed set-up fails the test.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fate {
    Pass,
    /// The proxy answers with this status and S3 code.
    Answer(u16, &'static str),
    /// Nothing is answered.
    Reset,
    /// Only so many bytes of the answer's body arrive.
    Cut(usize),
    /// The answer claims this CRC32 (in base64) of the whole object.
    Claim(String),
    /// The request is carried out, but its answer gets lost.
    LoseAnswer,
    /// This byte of the request's body changes.
    DamageRequest(usize),
}

/// Decides by the number of the request (from 1) and its first line.
type Plan = Box<dyn FnMut(usize, &str) -> Fate + Send>;

pub struct Proxy {
    pub endpoint: String,
    /// First lines of all requests.
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub async fn start(upstream: &str, plan: impl FnMut(usize, &str) -> Fate + Send + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let plan: Arc<Mutex<Plan>> = Arc::new(Mutex::new(Box::new(plan)));
        let (upstream, log) = (upstream.to_owned(), seen.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, log, plan) = (upstream.clone(), log.clone(), plan.clone());
                tokio::spawn(async move {
                    // A client that goes away is part of the tests.
                    let _ = serve(client, &upstream, &log, &plan).await;
                });
            }
        });
        Proxy { endpoint, seen }
    }

    pub fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|line| line.starts_with(method)).count()
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

async fn serve(
    mut client: TcpStream,
    upstream: &str,
    log: &Mutex<Vec<String>>,
    plan: &Mutex<Plan>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = end_of_head(&request) {
            break end;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let first = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
    let number = {
        let mut log = log.lock().unwrap();
        log.push(first.clone());
        log.len()
    };
    let fate = (plan.lock().unwrap())(number, &first);
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.trim().parse().ok());
    if text.contains("expect: 100-continue") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while request.len() < head + length.unwrap_or(0) {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    match fate {
        Fate::Reset => return Ok(()),
        Fate::Answer(status, code) => {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by plan</Message></Error>");
            let answer =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        Fate::DamageRequest(at) => request[head + at] ^= 1,
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("expect:")).collect();
    let original = String::from_utf8_lossy(&request[..head - 2]).into_owned();
    let kept = original.split("\r\n").filter(|line| !lines.contains(&line.to_ascii_lowercase().as_str()));
    let forwarded = kept.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\r\n");
    server.write_all(format!("{forwarded}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    server.write_all(&request[head..]).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let body = end_of_head(&answer).unwrap_or(answer.len());
    match fate {
        Fate::Cut(length) => answer.truncate(answer.len().min(body + length)),
        Fate::Claim(crc) => {
            let header = format!("x-amz-checksum-crc32: {crc}\r\n");
            answer.splice(body - 2..body - 2, header.into_bytes());
        }
        Fate::LoseAnswer => return Ok(()),
        _ => {}
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}
