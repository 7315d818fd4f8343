//! Listing a bucket: a walk of its folder in the order of the keys, which enters only what the page needs.
//!
//! S3 orders keys by their bytes. Within a folder that is the order of its entries when a folder counts as its name
//! with a `/` at the end: then all keys below it stand together. Names come from the directory itself; only the objects
//! of the page are looked at one by one.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::key::{self, Name};
use crate::meta::Version;

/// What to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub prefix: String,
    /// Keys that go on with it after the prefix are given as one common prefix. Empty: none.
    pub delimiter: String,
    /// Only keys and common prefixes after this one.
    pub after: String,
    /// Most keys and common prefixes together.
    pub limit: usize,
}

/// Keys and common prefixes in order.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub objects: Vec<Entry>,
    pub prefixes: Vec<String>,
    /// Set when there is more: the last key or common prefix of this page.
    pub last: Option<String>,
}

/// One object of a page.
#[derive(Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub version: Version,
    pub modified: SystemTime,
}

/// One page of the keys below `bucket`.
pub(crate) fn list(bucket: &Path, query: &Query) -> io::Result<Page> {
    if query.limit == 0 {
        return Ok(Page::default());
    }
    // All keys with the prefix lie below the folder that its whole segments name.
    let base = query.prefix.rfind('/').map_or("", |at| &query.prefix[..=at]);
    let segments = base.strip_suffix('/').map(|text| text.split('/'));
    let folder = bucket.join(key::folder(segments.into_iter().flatten()));
    let mut walk = Walk { query, page: Page::default(), last: String::new() };
    // Whether the walk broke off is in the page.
    let _ = walk.visit(&folder, base)?;
    Ok(walk.page)
}

struct Walk<'a> {
    query: &'a Query,
    page: Page,
    /// The last key or common prefix taken.
    last: String,
}

impl Walk<'_> {
    fn visit(&mut self, folder: &Path, base: &str) -> io::Result<ControlFlow<()>> {
        for child in children(folder)? {
            let key = format!("{base}{}", child.name);
            let flow = match child.is_folder {
                true if self.may_hold_more(&key) => self.visit(&child.path, &key)?,
                true => ControlFlow::Continue(()),
                false => self.take(key, &child.path)?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether the page may need a key that begins with `start`, which ends in `/`.
    fn may_hold_more(&self, start: &str) -> bool {
        let Query { prefix, after, .. } = self.query;
        let wanted = start.starts_with(prefix.as_str()) || prefix.starts_with(start);
        let ahead = after.as_str() < start || after.starts_with(start);
        // Below a common prefix that is listed, or was on an earlier page, nothing is new.
        let listed = self.common_prefix(start).is_some_and(|common| common == self.last || common == after);
        wanted && ahead && !listed
    }

    /// The part of a key up to the first delimiter after the prefix.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let Query { prefix, delimiter, .. } = self.query;
        if delimiter.is_empty() {
            return None;
        }
        let at = key.strip_prefix(prefix.as_str())?.find(delimiter.as_str())?;
        Some(&key[..prefix.len() + at + delimiter.len()])
    }

    fn take(&mut self, key: String, path: &Path) -> io::Result<ControlFlow<()>> {
        if !key.starts_with(self.query.prefix.as_str()) {
            return Ok(ControlFlow::Continue(()));
        }
        let common = self.common_prefix(&key).map(str::to_owned);
        let item = common.as_ref().unwrap_or(&key);
        if *item <= self.query.after || *item == self.last {
            return Ok(ControlFlow::Continue(()));
        }
        if self.page.objects.len() + self.page.prefixes.len() == self.query.limit {
            self.page.last = Some(std::mem::take(&mut self.last));
            return Ok(ControlFlow::Break(()));
        }
        match common {
            Some(common) => {
                self.last.clone_from(&common);
                self.page.prefixes.push(common);
            }
            None => {
                let Some(meta) = object_at(path)? else { return Ok(ControlFlow::Continue(())) };
                self.last.clone_from(&key);
                self.page.objects.push(Entry { key, version: Version::of(&meta), modified: meta.modified()? });
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// An object seen a moment ago, which may have been removed, or moved beside a folder that came up just now.
fn object_at(path: &Path) -> io::Result<Option<Metadata>> {
    for path in [path, &key::with_file_suffix(path)] {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => return Ok(Some(meta)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// An entry of a folder: an object, or a folder whose name then ends in `/`.
struct Child {
    name: String,
    is_folder: bool,
    path: PathBuf,
}

/// What is in a folder, in order of the keys. A folder that is not there is empty.
fn children(folder: &Path) -> io::Result<Vec<Child>> {
    let mut found = Vec::new();
    collect(folder, "", &mut found)?;
    found.sort_unstable_by(|a: &Child, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Adds the entries of a folder, whose segments all begin with `start`: the pieces of a long one join here.
fn collect(folder: &Path, start: &str, found: &mut Vec<Child>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(key::decode) else { continue };
        let kind = entry.file_type()?;
        let (name, is_folder) = match name {
            Name::More(text) if kind.is_dir() => {
                collect(&entry.path(), &format!("{start}{text}"), found)?;
                continue;
            }
            Name::Whole(text) if kind.is_dir() => (format!("{start}{text}/"), true),
            Name::Whole(text) | Name::File(text) if kind.is_file() => (format!("{start}{text}"), false),
            _ => continue,
        };
        found.push(Child { name, is_folder, path: entry.path() });
    }
    Ok(())
}
