//! Stands between our controller and the API server: cuts its connections, or changes the Pods that it asks for.
//!
//! Bytes are passed on as they come. Of requests only what is needed to find the next one is read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};

use super::api::Api;

/// The longest head of a request.
const MAX_HEAD_BYTES: u64 = 64 << 10;

/// What becomes of a Pod before it is created.
pub type Change = Box<dyn Fn(&mut Value) + Send + Sync>;

/// A way to the API server on loopback, which knows who we are.
pub struct Between {
    address: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
    /// Where the kubeconfig is.
    folder: tempfile::TempDir,
}

impl Between {
    /// Listens on a free port, and passes on what comes there.
    ///
    /// # Errors
    /// When there is no port, or the kubeconfig cannot be written.
    pub fn open(api: &Api, change: Option<Change>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let open = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let folder = tempfile::tempdir()?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "between",
            "clusters": [{"name": "between", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "between", "user": {}}],
            "contexts": [{"name": "between", "context": {"cluster": "between", "user": "between"}}],
        });
        std::fs::write(folder.path().join("kubeconfig"), config.to_string())?;
        let (server, connections, over) = (api.address().to_owned(), open.clone(), ended.clone());
        let change = Arc::new(change);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (server, connections, change) = (server.clone(), connections.clone(), change.clone());
                // Whichever side ends a connection, and why: the other side sees it end.
                std::thread::spawn(move || relay(client, &server, &connections, change.as_ref().as_ref()).ok());
            }
        });
        Ok(Self { address, open, ended, folder })
    }

    /// For whoever is to come this way.
    pub fn kubeconfig(&self) -> PathBuf {
        Path::join(self.folder.path(), "kubeconfig")
    }

    /// Cuts every connection that is open; tells how many there were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        // One that has ended by itself is cut already.
        open.iter().filter(|stream| stream.shutdown(Shutdown::Both).is_ok()).count() / 2
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes whoever waits for the next connection, to see that there is none.
        let _ = TcpStream::connect(&self.address);
    }
}

fn relay(
    client: TcpStream,
    server: &str,
    open: &Mutex<Vec<TcpStream>>,
    change: Option<&Change>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    open.lock().unwrap_or_else(PoisonError::into_inner).extend([client.try_clone()?, server.try_clone()?]);
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        // Whatever ends it, the other side sees the end.
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let done = requests(&mut BufReader::new(client), &mut server, change);
    server.shutdown(Shutdown::Both)?;
    done
}

fn requests(from: &mut impl BufRead, to: &mut impl Write, change: Option<&Change>) -> std::io::Result<()> {
    loop {
        let head = head(from)?;
        if head.is_empty() {
            return Ok(());
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: u64 = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        if lower.contains("\r\nupgrade:") || lower.contains("\r\ntransfer-encoding:") {
            // What follows is not a list of requests of known length.
            to.write_all(head.as_bytes())?;
            return std::io::copy(from, to).map(|_| ());
        }
        match change.filter(|_| creates_pod(&head)) {
            None => {
                to.write_all(head.as_bytes())?;
                std::io::copy(&mut from.by_ref().take(length), to)?;
            }
            Some(change) => {
                let mut body = Vec::new();
                from.by_ref().take(length).read_to_end(&mut body)?;
                let mut pod: Value = serde_json::from_slice(&body)?;
                change(&mut pod);
                let body = pod.to_string();
                let kept = head.trim_end().split("\r\n");
                let kept = kept.filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
                let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
                to.write_all(format!("{kept}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
            }
        }
    }
}

/// The next request's first lines; none at the end.
fn head(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut from = from.take(MAX_HEAD_BYTES);
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return Ok(String::new());
        }
    }
    String::from_utf8(head).map_err(std::io::Error::other)
}

fn creates_pod(head: &str) -> bool {
    let path = head.strip_prefix("POST ").and_then(|rest| rest.split([' ', '?']).next());
    path.is_some_and(|path| path.starts_with("/api/v1/namespaces/") && path.ends_with("/pods"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_changed_and_nothing_else_is() {
        let change: Change = Box::new(|pod| pod["changed"] = true.into());
        let pods = "POST /api/v1/namespaces/a/pods HTTP/1.1\r\nContent-Length: 2\r\nhost: a\r\n\r\n{}";
        let other = "PATCH /api/v1/namespaces/a/pods/b HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
        let get = "GET /api/v1/pods?watch=1 HTTP/1.1\r\n\r\n";
        let mut out = Vec::new();
        requests(&mut format!("{other}{pods}{get}").as_bytes(), &mut out, Some(&change)).unwrap();
        let changed =
            "POST /api/v1/namespaces/a/pods HTTP/1.1\r\nhost: a\r\ncontent-length: 16\r\n\r\n{\"changed\":true}";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{other}{changed}{get}"));
    }

    #[test]
    fn what_is_upgraded_is_passed_on_as_it_is() {
        let text = "GET /exec HTTP/1.1\r\nUpgrade: websocket\r\n\r\nPOST /api/v1/namespaces/a/pods HTTP/1.1\r\n\r\n";
        let mut out = Vec::new();
        let change: Change = Box::new(|_| panic!("no request"));
        requests(&mut text.as_bytes(), &mut out, Some(&change)).unwrap();
        assert_eq!(out, text.as_bytes());
    }
}
