//! How a container ended, and the words for it.

use serde::{Deserialize, Serialize};

/// A user's container that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The container.
    pub name: String,
    /// Its exit code; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// Why it ended.
    pub cause: Cause,
    /// The last lines of its standard error, when they were kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_lines: String,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its command ended by itself.
    Exit,
    /// A signal from outside.
    Signal,
    /// The kernel killed a process of it for memory.
    OutOfMemory,
    /// The step's deadline passed.
    Deadline,
    /// The whole container was killed at once, so that nobody inside could tell why: by the node, or for memory.
    Killed,
}

impl Ended {
    /// What the user reads: container, cause and last words.
    pub fn message(&self) -> String {
        let Self { name, exit_code, cause, last_lines } = self;
        let cause = match cause {
            Cause::Exit => format!("exit code {exit_code}"),
            Cause::Signal => format!("ended by signal {} (exit code {exit_code})", exit_code - 128),
            Cause::OutOfMemory => format!("out of memory (exit code {exit_code})"),
            Cause::Deadline => format!("step exceeded its deadline (exit code {exit_code})"),
            Cause::Killed => format!("killed from outside, perhaps out of memory (exit code {exit_code})"),
        };
        match last_lines.trim_end() {
            "" => format!("{name}: {cause}"),
            lines => format!("{name}: {cause}: {lines}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_tell_the_causes_apart() {
        let ended = |exit_code, cause, lines: &str| {
            Ended { name: "main".into(), exit_code, cause, last_lines: lines.into() }.message()
        };
        assert_eq!(ended(3, Cause::Exit, "no such file\n"), "main: exit code 3: no such file");
        assert_eq!(ended(143, Cause::Signal, ""), "main: ended by signal 15 (exit code 143)");
        assert_eq!(ended(137, Cause::OutOfMemory, ""), "main: out of memory (exit code 137)");
        assert_eq!(ended(143, Cause::Deadline, ""), "main: step exceeded its deadline (exit code 143)");
        assert_eq!(ended(137, Cause::Killed, ""), "main: killed from outside, perhaps out of memory (exit code 137)");
    }
}
