//! Unpacked image layers as a container's root, under a writable layer on disk.

use crate::mounts::{folder_with_mode, mount_overlay};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Makes the root at `root`, an empty folder. `disk` is a folder on disk for what the container writes; the working
/// directory is a folder on a tmpfs.
pub(crate) fn build(root: &Path, layers: &[PathBuf], disk: &Path, overlay: bool) -> io::Result<()> {
    if overlay && try_overlays(root, layers, disk).is_ok() {
        return Ok(());
    }
    let copy = disk.join("root");
    folder_with_mode(&copy, 0o755)?;
    layers.iter().try_for_each(|layer| copy_layer(layer, &copy))?;
    mount(Some(&copy), root, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// An overlay that writes to disk, or to memory where the disk's file system cannot be an upper one.
fn try_overlays(root: &Path, layers: &[PathBuf], disk: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for (number, layer) in layers.iter().enumerate().rev() {
        let name = format!("lower/{number}");
        symlink(layer, &name)?;
        names.push(name);
    }
    if names.is_empty() {
        // An image from scratch: overlayfs wants one layer at least.
        folder_with_mode(Path::new("lower/none"), 0o755)?;
        names.push("lower/none".into());
    }
    let lower = names.join(":");
    let mode = layers.last().and_then(|layer| fs::metadata(layer).ok()).map_or(0o755, |top| top.mode() & 0o7777);
    for part in ["upper", "work"] {
        folder_with_mode(&disk.join(part), mode)?;
        symlink(disk.join(part), format!("{part}/disk"))?;
    }
    if mount_overlay(root, &lower, "upper/disk", "work/disk").is_ok() {
        return Ok(());
    }
    for part in ["upper/memory", "work/memory"] {
        folder_with_mode(Path::new(part), mode)?;
    }
    mount_overlay(root, &lower, "upper/memory", "work/memory")
}

/// Copies a layer over what is in `to`, honouring whiteouts that are character devices.
fn copy_layer(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&source)?;
        let file_type = metadata.file_type();
        match fs::symlink_metadata(&target) {
            Ok(present) if present.is_dir() && file_type.is_dir() => {}
            Ok(present) if present.is_dir() => fs::remove_dir_all(&target)?,
            Ok(_) => fs::remove_file(&target)?,
            Err(_) => {}
        }
        if file_type.is_dir() {
            folder_with_mode(&target, metadata.mode() & 0o7777)?;
            copy_layer(&source, &target)?;
        } else if file_type.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if file_type.is_file() {
            fs::copy(&source, &target)?;
        } else {
            // A whiteout (character device 0:0), which has done its work above, or what no container needs.
            continue;
        }
        // Refused to an ordinary user, to whom everything belongs already.
        let _ = lchown(&target, Some(metadata.uid()), Some(metadata.gid()));
    }
    Ok(())
}
