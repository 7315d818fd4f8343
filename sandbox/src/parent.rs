//! The caller's side: starts the sandbox process and talks with it.

use crate::event::{Command, Event, Failure};
use crate::keeper::ARGUMENT;
use crate::spec::SandboxSpec;
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;

/// A running Pod. Dropping it ends every process of the Pod.
#[derive(Debug, Clone)]
pub struct Sandbox {
    commands: mpsc::UnboundedSender<Command>,
}

/// The sandbox process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program to execute is not there or cannot be executed.
    #[error("cannot start the sandbox process {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The specification could not be handed over.
    #[error("cannot hand the Pod {pod} to the sandbox process: {source}")]
    Hand {
        /// The Pod's name.
        pod: String,
        /// What failed.
        source: io::Error,
    },
}

/// The Pod has ended; there is nothing left to signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the Pod has ended")]
pub struct Gone;

impl Sandbox {
    /// Starts a Pod. `program` is executed with the one argument that makes it call
    /// [`sandbox_main`](crate::sandbox_main): usually `/proc/self/exe`.
    ///
    /// Events come through the receiver, the last one is [`Event::Finished`]: then no process of the Pod is left. Needs a
    /// tokio runtime with IO enabled.
    ///
    /// # Errors
    /// Only when the sandbox process itself cannot be started; all else comes as an event.
    pub async fn start(
        spec: &SandboxSpec,
        program: &Path,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), StartError> {
        let hand = |source: io::Error| StartError::Hand { pod: spec.name.clone(), source };
        let mut line = serde_json::to_vec(spec).map_err(|error| hand(error.into()))?;
        line.push(b'\n');
        let mut child = tokio::process::Command::new(program)
            .arg(ARGUMENT)
            .env_clear()
            // A Ctrl-C at the terminal is for the caller to act on.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| StartError::Spawn { program: program.display().to_string(), source })?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(hand(io::Error::other("no pipes")));
        };
        match stdin.write_all(&line).await {
            // It has ended without reading: its events say why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other.map_err(hand)?,
        }
        let (commands, command_queue) = mpsc::unbounded_channel();
        let (event_queue, events) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(child, stdin, stdout, command_queue, event_queue));
        Ok((Self { commands }, events))
    }

    /// Sends a signal to a container's first process. A container that has not started or has ended is passed over.
    ///
    /// # Errors
    /// The Pod has ended.
    pub fn signal(&self, container: impl Into<String>, signal: i32) -> Result<(), Gone> {
        self.send(Command::Signal { container: container.into(), signal })
    }

    /// Ends every process of the Pod now. The containers' `Exited` events still come.
    ///
    /// # Errors
    /// The Pod has ended.
    pub fn kill(&self) -> Result<(), Gone> {
        self.send(Command::Kill)
    }

    /// Runs a further process in a running container, as the container's user, with exactly this environment and its
    /// output discarded. [`Event::ExecExited`] with the same `id` tells how it ended.
    ///
    /// # Errors
    /// The Pod has ended.
    pub fn exec(
        &self,
        id: u64,
        container: impl Into<String>,
        argv: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Result<(), Gone> {
        self.send(Command::Exec { id, container: container.into(), argv, env })
    }

    /// Ends a process started with [`exec`](Self::exec), of a probe that took too long, say.
    ///
    /// # Errors
    /// The Pod has ended.
    pub fn kill_exec(&self, id: u64) -> Result<(), Gone> {
        self.send(Command::KillExec { id })
    }

    fn send(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).map_err(|_| Gone)
    }
}

/// Carries events out and commands in until the Pod's init is gone, then waits for the keeper.
async fn pass_on(
    mut child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut stdin = Some(stdin);
    let mut silent = true;
    let mut lines = BufReader::new(stdout).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    if let Ok(event) = serde_json::from_str::<Event>(&line) {
                        silent = false;
                        // A caller that looks at no events still gets its Pod run to the end.
                        let _ = events.send(event);
                    }
                }
                Ok(None) | Err(_) => break,
            },
            command = commands.recv(), if stdin.is_some() => {
                let sent = match (command, &mut stdin) {
                    (Some(command), Some(stdin)) => write_command(stdin, &command).await.is_ok(),
                    _ => false,
                };
                if !sent {
                    // The end of the pipe is the order to end.
                    stdin = None;
                }
            }
        }
    }
    drop(stdin);
    let status = child.wait().await;
    if silent && !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let failure = Failure::setup("the sandbox process ended before it could start anything", how);
        let _ = events.send(Event::Failed(failure));
    }
    let _ = events.send(Event::Finished);
}

async fn write_command(stdin: &mut ChildStdin, command: &Command) -> io::Result<()> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stdin.write_all(&line).await
}
