//! What the containers of a Pod share, made once by the Pod's init: a private tmpfs, `/dev`, and files for `/etc`.

use crate::event::Failure;
use crate::files;
use crate::host_root::HostPlan;
use crate::mounts::folder_with_mode;
use crate::spec::{ContainerSpec, Overlay, Rootfs, SandboxSpec};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::path::{Path, PathBuf};

/// The surroundings in which a container is made.
pub(crate) struct Pod {
    /// On the machine's disk.
    scratch: PathBuf,
    /// The private tmpfs; gone with the namespaces.
    memory: PathBuf,
    /// How the machine's root is shown, if a container asks for it.
    pub host: Option<HostPlan>,
    /// Whether overlayfs may be tried.
    pub overlay: Overlay,
    /// Whether this is a user namespace, with one mapped id.
    pub in_user_namespace: bool,
    /// Given to a container whose environment has no HOSTNAME.
    pub hostname: String,
}

impl Pod {
    /// Makes what is shared. The mounts of this namespace no longer reach the machine's.
    pub fn prepare(spec: &SandboxSpec, in_user_namespace: bool) -> Result<Self, Failure> {
        let memory = spec.scratch.join("pod");
        fs::create_dir_all(&memory).map_err(|error| {
            Failure::setup(format!("Pod {}: cannot make the folder {}", spec.name, memory.display()), error)
        })?;
        let uses_host = spec.init.iter().chain(&spec.containers).any(|container| container.rootfs == Rootfs::Host);
        let host = if uses_host {
            Some(
                HostPlan::of_this_machine(in_user_namespace)
                    .map_err(|error| Failure::setup("cannot read the machine's root", error))?,
            )
        } else {
            None
        };
        mount(Some("tiphys"), &memory, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755")).map_err(|error| {
            Failure::setup(format!("Pod {}: cannot mount a tmpfs at {}", spec.name, memory.display()), error)
        })?;
        nix::unistd::sethostname(&spec.hostname)
            .map_err(|error| Failure::setup(format!("cannot set the host name to {:?}", spec.hostname), error))?;
        files::make_etc(&memory.join("etc"), spec)
            .map_err(|error| Failure::setup("cannot write the Pod's /etc/hosts", error))?;
        files::make_dev(&memory.join("dev")).map_err(|error| Failure::setup("cannot make the Pod's /dev", error))?;
        Ok(Self {
            scratch: spec.scratch.clone(),
            memory,
            host,
            overlay: spec.overlay,
            in_user_namespace,
            hostname: spec.hostname.clone(),
        })
    }

    /// A folder for this container, in memory.
    pub fn in_memory(&self, container: &ContainerSpec) -> PathBuf {
        self.memory.join("c").join(&container.name)
    }

    /// A folder for this container, on disk.
    pub fn on_disk(&self, container: &ContainerSpec) -> PathBuf {
        self.scratch.join("c").join(&container.name)
    }

    /// The Pod's `/dev`.
    pub fn dev(&self) -> PathBuf {
        self.memory.join("dev")
    }

    /// The folder of the files for `/etc`.
    pub fn etc(&self) -> PathBuf {
        self.memory.join("etc")
    }
}

/// Makes `folder` with world-writable `name`s in it, as `/tmp` is.
pub(crate) fn temporary_folder(folder: &Path, name: &str) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    folder_with_mode(&path, 0o1777)?;
    Ok(path)
}
