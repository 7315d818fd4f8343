//! The image's one layer: a tar archive in which nothing depends on when and where it was made.

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::contents::Entry;
use super::layout::digest;

/// A layer, compressed.
pub struct Layer {
    /// The archive in gzip.
    pub packed: Vec<u8>,
    /// Digest of the archive before compression, by which the image's configuration names it.
    pub diff_id: String,
    /// Bytes of the archive before compression.
    pub size: u64,
}

impl Layer {
    /// Packs entries in their order: owner root, time zero.
    ///
    /// # Errors
    /// When a path is too long for tar.
    pub fn of(entries: &[Entry]) -> Result<Self> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in entries {
            let bytes = entry.bytes.as_deref().unwrap_or_default();
            let mut header = Header::new_ustar();
            header.set_mode(entry.mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(bytes.len() as u64);
            match entry.bytes {
                Some(_) => header.set_entry_type(EntryType::Regular),
                None => header.set_entry_type(EntryType::Directory),
            }
            let slash = if entry.bytes.is_none() { "/" } else { "" };
            archive.append_data(&mut header, format!("{}{slash}", entry.path), bytes)?;
        }
        let archive = archive.into_inner()?;
        let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut packer, &archive)?;
        Ok(Self { packed: packer.finish()?, diff_id: digest(&archive), size: archive.len() as u64 })
    }
}
