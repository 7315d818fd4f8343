//! Archives that mean harm, or are broken. Each gives a clear error, or loses its teeth, and leaves nothing outside of
//! its destination; both ways of opening folders are tried with each.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;
use tar::{EntryType, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::beneath::Root;
use super::{GzipWriter, Level, Limits, Unpacked, landing, tar_read, zip_read};
use crate::error::{Class, Error, Result};

const LIMITS: Limits = Limits { entries: 50, bytes: 1 << 20 };

/// Makes tars that no honest writer makes.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn header(kind: u8, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, kind: u8, name: &str, content: &[u8]) -> Self {
        self.raw(&Tar::header(kind, name.as_bytes(), content.len() as u64), content)
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name, content.as_bytes())
    }

    fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut header = Tar::header(kind, name.as_bytes(), 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.raw(&header, b"")
    }

    fn mode(self, kind: u8, name: &str, mode: u32) -> Self {
        let mut header = Tar::header(kind, name.as_bytes(), 0);
        header.set_mode(mode);
        header.set_cksum();
        self.raw(&header, b"")
    }

    /// Attributes of the entry that follows.
    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut content = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            content += &format!("{length} {key}={value}\n");
        }
        self.entry(b'x', "attributes", content.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    fn gzip(self) -> Vec<u8> {
        gzip(&self.end())
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = GzipWriter::new(Vec::new(), Level::DEFAULT);
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn zip(build: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    build(&mut writer);
    writer.finish().unwrap().into_inner()
}

fn zip_file(zip: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, content: &[u8]) {
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(content).unwrap();
}

/// Checksums of all archives that were tried, but for those that chance made.
static CORPUS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

enum Format {
    Tar,
    Zip,
}

/// Names of all that is in a folder, with kinds and modes; links are not followed.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            found.push(format!(
                "{} {:o} {}",
                path.strip_prefix(root).unwrap().display(),
                metadata.mode(),
                metadata.len()
            ));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Unpacks in both ways and checks that nothing else changed. Gives the outcome, which both ways share, and what
/// `look` sees of the destination.
fn unpack<T>(format: Format, archive: &[u8], look: impl Fn(&Path) -> T) -> (Result<Unpacked>, T) {
    CORPUS.lock().unwrap_or_else(PoisonError::into_inner).insert(crc32fast::hash(archive));
    unpack_uncounted(format, archive, look)
}

fn unpack_uncounted<T>(format: Format, archive: &[u8], look: impl Fn(&Path) -> T) -> (Result<Unpacked>, T) {
    let mut outcomes = Vec::new();
    for step_by_step in [false, true] {
        let world = tempfile::tempdir().unwrap();
        let work = world.path().join("a/b/work");
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(world.path().join("secret"), "secret").unwrap();
        std::fs::write(world.path().join("a/b/victim"), "victim").unwrap();
        std::fs::set_permissions(world.path().join("a/b/victim"), PermissionsExt::from_mode(0o600)).unwrap();
        let before = listing(world.path());
        let dest = work.join("dest");
        let open = |path: &Path| match step_by_step {
            true => Root::open(path).map(Root::step_by_step),
            false => Root::open(path),
        };
        let outcome = match format {
            Format::Tar => landing::unpack_in(open, &dest, &LIMITS, |landing| tar_read::read(archive, landing)),
            Format::Zip => {
                let path = world.path().join("archive");
                std::fs::write(&path, archive).unwrap();
                let file = File::open(&path).unwrap();
                std::fs::remove_file(&path).unwrap();
                landing::unpack_in(open, &dest, &LIMITS, |landing| zip_read::read(file, landing))
            }
        };
        let seen = look(&dest);
        if outcome.is_ok() {
            match dest.symlink_metadata().unwrap().is_dir() {
                true => std::fs::remove_dir_all(&dest).unwrap(),
                false => std::fs::remove_file(&dest).unwrap(),
            }
        }
        // The folders around may change their size, not their content.
        assert_eq!(listing(world.path()), before, "something was left outside, or unfinished");
        outcomes.push((outcome, seen));
    }
    let (second, first) = (outcomes.pop().unwrap(), outcomes.pop().unwrap());
    let text = |outcome: &Result<Unpacked>| format!("{outcome:?}");
    assert_eq!(text(&first.0), text(&second.0), "both ways of opening give the same");
    first
}

fn refused(format: Format, archive: &[u8], why: &str) {
    let (outcome, _) = unpack(format, archive, |_| ());
    let error = match outcome {
        Err(error) => error,
        Ok(done) => panic!("accepted ({done:?}), where it should say {why:?}"),
    };
    assert!(matches!(error, Error::Archive(_)) && error.class() == Class::Permanent, "{error:?}");
    assert!(error.to_string().contains(why), "{error}\nshould say {why:?}");
}

fn tar_refused(archive: Vec<u8>, why: &str) {
    refused(Format::Tar, &archive, why);
}

fn zip_refused(archive: Vec<u8>, why: &str) {
    refused(Format::Zip, &archive, why);
}

#[test]
fn paths_that_lead_out_are_refused() {
    tar_refused(Tar::default().file("/etc/x", "x").gzip(), "\"/etc/x\" has an absolute path");
    tar_refused(Tar::default().file("../x", "x").gzip(), "\"../x\" has \"..\" in its path");
    tar_refused(Tar::default().file("a/../../x", "x").gzip(), "has \"..\"");
    tar_refused(Tar::default().file("a/../x", "x").end(), "has \"..\"");
    tar_refused(Tar::default().file("..", "x").gzip(), "has \"..\"");
    tar_refused(Tar::default().entry(b'5', "../d", b"").gzip(), "has \"..\"");
    tar_refused(Tar::default().entry(b'5', "/d", b"").gzip(), "absolute path");
    tar_refused(Tar::default().entry(b'L', "././@LongLink", b"../../x\0").file("x", "x").gzip(), "has \"..\"");
    tar_refused(Tar::default().pax(&[("path", "../../x")]).file("x", "x").gzip(), "has \"..\"");
    tar_refused(Tar::default().pax(&[("path", "/tmp/x")]).file("x", "x").gzip(), "absolute path");
    tar_refused(Tar::default().pax(&[("path", "a\0b")]).file("x", "x").gzip(), "zero byte");
    tar_refused(Tar::default().file("ok", "x").entry(b'3', "../device", b"").gzip(), "has \"..\"");
}

#[test]
fn symbolic_links_that_lead_out_are_refused() {
    let out = "outside of the artifact";
    tar_refused(Tar::default().link(b'2', "l", "/etc/passwd").gzip(), out);
    tar_refused(Tar::default().link(b'2', "l", "../secret").gzip(), out);
    tar_refused(Tar::default().link(b'2', "d/l", "../../secret").gzip(), out);
    tar_refused(Tar::default().link(b'2', "d/l", "x/../../../secret").gzip(), out);
    tar_refused(Tar::default().link(b'2', "l", ".").gzip(), out);
    tar_refused(Tar::default().link(b'2', "l", "..").file("l/x", "x").gzip(), out);
    tar_refused(Tar::default().pax(&[("linkpath", "/etc")]).link(b'2', "l", "x").gzip(), out);
    tar_refused(Tar::default().entry(b'K', "././@LongLink", b"../../..\0").link(b'2', "l", "x").gzip(), out);
    tar_refused(Tar::default().link(b'2', "l", "").gzip(), "has no target");
}

#[test]
fn nothing_is_written_through_a_link() {
    let inside = Tar::default().entry(b'5', "d", b"").link(b'2', "l", "d");
    tar_refused(inside.file("l/x", "x").gzip(), "link");
    tar_refused(Tar::default().link(b'2', "l", "d").entry(b'5', "l", b"").gzip(), "link");
    tar_refused(Tar::default().link(b'2', "l", "d").link(b'2', "l/m", "../x").gzip(), "link");
    // A file in the place of a link replaces the link.
    let replaced = Tar::default().file("t", "target").link(b'2', "l", "t").file("l", "new").file("z", "");
    let (outcome, seen) = unpack(Format::Tar, &replaced.gzip(), |dest| {
        (std::fs::read(dest.join("t")).unwrap(), dest.join("l").is_symlink())
    });
    outcome.unwrap();
    assert_eq!(seen, (b"target".to_vec(), false));
}

#[test]
fn hard_links_reach_only_what_was_unpacked() {
    tar_refused(Tar::default().link(b'1', "l", "../../victim").gzip(), "has \"..\"");
    tar_refused(Tar::default().link(b'1', "l", "/etc/passwd").gzip(), "absolute path");
    tar_refused(Tar::default().link(b'1', "l", "missing").gzip(), "which is not there");
    tar_refused(Tar::default().entry(b'5', "d", b"").link(b'1', "l", "d").gzip(), "which is not a file");
    let to_link = Tar::default().file("f", "").link(b'2', "s", "f").link(b'1', "l", "s");
    tar_refused(to_link.gzip(), "which is not a file");
    let through = Tar::default().file("d/f", "").link(b'2', "s", "d").link(b'1', "l", "s/f");
    tar_refused(through.gzip(), "link");
    let good = Tar::default().file("d/f", "content").link(b'1', "d/l", "d/f").link(b'1', "d/l", "d/l");
    let (outcome, seen) = unpack(Format::Tar, &good.gzip(), |dest| std::fs::read(dest.join("l")).unwrap());
    assert_eq!((outcome.unwrap().entries, seen), (3, b"content".to_vec()));
}

#[test]
fn special_files_and_bits_are_left_out() {
    let special = Tar::default().file("a", "").entry(b'3', "char", b"").entry(b'4', "block", b"");
    let (outcome, seen) = unpack(Format::Tar, &special.entry(b'6', "pipe", b"").file("b", "").gzip(), listing);
    assert_eq!(outcome.unwrap().skipped, ["char", "block", "pipe"]);
    assert_eq!(seen, ["a 100644 0", "b 100644 0"]);
    let bits = Tar::default().mode(b'0', "suid", 0o4755).mode(b'0', "sgid", 0o2711).mode(b'5', "dir", 0o7777);
    let (outcome, seen) = unpack(Format::Tar, &bits.mode(b'0', "none", 0).gzip(), |dest| {
        ["suid", "sgid", "dir", "none"].map(|name| dest.join(name).metadata().unwrap().mode() & 0o7777)
    });
    outcome.unwrap();
    assert_eq!(seen, [0o755, 0o711, 0o755, 0]);
}

#[test]
fn bombs_hit_a_limit() {
    let zeros = vec![0; 3 << 20];
    tar_refused(Tar::default().entry(b'0', "zeros", &zeros).gzip(), "more than 1048576 bytes");
    let halves = Tar::default().entry(b'0', "a", &zeros[..700_000]).entry(b'0', "b", &zeros[..700_000]);
    tar_refused(halves.gzip(), "more than 1048576 bytes");
    let many = (0..60).fold(Tar::default(), |tar, number| tar.file(&number.to_string(), ""));
    tar_refused(many.gzip(), "more than 50 entries");
    let devices = (0..60).fold(Tar::default(), |tar, number| tar.entry(b'3', &number.to_string(), b""));
    tar_refused(devices.gzip(), "more than 50 entries");
    let large = "larger than 1 MiB";
    tar_refused(Tar::default().entry(b'L', "././@LongLink", &zeros).file("x", "").gzip(), large);
    tar_refused(Tar::default().entry(b'x', "attributes", &zeros).file("x", "").gzip(), large);
    let headers = (0..3000).fold(Tar::default(), |tar, _| tar.pax(&[("comment", "x")]));
    assert!(unpack(Format::Tar, &headers.file("x", "").gzip(), |_| ()).0.is_err());
    // A few bytes that claim to be a petabyte with holes.
    let mut sparse = Tar::header(b'S', b"sparse", 512);
    {
        let gnu = sparse.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 50);
        gnu.sparse[0].offset.copy_from_slice(b"00000000000\0");
        gnu.sparse[0].numbytes.copy_from_slice(b"00000001000\0");
        gnu.sparse[1].offset.copy_from_slice(b"77777777777\0");
        gnu.sparse[1].numbytes.copy_from_slice(b"00000000000\0");
    }
    sparse.set_cksum();
    assert!(unpack(Format::Tar, &Tar::default().raw(&sparse, &[1; 512]).gzip(), |_| ()).0.is_err());
    let pax_sparse = Tar::default().pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "999999999999")]);
    tar_refused(pax_sparse.file("x", "").gzip(), "sparse file in pax format");
    let claimed = Tar::default().pax(&[("size", "1125899906842624")]);
    tar_refused(claimed.file("x", "few").gzip(), "\"x\"");
}

#[test]
fn broken_archives_are_refused() {
    let good = Tar::default().file("a", "content").file("b", &"more".repeat(1000));
    let plain = good.end();
    let packed = gzip(&plain);
    tar_refused(Vec::new(), "it is empty");
    tar_refused(b"hello, I am no archive".to_vec(), "broken");
    tar_refused(vec![7; 4096], "broken");
    for cut in [plain.len() - 1024 - 512, 512 + 3, 700, 1500] {
        assert!(unpack(Format::Tar, &plain[..cut], |_| ()).0.is_err(), "cut at {cut}");
    }
    for cut in [packed.len() - 1, packed.len() - 9, packed.len() / 2, 12, 3] {
        refused(Format::Tar, &packed[..cut], "broken");
    }
    let mut damaged = packed.clone();
    let crc = packed.len() - 6;
    damaged[crc] ^= 1;
    refused(Format::Tar, &damaged, "broken");
    let mut header = Tar::header(b'0', b"x", 1);
    header.as_old_mut().cksum = *b"0000001\0";
    tar_refused(Tar::default().raw(&header, b"x").gzip(), "broken");
    let mut header = Tar::header(b'0', b"x", 0);
    header.as_old_mut().size = [0xff; 12];
    header.set_cksum();
    assert!(unpack(Format::Tar, &Tar::default().raw(&header, b"").gzip(), |_| ()).0.is_err());
    tar_refused(Tar::default().entry(b'Z', "odd", b"").gzip(), "unknown kind 'Z'");
    tar_refused(Tar::default().entry(b'M', "rest", b"").gzip(), "unknown kind 'M'");
}

#[test]
fn zstd_is_no_way_around() {
    let zstd = |tar: Vec<u8>| zstd::encode_all(&tar[..], 3).unwrap();
    tar_refused(zstd(Tar::default().file("../x", "x").end()), "has \"..\"");
    tar_refused(zstd(Tar::default().link(b'2', "l", "/etc/passwd").end()), "outside of the artifact");
    let zeros = vec![0; 3 << 20];
    tar_refused(zstd(Tar::default().entry(b'0', "zeros", &zeros).end()), "more than 1048576 bytes");
    tar_refused(zstd(Tar::default().entry(b'L', "././@LongLink", &zeros).file("x", "").end()), "larger than 1 MiB");
    let good = zstd(Tar::default().file("a", "content").file("b", &"more".repeat(1000)).end());
    for cut in [good.len() - 1, good.len() / 2, 6] {
        tar_refused(good[..cut].to_vec(), "broken");
    }
    // A frame that asks for a window of 2 GiB: skipped block types and sizes do not matter, its header does.
    tar_refused(vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00], "broken");
    let (outcome, seen) = unpack(Format::Tar, &good, |dest| std::fs::read(dest.join("a")).unwrap());
    assert_eq!((outcome.unwrap().entries, seen), (2, b"content".to_vec()));
}

#[test]
fn names_that_clash_are_refused() {
    tar_refused(Tar::default().file("a", "").file("a/b", "").gzip(), "should be");
    tar_refused(Tar::default().entry(b'5', "a", b"").file("a", "").gzip(), "is a folder already");
    tar_refused(Tar::default().entry(b'5', "a", b"").link(b'2', "a", "b").gzip(), "is a folder already");
    tar_refused(Tar::default().file("d/a", "").entry(b'5', "d/a", b"").gzip(), "should be");
    let long = Tar::default().pax(&[("path", &"n".repeat(300))]).file("x", "");
    tar_refused(long.gzip(), "too long a name");
    let longer = Tar::default().pax(&[("path", &"d/".repeat(3000))]).file("x", "");
    tar_refused(longer.gzip(), "a name of 6000 bytes");
    let deep = |depth: usize| Tar::default().pax(&[("path", &format!("{}x", "d/".repeat(depth)))]).file("x", "").gzip();
    tar_refused(deep(600), "an entry lies 601 folders deep");
    unpack(Format::Tar, &deep(400), |_| ()).0.unwrap();
}

#[test]
fn hostile_zips_are_refused_as_well() {
    let symlink = |name: &str, target: &str| {
        let (name, target) = (name.to_owned(), target.to_owned());
        move |zip: &mut ZipWriter<Cursor<Vec<u8>>>| {
            zip.add_symlink(name, target, SimpleFileOptions::default()).unwrap();
        }
    };
    zip_refused(zip(|zip| zip_file(zip, "../x", b"x")), "has \"..\"");
    zip_refused(zip(|zip| zip_file(zip, "a/../../x", b"x")), "has \"..\"");
    zip_refused(zip(|zip| zip_file(zip, "/etc/x", b"x")), "absolute path");
    zip_refused(zip(symlink("l", "/etc/passwd")), "outside of the artifact");
    zip_refused(zip(symlink("d/l", "../../victim")), "outside of the artifact");
    let through = zip(|zip| {
        zip_file(zip, "d/f", b"");
        symlink("l", "d")(zip);
        zip_file(zip, "l/x", b"x");
    });
    zip_refused(through, "link");
    let bomb = vec![0; 3 << 20];
    zip_refused(zip(|zip| zip_file(zip, "zeros", &bomb)), "more than 1048576 bytes");
    zip_refused(zip(|zip| (0..60).for_each(|number| zip_file(zip, &number.to_string(), b""))), "more than 50 entries");
    zip_refused(b"PK\x03\x04 and nothing more".to_vec(), "not a zip file");
    zip_refused(Vec::new(), "not a zip file");
    let good = zip(|zip| zip_file(zip, "name", &[b'x'; 5000]));
    zip_refused(good[..good.len() - 30].to_vec(), "not a zip file");
    let mut damaged = good.clone();
    damaged[40] ^= 0xff;
    assert!(unpack(Format::Zip, &damaged, |_| ()).0.is_err());
    let suid = zip(|zip| {
        zip.start_file("suid", SimpleFileOptions::default().unix_permissions(0o4755)).unwrap();
    });
    let (outcome, mode) = unpack(Format::Zip, &suid, |dest| dest.metadata().unwrap().mode() & 0o7777);
    assert_eq!((outcome.unwrap().entries, mode), (1, 0o755));
}

#[test]
fn the_corpus_is_not_small() {
    for part in [
        paths_that_lead_out_are_refused,
        symbolic_links_that_lead_out_are_refused,
        nothing_is_written_through_a_link,
        hard_links_reach_only_what_was_unpacked,
        special_files_and_bits_are_left_out,
        bombs_hit_a_limit,
        broken_archives_are_refused,
        zstd_is_no_way_around,
        names_that_clash_are_refused,
        hostile_zips_are_refused_as_well,
    ] {
        part();
    }
    let count = CORPUS.lock().unwrap_or_else(PoisonError::into_inner).len();
    println!("{count} distinct archives");
    assert!(count >= 80, "{count}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A good archive with some bytes changed, or none of it: whatever it does, nothing appears outside.
    #[test]
    fn damaged_archives_do_no_harm(
        packed in 0usize..4,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..12),
        cut in any::<usize>(),
    ) {
        let tar = Tar::default().file("d/a", "content").link(b'2', "d/l", "a").link(b'1', "d/h", "d/a").pax(&[("path", "long/name")]);
        let tar = tar.file("x", &"more".repeat(300)).entry(b'5', "d/e", b"");
        let mut archive = match packed {
            0 => tar.end(),
            1 => tar.gzip(),
            2 => zstd::encode_all(&tar.end()[..], 3).unwrap(),
            _ => zip(|zip| { zip_file(zip, "d/a", b"content"); zip_file(zip, "d/b", &[7; 3000]); }),
        };
        for (at, byte) in changes {
            let at = at % archive.len();
            archive[at] = byte;
        }
        if cut % 3 == 0 {
            archive.truncate(cut % archive.len());
        }
        let format = if packed == 3 { Format::Zip } else { Format::Tar };
        let _ = unpack_uncounted(format, &archive, |_| ());
    }
}
