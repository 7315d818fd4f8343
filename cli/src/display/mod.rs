//! Shows a run while it goes on: a tree redrawn in place on a terminal, plain lines elsewhere.
//!
//! What is shown happens on a thread of its own, fed by the driver through a queue: drawing never keeps a step waiting.

mod plain;
pub mod style;
pub mod summary;
pub mod tree;
pub mod whole;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tiphys_local::{Happening, Observer};

use crate::args::Global;
use plain::Plain;
use style::Style;
use tree::Tree;

/// How often durations on a terminal move on.
const TICK: Duration = Duration::from_secs(1);
/// Shortest time between two drawings of the tree.
const FRAME: Duration = Duration::from_millis(50);

/// A display at work.
pub struct Display {
    queue: Sender<Happening>,
    thread: JoinHandle<()>,
    /// Whether log lines are shown.
    pub shows_logs: bool,
}

/// What the display is like.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Standard output is for the result; all else goes to standard error.
    pub to_stderr: bool,
    pub quiet: bool,
}

impl Display {
    /// Starts to show what the observer is told.
    pub fn start(global: &Global, wish: Wish) -> Display {
        let (queue, happenings) = channel();
        let terminal = if wish.to_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let colours = |stream: bool| Style::new(stream && crate::settings::may_colour(global));
        let out: Box<dyn Write + Send> = if wish.to_stderr { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        let screen: Box<dyn Screen + Send> = if wish.quiet {
            Box::new(Quiet)
        } else if terminal {
            Box::new(Live::new(out, colours(true)))
        } else {
            Box::new(Plain::new(out))
        };
        let thread = std::thread::spawn(move || show(screen, &happenings));
        Display { queue, thread, shows_logs: !wish.quiet }
    }

    /// Where happenings go.
    pub fn observer(&self) -> Observer {
        let queue = std::sync::Mutex::new(self.queue.clone());
        Arc::new(move |happening| {
            if let Ok(queue) = queue.lock() {
                // A display that is gone shows nothing.
                let _ = queue.send(happening);
            }
        })
    }

    /// Shows what is left; returns when that is done. Every observer must be gone by then.
    pub fn finish(self) {
        drop(self.queue);
        // A panic there has been printed, and ends nothing here.
        let _ = self.thread.join();
    }
}

/// Somewhere to show happenings.
trait Screen {
    /// Takes one in.
    fn take(&mut self, happening: Happening);
    /// Everything that has happened so far was taken in. Gives the longest time until it wants to be called again.
    fn draw(&mut self) -> Option<Duration>;
    /// Nothing more will come.
    fn close(&mut self);
}

fn show(mut screen: Box<dyn Screen + Send>, happenings: &Receiver<Happening>) {
    let mut wait = None;
    loop {
        let next = match wait {
            Some(wait) => happenings.recv_timeout(wait),
            None => happenings.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(happening) => {
                screen.take(happening);
                while let Ok(happening) = happenings.try_recv() {
                    screen.take(happening);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        wait = screen.draw();
    }
    screen.close();
}

/// Shows warnings alone.
struct Quiet;

impl Screen for Quiet {
    fn take(&mut self, happening: Happening) {
        if let Happening::Warning(text) = happening {
            eprintln!("tiphys: warning: {text}");
        }
    }

    fn draw(&mut self) -> Option<Duration> {
        None
    }

    fn close(&mut self) {}
}

/// The tree on a terminal: lines go above it.
struct Live {
    out: Box<dyn Write + Send>,
    style: Style,
    tree: Tree,
    lines: Vec<String>,
    /// Rows of the tree that are on the screen.
    drawn: usize,
    dirty: bool,
    last: Option<std::time::Instant>,
}

impl Live {
    fn new(out: Box<dyn Write + Send>, style: Style) -> Live {
        Live { out, style, tree: Tree::default(), lines: Vec::new(), drawn: 0, dirty: false, last: None }
    }

    fn paint(&mut self, rows: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.drawn));
        }
        for line in self.lines.drain(..) {
            text.push_str(&line);
            text.push('\n');
        }
        for row in rows {
            text.push_str(row);
            text.push('\n');
        }
        self.drawn = rows.len();
        self.dirty = false;
        self.last = Some(std::time::Instant::now());
        // A terminal that has gone away cannot be told so.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl Screen for Live {
    fn take(&mut self, happening: Happening) {
        self.dirty = true;
        match happening {
            Happening::Workflow(view) => self.tree.set_workflow(view),
            Happening::Node(node) => self.tree.set_node(*node),
            Happening::Selected(ids) => self.tree.select(ids),
            Happening::Log(line) => self.lines.push(style::log_line(&line, &self.style)),
            Happening::Warning(text) => self.lines.push(self.style.warning(&format!("warning: {text}"))),
            Happening::Note(text) => self.lines.push(self.style.faint(&text)),
        }
    }

    fn draw(&mut self) -> Option<Duration> {
        let since = self.last.map_or(TICK, |last| last.elapsed());
        if self.dirty && since < FRAME {
            return Some(FRAME - since);
        }
        if self.dirty || since >= TICK {
            let (width, height) = terminal_size::terminal_size().map_or((80, 24), |(w, h)| (w.0, h.0));
            let room = usize::from(height).saturating_sub(1).max(3);
            let rows = self.tree.rows(&self.style, Some(usize::from(width)), Some(room));
            self.paint(&rows);
        }
        Some(TICK)
    }

    fn close(&mut self) {
        let rows = self.tree.rows(&self.style, None, None);
        self.paint(&rows);
    }
}
