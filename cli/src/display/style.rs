//! Glyphs, colours and durations.

use std::io::IsTerminal;

use jiff::Timestamp;
use tiphys_api::{NodePhase, Time, WorkflowPhase};
use tiphys_local::LogLine;

use crate::args::Global;
use crate::settings::may_colour;

/// Colours, or none; all signs, or those of ASCII.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    coloured: bool,
    ascii: bool,
}

impl Style {
    pub fn new(coloured: bool) -> Style {
        Style { coloured, ascii: false }
    }

    /// The same in plain ASCII.
    pub fn ascii(self) -> Style {
        Style { ascii: true, ..self }
    }

    /// For standard output: colours on a terminal, where the user lets us.
    pub fn of_stdout(global: &Global) -> Style {
        Style::new(std::io::stdout().is_terminal() && may_colour(global))
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// A phase's sign, the same as the Argo CLI's.
    pub fn glyph(self, phase: NodePhase) -> String {
        let (glyph, ascii, code) = match phase {
            NodePhase::Pending | NodePhase::Unknown => ("◷", ".", "33"),
            NodePhase::Running => ("●", ">", "36"),
            NodePhase::Succeeded => ("✔", "+", "32"),
            NodePhase::Skipped | NodePhase::Omitted => ("○", "-", "39"),
            NodePhase::Failed => ("✖", "x", "31"),
            NodePhase::Error => ("⚠", "!", "31"),
        };
        self.paint(code, if self.ascii { ascii } else { glyph })
    }

    /// The lines from a node to those above it.
    pub fn stem(self, stem: &str) -> String {
        if self.ascii {
            stem.replace("└─", "`-").replace("├─", "|-").replace('│', "|")
        } else {
            stem.to_owned()
        }
    }

    /// The phase of a workflow, in its colour.
    pub fn phase(self, phase: WorkflowPhase) -> String {
        let code = match phase {
            WorkflowPhase::Succeeded => "32",
            WorkflowPhase::Failed | WorkflowPhase::Error => "31",
            WorkflowPhase::Running => "36",
            WorkflowPhase::Pending | WorkflowPhase::Unknown => "33",
        };
        self.paint(code, phase.as_str())
    }

    /// A name in a colour of its own, always the same for one name.
    fn named(self, name: &str) -> String {
        const CODES: [&str; 6] = ["32", "33", "34", "35", "36", "94"];
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.paint(CODES[sum % CODES.len()], name)
    }
}

/// A log line behind its node's name, and its container's where that is not `main`.
pub fn log_line(line: &LogLine, style: &Style) -> String {
    let name = match line.container.as_str() {
        "main" => line.node.clone(),
        container => format!("{}/{container}", line.node),
    };
    format!("{}: {}", style.named(&name), harmless(&line.text))
}

/// Text that moves no cursor; colours may stay.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\x1b' && chars.peek() == Some(&'[') {
            let sequence: String = chars.clone().skip(1).take_while(|c| c.is_ascii_digit() || *c == ';').collect();
            if chars.clone().nth(1 + sequence.len()) == Some('m') {
                out.push_str(&format!("\x1b[{sequence}m"));
            }
            // Whatever the sequence was, its parameters and last letter go with it.
            for c in chars.by_ref().skip(1) {
                if c.is_ascii_alphabetic() || c == '~' {
                    break;
                }
            }
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    if out.contains('\x1b') { out + "\x1b[0m" } else { out }
}

/// From the start to the end, or to now: `12s`, `3m4s`, `1h2m`, `2d3h`. Empty for what has not begun.
pub fn duration(from: Option<Time>, until: Option<Time>) -> String {
    let Some(from) = from else { return String::new() };
    let until = until.map_or_else(|| Timestamp::now().as_second(), Time::as_second);
    seconds((until - from.as_second()).max(0))
}

/// How long ago something was.
pub fn age(from: Option<Time>) -> String {
    duration(from, None)
}

fn seconds(total: i64) -> String {
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3_600 % 24, total / 60 % 60, total % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (total, expected) in [(0, "0s"), (61, "1m1s"), (3_600, "1h0m"), (90_000, "1d1h")] {
            assert_eq!(seconds(total), expected);
        }
        assert_eq!(duration(None, None), "");
        assert_eq!(duration(Some(Time::from_second(5)), Some(Time::from_second(9))), "4s");
    }

    #[test]
    fn logs_move_no_cursor() {
        for (text, expected) in [
            ("plain ä\t", "plain ä\t"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
            ("a\x1b[2Jb\x1b[1Ac", "abc"),
            ("a\rb\x07", "ab"),
        ] {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
        let line = LogLine { node: "a".into(), container: "side".into(), text: "x".into() };
        assert_eq!(log_line(&line, &Style::new(false)), "a/side: x");
    }
}
