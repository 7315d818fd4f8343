//! Putting trees in place: clones of what the machine has, attached in a container's root.

use crate::event::{Failure, FailureKind};
use crate::sys;
use nix::mount::{MsFlags, mount};
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links a mount target may pass through.
const MAX_LINKS: u32 = 40;

/// A tree cloned from the machine, to be attached once the root is in place.
pub(crate) struct Tree {
    fd: OwnedFd,
    is_folder: bool,
}

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "NUL in path"))
}

impl Tree {
    /// Clones what is at `source`, with all that is mounted below it.
    pub fn clone_of(source: &Path) -> io::Result<Self> {
        Ok(Self { is_folder: fs::metadata(source)?.is_dir(), fd: sys::open_tree(&c_path(source)?)? })
    }

    /// Sets mount attributes on the whole tree.
    pub fn with(self, attributes: u64) -> io::Result<Self> {
        sys::set_mount_attributes(self.fd.as_fd(), attributes, true)?;
        Ok(self)
    }

    /// Attaches the tree at `target`, which is made if absent.
    pub fn attach(&self, target: &Path) -> io::Result<()> {
        make_target(target, self.is_folder, MAX_LINKS)?;
        self.attach_over(target)
    }

    /// Attaches the tree at `target`, which exists.
    pub fn attach_over(&self, target: &Path) -> io::Result<()> {
        sys::attach_tree(self.fd.as_fd(), &c_path(target)?)
    }
}

/// Attributes of a read-only view of the machine's own files.
pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
/// Attributes of a volume.
pub(crate) const VOLUME: u64 = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;

/// Makes an empty folder or file at `target`, and the folders above it, unless something is there.
fn make_target(target: &Path, folder: bool, links: u32) -> io::Result<()> {
    if fs::metadata(target).is_ok() {
        return Ok(());
    }
    if let Ok(destination) = fs::read_link(target) {
        // A dangling link, such as an /etc/resolv.conf that points into /run: the mount goes where it points.
        if links == 0 {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let parent = target.parent().unwrap_or(Path::new("/"));
        return make_target(&parent.join(destination), folder, links - 1);
    }
    if let Some(parent) = target.parent() {
        make_folder(parent, links)?;
    }
    if folder { fs::create_dir(target) } else { OpenOptions::new().create(true).append(true).open(target).map(drop) }
}

/// `mkdir -p` that also makes what dangling links on the way point to.
pub(crate) fn make_folder(path: &Path, links: u32) -> io::Result<()> {
    match fs::create_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if links == 0 => Err(error),
        Err(_) => make_target(path, true, links - 1),
    }
}

/// Makes a folder with exactly this mode, whatever the umask.
pub(crate) fn folder_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Mounts an overlay. `lower`, top first, are names relative to the working directory, so that neither the page that
/// holds the options nor its separators limit the paths they stand for.
pub(crate) fn mount_overlay(target: &Path, lower: &str, upper: &str, work: &str) -> io::Result<()> {
    // Nothing here outlives the Pod, so nothing need reach the disk: "volatile".
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr,volatile");
    mount(Some("overlay"), target, Some("overlay"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID, Some(options.as_str()))?;
    Ok(())
}

/// Checks that a mount target is one place below the root and gives it without `.` and doubled slashes.
pub(crate) fn clean_target(container: &str, target: &Path) -> Result<PathBuf, Failure> {
    let odd = target.components().any(|part| matches!(part, Component::ParentDir));
    if !target.is_absolute() || odd || target.parent().is_none() {
        return Err(Failure::new(
            FailureKind::InvalidSpec,
            format!(
                "container {container}: cannot mount at {:?}: a mount path is absolute, below / and without `..`",
                target.display().to_string()
            ),
        ));
    }
    Ok(target.components().collect())
}
