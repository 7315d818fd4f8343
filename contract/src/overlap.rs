//! Does a path lie on a volume that the template itself mounts? Then `init` and `wait` reach it through the mirrored
//! mount, and no copy is made (argo: workflow/common/util.go, FindOverlappingVolume).
//!
//! Callers pass the mount paths of the template's container, script or container set; nothing else counts.

/// The deepest mount path that is `path` itself or contains it.
pub fn overlapping_mount<'a>(mounts: impl IntoIterator<Item = &'a str>, path: &str) -> Option<&'a str> {
    mounts.into_iter().filter(|mount| is_within(mount, path)).max_by_key(|mount| mount.len())
}

/// A mount path strictly below `path`: replacing `path` would destroy what is mounted there.
pub fn mount_nested_under<'a>(mounts: impl IntoIterator<Item = &'a str>, path: &str) -> Option<&'a str> {
    mounts.into_iter().find(|mount| is_within(path, mount) && !is_within(mount, path))
}

/// Whether `path` equals `base` or lies below it, `.`, `..` and doubled slashes resolved by text alone.
pub fn is_within(base: &str, path: &str) -> bool {
    let (base, path) = (components(base), components(path));
    path.len() >= base.len() && path[..base.len()] == base[..]
}

/// An absolute path without `.`, `..` and doubled slashes, resolved by text alone.
pub fn clean(path: &str) -> String {
    format!("/{}", components(path).join("/"))
}

fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_wins() {
        let mounts = ["/data", "/data/deep/", "/other"];
        for (path, expected) in [
            ("/data", Some("/data")),
            ("/data/", Some("/data")),
            ("/data/x", Some("/data")),
            ("/data/deep", Some("/data/deep/")),
            ("/data/deep/./x", Some("/data/deep/")),
            ("/data/deep/../x", Some("/data")),
            ("/database", None),
            ("/dat", None),
            ("/", None),
            ("/other/../tmp", None),
        ] {
            assert_eq!(overlapping_mount(mounts, path), expected, "{path}");
        }
        assert_eq!(overlapping_mount(["/"], "/tmp/x"), Some("/"));
    }

    #[test]
    fn a_nested_mount_is_strictly_below() {
        assert_eq!(mount_nested_under(["/data/shared"], "/data"), Some("/data/shared"));
        assert_eq!(mount_nested_under(["/data"], "/data"), None);
        assert_eq!(mount_nested_under(["/data"], "/data/x"), None);
    }

    #[test]
    fn cleaning_never_leaves_the_root() {
        assert_eq!(clean("/a//b/./c/../d/"), "/a/b/d");
        assert_eq!(clean("/../../x"), "/x");
        assert_eq!(clean("/"), "/");
    }
}
