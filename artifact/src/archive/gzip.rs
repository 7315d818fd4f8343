//! Gzip on several threads. The input is cut into blocks that are compressed on their own and strung together as one
//! ordinary gzip member: each block ends on a byte boundary (a sync flush), the checksums are combined.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, FlushCompress};

/// Bytes compressed as one. The 32 KiB of history that each block starts without cost a percent at this size.
const BLOCK: usize = 256 << 10;
/// More threads than this outrun disks and networks, and cost memory.
const MOST_THREADS: usize = 4;

/// How hard gzip tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(u32);

impl Level {
    /// gzip's usual one, 6.
    pub const DEFAULT: Level = Level(6);

    /// A level as Argo's `compressionLevel` has it: -1 the usual one, 0 none, 1 fastest to 9 smallest. Go's -2
    /// (Huffman codes only) and pgzip's -3 become 1.
    ///
    /// # Errors
    /// A message for any other number.
    pub fn of(number: i64) -> Result<Level, String> {
        match number {
            -1 => Ok(Level::DEFAULT),
            -3 | -2 => Ok(Level(1)),
            0..=9 => Ok(Level(number as u32)),
            _ => Err(format!("archive.tar.compressionLevel {number} is not between -1 and 9")),
        }
    }
}

impl Level {
    /// The number, 0 to 9.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// Compresses what is written to it. Nothing is complete before [`GzipWriter::finish`].
pub struct GzipWriter<W> {
    out: W,
    level: Level,
    block: Vec<u8>,
    /// Memory of an earlier block.
    spare: Vec<u8>,
    crc: crc32fast::Hasher,
    length: u32,
    started: bool,
    threads: usize,
    pool: Option<Pool>,
}

/// A block when it is compressed.
struct Packed {
    /// The block itself, whose memory the next one uses.
    block: Vec<u8>,
    bytes: Vec<u8>,
    crc: crc32fast::Hasher,
}

struct Job {
    block: Vec<u8>,
    done: SyncSender<Packed>,
}

/// Worker threads and the blocks they have, oldest first.
struct Pool {
    jobs: SyncSender<Job>,
    waiting: VecDeque<Receiver<Packed>>,
    workers: Vec<JoinHandle<()>>,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses to `out` on as many threads as this process may use, four at most.
    pub fn new(out: W, level: Level) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get()).min(MOST_THREADS);
        GzipWriter::with_threads(out, level, threads)
    }

    fn with_threads(out: W, level: Level, threads: usize) -> Self {
        let crc = crc32fast::Hasher::new();
        let (block, spare) = (Vec::new(), Vec::new());
        GzipWriter { out, level, block, spare, crc, length: 0, started: false, threads, pool: None }
    }

    /// Writes what is left and the trailer, and gives the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.start()?;
        let last = std::mem::take(&mut self.block);
        self.submit(last)?;
        while self.collect_oldest()? {}
        // An empty final block of fixed codes, then checksum and length.
        self.out.write_all(&[3, 0])?;
        self.out.write_all(&self.crc.clone().finalize().to_le_bytes())?;
        self.out.write_all(&self.length.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn start(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.started, true) {
            // No name, no time; made on Unix.
            self.out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])?;
        }
        Ok(())
    }

    fn submit(&mut self, block: Vec<u8>) -> io::Result<()> {
        self.start()?;
        self.length = self.length.wrapping_add(block.len() as u32);
        let full = block.len() == BLOCK;
        if self.threads < 2 || (self.pool.is_none() && !full) {
            // A single thread, or all of the input is less than a block.
            let packed = pack(block, self.level);
            return self.take(packed);
        }
        let (level, threads) = (self.level, self.threads);
        let pool = self.pool.get_or_insert_with(|| Pool::start(level, threads));
        let (done, result) = mpsc::sync_channel(1);
        pool.jobs.send(Job { block, done }).map_err(|_| dead())?;
        pool.waiting.push_back(result);
        if pool.waiting.len() > 2 * self.threads {
            self.collect_oldest()?;
        }
        Ok(())
    }

    fn collect_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.pool.as_mut().and_then(|pool| pool.waiting.pop_front()) else { return Ok(false) };
        let packed = oldest.recv().map_err(|_| dead())?;
        self.take(packed)?;
        Ok(true)
    }

    fn take(&mut self, packed: Packed) -> io::Result<()> {
        self.crc.combine(&packed.crc);
        self.spare = packed.block;
        self.out.write_all(&packed.bytes)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&data[..count]);
        if self.block.len() == BLOCK {
            let mut next = std::mem::take(&mut self.spare);
            next.clear();
            let block = std::mem::replace(&mut self.block, next);
            self.submit(block)?;
        }
        Ok(count)
    }

    /// Does nothing: blocks are cut by size alone.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pool {
    fn start(level: Level, threads: usize) -> Pool {
        let (jobs, queue) = mpsc::sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        let workers = (0..threads).map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                loop {
                    let job = match queue.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok(job) = job else { return };
                    // The writer is gone when its output failed; the block is then of no use.
                    let _ = job.done.send(pack(job.block, level));
                }
            })
        });
        Pool { jobs, waiting: VecDeque::new(), workers: workers.collect() }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Closing the queue ends the workers.
        self.jobs = mpsc::sync_channel(1).0;
        for worker in self.workers.drain(..) {
            // A worker that panicked was noticed by the missing block.
            let _ = worker.join();
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

/// One block as raw deflate that ends on a byte boundary.
fn pack(block: Vec<u8>, level: Level) -> Packed {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&block);
    let mut deflate = Compress::new(Compression::new(level.0), false);
    let mut bytes = Vec::with_capacity(block.len() + 64);
    if !block.is_empty() {
        loop {
            let read = deflate.total_in() as usize;
            // Into memory that grows, deflate has no way to fail; a stall shows as output left over below.
            let _ = deflate.compress_vec(&block[read..], &mut bytes, FlushCompress::Sync);
            if deflate.total_in() as usize == block.len() && bytes.len() < bytes.capacity() {
                break;
            }
            bytes.reserve(64 << 10);
        }
    }
    Packed { block, bytes, crc }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn round_trip(data: &[u8], level: Level, threads: usize) -> Vec<u8> {
        let mut writer = GzipWriter::with_threads(Vec::new(), level, threads);
        writer.write_all(data).unwrap();
        let packed = writer.finish().unwrap();
        let mut back = Vec::new();
        // One member: a reader that stops at the first sees everything.
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
        assert!(back == data, "{} bytes on {threads} threads", data.len());
        packed
    }

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..size).map(|_| next()).collect()
    }

    #[test]
    fn sizes_around_the_block_come_back() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 7 * BLOCK + 13] {
            for threads in [1, 3] {
                round_trip(&vec![b'a'; size], Level::DEFAULT, threads);
                round_trip(&noise(size), Level::DEFAULT, threads);
            }
        }
    }

    #[test]
    fn every_level_works_and_compresses() {
        let text = "the quick brown fox ".repeat(60_000).into_bytes();
        let mut sizes = Vec::new();
        for number in 0..=9 {
            sizes.push(round_trip(&text, Level::of(number).unwrap(), 2).len());
        }
        assert!(sizes[0] > text.len() && sizes[1] < text.len() / 20 && sizes[9] <= sizes[1], "{sizes:?}");
        assert!(Level::of(10).unwrap_err().contains("compressionLevel 10"));
        assert_eq!(Level::of(-1).unwrap(), Level::DEFAULT);
    }

    #[test]
    fn a_failing_output_ends_the_writer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = GzipWriter::with_threads(Full, Level::DEFAULT, 3);
        assert!(writer.write_all(&noise(20 * BLOCK)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn any_writes_come_back(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..100)) {
            let mut writer = GzipWriter::with_threads(Vec::new(), Level::of(1).unwrap(), 3);
            for chunk in &chunks {
                writer.write_all(chunk).unwrap();
            }
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&writer.finish().unwrap()[..]).read_to_end(&mut back).unwrap();
            prop_assert!(back == chunks.concat());
        }
    }
}
