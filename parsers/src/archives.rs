//! Archives: whatever they hold, nothing comes to lie outside their folder, and no more than the limits allow.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tiphys_artifact::archive::{Level, Limits, Unpacked, sniff, unpack_tar, unpack_zip, write_tgz};
use tiphys_artifact::{Error, Result};

const LIMITS: Limits = Limits { entries: 64, bytes: 1 << 20 };
/// What lies beside the folder and must stay as it is.
const NEIGHBOUR: &str = "untouched";

/// Unpacks tar, in gzip or plain.
pub fn tar(bytes: &[u8]) {
    sniff(bytes);
    unpacked(|_, dest| unpack_tar(bytes, dest, &LIMITS));
}

/// Unpacks zip.
pub fn zip(bytes: &[u8]) {
    unpacked(|folder, dest| {
        let archive = folder.join("archive.zip");
        fs::write(&archive, bytes).unwrap();
        let done = unpack_zip(fs::File::open(&archive).unwrap(), dest, &LIMITS);
        fs::remove_file(archive).unwrap();
        done
    });
}

fn unpacked(unpack: impl Fn(&Path, &Path) -> Result<Unpacked>) {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    for place in [folder.path(), &inner] {
        fs::write(place.join(NEIGHBOUR), NEIGHBOUR).unwrap();
    }
    let dest = inner.join("dest");
    let done = unpack(folder.path(), &dest);
    assert_eq!(names(folder.path()), ["inner", NEIGHBOUR]);
    for place in [folder.path(), &inner] {
        assert_eq!(fs::read_to_string(place.join(NEIGHBOUR)).unwrap(), NEIGHBOUR);
    }
    match done {
        Ok(unpacked) => {
            assert!(unpacked.entries <= LIMITS.entries && unpacked.bytes <= LIMITS.bytes, "{unpacked:?}");
            assert_eq!(names(&inner), ["dest", NEIGHBOUR]);
            let mut bytes = 0;
            look(&dest, &mut bytes);
            assert!(bytes <= LIMITS.bytes, "{bytes} bytes");
        }
        Err(error) => {
            assert!(!matches!(error, Error::NotFound { .. }), "{error}");
            assert_eq!(names(&inner), [NEIGHBOUR], "nothing of a refused archive stays");
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// Only files, folders and links, none of them with the bits that change who one is.
fn look(path: &Path, bytes: &mut u64) {
    let metadata = path.symlink_metadata().unwrap();
    let kind = metadata.file_type();
    assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{} is {kind:?}", path.display());
    if !kind.is_symlink() {
        assert_eq!(metadata.permissions().mode() & 0o6000, 0, "{}", path.display());
    }
    if kind.is_file() {
        *bytes += metadata.len();
    }
    if kind.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| look(&entry.unwrap().path(), bytes));
    }
}

/// A folder with what folders have.
fn sample(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/e/file"), "some text\n".repeat(40)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("d/e/file", root.join("link")).unwrap();
}

pub fn tar_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    // Without compression mutations reach the tar inside.
    let packed = [0, 6].map(|level| {
        let mut out = Vec::new();
        write_tgz(folder.path(), Level::of(level).unwrap(), &mut out).unwrap();
        out
    });
    packed.into_iter().chain([plain_tar()]).collect()
}

/// Headers written by hand: names, links and kinds that a program which packs a folder does not write.
fn plain_tar() -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, link, content) in [
        ("dir/", b'5', "", ""),
        ("dir/file", b'0', "", "content"),
        ("dir/hard", b'1', "dir/file", ""),
        ("dir/soft", b'2', "file", ""),
        ("pipe", b'6', "", ""),
        ("long", b'L', "", "dir/a name that is in a header of its own\0"),
        ("pax", b'x', "", "20 path=dir/pax-name\n"),
        ("last", b'0', "", "end"),
    ] {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000755\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(157, link);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

pub fn zip_seeds() -> Vec<Vec<u8>> {
    [::zip::CompressionMethod::Stored, ::zip::CompressionMethod::Deflated]
        .map(|method| {
            let options = ::zip::write::SimpleFileOptions::default().compression_method(method).unix_permissions(0o755);
            let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
            writer.add_directory("dir", options).unwrap();
            for (name, content) in [("dir/file", "some text\n".repeat(20)), ("other", "x".to_owned())] {
                writer.start_file(name, options).unwrap();
                writer.write_all(content.as_bytes()).unwrap();
            }
            writer.add_symlink("link", "dir/file", options).unwrap();
            writer.finish().unwrap().into_inner()
        })
        .into()
}
