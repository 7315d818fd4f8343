//! Who a container runs as: names looked up in the image's own files, as docker does.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{At as _, Error};
use crate::scoped::resolve;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Further groups, those that list the user as a member; none when the group was named.
    pub groups: Vec<u32>,
    /// Home folder, `/` if the image does not say.
    pub home: String,
}

/// Finds the user of an image's configuration or a Pod's security context: empty (root), `name`, `uid`, each perhaps
/// followed by `:group` or `:gid`, in the image unpacked at `rootfs`.
///
/// A number that the image does not know is taken as it is, with group 0.
///
/// # Errors
/// A name the image does not know; its files cannot be read.
pub fn resolve_user(rootfs: &Path, user: &str) -> Result<User, Error> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let passwd = lines(rootfs, PASSWD)?;
    let groups = lines(rootfs, GROUP)?;
    let number = user.parse::<u32>().ok();

    let entry = passwd.iter().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        let (uid, gid) = (uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?);
        (name == user || number == Some(uid)).then_some((name, uid, gid, home))
    });
    let mut found = match (entry, number) {
        (Some((_, uid, gid, home)), _) => User { uid, gid, groups: Vec::new(), home: home.to_owned() },
        (None, Some(uid)) => User { uid, gid: 0, groups: Vec::new(), home: String::new() },
        (None, None) => return Err(Error::NoSuchUser { kind: "user", name: user.to_owned(), file: PASSWD }),
    };
    if found.home.is_empty() {
        found.home.push('/');
    }
    let entries = || {
        groups.iter().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, rest @ ..] = &fields[..] else { return None };
            Some((*name, gid.parse::<u32>().ok()?, rest.first().copied().unwrap_or_default()))
        })
    };
    match group {
        Some(group) => {
            let known = entries().find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
            found.gid = known.or_else(|| group.parse().ok()).ok_or_else(|| Error::NoSuchUser {
                kind: "group",
                name: group.to_owned(),
                file: GROUP,
            })?;
        }
        None => {
            let name = entry.map(|(name, ..)| name);
            let member = |members: &str| name.is_some_and(|name| members.split(',').any(|member| member == name));
            found.groups = entries().filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).collect();
        }
    }
    Ok(found)
}

/// The lines of a file of the image; none if it has no such file.
fn lines(rootfs: &Path, file: &str) -> Result<Vec<String>, Error> {
    let path = resolve(rootfs, Path::new(file)).at("read", &rootfs.join(file.trim_start_matches('/')))?;
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error).at("read", &path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n# note\nbad line\nme:x:1000:100:Me:/home/me:/bin/sh\nbare:x:7:8::\n";
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        fs::write(root.path().join("etc/group"), "root:x:0:\nusers:x:100:\nwheel:x:10:root,me\naudio:x:29:me\n")
            .unwrap();
        root
    }

    #[track_caller]
    fn check(user: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let root = image();
        let expected = User { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
        assert_eq!(resolve_user(root.path(), user).unwrap(), expected);
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        check("", 0, 0, &[10], "/root");
        check("me", 1000, 100, &[10, 29], "/home/me");
        check("1000", 1000, 100, &[10, 29], "/home/me");
        check("me:wheel", 1000, 10, &[], "/home/me");
        check("me:5", 1000, 5, &[], "/home/me");
        check(":audio", 0, 29, &[], "/root");
        check("4242", 4242, 0, &[], "/");
        check("4242:4243", 4242, 4243, &[], "/");
    }

    #[test]
    fn names_the_image_lacks_are_said() {
        let root = image();
        let message = |user| resolve_user(root.path(), user).unwrap_err().to_string();
        assert_eq!(message("you"), "the image has no user \"you\" in /etc/passwd");
        assert_eq!(message("me:you"), "the image has no group \"you\" in /etc/group");
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(resolve_user(empty.path(), "").unwrap().uid, 0);
        assert!(resolve_user(empty.path(), "root").is_err());
    }
}
