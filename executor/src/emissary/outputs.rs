//! Hands `main`'s outputs that lie in its own file system, which nobody else sees, to `wait` through the shared volume.
//!
//! Everything is copied once, by the kernel, uncompressed: `wait` packs while it uploads, on other processors. A tar keeps
//! what only an archive can (modes, links) for artifacts stored as tar; the rest is copied as it is, readable for all
//! users, since `wait` may be another one.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tiphys_contract::key::base_name;

use super::template::Template;
use crate::paths::Paths;
use crate::shared_files::{Context, FileError};

/// Stages all of `main`'s outputs that are there. What is missing is not an error here: `wait` knows defaults and what is
/// optional.
///
/// # Errors
/// The first file that could not be copied.
pub fn stage(paths: &Paths, template: &Template) -> Result<(), FileError> {
    for at in template.parameter_paths() {
        if let Some(source) = find(at)? {
            whole(&paths.staged_parameter(at), |target| copy_file(&source, target).map(drop))?;
        }
    }
    // The copies must not become part of themselves.
    let except = fs::canonicalize(&paths.shared).on("find", &paths.shared)?;
    for (at, artifact) in template.artifacts() {
        let Some(source) = find(at)? else {
            continue;
        };
        if artifact.is_tar() {
            let target = paths.staged_tar(&artifact.name);
            whole(&target, |target| Tar::create(target, &except)?.write(&source, base_name(at)))?;
        } else {
            whole(&paths.staged_artifact(&artifact.name), |target| copy(&source, target, &except))?;
        }
    }
    Ok(())
}

/// The file or folder at a path, links resolved; none when there is nothing.
fn find(at: &str) -> Result<Option<PathBuf>, FileError> {
    match fs::canonicalize(at) {
        Ok(source) => Ok(Some(source)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).on("find", Path::new(at)),
    }
}

/// Makes something under a name of its own and renames it when it is complete: nobody takes a part for the whole.
fn whole(target: &Path, make: impl FnOnce(&Path) -> Result<(), FileError>) -> Result<(), FileError> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).on("create folder", parent)?;
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    make(&part)?;
    fs::rename(&part, target).on("rename", &part)
}

/// The entries of a folder by name, so that the same folder always gives the same archive.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let read =
        fs::read_dir(folder).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>());
    let mut entries = read.on("read folder", folder)?;
    entries.sort_unstable();
    Ok(entries)
}

/// Copies a file, link or folder with all in it; what is neither (devices, pipes) is left out. `except` is not entered:
/// it holds the copy.
fn copy(source: &Path, target: &Path, except: &Path) -> Result<(), FileError> {
    let meta = fs::symlink_metadata(source).on("read", source)?;
    let readable = |bits: u32| fs::set_permissions(target, fs::Permissions::from_mode(meta.mode() & 0o777 | bits));
    if meta.is_dir() {
        fs::create_dir_all(target).on("create folder", target)?;
        for entry in entries(source)?.iter().filter(|entry| *entry != except) {
            copy(entry, &target.join(entry.file_name().unwrap_or_default()), except)?;
        }
        readable(0o555).on("open to all users", target)
    } else if meta.is_symlink() {
        let link = fs::read_link(source).on("read link", source)?;
        std::os::unix::fs::symlink(link, target).on("create link", target)
    } else if meta.is_file() {
        copy_file(source, target)?;
        readable(0o444).on("open to all users", target)
    } else {
        Ok(())
    }
}

fn copy_file(source: &Path, target: &Path) -> Result<u64, FileError> {
    let mut from = File::open(source).on("open", source)?;
    let mut to = File::create(target).on("create", target)?;
    io::copy(&mut from, &mut to).on("copy", source)
}

/// An uncompressed tar in the making.
struct Tar<'a> {
    path: &'a Path,
    archive: tar::Builder<File>,
    except: &'a Path,
}

impl<'a> Tar<'a> {
    fn create(path: &'a Path, except: &'a Path) -> Result<Self, FileError> {
        let file = File::create(path).on("create", path)?;
        Ok(Self { path, archive: tar::Builder::new(file), except })
    }

    fn write(mut self, source: &Path, name: &str) -> Result<(), FileError> {
        self.append(source, Path::new(name.trim_matches('/')))?;
        self.archive.into_inner().on("write", self.path)?;
        Ok(())
    }

    fn append(&mut self, source: &Path, name: &Path) -> Result<(), FileError> {
        let meta = fs::symlink_metadata(source).on("read", source)?;
        if meta.file_type().is_socket() {
            return Ok(());
        }
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&meta);
        if meta.is_symlink() {
            let link = fs::read_link(source).on("read link", source)?;
            return self.archive.append_link(&mut header, name, link).on("write", self.path);
        }
        if meta.is_file() {
            return self.append_file(source, name, header, meta.len());
        }
        header.set_size(0);
        // The root of the file system has no name of its own; its entries need none before theirs.
        if !name.as_os_str().is_empty() {
            self.archive.append_data(&mut header, name, io::empty()).on("write", self.path)?;
        }
        if meta.is_dir() {
            let except = self.except;
            for entry in entries(source)?.iter().filter(|entry| *entry != except) {
                self.append(entry, &name.join(entry.file_name().unwrap_or_default()))?;
            }
        }
        Ok(())
    }

    /// The content goes from file to file inside the kernel. A file that shrinks meanwhile is filled up, one that grows is
    /// cut: the header has said its length.
    fn append_file(&mut self, source: &Path, name: &Path, mut header: tar::Header, size: u64) -> Result<(), FileError> {
        let from = File::open(source).on("open", source)?;
        self.archive.append_data(&mut header, name, io::empty()).on("write", self.path)?;
        let to = self.archive.get_mut();
        let copied = io::copy(&mut io::Read::take(from, size), to).on("copy", source)?;
        let missing = size - copied + (512 - size % 512) % 512;
        fill(to, missing).on("write", self.path)
    }
}

/// Appends zeros: in one go where they are few, as a hole where they are many.
fn fill(file: &mut File, count: u64) -> io::Result<()> {
    if count <= 512 {
        return file.write_all(&[0; 512][..count as usize]);
    }
    let end = file.stream_position()? + count;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn staged(json: &str, root: &Path) -> Paths {
        let paths = Paths::below(root);
        fs::create_dir_all(&paths.shared).unwrap();
        stage(&paths, &Template::parse(json.as_bytes()).unwrap()).unwrap();
        paths
    }

    #[test]
    fn a_folder_becomes_a_tar_with_modes_and_links() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir_all(out.join("sub")).unwrap();
        fs::write(out.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(out.join("run.sh"), fs::Permissions::from_mode(0o740)).unwrap();
        let long = "n".repeat(200);
        fs::write(out.join("sub").join(&long), vec![b'x'; 1000]).unwrap();
        std::os::unix::fs::symlink("run.sh", out.join("link")).unwrap();
        let at = out.to_str().unwrap();
        let paths = staged(
            &format!(
                r#"{{"outputs":{{"artifacts":[{{"name":"a","path":"{at}"}},{{"name":"b","path":"/no/such"}}]}}}}"#
            ),
            root.path(),
        );
        let mut archive = tar::Archive::new(File::open(paths.staged_tar("a")).unwrap());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            let kind = header.entry_type().as_byte() as char;
            let mode = header.mode().unwrap() & 0o777;
            let name = entry.path().unwrap().display().to_string();
            seen.push((name, kind, if kind == '2' { 0 } else { mode }, content.len()));
        }
        let directory = fs::metadata(&out).unwrap().mode() & 0o777;
        assert_eq!(
            seen,
            [
                ("out".into(), '5', directory, 0),
                ("out/link".into(), '2', 0, 0),
                ("out/run.sh".into(), '0', 0o740, 10),
                ("out/sub".into(), '5', directory, 0),
                (
                    format!("out/sub/{long}"),
                    '0',
                    fs::metadata(out.join("sub").join(&long)).unwrap().mode() & 0o777,
                    1000
                ),
            ]
        );
    }

    #[test]
    fn what_is_not_archived_as_tar_is_copied_readable() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("file");
        fs::write(&out, "content").unwrap();
        fs::set_permissions(&out, fs::Permissions::from_mode(0o600)).unwrap();
        let at = out.to_str().unwrap();
        let paths = staged(
            &format!(
                r#"{{"outputs":{{"artifacts":[{{"name":"a","path":"{at}","archive":{{"none":{{}}}}}}],
                "parameters":[{{"valueFrom":{{"path":"{at}"}}}},{{"valueFrom":{{"path":"/no/such"}}}}]}}}}"#
            ),
            root.path(),
        );
        assert_eq!(fs::read_to_string(paths.staged_parameter(at)).unwrap(), "content");
        assert_eq!(fs::read_to_string(paths.staged_artifact("a")).unwrap(), "content");
        assert_eq!(fs::metadata(paths.staged_artifact("a")).unwrap().mode() & 0o777, 0o644);
    }
}
