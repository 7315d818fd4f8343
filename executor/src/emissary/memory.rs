//! Whether the kernel has killed for memory in this container: by the counter of its cgroup.

use std::fs;
use std::path::PathBuf;

/// How often that has happened so far; None where the cgroup cannot be seen.
pub fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    candidates(&groups).into_iter().find_map(|file| counter(&fs::read_to_string(file).ok()?))
}

/// Where the counter may be: cgroup v2, then v1; in the group that the kernel names and, since a container sees its own
/// group as the root, at the root.
fn candidates(groups: &str) -> Vec<PathBuf> {
    let of = |controller: &str| {
        let mut lines = groups.lines().map(|line| line.splitn(3, ':').skip(1));
        let own = lines
            .find_map(|mut parts| (parts.next()?.split(',').any(|name| name == controller)).then(|| parts.next())?);
        own.unwrap_or("/").trim_end_matches('/').to_owned()
    };
    let (unified, memory) = (of(""), of("memory"));
    let mut files = Vec::new();
    for group in [unified.as_str(), ""] {
        files.push(format!("/sys/fs/cgroup{group}/memory.events").into());
    }
    for group in [memory.as_str(), ""] {
        files.push(format!("/sys/fs/cgroup/memory{group}/memory.oom_control").into());
    }
    files
}

fn counter(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_either_version() {
        assert_eq!(counter("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(counter("oom_kill_disable 0\n"), None);
        let shown = |groups| candidates(groups).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let (events, control) = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control");
        assert_eq!(shown("0::/\n"), [events, events, control, control]);
        assert_eq!(
            shown("9:cpu,memory:/pod/a\n0::/b\n"),
            ["/sys/fs/cgroup/b/memory.events", events, "/sys/fs/cgroup/memory/pod/a/memory.oom_control", control]
        );
    }
}
