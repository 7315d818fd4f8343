//! The machine's own root as a container's, under a private writable layer in memory.
//!
//! With the machine's privileges that is one overlay over `/`. In a user namespace the kernel refuses it, since the mounts
//! below `/` cannot be taken away there. Then the root is a tmpfs with a mount for each top-level entry: an overlay where
//! this user may write something, else a read-only view. Overlays are few because the end of each waits for a grace period
//! of the whole kernel. An overlay's top takes the owner of its upper folder: to an ordinary user `/etc` or `/opt` then
//! belong to the container's root, and a mount target below them can be made there beforehand.

use crate::mounts::{READ_ONLY, Tree, folder_with_mode, mount_overlay};
use nix::mount::{MsFlags, mount};
use nix::unistd::{AccessFlags, access};
use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Top-level names that the container gets anew.
const ANEW: [&str; 5] = ["proc", "sys", "dev", "tmp", "run"];
/// Folders with many mounts that no step writes to.
const AS_THEY_ARE: [&str; 3] = ["boot", "snap", "nix"];
/// Folders of the system: whether this user may write there is told by the folder alone.
const OF_THE_SYSTEM: [&str; 8] = ["etc", "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// A folder with mounts below it is shown entry by entry up to this many entries.
const MAX_ENTRIES: usize = 64;

/// How the entries of the machine's root are shown.
pub(crate) struct HostPlan {
    entries: Vec<Entry>,
    machine: Machine,
}

/// What the plan is made from.
struct Machine {
    mount_points: Vec<PathBuf>,
    in_user_namespace: bool,
}

struct Entry {
    path: PathBuf,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
}

enum Kind {
    /// A symbolic link to this.
    Link(PathBuf),
    /// Shown read-only.
    File,
    /// Nothing to show, or nothing that this user may see: a folder of the container's own.
    Empty,
    /// Has mounts below it: a folder of the container's own, with these entries.
    Split(Vec<Entry>),
    /// Shown under a writable overlay.
    Writable,
    /// This user may write nothing here: shown read-only, unless a mount target has to be made.
    Guarded,
    /// Shown read-only, with all mounts below it.
    ReadOnly,
}

impl HostPlan {
    /// Looks at the machine's root and its mounts.
    pub fn of_this_machine(in_user_namespace: bool) -> io::Result<Self> {
        let machine = Machine { mount_points: mount_points(&fs::read("/proc/self/mountinfo")?), in_user_namespace };
        let mut entries = Vec::new();
        for entry in fs::read_dir("/")? {
            let entry = entry?;
            if ANEW.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let as_it_is = AS_THEY_ARE.iter().any(|name| entry.file_name() == *name);
            entries.extend(machine.look_at(entry.path(), !as_it_is));
        }
        Ok(Self { entries, machine })
    }

    /// Makes the root at `root`, a folder on a tmpfs; it is a mount point afterwards. The working directory is a folder on
    /// a tmpfs for the overlays; `targets` are the places where something will be mounted later.
    pub fn build(&self, root: &Path, overlay: bool, targets: &[PathBuf]) -> io::Result<()> {
        let missing: Vec<PathBuf> = targets.iter().filter_map(|target| missing_on_machine(target)).collect();
        let mut builder = Builder { plan: self, root, overlay, missing, layers: 0 };
        if overlay && !self.machine.in_user_namespace && builder.mount_whole().is_ok() {
            return self.entries.iter().try_for_each(|entry| builder.cover(entry));
        }
        mount(Some(root), root, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        for name in ANEW {
            folder_with_mode(&root.join(name), 0o755)?;
        }
        self.entries.iter().try_for_each(|entry| builder.place(entry))
    }
}

impl Machine {
    /// Decides how to show `path`; nothing for what vanished meanwhile and for sockets and devices.
    fn look_at(&self, path: PathBuf, may_split: bool) -> Option<Entry> {
        let metadata = fs::symlink_metadata(&path).ok()?;
        let file_type = metadata.file_type();
        let kind = if file_type.is_symlink() {
            Kind::Link(fs::read_link(&path).ok()?)
        } else if file_type.is_file() {
            Kind::File
        } else if file_type.is_dir() {
            self.look_into(&path, may_split)
        } else {
            return None;
        };
        Some(Entry { path, kind, mode: metadata.mode() & 0o7777, owner: (metadata.uid(), metadata.gid()) })
    }

    fn look_into(&self, path: &Path, may_split: bool) -> Kind {
        let Ok(entries) = fs::read_dir(path) else {
            return Kind::Empty;
        };
        let mut entries = entries.filter_map(Result::ok).peekable();
        let has_mounts = self.mount_points.iter().any(|point| point != path && point.starts_with(path));
        if !has_mounts {
            return if entries.peek().is_none() {
                Kind::Empty
            } else if self.may_write(path, entries) {
                Kind::Writable
            } else {
                Kind::Guarded
            };
        }
        if !may_split {
            return Kind::ReadOnly;
        }
        let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        if paths.len() > MAX_ENTRIES {
            return Kind::ReadOnly;
        }
        Kind::Split(paths.into_iter().filter_map(|path| self.look_at(path, false)).collect())
    }

    /// Whether this user may write in the folder or in one directly in it that is not there for everybody.
    fn may_write(&self, path: &Path, entries: impl Iterator<Item = DirEntry>) -> bool {
        let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
        if !self.in_user_namespace || writable(path) {
            return true;
        }
        if path.file_name().is_some_and(|name| OF_THE_SYSTEM.iter().any(|system| name == *system)) {
            return false;
        }
        let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let everybodys = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o1002 == 0o1002);
        entries.filter(is_folder).map(|entry| entry.path()).any(|path| writable(&path) && !everybodys(&path))
    }
}

/// The mount points in the text of `/proc/self/mountinfo`, with its octal escapes undone.
fn mount_points(mountinfo: &[u8]) -> Vec<PathBuf> {
    let field = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape);
    mountinfo.split(|byte| *byte == b'\n').filter_map(field).collect()
}

fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

/// Where `target`, which is not on the machine, would be with the links on its way resolved.
fn missing_on_machine(target: &Path) -> Option<PathBuf> {
    if fs::metadata(target).is_ok() {
        return None;
    }
    target.ancestors().skip(1).find_map(|ancestor| {
        let real = fs::canonicalize(ancestor).ok()?;
        Some(real.join(target.strip_prefix(ancestor).ok()?))
    })
}

struct Builder<'a> {
    plan: &'a HostPlan,
    root: &'a Path,
    overlay: bool,
    /// Targets to be made in folders that would refuse them later.
    missing: Vec<PathBuf>,
    /// Overlays made so far.
    layers: usize,
}

impl Builder<'_> {
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Mounts one overlay over the machine's root.
    fn mount_whole(&mut self) -> io::Result<()> {
        symlink("/", "lower/whole")?;
        for part in ["upper/whole", "work/whole", "run"] {
            folder_with_mode(Path::new(part), 0o755)?;
        }
        mount_overlay(self.root, "lower/whole", "upper/whole", "work/whole")?;
        for name in ANEW {
            folder_with_mode(&self.root.join(name), 0o755)?;
        }
        Tree::clone_of(Path::new("run"))?.attach_over(&self.root.join("run"))
    }

    /// Shows what is mounted on the machine at or below `entry`, which the overlay over its root lacks.
    fn cover(&mut self, entry: &Entry) -> io::Result<()> {
        let target = self.at(&entry.path);
        match &entry.kind {
            _ if self.plan.machine.mount_points.contains(&entry.path) => self.place(entry),
            Kind::Split(entries) => entries.iter().try_for_each(|entry| self.cover(entry)),
            Kind::ReadOnly => self.show_read_only(&entry.path, &target),
            _ => Ok(()),
        }
    }

    fn place(&mut self, entry: &Entry) -> io::Result<()> {
        let target = self.at(&entry.path);
        match &entry.kind {
            Kind::Link(destination) => symlink(destination, target),
            Kind::File => {
                File::create(&target)?;
                self.show_read_only(&entry.path, &target)
            }
            Kind::Empty => self.own_folder(&target, entry),
            Kind::Split(entries) => {
                self.own_folder(&target, entry)?;
                entries.iter().try_for_each(|entry| self.place(entry))
            }
            Kind::ReadOnly => self.place_read_only(entry, &target),
            Kind::Guarded if !self.must_make_target_in(entry) => self.place_read_only(entry, &target),
            Kind::Writable | Kind::Guarded => {
                if self.overlay && self.place_overlay(entry, &target).is_ok() {
                    return Ok(());
                }
                self.place_read_only(entry, &target)
            }
        }
    }

    fn must_make_target_in(&self, entry: &Entry) -> bool {
        self.missing.iter().any(|missing| missing.starts_with(&entry.path))
    }

    /// A folder with the mode and, where that is possible, the owner of the machine's.
    fn own_folder(&self, target: &Path, entry: &Entry) -> io::Result<()> {
        folder_with_mode(target, entry.mode)?;
        // Refused to an ordinary user, to whom the folder then belongs.
        let _ = std::os::unix::fs::chown(target, Some(entry.owner.0), Some(entry.owner.1));
        Ok(())
    }

    /// Shows what is at `path`, which may be missing to this user or have vanished: then the target stays empty.
    fn show_read_only(&self, path: &Path, target: &Path) -> io::Result<()> {
        match Tree::clone_of(path).and_then(|tree| tree.with(READ_ONLY)) {
            Ok(tree) => tree.attach_over(target),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Shows a folder read-only; if a mount target has to be made in it, entry by entry in a folder of our own.
    fn place_read_only(&mut self, entry: &Entry, target: &Path) -> io::Result<()> {
        if !self.must_make_target_in(entry) {
            folder_with_mode(target, 0o755)?;
            return self.show_read_only(&entry.path, target);
        }
        self.own_folder(target, entry)?;
        for below in fs::read_dir(&entry.path)? {
            if let Some(below) = self.plan.machine.look_at(below?.path(), false) {
                self.place(&below)?;
            }
        }
        Ok(())
    }

    /// Shows a folder under an overlay. The layers' folders are `upper/N` and `work/N` in the working directory.
    fn place_overlay(&mut self, entry: &Entry, target: &Path) -> io::Result<()> {
        let number = self.layers;
        self.layers += 1;
        let [lower, upper, work] = ["lower", "upper", "work"].map(|part| format!("{part}/{number}"));
        symlink(&entry.path, &lower)?;
        self.own_folder(Path::new(&upper), entry)?;
        folder_with_mode(Path::new(&work), 0o755)?;
        for missing in &self.missing {
            if let Ok(below) = missing.strip_prefix(&entry.path) {
                make_way(&entry.path, Path::new(&upper), below)?;
            }
        }
        folder_with_mode(target, 0o755)?;
        mount_overlay(target, &lower, &upper, &work)
    }
}

/// Makes the folders above `below` in `upper`, as those on the machine are.
fn make_way(machine: &Path, upper: &Path, below: &Path) -> io::Result<()> {
    let mut path = PathBuf::new();
    for part in below.parent().into_iter().flat_map(Path::components) {
        path.push(part);
        let folder = upper.join(&path);
        match fs::metadata(machine.join(&path)) {
            Ok(there) => {
                folder_with_mode(&folder, there.mode() & 0o7777)?;
                // Refused to an ordinary user, to whom the folder then belongs.
                let _ = std::os::unix::fs::chown(&folder, Some(there.uid()), Some(there.gid()));
            }
            Err(_) => folder_with_mode(&folder, 0o755)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_the_fifth_field_unescaped() {
        let text = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:5 / /mnt/a\\040b rw shared:1 - tmpfs t rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/"), PathBuf::from("/mnt/a b")]);
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"a\\x\\"), PathBuf::from("a\\x\\"));
    }
}
