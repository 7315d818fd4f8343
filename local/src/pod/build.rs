//! From a Pod and the roots of its images to what the sandbox runs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tiphys_api::Template;

use tiphys_contract::{container as names, env as variables, path as paths, sink::ResultSink};
use tiphys_podspec::{quantity, usage};
use tiphys_sandbox::{ContainerSpec, Mount, Rootfs, SandboxSpec};

use super::env::{Place, environment, expand};
use super::model::{Container, DnsConfig, Pod, Probe, Security, Unsupported};
use super::volume::{ARTIFACTS, PrepareError, Sources, Volumes, mounts};
use crate::documents::Documents;
use crate::file::{FileError, make_dir, make_shared_dir};
use crate::folder::RunFolder;
use crate::images::Root;

/// The image name by which `podspec` is told to name the executor's containers: they run on this machine's root.
pub(crate) const EXECUTOR_IMAGE: &str = "tiphys-executor";
/// Where the executor's containers find this program.
const EXECUTOR: &str = "/argo-bin/argoexec";
/// Where `wait` finds the folder into which it reports.
const RESULTS: &str = "/argo-results";
/// Where containers write their last words by default.
const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";
/// Kubernetes' time between SIGTERM and SIGKILL, in seconds.
const DEFAULT_GRACE_SECONDS: u64 = 30;
/// The volume that all containers of a Pod share.
const SHARED_VOLUME: &str = "var-run-argo";
/// The template's file in it.
const TEMPLATE_FILE: &str = "template";
/// Name of the init container that makes folders for optional artifacts that were not there.
const ABSENT: &str = "tiphys-absent-artifacts";
/// A user that is not root, for containers that must not be root and name no user.
const NOBODY: u32 = 65534;

/// What the Pods of a run have in common.
#[derive(Debug)]
pub(crate) struct Workplace {
    pub run: RunFolder,
    /// The machine's name.
    pub host: String,
    /// This program.
    pub executor: PathBuf,
    /// The emissary.
    pub emissary: PathBuf,
    /// The environment of containers on this machine's root.
    pub host_env: Vec<(String, String)>,
}

/// A Pod ready to be started.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub spec: SandboxSpec,
    pub uid: String,
    /// Init containers, then the others, in the Pod's order.
    pub containers: Vec<Planned>,
    /// The Pod's own folder, to be removed after it.
    pub folder: PathBuf,
    /// The file in which `wait` reports.
    pub result: PathBuf,
    pub active_deadline_seconds: Option<i64>,
    pub grace_seconds: u64,
}

/// What is to be known of a container while it runs, and after.
#[derive(Debug)]
pub(crate) struct Planned {
    pub name: String,
    pub init: bool,
    pub image: String,
    /// It delivers the step's results.
    pub reports: bool,
    /// It runs on this machine's root although it names an image.
    pub on_host: bool,
    pub log: PathBuf,
    pub message: PathBuf,
    pub message_from_log: bool,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
    pub startup: Option<Probe>,
    pub ports: BTreeMap<String, u16>,
    pub env: Vec<(String, String)>,
    /// Requests in cores and bytes, for the node's resource durations.
    pub requests: BTreeMap<String, f64>,
}

/// A Pod in the making.
struct Draft<'a> {
    pod: &'a Pod,
    place: Place,
    work: &'a Workplace,
    documents: &'a Documents,
    roots: &'a BTreeMap<String, Root>,
    folder: PathBuf,
    logs: PathBuf,
    volumes: Volumes,
}

/// Makes the Pod's folders, volumes and files, and says what to run. `roots` has an entry for each image of the Pod;
/// `optional` names the input artifacts that need not be there.
///
/// # Errors
/// The Pod asks for what is not there or not possible, or the file system refuses.
pub(crate) fn prepare(
    pod: &Pod,
    node: &str,
    work: &Workplace,
    documents: &Documents,
    roots: &BTreeMap<String, Root>,
    optional: &[String],
) -> Result<Prepared, PrepareError> {
    let folder = work.run.pods().join(&pod.metadata.name);
    // What a killed process left of an earlier attempt.
    tiphys_sandbox::remove_scratch(&folder).map_err(FileError::of("remove", &folder))?;
    let logs = work.run.logs().join(node);
    tiphys_sandbox::remove_scratch(&logs).map_err(FileError::of("remove", &logs))?;
    for folder in [&folder, &logs, &folder.join("messages")] {
        make_dir(folder)?;
    }
    let results = folder.join("results");
    make_shared_dir(&results)?;
    let place = Place { uid: crate::name::random_uid(), host: work.host.clone(), ip: super::LOOPBACK.to_owned() };
    let sources = Sources { pod, place: &place, documents, run: &work.run, folder: &folder };
    let volumes = sources.make()?;
    let draft = Draft { pod, place, work, documents, roots, folder, logs, volumes };
    let mut spec = SandboxSpec::new(&pod.metadata.name, draft.folder.join("scratch"));
    if !pod.spec.hostname.is_empty() {
        spec.hostname.clone_from(&pod.spec.hostname);
    }
    spec.hosts =
        pod.spec.host_aliases.iter().map(|alias| format!("{}\t{}", alias.ip, alias.hostnames.join("\t"))).collect();
    spec.resolv_conf = pod.spec.dns_config.as_ref().map(|dns| resolv_conf(dns, &pod.spec.dns_policy));
    let mut containers = Vec::new();
    for container in &pod.spec.init_containers {
        if draft.spared(container)? {
            continue;
        }
        let (planned, made) = draft.container(container, true)?;
        containers.push(planned);
        spec.init.push(made);
    }
    spec.init.extend(draft.absent_artifacts(optional));
    for container in &pod.spec.containers {
        let (planned, made) = draft.container(container, false)?;
        containers.push(planned);
        spec.containers.push(made);
    }
    Ok(Prepared {
        spec,
        uid: draft.place.uid,
        containers,
        result: results.join("result.json"),
        folder: draft.folder,
        active_deadline_seconds: pod.spec.active_deadline_seconds,
        grace_seconds: pod.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS),
    })
}

impl Draft<'_> {
    /// What the kubelet does for a mounted part of a volume that nothing has made: it makes an empty folder. Which
    /// optional artifacts were there is known after `init` only, so it is done by a last init container.
    fn absent_artifacts(&self, optional: &[String]) -> Option<ContainerSpec> {
        let volume = self.volumes.get(ARTIFACTS).filter(|_| !optional.is_empty())?;
        let script = "for name; do test -e \"$name\" || mkdir -m 777 -- \"$name\"; done";
        let argv = ["/bin/sh", "-c", script, "sh"].into_iter().map(str::to_owned).chain(optional.iter().cloned());
        let mut spec = ContainerSpec::new(ABSENT, Rootfs::Host, argv);
        spec.env.clone_from(&self.work.host_env);
        spec.cwd = Some(PathBuf::from(paths::INPUT_ARTIFACTS));
        let target = PathBuf::from(paths::INPUT_ARTIFACTS);
        spec.mounts.push(Mount { source: volume.path().to_owned(), target, read_only: false });
        Some(spec)
    }

    /// Whether the executor's `init` has nothing to do: the emissary is mounted, so that without input artifacts and
    /// script only the template is left to deliver. It is delivered here, and a step starts two processes sooner.
    fn spared(&self, container: &Container) -> Result<bool, PrepareError> {
        if container.name != names::INIT || container.image != EXECUTOR_IMAGE {
            return Ok(false);
        }
        let json = container.env.iter().find(|variable| variable.name == variables::TEMPLATE);
        let json = json.and_then(|variable| variable.value.as_deref()).filter(|json| json.starts_with('{'));
        let Some(shared) = self.volumes.get(SHARED_VOLUME) else { return Ok(false) };
        let template = json.and_then(|json| serde_json::from_str::<Template>(json).ok());
        let (Some(json), Some(template)) = (json, template) else { return Ok(false) };
        let stages = !template.inputs.artifacts.is_empty() || template.script.is_some() || template.resource.is_some();
        if !stages {
            let file = shared.path().join(TEMPLATE_FILE);
            fs::write(&file, json).map_err(FileError::of("write", &file))?;
            fs::set_permissions(&file, Permissions::from_mode(0o444)).map_err(FileError::of("write", &file))?;
        }
        Ok(!stages)
    }

    fn container(&self, container: &Container, init: bool) -> Result<(Planned, ContainerSpec), PrepareError> {
        let is_executor = container.image == EXECUTOR_IMAGE;
        // A data template's main container is the executor, and has no other beside it.
        let reports = is_executor && (names::is_auxiliary(&container.name) || container.name == names::MAIN);
        let root = if is_executor { &Root::Host } else { self.root(container)? };
        let image = match root {
            Root::Host => None,
            Root::Image(image) => Some(image),
        };
        let image_env = image.map_or(&self.work.host_env, |image| &image.env);
        let mut env = environment(image_env, container, self.pod, &self.place, self.documents)?;
        if reports {
            let sink = ResultSink::File(Path::new(RESULTS).join("result.json"));
            env.insert(variables::RESULT_SINK.to_owned(), sink.to_string());
        }
        let env: Vec<(String, String)> = env.into_iter().collect();
        let known: BTreeMap<String, String> = env.iter().cloned().collect();

        let mut argv = self.command(container, root, &known)?;
        if is_executor {
            // Its name stands first, or behind the emissary's `--` where the executor does the step's own work.
            let own = argv.iter().position(|word| word == "--").map_or(0, |at| at + 1);
            for at in [0, own] {
                if argv.get(at).is_some_and(|name| name == "argoexec") {
                    EXECUTOR.clone_into(&mut argv[at]);
                }
            }
        }
        let message = self.folder.join("messages").join(&container.name);
        let log = self.logs.join(format!("{}.log", container.name));
        fs::write(&log, b"").map_err(FileError::of("make", &log))?;

        let rootfs = image.map_or(Rootfs::Host, |image| Rootfs::Layers(image.layers.clone()));
        let mut spec = ContainerSpec::new(&container.name, rootfs, argv);
        spec.env = env.clone();
        spec.cwd = match container.working_dir.as_str() {
            "" => image.and_then(|image| image.working_dir.clone()),
            folder => Some(PathBuf::from(folder)),
        };
        spec.user =
            user(&self.pod.spec.security_context, &container.security_context, image.and_then(|image| image.user))
                .map_err(|problem| Unsupported(format!("container {:?}: {problem}", container.name)))?;
        spec.mounts = mounts(container, &known, &self.volumes)?;
        self.add_own_mounts(&mut spec, is_executor, reports);
        spec.stdout = Some(log.clone());
        spec.stderr = Some(log.clone());
        spec.tty = container.tty;
        spec.read_only_root = container.security_context.read_only_root_filesystem;
        spec.memory_limit_bytes =
            container.resources.limits.get("memory").and_then(quantity::parse).map(|bytes| bytes as u64);
        if container.termination_message_path.is_empty() || container.termination_message_path == DEFAULT_MESSAGE_PATH {
            spec.termination_log = Some(message.clone());
        } else {
            fs::write(&message, b"").map_err(FileError::of("make", &message))?;
            let target = PathBuf::from(&container.termination_message_path);
            spec.mounts.push(Mount { source: message.clone(), target, read_only: false });
        }
        let planned = Planned {
            name: container.name.clone(),
            init,
            image: container.image.clone(),
            reports,
            on_host: image.is_none() && !is_executor,
            log,
            message,
            message_from_log: container.termination_message_policy == "FallbackToLogsOnError",
            readiness: container.readiness_probe.clone(),
            liveness: container.liveness_probe.clone(),
            startup: container.startup_probe.clone(),
            ports: container.ports.iter().map(|port| (port.name.clone(), port.container_port)).collect(),
            env,
            requests: requests(container, self.pod),
        };
        Ok((planned, spec))
    }

    fn root(&self, container: &Container) -> Result<&Root, Unsupported> {
        self.roots
            .get(&container.image)
            .ok_or_else(|| Unsupported(format!("container {:?} names no image", container.name)))
    }

    /// The command and its arguments: the container's, else the image's, as Kubernetes combines them.
    fn command(
        &self,
        container: &Container,
        root: &Root,
        env: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, Unsupported> {
        let known = |text: &String| expand(text, |name| env.get(name).map(String::as_str));
        let (command, args) = (&container.command, &container.args);
        let argv: Vec<String> = match root {
            Root::Image(image) if command.is_empty() => {
                let args = if args.is_empty() { image.cmd.to_vec() } else { args.iter().map(known).collect() };
                image.entrypoint.iter().cloned().chain(args).collect()
            }
            _ => command.iter().chain(args).map(known).collect(),
        };
        if argv.is_empty() || (command.is_empty() && matches!(root, Root::Host)) {
            return Err(Unsupported(format!(
                "container {:?} names no command and that of the image {:?} is not known; name the command in the \
                 template, or import the image with `tiphys image import FILE`",
                container.name, container.image
            )));
        }
        Ok(argv)
    }

    /// This program in the executor's containers, the emissary wherever the shared volume is, the results where they are reported.
    fn add_own_mounts(&self, spec: &mut ContainerSpec, is_executor: bool, reports: bool) {
        let read_only =
            |source: &Path, target: &str| Mount { source: source.to_owned(), target: target.into(), read_only: true };
        if spec.mounts.iter().any(|mount| mount.target == Path::new(paths::SHARED)) {
            spec.mounts.push(read_only(&self.work.emissary, paths::EMISSARY));
        }
        if is_executor {
            spec.mounts.push(read_only(&self.work.executor, EXECUTOR));
        }
        if reports {
            let source = self.folder.join("results");
            spec.mounts.push(Mount { source, target: RESULTS.into(), read_only: false });
        }
    }
}

/// Who a container runs as. None leaves it to the sandbox, which is root.
fn user(pod: &Security, container: &Security, image: Option<(u32, u32)>) -> Result<Option<(u32, u32)>, String> {
    let uid = container.run_as_user.or(pod.run_as_user);
    let gid = container.run_as_group.or(pod.run_as_group);
    let user = match (uid, gid, image) {
        (Some(uid), gid, _) => Some((uid, gid.unwrap_or(0))),
        (None, Some(gid), image) => Some((image.map_or(0, |(uid, _)| uid), gid)),
        (None, None, image) => image,
    };
    if container.run_as_non_root.or(pod.run_as_non_root) != Some(true) {
        return Ok(user);
    }
    match user {
        Some((0, _)) => Err("it has runAsNonRoot and would run as root; set runAsUser".to_owned()),
        Some(user) => Ok(Some(user)),
        None => Ok(Some((NOBODY, NOBODY))),
    }
}

fn resolv_conf(dns: &DnsConfig, policy: &str) -> String {
    let own = if policy == "None" { String::new() } else { fs::read_to_string("/etc/resolv.conf").unwrap_or_default() };
    let mut lines: Vec<String> = dns.nameservers.iter().map(|server| format!("nameserver {server}")).collect();
    if !dns.searches.is_empty() {
        lines.push(format!("search {}", dns.searches.join(" ")));
    }
    for option in &dns.options {
        let value = option.value.as_ref().map(|value| format!(":{value}")).unwrap_or_default();
        lines.push(format!("options {}{value}", option.name));
    }
    let separator = if own.is_empty() || own.ends_with('\n') { "" } else { "\n" };
    format!("{own}{separator}{}\n", lines.join("\n"))
}

/// What the container asks for, with Argo's assumptions where it asks for nothing; the Pod's own resources count for the
/// first container that asks for nothing. argo: util/resource/duration.go.
fn requests(container: &Container, pod: &Pod) -> BTreeMap<String, f64> {
    let asks = |container: &Container| container.resources.limits.len() + container.resources.requests.len() > 0;
    let heir = pod.all_containers().find(|container| !asks(container)).map(|container| container.name.as_str());
    let resources = if heir == Some(container.name.as_str()) { &pod.spec.resources } else { &container.resources };
    usage::requests(&resources.limits, &resources.requests)
}
