//! From a forked process to a container's command: its root, its mounts, its user, `execve`.

use crate::event::{Failure, FailureKind};
use crate::files::ETC;
use crate::identity::become_user;
use crate::launch;
use crate::log::{self, Streams};
use crate::memory_group::MemoryGroup;
use crate::mounts::{READ_ONLY, Tree, VOLUME, clean_target, make_folder};
use crate::pod::{Pod, temporary_folder};
use crate::spec::{ContainerSpec, Overlay, Rootfs};
use crate::{image_root, sys};
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{fchdir, pivot_root};
use std::convert::Infallible;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

/// What Kubernetes keeps of a container's last words.
const TERMINATION_LOG_BYTES: i64 = 4096;

/// A tree and where in the container it goes.
struct Place {
    tree: Tree,
    target: PathBuf,
    /// For messages.
    source: PathBuf,
}

/// Turns this process, forked by the Pod's init into fresh mount and PID namespaces, into the container's command.
/// Returns only what kept it from that. `init` is a pidfd of the Pod's init.
pub(crate) fn become_container(
    spec: &ContainerSpec,
    pod: &Pod,
    init: BorrowedFd<'_>,
    memory: Option<MemoryGroup>,
    streams: &Streams,
) -> Result<Infallible, Failure> {
    let step = |what: &'static str| {
        let name = spec.name.clone();
        move |error: std::io::Error| Failure::setup(format!("container {name}: cannot {what}"), error)
    };
    sys::die_with(init).map_err(step("tie it to its Pod"))?;
    if let Some(memory) = memory {
        memory.enter().map_err(step("enter its memory control group"))?;
    }
    umask(Mode::from_bits_truncate(0o022));
    let places = places(spec, pod)?;
    let special = special_trees(spec, pod).map_err(step("clone the Pod's /dev, /sys and /etc files"))?;

    let root = make_root(spec, pod, &places).map_err(step("make its root file system"))?;
    let old_root = enter(&root).map_err(step("enter its root file system"))?;
    mount_proc(&old_root, pod.in_user_namespace).map_err(step("mount /proc"))?;
    for place in special.iter().chain(&places) {
        place.tree.attach(&place.target).map_err(|error| {
            Failure::setup(
                format!(
                    "container {}: cannot mount {} at {}",
                    spec.name,
                    place.source.display(),
                    place.target.display()
                ),
                error,
            )
        })?;
    }
    let cwd = spec.cwd.as_deref().unwrap_or(Path::new("/"));
    make_folder(cwd, 8).map_err(|error| {
        Failure::setup(format!("container {}: cannot make its working directory {}", spec.name, cwd.display()), error)
    })?;
    seal(&old_root, spec.read_only_root).map_err(step("close off its root file system"))?;

    launch::take_streams(streams).map_err(step("attach its output"))?;
    become_user(spec.user, pod.in_user_namespace)?;
    // A change of user undoes the tie.
    sys::die_with(init).map_err(step("tie it to its Pod"))?;
    std::env::set_current_dir(cwd).map_err(|error| {
        Failure::setup(format!("container {}: cannot enter its working directory {}", spec.name, cwd.display()), error)
    })?;
    launch::execute(&spec.name, &spec.argv, launch::environment(spec, &pod.hostname))
}

/// The caller's mounts, in the order of their targets, so that one may lie in another.
fn places(spec: &ContainerSpec, pod: &Pod) -> Result<Vec<Place>, Failure> {
    let missing = |source: &Path, target: &Path, error: std::io::Error| {
        Failure::new(
            FailureKind::MountSource,
            format!("container {}: cannot mount {} at {}: {error}", spec.name, source.display(), target.display()),
        )
    };
    let mut places = Vec::new();
    for mount in &spec.mounts {
        let target = clean_target(&spec.name, &mount.target)?;
        let attributes = if mount.read_only { VOLUME | libc::MOUNT_ATTR_RDONLY } else { VOLUME };
        let tree = Tree::clone_of(&mount.source)
            .and_then(|tree| tree.with(attributes))
            .map_err(|error| missing(&mount.source, &target, error))?;
        places.push(Place { tree, target, source: mount.source.clone() });
    }
    if let Some(log) = &spec.termination_log {
        let target = PathBuf::from("/dev/termination-log");
        let tree = make_termination_log(log, spec.user.filter(|_| !pod.in_user_namespace))
            .and_then(|()| Tree::clone_of(log))
            .and_then(|tree| tree.with(VOLUME))
            .map_err(|error| missing(log, &target, error))?;
        places.push(Place { tree, target, source: log.clone() });
    }
    // Stable: of two mounts at one place, the later in the list is seen.
    places.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(places)
}

/// Makes a file for the container's last words, which `owner` may write to. It has its space already, so that a container
/// may still say that the disk is full.
fn make_termination_log(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let file = log::append_to(path)?;
    // Not every file system can, and without it everything but those words is as good.
    let _ = fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, TERMINATION_LOG_BYTES);
    owner.map_or(Ok(()), |(uid, gid)| fchown(&file, Some(uid), Some(gid)))
}

/// What every container gets, unless the caller mounts something of its own there.
fn special_trees(spec: &ContainerSpec, pod: &Pod) -> std::io::Result<Vec<Place>> {
    let mut special = vec![
        Place { tree: Tree::clone_of(&pod.dev())?, target: "/dev".into(), source: pod.dev() },
        Place {
            tree: Tree::clone_of(Path::new("/sys"))?.with(READ_ONLY)?,
            target: "/sys".into(),
            source: "/sys".into(),
        },
    ];
    for name in ETC {
        let (target, source) = (Path::new("/etc").join(name), pod.etc().join(name));
        if !spec.mounts.iter().any(|mount| mount.target == target) {
            special.push(Place { tree: Tree::clone_of(&source)?, target, source });
        }
    }
    if matches!(spec.rootfs, Rootfs::Host | Rootfs::Empty) {
        for (name, target) in [("tmp", "/tmp"), ("var-tmp", "/var/tmp")] {
            let source = temporary_folder(&pod.on_disk(spec), name)?;
            special.push(Place { tree: Tree::clone_of(&source)?, target: target.into(), source });
        }
    }
    Ok(special)
}

/// Makes the root and gives its path, a mount point.
fn make_root(spec: &ContainerSpec, pod: &Pod, places: &[Place]) -> std::io::Result<PathBuf> {
    let memory = pod.in_memory(spec);
    for part in ["root", "lower", "upper", "work"] {
        fs::create_dir_all(memory.join(part))?;
    }
    std::env::set_current_dir(&memory)?;
    let root = memory.join("root");
    let overlay = pod.overlay == Overlay::Auto;
    match (&spec.rootfs, &pod.host) {
        (Rootfs::Layers(layers), _) => {
            let disk = pod.on_disk(spec);
            fs::create_dir_all(&disk)?;
            image_root::build(&root, layers, &disk, overlay)?;
        }
        (Rootfs::Host, Some(host)) => {
            let targets: Vec<PathBuf> =
                places.iter().map(|place| place.target.clone()).chain(spec.cwd.clone()).collect();
            host.build(&root, overlay, &targets)?;
        }
        (Rootfs::Empty, _) => mount(Some(&root), &root, None::<&str>, MsFlags::MS_BIND, None::<&str>)?,
        (Rootfs::Host, None) => return Err(std::io::Error::other("the machine's root was not looked at")),
    }
    Ok(root)
}

/// Makes `root` this process's `/`. The old one lies over it, reachable only through the result.
fn enter(root: &Path) -> std::io::Result<OwnedFd> {
    let old_root = nix::fcntl::open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    std::env::set_current_dir(root)?;
    pivot_root(".", ".")?;
    std::env::set_current_dir("/")?;
    Ok(old_root)
}

/// A `/proc` of the container's own PID namespace. Within a container engine that hides parts of its own `/proc` the
/// kernel refuses a fresh one to a user namespace; then the machine's is shown.
fn mount_proc(old_root: &OwnedFd, in_user_namespace: bool) -> std::io::Result<()> {
    make_folder(Path::new("/proc"), 1)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).is_err() {
        fchdir(old_root.as_fd())?;
        let machine = Tree::clone_of(Path::new("proc"))?;
        std::env::set_current_dir("/")?;
        return machine.attach_over(Path::new("/proc"));
    }
    if in_user_namespace {
        return Ok(());
    }
    // As the machine's root, a container could change the machine's settings.
    for name in ["sys", "sysrq-trigger", "irq", "bus", "fs"] {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            Tree::clone_of(&path)?.with(libc::MOUNT_ATTR_RDONLY)?.attach_over(&path)?;
        }
    }
    Ok(())
}

/// Takes the old root away and, if asked for, makes the new one read-only.
fn seal(old_root: &OwnedFd, read_only: bool) -> std::io::Result<()> {
    fchdir(old_root.as_fd())?;
    umount2(".", MntFlags::MNT_DETACH)?;
    std::env::set_current_dir("/")?;
    if read_only {
        let root = nix::fcntl::open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        sys::set_mount_attributes(root.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
    }
    Ok(())
}
