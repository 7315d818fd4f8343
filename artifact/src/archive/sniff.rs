//! What some bytes are, judged by their beginning: the name of an object says nothing reliable.

use std::io::Read;

use flate2::read::GzDecoder;

use super::tar_read::{WINDOW, ZSTD};

/// A tar header is one such block.
const BLOCK: usize = 512;

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Tar in gzip: what is unpacked when no strategy is declared.
    TarGzip,
    /// Something else in gzip.
    Gzip,
    /// Tar in zstd: unpacked likewise.
    TarZstd,
    /// Something else in zstd.
    Zstd,
    /// A zip file, which is unpacked only where one is declared.
    Zip,
    /// Tar.
    Tar,
    /// Anything else.
    Other,
}

/// Judges the beginning of an object; 64 KiB are plenty for any real header, fewer if the object is shorter.
pub fn sniff(beginning: &[u8]) -> Content {
    match beginning {
        [0x1f, 0x8b, ..] => {
            if is_tar(&block(GzDecoder::new(beginning))) {
                Content::TarGzip
            } else {
                Content::Gzip
            }
        }
        _ if beginning.starts_with(&ZSTD) => {
            let unpacked = zstd::Decoder::with_buffer(beginning).and_then(|mut zstd| {
                zstd.window_log_max(WINDOW)?;
                Ok(block(zstd))
            });
            if unpacked.is_ok_and(|block| is_tar(&block)) { Content::TarZstd } else { Content::Zstd }
        }
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Content::Zip,
        _ if is_tar(beginning) => Content::Tar,
        _ => Content::Other,
    }
}

/// The first block. A beginning cut anywhere still gives what was decompressed before the cut.
fn block(reader: impl Read) -> Vec<u8> {
    let mut block = Vec::new();
    let _ = reader.take(BLOCK as u64).read_to_end(&mut block);
    block
}

/// Whether this begins with a tar header, which has a checksum of itself.
fn is_tar(beginning: &[u8]) -> bool {
    let Some(block) = beginning.get(..BLOCK) else { return false };
    let header = tar::Header::from_byte_slice(block);
    let sum = |byte_value: fn(u8) -> i64| -> i64 {
        let bytes = block.iter().enumerate();
        bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { byte_value(*byte) }).sum()
    };
    // Some old writers summed signed bytes.
    header.cksum().is_ok_and(|stored| {
        let stored = i64::from(stored);
        stored != 256 && (stored == sum(i64::from) || stored == sum(|byte| i64::from(byte as i8)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{GzipWriter, Level};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), Level::DEFAULT);
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn content_is_told_by_its_bytes() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        tar.append_data(&mut header, "name", &b"hello"[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        assert_eq!(sniff(&tar), Content::Tar);
        assert_eq!(sniff(&gzip(&tar)), Content::TarGzip);
        assert_eq!(sniff(&gzip(&[0; 1024])), Content::Gzip);
        assert_eq!(sniff(&gzip(b"hello")), Content::Gzip);
        assert_eq!(sniff(&[0; 1024]), Content::Other);
        assert_eq!(sniff(b"\x1f\x8bbroken"), Content::Gzip);
        assert_eq!(sniff(b"PK\x03\x04"), Content::Zip);
        assert_eq!(sniff(&zstd::encode_all(&tar[..], 3).unwrap()), Content::TarZstd);
        assert_eq!(sniff(&zstd::encode_all(&[0; 1024][..], 3).unwrap()), Content::Zstd);
        assert_eq!(sniff(b"\x28\xb5\x2f\xfdbroken"), Content::Zstd);
        assert_eq!(sniff(b""), Content::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_something(mark in 0usize..5, bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
            let marks: [&[u8]; 5] = [b"", b"\x1f\x8b\x08", &ZSTD, b"PK\x03\x04", b"PK\x05\x06"];
            sniff(&[marks[mark], &bytes].concat());
        }
    }
}
