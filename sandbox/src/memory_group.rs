//! Memory limits by control groups, where this user may make one: as root nearly always, else where a service manager
//! handed a part of the tree over. Version 1 and 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A control group of one container. Removed by the caller's keeper or by [`MemoryGroup::remove`].
pub(crate) struct MemoryGroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

impl MemoryGroup {
    /// Makes the group `container` in `pod` (from [`pod_folder`]) with a limit in bytes.
    pub fn make(pod: &PodGroup, container: &str, limit: u64) -> io::Result<Self> {
        let group = Self { folder: pod.folder.join(container), version: pod.version };
        fs::create_dir(&group.folder)?;
        let set = |file: &str, value: &str| fs::write(group.folder.join(file), value);
        // Swap is no memory to a Pod. Kernels without swap accounting lack the file.
        match group.version {
            Version::One => {
                set("memory.limit_in_bytes", &limit.to_string())?;
                let _ = set("memory.memsw.limit_in_bytes", &limit.to_string());
            }
            Version::Two => {
                set("memory.max", &limit.to_string())?;
                let _ = set("memory.swap.max", "0");
                // As on Kubernetes: not one process of the container dies of it, but all.
                let _ = set("memory.oom.group", "1");
            }
        }
        Ok(group)
    }

    /// Moves the calling process into the group.
    pub fn enter(&self) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), "0")
    }

    /// Whether the kernel killed a process for want of memory here.
    pub fn had_oom_kill(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        fs::read_to_string(self.folder.join(file)).is_ok_and(|text| oom_kills(&text) > 0)
    }

    /// Removes the group, in which no process is left. A group in use stays for the keeper.
    pub fn remove(self) {
        let _ = fs::remove_dir(self.folder);
    }
}

fn oom_kills(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// The group of a Pod, in which those of its containers are made.
pub(crate) struct PodGroup {
    folder: PathBuf,
    version: Version,
}

impl PodGroup {
    /// Makes the group `name` below this process's own, or beside it where version 2 forbids that.
    pub fn make(name: &str) -> io::Result<Self> {
        let (own, version) =
            own_group(&fs::read_to_string("/proc/self/cgroup")?, &fs::read_to_string("/proc/self/mountinfo")?)
                .ok_or_else(|| io::Error::other("no memory control group on this machine"))?;
        let parent = match version {
            Version::One => own,
            // Only a group without processes of its own can have groups with limits.
            Version::Two => [Some(own.as_path()), own.parent()]
                .into_iter()
                .flatten()
                .find(|group| gives_memory(group))
                .ok_or_else(|| io::Error::other("this session's control group has no memory limits to give"))?
                .to_owned(),
        };
        let folder = parent.join(name);
        fs::create_dir(&folder)?;
        if version == Version::Two {
            fs::write(folder.join("cgroup.subtree_control"), "+memory")?;
        }
        Ok(Self { folder, version })
    }

    /// Where it is, for [`remove_group`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn gives_memory(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.subtree_control"))
        .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory"))
}

/// Finds this process's memory group from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn own_group(cgroup: &str, mountinfo: &str) -> Option<(PathBuf, Version)> {
    // "4:memory:/path" is version 1, "0::/path" version 2.
    let paths: Vec<(&str, &str)> = cgroup.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).collect();
    let version_1 = paths.iter().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    let (path, version) = match version_1 {
        Some((_, path)) => (*path, Version::One),
        None => (paths.iter().find(|(controllers, _)| controllers.is_empty())?.1, Version::Two),
    };
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let fits = match version {
            Version::One => file_system.next()? == "cgroup" && file_system.nth(1)?.split(',').any(|it| it == "memory"),
            Version::Two => file_system.next()? == "cgroup2",
        };
        let mut mount = mount.split(' ').skip(3);
        let (root, mount_point) = (mount.next()?, mount.next()?);
        let below = Path::new(path).strip_prefix(root).ok().filter(|_| fits)?;
        Some((Path::new(mount_point).join(below), version))
    })
}

/// Removes a Pod's group and those in it, none of which has a process.
pub(crate) fn remove_group(folder: &Path) {
    let below = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for group in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let _ = fs::remove_dir(group.path());
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_taken_where_the_memory_controller_is() {
        let cgroup = "4:memory:/jobs/7\n1:cpu:/\n0::/\n";
        let mounts = "40 30 0:40 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 30 0:41 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      42 30 0:42 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(own_group(cgroup, mounts), Some(("/sys/fs/cgroup/memory/jobs/7".into(), Version::One)));
    }

    #[test]
    fn version_2_is_taken_below_the_root_of_its_mount() {
        let mounts = "42 30 0:42 /outer /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(own_group("0::/outer/a.scope\n", mounts), Some(("/sys/fs/cgroup/a.scope".into(), Version::Two)));
        assert_eq!(own_group("0::/elsewhere\n", mounts), None);
    }

    #[test]
    fn oom_kills_are_counted_in_both_versions() {
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), 2);
        assert_eq!(oom_kills("low 0\noom 3\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(oom_kills(""), 0);
    }
}
