//! The command's life: start, signals, end. Starts it again where a container set asks for it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::capture::{Capture, Keep};
use super::memory;
use super::template::Template;
use super::{EmissaryError, Settings, exit_code_of, reason};
use tiphys_contract::env;
use tiphys_contract::path::ctr;

use crate::args::is_executor_name;
use crate::log::{self, Level};
use crate::paths::Paths;
use crate::process::{self, Event, Events, Terminal};
use crate::shared_files::{Context, create_open_dir, replace};

/// A command with all that decides how it runs.
pub struct Job<'a> {
    pub paths: &'a Paths,
    pub settings: &'a Settings,
    pub template: &'a Template,
    pub folder: &'a Path,
    pub program: &'a Path,
    pub args: &'a [OsString],
}

/// How one start of the command ended.
struct Ended {
    code: i32,
    by_signal: bool,
    /// Somebody asked for the end, so a failure is no reason to start again.
    asked: bool,
}

impl Ended {
    /// Why, in a word; `kills` is how often the kernel killed for memory before.
    fn cause(&self, kills: Option<u64>) -> &'static str {
        match self {
            _ if kills.is_some() && memory::kills() > kills => "oom",
            Self { by_signal: true, .. } | Self { asked: true, .. } => "signal",
            _ => "exit",
        }
    }
}

impl Job<'_> {
    /// Runs the command, repeatedly where the container set's policy says so, and returns its last exit code.
    pub fn run(&self, events: &mut Events) -> Result<i32, EmissaryError> {
        let retry = self.template.retry();
        let starts = retry.map_or(Ok(1), |retry| retry.starts()).map_err(EmissaryError::Failed)?;
        let pause = retry.map_or(Ok(Default::default()), |retry| retry.pause()).map_err(EmissaryError::Failed)?;
        for _ in 1..starts {
            let ended = self.start(events)?;
            if ended.code == 0 || ended.asked {
                return Ok(ended.code);
            }
            let again = Instant::now() + pause;
            loop {
                match events.next(Some(again)).map_err(|error| EmissaryError::System("wait for events", error))? {
                    Event::Elapsed => break,
                    Event::Signal(signal @ (libc::SIGTERM | libc::SIGINT)) => {
                        return Err(EmissaryError::Signalled(signal));
                    }
                    Event::Mail(signal) => return Err(EmissaryError::Signalled(signal)),
                    Event::Signal(_) | Event::Files => {}
                }
            }
        }
        self.start(events).map(|ended| ended.code)
    }

    fn start(&self, events: &mut Events) -> Result<Ended, EmissaryError> {
        let mut command = Command::new(self.program);
        command.args(self.args);
        if let Some(trace) = &self.settings.trace {
            // What the command tells comes below its container's span, which is told when that has ended.
            command.env(env::TRACEPARENT, trace.of_main(&self.settings.container).to_string());
            if is_executor_name(self.program.as_os_str()) {
                command.env(env::OUTER_TRACEPARENT, trace.to_string());
            }
        }
        process::unblock_signals(&mut command);
        let on_terminal = process::is_terminal();
        let keep = Keep {
            result: self.settings.include_output,
            log: self.template.archives_logs(),
            // On a terminal there is one stream only.
            last_lines: self.settings.keep_stderr && !on_terminal,
        };
        let captures = keep.anything();
        let failed = |error: std::io::Error| {
            let (program, reason) = (self.program.display(), reason(&error));
            EmissaryError::Failed(format!("failed to start command: fork/exec {program}: {reason}"))
        };
        let mut terminal = None;
        if on_terminal && captures {
            terminal = Some(Terminal::open(&mut command).map_err(failed)?);
        } else {
            command.process_group(0);
            if on_terminal {
                process::take_foreground(&mut command);
            }
            // What nobody keeps is the command's own affair.
            if keep.result || keep.log {
                command.stdout(Stdio::piped());
            }
            if keep.log || keep.last_lines {
                command.stderr(Stdio::piped());
            }
        }
        let kills = memory::kills();
        let mut child = command.spawn().map_err(failed)?;
        // Our copies of the terminal's other side would keep it open beyond the child's end.
        drop(command);
        let capture =
            if captures { Some(Capture::begin(self.folder, keep, &mut child, terminal.as_ref())?) } else { None };
        log::line(Level::Debug, &format!("started {} as process {}", self.program.display(), child.id()));
        let ended = self.supervise(child.id() as i32, events, terminal.as_ref());
        let captured = capture.map_or(Ok(String::new()), Capture::finish);
        let ended = ended?;
        let last_lines = captured.map_err(|error| EmissaryError::Outputs {
            message: format!("failed to keep the output of the command: {error}"),
            code: ended.code,
        })?;
        log::line(Level::Debug, &format!("the command ended with exit code {}", ended.code));
        if ended.code != 0 {
            let note = format!("{}\n{last_lines}", ended.cause(kills));
            // Without it the message of the failure is shorter.
            let _ = replace(&self.folder.join(ctr::ENDED), note.as_bytes(), 0o644);
        }
        Ok(ended)
    }

    /// Waits for the child's end, passing on signals that come to this process or to its mailbox. A sidecar is ended
    /// when the mains have.
    fn supervise(&self, child: i32, events: &mut Events, terminal: Option<&Terminal>) -> Result<Ended, EmissaryError> {
        let mut mains = Vec::new();
        if self.template.is_sidecar(&self.settings.container) {
            mains = self.template.mains();
            for main in &mains {
                let folder = self.paths.ctr(main);
                create_open_dir(&folder)?;
                events.watch(&folder).on("watch", &folder)?;
            }
        }
        let mut asked = false;
        let mut kill_at = None;
        // The first look comes before the first wait: the mains may have ended before the watch began.
        let mut event = Event::Files;
        loop {
            match event {
                Event::Signal(libc::SIGCHLD) => {
                    if let Some(process::Exit { code, by_signal }) = process::reap(child) {
                        return Ok(Ended { code, by_signal, asked });
                    }
                }
                // Go's runtime sends it to itself; argoexec never passed it on.
                Event::Signal(libc::SIGURG) => {}
                Event::Signal(libc::SIGWINCH) if terminal.is_some() => terminal.into_iter().for_each(Terminal::resize),
                Event::Signal(signal) => {
                    asked |= matches!(signal, libc::SIGTERM | libc::SIGINT);
                    pass_on(child, signal);
                }
                Event::Mail(signal) => {
                    asked = true;
                    pass_on(child, signal);
                }
                Event::Files => {
                    let mains_ended = || mains.iter().all(|main| exit_code_of(self.paths, main).is_some());
                    if !mains.is_empty() && kill_at.is_none() && mains_ended() {
                        asked = true;
                        kill_at = Some(Instant::now() + self.settings.grace);
                        pass_on(child, libc::SIGTERM);
                    }
                }
                Event::Elapsed => {
                    kill_at = None;
                    mains.clear();
                    pass_on(child, libc::SIGKILL);
                }
            }
            event = events.next(kill_at).map_err(|error| EmissaryError::System("wait for events", error))?;
        }
    }
}

/// To the whole group; one that is gone already has its end reported by SIGCHLD.
fn pass_on(child: i32, signal: i32) {
    let _ = process::kill(-child, signal);
}
