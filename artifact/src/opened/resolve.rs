//! A path below a folder, opened by `openat2` in one step, or one part at a time where the kernel lacks it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::{READ, Unresolved};

/// So many links in one path the kernel follows.
const MOST_LINKS: usize = 40;
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// Opens `path` with `root` as its root.
pub(super) fn within(root: &Path, path: &Path) -> Result<OwnedFd, Unresolved> {
    open(root, path, ResolveFlag::RESOLVE_IN_ROOT, Links::Followed, Kernel::Asked)
}

/// Opens `path`, in which no part is a link, below `root`.
pub(super) fn beneath(root: &Path, path: &Path) -> Result<OwnedFd, Unresolved> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    open(root, path, resolve, Links::Refused, Kernel::Asked)
}

/// What becomes of links.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    /// They are followed, and the root is where `/` and the last `..` lead.
    Followed,
    Refused,
}

/// Whether the kernel is asked for all in one step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Asked,
    #[cfg(test)]
    NotAsked,
}

fn open(root: &Path, path: &Path, resolve: ResolveFlag, links: Links, kernel: Kernel) -> Result<OwnedFd, Unresolved> {
    let root = openat(AT_FDCWD, root, PLACE | OFlag::O_DIRECTORY, Mode::empty());
    let root = root.map_err(|errno| Stopped { errno, link: None }.told())?;
    if kernel == Kernel::Asked
        && let Ok(opened) = openat2(&root, path, OpenHow::new().flags(READ).resolve(resolve))
    {
        return Ok(opened);
    }
    // Old kernels lack the call, some sandboxes forbid what they do not know; otherwise the steps tell what is in the way.
    step_by_step(root, path, links).map_err(Stopped::told)
}

/// Where a path came to its end too early.
struct Stopped {
    errno: Errno,
    /// The last link before, and what it holds.
    link: Option<(PathBuf, PathBuf)>,
}

impl Stopped {
    fn told(self) -> Unresolved {
        let gone = matches!(self.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP);
        match self.link {
            Some((link, target)) if gone && !target.as_os_str().is_empty() => Unresolved::Astray { link, target },
            Some((link, _)) if gone => Unresolved::Linked { link },
            _ if gone => Unresolved::Missing,
            _ => Unresolved::Failed(self.errno.into()),
        }
    }
}

/// No part is opened but from the descriptor of the folder that it is in, and none that has become a link: nobody who
/// renames meanwhile leads anywhere else.
fn step_by_step(root: OwnedFd, path: &Path, links: Links) -> Result<OwnedFd, Stopped> {
    // The folders from the root on that were gone through, and their names.
    let mut inside: Vec<OwnedFd> = Vec::new();
    let mut at = PathBuf::from("/");
    let mut parts: VecDeque<OsString> = VecDeque::new();
    put_first(&mut parts, path);
    let (mut followed, mut link) = (0, None);
    while let Some(name) = parts.pop_front() {
        if name == ".." {
            inside.pop();
            at.pop();
            continue;
        }
        let folder = inside.last().unwrap_or(&root);
        let stop = |errno| Stopped { errno, link: link.clone() };
        let found = openat(folder, name.as_os_str(), PLACE | OFlag::O_NOFOLLOW, Mode::empty()).map_err(stop)?;
        let kind = SFlag::from_bits_truncate(fstat(&found).map_err(stop)?.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFLNK {
            let target = match links {
                Links::Followed => PathBuf::from(readlinkat(&found, "").map_err(stop)?),
                Links::Refused => PathBuf::new(),
            };
            followed += 1;
            link = Some((at.join(&name), target.clone()));
            if links == Links::Refused || followed > MOST_LINKS {
                return Err(Stopped { errno: Errno::ELOOP, link });
            }
            if target.is_absolute() {
                inside.clear();
                at = PathBuf::from("/");
            }
            put_first(&mut parts, &target);
        } else if parts.is_empty() {
            return openat(folder, name.as_os_str(), READ | OFlag::O_NOFOLLOW, Mode::empty()).map_err(stop);
        } else if kind == SFlag::S_IFDIR {
            inside.push(found);
            at.push(&name);
        } else {
            return Err(stop(Errno::ENOTDIR));
        }
    }
    // The path ended with the root or with `..`.
    let folder = inside.last().unwrap_or(&root);
    openat(folder, ".", READ | OFlag::O_DIRECTORY, Mode::empty()).map_err(|errno| Stopped { errno, link })
}

/// Puts the parts of a path before those that are left.
fn put_first(parts: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => parts.push_front(name.to_owned()),
            Component::ParentDir => parts.push_front("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    const SECRET: &str = "the token";

    /// A folder `root` with a volume, and a secret beside it.
    fn world() -> tempfile::TempDir {
        let world = tempfile::tempdir().unwrap();
        let volume = world.path().join("root/work");
        fs::create_dir_all(volume.join("deep/er")).unwrap();
        fs::write(volume.join("file"), "content").unwrap();
        fs::write(world.path().join("secret"), SECRET).unwrap();
        fs::create_dir(world.path().join("secrets")).unwrap();
        fs::write(world.path().join("secrets/token"), SECRET).unwrap();
        world
    }

    fn read(world: &Path, path: &str, links: Links, kernel: Kernel) -> Result<String, String> {
        let resolve = match links {
            Links::Followed => ResolveFlag::RESOLVE_IN_ROOT,
            Links::Refused => ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
        };
        let opened = open(&world.join("root"), Path::new(path), resolve, links, kernel);
        let opened = opened.map_err(|error| error.to_string())?;
        let mut text = String::new();
        let kind = fstat(&opened).unwrap().st_mode & SFlag::S_IFMT.bits();
        if kind == SFlag::S_IFDIR.bits() {
            return Ok("a folder".into());
        }
        File::from(opened).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let world = world();
        let outside = world.path().join("secret");
        let outside = outside.to_str().unwrap();
        let astray = |link: &str, target: &str| {
            Err(format!(
                "the symbolic link /work/{link} leads to {target}, which is on none of the container's volumes"
            ))
        };
        let content = || Ok("content".to_owned());
        let missing = || Err("no such file or directory".to_owned());
        let cases = [
            // What main itself would see.
            ("absolute", "/work/file", "absolute", content()),
            ("relative", "deep/../file", "relative", content()),
            ("parent", "..", "parent/work/file", content()),
            ("folder", "/work/deep", "folder/../file", content()),
            ("chain", "folder/er/../../absolute", "chain", content()),
            ("whole", "/", "whole", Ok("a folder".into())),
            // Above the root is the root.
            ("up", "../../../../../work/file", "up", content()),
            // What is only outside.
            ("token", outside, "token", astray("token", outside)),
            ("climb", "../../secret", "climb", astray("climb", "../../secret")),
            ("secrets", "../../secrets", "secrets/token", astray("secrets", "../../secrets")),
            ("first", "token", "first", astray("token", outside)),
            ("above", "../..", "above/secret", astray("above", "../..")),
            ("proc", "/proc/self/root/etc/passwd", "proc", astray("proc", "/proc/self/root/etc/passwd")),
            ("circle", "circle", "circle", astray("circle", "circle")),
            ("gone", "none", "gone", astray("gone", "none")),
            ("", "", "none", missing()),
            ("", "", "file/x", missing()),
            ("", "", "../../secret", missing()),
        ];
        for (link, target, path, expected) in cases {
            if !link.is_empty() {
                symlink(target, world.path().join("root/work").join(link)).unwrap();
            }
            for kernel in [Kernel::Asked, Kernel::NotAsked] {
                let found = read(world.path(), &format!("/work/{path}"), Links::Followed, kernel);
                assert_eq!(found, expected, "{link} -> {target}");
            }
        }
    }

    #[test]
    fn where_links_are_refused_none_is_followed() {
        let world = world();
        symlink("file", world.path().join("root/work/link")).unwrap();
        symlink("../../secrets", world.path().join("root/work/folder")).unwrap();
        for kernel in [Kernel::Asked, Kernel::NotAsked] {
            let read = |path: &str| read(world.path(), path, Links::Refused, kernel);
            assert_eq!(read("work/file"), Ok("content".into()));
            assert_eq!(read("work/link"), Err("/work/link is a symbolic link".into()));
            assert_eq!(read("work/folder/token"), Err("/work/folder is a symbolic link".into()));
            assert_eq!(read("work/none"), Err("no such file or directory".into()));
        }
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let world = world();
        let pipe = world.path().join("root/work/pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        for kernel in [Kernel::Asked, Kernel::NotAsked] {
            assert_eq!(read(world.path(), "/work/pipe", Links::Followed, kernel), Ok(String::new()));
        }
    }
}
