//! Zstandard, our own addition to Argo's archives: as small as gzip at a fraction of the time.

use std::io::{self, Write};

use super::Level;

/// More threads than this outrun disks and networks, and cost memory.
const MOST_THREADS: usize = 4;
/// The usual level; zstd's own.
const USUAL: i32 = 3;

/// Compresses what is written to it. Nothing is complete before [`ZstdWriter::finish`].
pub(super) struct ZstdWriter<W: Write> {
    encoder: zstd::Encoder<'static, W>,
}

impl<W: Write> ZstdWriter<W> {
    /// Compresses to `out`, with a checksum of the content. Levels 1 to 9 are zstd's; none becomes 1.
    pub(super) fn new(out: W, level: Level) -> io::Result<Self> {
        let level = match level {
            Level::DEFAULT => USUAL,
            other => i32::try_from(other.number()).unwrap_or(USUAL).max(1),
        };
        let mut encoder = zstd::Encoder::new(out, level)?;
        encoder.include_checksum(true)?;
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get()).min(MOST_THREADS);
        if threads > 1 {
            encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
        }
        Ok(ZstdWriter { encoder })
    }

    /// Writes what is left and gives the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn finish(self) -> io::Result<W> {
        let mut out = self.encoder.finish()?;
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.encoder.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Frames end at the end only: flushing would cost size.
        Ok(())
    }
}
