//! Object keys as paths below a bucket's folder: readable for ordinary keys, safe for all of them.
//!
//! A key is cut at `/`; each segment becomes one name, so `wf/pod/main.log` is the file `wf/pod/main.log`. What a file
//! system cannot hold is written with `%`, which never stands for itself (a literal `%` is `%25`):
//!
//! | in the key | on disk |
//! |---|---|
//! | `%`, control characters | `%25`, `%0A`, … |
//! | segments `.` and `..` | `%2E`, `%2E.` |
//! | an empty segment (`a//b`, `dir/`) | `%empty` |
//! | a segment too long for one name | folders ending in `%more`, then the rest |
//! | key `k` beside a key `k/x` | file `k%file` beside the folder `k` |
//!
//! No name can be `.`, `..`, empty, or hold a `/`, hence no key leaves its bucket's folder.

use std::path::{Path, PathBuf};

/// Ends the name of a file whose plain name is taken by a folder.
const FILE: &str = "%file";
/// Ends the name of a folder that holds the rest of a long segment.
const MORE: &str = "%more";
/// Stands for an empty segment.
const EMPTY: &str = "%empty";
/// Longest encoded piece of a segment, in bytes; with a suffix it stays below the 255 bytes file systems allow.
const PIECE: usize = 200;

/// What a name in a bucket's folder means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A whole segment, or the last piece of one; as a file an object, as a folder the way to further segments.
    Whole(String),
    /// An object whose plain name is a folder.
    File(String),
    /// The first piece of a segment that goes on inside this folder.
    More(String),
}

/// The folder that holds what lies below `segments`, relative to the bucket.
pub(crate) fn folder<'a>(segments: impl IntoIterator<Item = &'a str>) -> PathBuf {
    segments.into_iter().flat_map(encode).collect()
}

/// The usual file of `key`, relative to the bucket.
pub(crate) fn file(key: &str) -> PathBuf {
    folder(key.split('/'))
}

/// The file of `key` when [`file`] is a folder, because some key goes on with `/` after it.
pub(crate) fn file_beside_folder(key: &str) -> PathBuf {
    with_file_suffix(&file(key))
}

/// The same path with the mark of a file beside a folder.
pub(crate) fn with_file_suffix(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(FILE);
    path.into()
}

/// The meaning of a file's name. `None`: no key gives this name, the file is not ours.
pub(crate) fn decode(name: &str) -> Option<Name> {
    if let Some(stem) = name.strip_suffix(FILE) {
        return decode_piece(stem).map(Name::File);
    }
    if let Some(stem) = name.strip_suffix(MORE) {
        return decode_piece(stem).map(Name::More);
    }
    decode_piece(name).map(Name::Whole)
}

/// The names that hold one segment: all but the last are folders of a long one.
fn encode(segment: &str) -> Vec<String> {
    if segment.is_empty() {
        return vec![EMPTY.to_owned()];
    }
    let mut names = Vec::with_capacity(1);
    let mut piece = String::with_capacity(segment.len());
    for (at, c) in segment.char_indices() {
        let dot = c == '.' && at == 0 && (segment == "." || segment == "..");
        let width = if dot || escaped(c) { c.len_utf8() * 3 } else { c.len_utf8() };
        if piece.len() + width > PIECE {
            piece.push_str(MORE);
            names.push(std::mem::take(&mut piece));
        }
        if dot || escaped(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                piece.push_str(&format!("%{byte:02X}"));
            }
        } else {
            piece.push(c);
        }
    }
    names.push(piece);
    // A piece after the first may itself read `.` or `..`.
    for name in &mut names[1..] {
        if name == "." || name == ".." {
            name.replace_range(..1, "%2E");
        }
    }
    names
}

fn escaped(c: char) -> bool {
    c == '%' || c.is_control()
}

fn decode_piece(name: &str) -> Option<String> {
    if name == EMPTY {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    #[track_caller]
    fn check(key: &str, path: &str) {
        assert_eq!(file(key).to_str(), Some(path));
    }

    #[test]
    fn ordinary_keys_are_their_own_path() {
        check("wf/pod/main.log", "wf/pod/main.log");
        check("größe/データ 1.tgz", "größe/データ 1.tgz");
        check(".hidden/..x/...", ".hidden/..x/...");
    }

    #[test]
    fn what_a_file_system_cannot_hold_is_encoded() {
        check("a/../../b", "a/%2E./%2E./b");
        check("./.", "%2E/%2E");
        check("/a//b/", "%empty/a/%empty/b/%empty");
        check("100%/%file", "100%25/%25file");
        check("a\0b\nc\u{85}", "a%00b%0Ac%C2%85");
        check(&"x".repeat(201), &format!("{}%more/x", "x".repeat(200)));
        check(&format!("{}..", "x".repeat(200)), &format!("{}%more/%2E.", "x".repeat(200)));
        assert_eq!(file_beside_folder("a/k").to_str(), Some("a/k%file"));
    }

    #[test]
    fn foreign_names_mean_nothing() {
        for name in ["%", "%2", "%zz", "a%empty", "%FF"] {
            assert_eq!(decode(name), None, "{name}");
        }
    }

    fn rebuild(path: &Path) -> String {
        let mut key = String::new();
        let mut open = false;
        for name in path.iter() {
            let (text, more) = match decode(name.to_str().unwrap()).unwrap() {
                Name::Whole(text) | Name::File(text) => (text, false),
                Name::More(text) => (text, true),
            };
            key.push_str(&text);
            if !more {
                key.push('/');
            }
            open = more;
        }
        assert!(!open);
        key.pop();
        key
    }

    proptest! {
        #[test]
        fn every_key_stays_inside_and_comes_back(key in "([a./%\u{1}é]|[x]{150}|\\PC){1,12}") {
            let path = file(&key);
            prop_assert!(path.components().all(|c| matches!(c, Component::Normal(_))));
            prop_assert!(path.iter().all(|name| name.len() <= 250));
            prop_assert_eq!(rebuild(&path), key.clone());
            prop_assert_eq!(rebuild(&file_beside_folder(&key)), key);
        }
    }
}
