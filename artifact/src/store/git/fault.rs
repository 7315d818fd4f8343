//! What git's synchronous side reads, and why it failed: git's own errors do not keep the class.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::stream::StreamReader;

/// Why a request failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Fault(Arc<Mutex<Option<Error>>>);

impl Fault {
    /// The cause, once.
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the cause and gives git an error in its form.
    pub(super) fn keep(&self, error: Error) -> io::Error {
        let text = error.to_string();
        // What fails after it fails because of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        io::Error::other(text)
    }
}

/// A server's answer.
pub(super) struct Body {
    pub(super) reader: StreamReader,
    pub(super) fault: Fault,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|source| self.fault.keep(Error::io(|| "loading a repository".into(), source)))
    }
}
