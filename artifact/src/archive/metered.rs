//! A reader that can be told how much more may be read. What lies between two entries of an archive is read into
//! memory by the parser; without a meter a few hostile bytes of gzip could make it gigabytes.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::error::Error;

/// How much may still be read.
#[derive(Clone, Default)]
pub(super) struct Meter(Rc<Cell<u64>>);

impl Meter {
    pub(super) fn allow(&self, bytes: u64) {
        self.0.set(bytes);
    }
}

/// See the module.
pub(super) struct Metered<R> {
    reader: R,
    meter: Meter,
}

impl<R: Read> Metered<R> {
    pub(super) fn new(reader: R) -> (Self, Meter) {
        let meter = Meter::default();
        (Metered { reader, meter: meter.clone() }, meter)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.meter.0.get();
        if left == 0 && !buffer.is_empty() {
            return Err(Error::Archive("an entry's name and attributes are larger than 1 MiB".into()).into());
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..most])?;
        self.meter.0.set(left - count as u64);
        Ok(count)
    }
}
