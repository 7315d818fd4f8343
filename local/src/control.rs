//! How another process talks with the one that drives a run: a socket in the run's folder, one JSON line each way.
//!
//! The folder is the user's alone, so whoever can connect may. A connection that asked to watch stays open until the run
//! is no longer driven: its end is the event.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::file::FileError;
use crate::folder::RunFolder;

/// Longest request that is read.
const MAX_REQUEST_BYTES: u64 = 16 << 20;

/// What can be asked of a driven run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Request {
    /// End what runs; exit handlers run.
    Stop,
    /// End everything.
    Terminate,
    /// Start nothing more until it is resumed.
    Suspend,
    /// Go on: the whole workflow, or suspend nodes.
    Resume {
        /// The one suspend node to resume, by id, name or display name; all of them by default.
        node: Option<String>,
        /// Values of supplied output parameters.
        parameters: BTreeMap<String, String>,
    },
    /// Keep the connection until the run is no longer driven.
    Watch,
}

/// A request that was not granted, or did not get through.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The driving process said no.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked.
    #[error("cannot reach the process that drives the run {run}: {source}")]
    Unreachable {
        /// The run.
        run: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// A request on its way to the driver, which answers with a refusal or nothing.
#[derive(Debug)]
pub(crate) struct Asked {
    pub request: Request,
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// The listening side; closed and removed when dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket's path may have 108 bytes at most: this one is short, whatever the folder's. Valid while the file is open.
fn short_path(folder: &RunFolder) -> io::Result<(File, PathBuf)> {
    let control = folder.control();
    let name = control.file_name().unwrap_or_default();
    let open = File::open(folder.path())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(name);
    Ok((open, path))
}

impl Control {
    /// Listens for requests to the run whose lock this process holds.
    pub fn listen(folder: &RunFolder, to: mpsc::UnboundedSender<Asked>) -> Result<Control, FileError> {
        let path = folder.control();
        let bind = || -> io::Result<UnixListener> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let (_open, short) = short_path(folder)?;
            UnixListener::bind(short)
        };
        let listener = bind().map_err(FileError::of("listen on", &path))?;
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(serve(stream, to.clone()));
                        }
                        // Out of descriptors: those who ask can ask again once a connection has ended.
                        Err(_) => {
                            connections.join_next().await;
                        }
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Control { path, task })
    }
}

async fn serve(stream: UnixStream, to: mpsc::UnboundedSender<Asked>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST_BYTES));
    let mut line = String::new();
    if reader.read_line(&mut line).await.is_err() {
        return;
    }
    let result = match serde_json::from_str(&line) {
        Ok(Request::Watch) => {
            // The answer is the end of the connection; whoever watches may also leave first.
            let _ = reader.read_u8().await;
            return;
        }
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            let _ = to.send(Asked { request, answer });
            answered.await.unwrap_or_else(|_| Err("the run has just ended".to_owned()))
        }
        Err(error) => Err(format!("unknown request: {error}")),
    };
    let line = serde_json::json!({ "refused": result.err() });
    let _ = writer.write_all(format!("{line}\n").as_bytes()).await;
}

/// Asks the process that drives the run.
///
/// # Errors
/// [`ControlError::Refused`] with its reason, or it cannot be reached.
pub async fn ask(folder: &RunFolder, request: &Request) -> Result<(), ControlError> {
    #[derive(Deserialize)]
    struct Answer {
        refused: Option<String>,
    }
    let talk = async {
        let mut stream = connect(folder).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        if answer.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the run has just ended"));
        }
        Ok(serde_json::from_str::<Answer>(&answer)?)
    };
    match talk.await {
        Ok(Answer { refused: None }) => Ok(()),
        Ok(Answer { refused: Some(reason) }) => Err(ControlError::Refused(reason)),
        Err(source) => Err(ControlError::Unreachable { run: folder.name().to_string(), source }),
    }
}

/// Returns when no process drives the run any more; at once if none does.
pub async fn until_undriven(folder: &RunFolder) {
    let watch = async {
        let mut stream = connect(folder).await?;
        stream.write_all(b"{\"ask\":\"watch\"}\n").await?;
        stream.read_u8().await
    };
    // The end of the connection is what is waited for, whatever brings it.
    let _ = watch.await;
}

async fn connect(folder: &RunFolder) -> io::Result<UnixStream> {
    let (_open, short) = short_path(folder)?;
    UnixStream::connect(short).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::DataDir;
    use crate::name::RunName;

    #[tokio::test]
    async fn requests_are_answered_and_watchers_see_the_end() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("a-folder-with-a-name-so-long-that-no-socket-address-could-hold-it".repeat(3));
        let folder = DataDir::new(&deep).unwrap().run(&RunName::new("r").unwrap());
        folder.make().unwrap();
        let (to, mut requests) = mpsc::unbounded_channel();
        let control = Control::listen(&folder, to).unwrap();
        let driver = tokio::spawn(async move {
            while let Some(Asked { request, answer }) = requests.recv().await {
                let result = if request == Request::Stop { Ok(()) } else { Err("no".to_owned()) };
                answer.send(result).unwrap();
            }
        });
        assert!(ask(&folder, &Request::Stop).await.is_ok());
        assert_eq!(ask(&folder, &Request::Suspend).await.unwrap_err().to_string(), "no");
        let watcher = tokio::spawn({
            let folder = folder.clone();
            async move { until_undriven(&folder).await }
        });
        // A further request shows that a watcher keeps nobody waiting.
        assert!(ask(&folder, &Request::Stop).await.is_ok());
        drop(control);
        watcher.await.unwrap();
        driver.abort();
        let error = ask(&folder, &Request::Stop).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot reach the process that drives the run r: "), "{error}");
    }
}
