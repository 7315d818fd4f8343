//! The small files and devices that every container is given.

use crate::mounts::{Tree, folder_with_mode};
use crate::spec::SandboxSpec;
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The files of `/etc` that a container gets from the Pod.
pub(crate) const ETC: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// The names that the kubelet puts into every Pod's hosts file, as it writes them.
const HOSTS: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";

/// Writes them into `folder`.
pub(crate) fn make_etc(folder: &Path, spec: &SandboxSpec) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut hosts = String::from(HOSTS);
    hosts.push_str(&format!("127.0.0.1\t{}\n", spec.hostname));
    for line in &spec.hosts {
        hosts.push_str(line);
        hosts.push('\n');
    }
    fs::write(folder.join("hosts"), hosts)?;
    fs::write(folder.join("hostname"), format!("{}\n", spec.hostname))?;
    let resolv_conf = match &spec.resolv_conf {
        Some(text) => text.clone().into_bytes(),
        // A machine without a resolver has containers without one.
        None => fs::read("/etc/resolv.conf").unwrap_or_default(),
    };
    fs::write(folder.join("resolv.conf"), resolv_conf)
}

/// Makes a `/dev` of the devices that any program may expect and none that gives access to hardware.
pub(crate) fn make_dev(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        let target = folder.join(device);
        File::create(&target)?;
        Tree::clone_of(&Path::new("/dev").join(device))?.attach_over(&target)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, folder.join(name))?;
    }
    folder_with_mode(&folder.join("shm"), 0o1777)?;
    let pts = folder.join("pts");
    fs::create_dir(&pts)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), &pts, Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))?;
    Ok(())
}
