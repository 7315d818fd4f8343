//! Unpacked images: one folder for each chain of layers, made once, shared by all images that have the same chain.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{At as _, Error};
use crate::folder::Folder;
use crate::lock::Lock;
use crate::store::Image;
use crate::unpack;

/// An image's root folder, to be used read-only. As long as this value lives nobody removes it from the store.
#[derive(Debug)]
pub struct Rootfs {
    path: PathBuf,
    _in_use: Lock,
}

impl Rootfs {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Unpacks the image unless that was done before; processes that want the same one wait for the first.
pub(crate) fn unpacked(folder: &Folder, image: &Image) -> Result<Rootfs, Error> {
    let _adding = folder.adding()?;
    let keep_owners = can_keep_owners(folder)?;
    let path = folder.roots().join(name(&image.diff_ids, keep_owners));
    let lock = path.with_extension("lock");
    loop {
        let in_use = Lock::shared(&lock)?;
        if path.is_dir() {
            return Ok(Rootfs { path, _in_use: in_use });
        }
        drop(in_use);
        let _alone = Lock::exclusive(&lock)?;
        if !path.is_dir() {
            unpack_all(folder, image, keep_owners, &path)?;
        }
    }
}

fn unpack_all(folder: &Folder, image: &Image, keep_owners: bool, path: &Path) -> Result<(), Error> {
    let tmp = folder.tmp_path();
    fs::create_dir(&tmp).at("create", &tmp)?;
    let mut layers = image.layers.iter().zip(&image.diff_ids);
    let done = layers
        .try_for_each(|(blob, diff_id)| unpack::apply(&tmp, &folder.blob(blob), diff_id, keep_owners))
        .and_then(|()| fs::rename(&tmp, path).at("create", path));
    if done.is_err()
        && let Err(error) = fs::remove_dir_all(&tmp)
    {
        tracing::warn!(path = %tmp.display(), %error, "a half unpacked image stays behind");
    }
    done
}

/// Removes the roots that no image needs and nobody uses; returns how many. For the holder of the removing lock.
pub(crate) fn remove_others(folder: &Folder, needed: &[Image]) -> Result<usize, Error> {
    let needed: Vec<String> =
        needed.iter().flat_map(|image| [false, true].map(|owners| name(&image.diff_ids, owners))).collect();
    let roots = folder.roots();
    let mut removed = 0;
    for entry in fs::read_dir(&roots).at("read", &roots)? {
        let path = entry.at("read", &roots)?.path();
        let is_needed =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| needed.iter().any(|n| n == name));
        if !path.is_dir() || is_needed {
            continue;
        }
        let lock = path.with_extension("lock");
        let Some(_alone) = Lock::try_exclusive(&lock)? else { continue };
        // Out of the way first: a root is whole or not there.
        let tmp = folder.tmp_path();
        fs::rename(&path, &tmp).at("remove", &path)?;
        fs::remove_dir_all(&tmp).at("remove", &tmp)?;
        fs::remove_file(&lock).at("remove", &lock)?;
        removed += 1;
    }
    Ok(removed)
}

/// The same layers look different with and without their owners.
fn name(diff_ids: &[Digest], keep_owners: bool) -> String {
    let chain: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
    let chain = Digest::of(chain.join("\n").as_bytes());
    format!("{}{}", chain.hex(), if keep_owners { "-owned" } else { "" })
}

/// Whether we may give files away: tried, because root in a user namespace may or may not.
fn can_keep_owners(folder: &Folder) -> Result<bool, Error> {
    let probe = folder.tmp_path();
    fs::write(&probe, "").at("write", &probe)?;
    // One of the two may be our own id, and giving a file to oneself is allowed to everybody.
    let owners = [1, 65534].iter().all(|&id| lchown(&probe, Some(id), Some(id)).is_ok());
    fs::remove_file(&probe).at("remove", &probe)?;
    Ok(owners)
}
