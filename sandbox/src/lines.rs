//! What the caller sends, line by line.

use nix::errno::Errno;
use nix::unistd::read;
use std::io;

/// Standard input, line by line, without reading ahead of a poll.
#[derive(Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Reads what is there, waiting for it. False at the end.
    pub fn fill(&mut self) -> bool {
        let mut chunk = [0; 65536];
        loop {
            match read(io::stdin(), &mut chunk) {
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return true;
                }
            }
        }
    }

    /// Takes a whole line from what was read.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    /// Reads until there is a line; nothing at the end of the input.
    pub fn wait_for_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = self.next_line() {
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }
}
