//! Volumes as folders and files of this machine, and their mounts.
//!
//! `medium: Memory` and size limits of an emptyDir are passed over: it is a folder on disk, next to the machine's page
//! cache. A hostPath is the machine's own path, as the user wrote it: the steps run as the user, on the user's machine.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tiphys_sandbox::Mount;

use super::env::{Place, expand, field, present, resource};
use super::model::{Container, HostPath, Pod, Source, Unsupported, Volume};
use crate::documents::Documents;
use crate::file::FileError;
use crate::folder::RunFolder;

/// A Pod that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It asks for what is not there or not possible.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where a volume is, by its name.
pub(crate) type Volumes = BTreeMap<String, MadeVolume>;

/// A volume on this machine.
#[derive(Debug)]
pub(crate) struct MadeVolume {
    path: PathBuf,
    read_only: bool,
}

impl MadeVolume {
    /// Its folder or file on this machine.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What volumes are made from.
pub(crate) struct Sources<'a> {
    pub pod: &'a Pod,
    pub place: &'a Place,
    pub documents: &'a Documents,
    pub run: &'a RunFolder,
    /// The Pod's own folder.
    pub folder: &'a Path,
}

impl Sources<'_> {
    /// Makes every volume that a container mounts.
    pub fn make(&self) -> Result<Volumes, PrepareError> {
        let mut made = Volumes::new();
        for volume in &self.pod.spec.volumes {
            let used = self.pod.all_containers().flat_map(|c| &c.volume_mounts).any(|mount| mount.name == volume.name);
            if used {
                made.insert(volume.name.clone(), self.make_one(volume)?);
            }
        }
        Ok(made)
    }

    fn make_one(&self, volume: &Volume) -> Result<MadeVolume, PrepareError> {
        let own = self.folder.join("volumes").join(&volume.name);
        let writable = |path| MadeVolume { path, read_only: false };
        if volume.empty_dir.is_some() || volume.ephemeral.is_some() {
            crate::file::make_shared_dir(&own)?;
            return Ok(writable(own));
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            let name = plain_name(&claim.claim_name).ok_or_else(|| self.wrong(volume, "claimName is no name"))?;
            let path = self.run.claim(name);
            crate::file::make_shared_dir(&path)?;
            return Ok(MadeVolume { path, read_only: claim.read_only });
        }
        if let Some(host) = &volume.host_path {
            return self.host_path(volume, host).map(writable);
        }
        crate::file::make_dir(&own)?;
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755))
            .map_err(FileError::of("open up the folder", &own))?;
        if let Some(source) = &volume.config_map {
            self.keys(volume, &own, source, "ConfigMap", source.default_mode)?;
        } else if let Some(source) = &volume.secret {
            self.keys(volume, &own, source, "Secret", source.default_mode)?;
        } else if let Some(source) = &volume.downward_api {
            self.downward(volume, &own, source, source.default_mode)?;
        } else if let Some(projected) = &volume.projected {
            for source in &projected.sources {
                let mode = projected.default_mode;
                if let Some(source) = &source.config_map {
                    self.keys(volume, &own, source, "ConfigMap", mode)?;
                } else if let Some(source) = &source.secret {
                    self.keys(volume, &own, source, "Secret", mode)?;
                } else if let Some(source) = &source.downward_api {
                    self.downward(volume, &own, source, mode)?;
                } else {
                    let kind = source.other.keys().next().map_or("nothing", String::as_str);
                    return Err(self.wrong(volume, &format!("local runs do not support projected {kind}")).into());
                }
            }
        } else {
            let kind = volume.other.keys().next().map_or("nothing", String::as_str);
            let message = format!(
                "local runs do not support {kind} volumes; emptyDir, configMap, secret, downwardAPI, projected, hostPath, \
                 ephemeral and persistentVolumeClaim are there"
            );
            return Err(self.wrong(volume, &message).into());
        }
        Ok(MadeVolume { path: own, read_only: true })
    }

    fn wrong(&self, volume: &Volume, problem: &str) -> Unsupported {
        Unsupported(format!("volume {:?}: {problem}", volume.name))
    }

    fn host_path(&self, volume: &Volume, host: &HostPath) -> Result<PathBuf, PrepareError> {
        let path = PathBuf::from(&host.path);
        match host.kind.as_str() {
            "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(FileError::of("make the folder", &path))?,
            "FileOrCreate" => {
                OpenOptions::new().create(true).append(true).open(&path).map_err(FileError::of("make", &path))?;
            }
            "Directory" if !path.is_dir() => {
                return Err(self
                    .wrong(volume, &format!("hostPath {:?} is no folder of this machine", host.path))
                    .into());
            }
            "File" if !path.is_file() => {
                return Err(self.wrong(volume, &format!("hostPath {:?} is no file of this machine", host.path)).into());
            }
            _ if !path.exists() => {
                return Err(self.wrong(volume, &format!("hostPath {:?} is not on this machine", host.path)).into());
            }
            _ => {}
        }
        Ok(path)
    }

    /// Writes the keys of a ConfigMap or Secret: all of them, or those that `items` names, where it says.
    fn keys(
        &self,
        volume: &Volume,
        into: &Path,
        source: &Source,
        kind: &str,
        default_mode: Option<u32>,
    ) -> Result<(), PrepareError> {
        // A Secret volume calls its Secret `secretName`, a projected one `name`.
        let name = if source.secret_name.is_empty() { &source.name } else { &source.secret_name };
        let found = match kind {
            "Secret" => self.documents.secret(name),
            _ => self.documents.config_map(name),
        };
        let found =
            present(found, kind, name, source.optional).map_err(|error| self.wrong(volume, &error.to_string()))?;
        let Some(data) = found else { return Ok(()) };
        match &source.items {
            None => {
                for (key, value) in data.keys.iter() {
                    self.write(volume, into, key, value, default_mode)?;
                }
            }
            Some(items) => {
                for item in items {
                    match data.keys.get(&item.key) {
                        Some(value) => self.write(volume, into, &item.path, value, item.mode.or(default_mode))?,
                        None if source.optional => {}
                        None => {
                            let problem = format!("the {kind} {name:?} has no key {:?}", item.key);
                            return Err(self.wrong(volume, &problem).into());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn downward(
        &self,
        volume: &Volume,
        into: &Path,
        source: &Source,
        default_mode: Option<u32>,
    ) -> Result<(), PrepareError> {
        for item in source.items.iter().flatten() {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(reference), _) => field(reference, self.pod, self.place),
                (None, Some(reference)) => resource(reference, &Container::default(), self.pod),
                (None, None) => Err(Unsupported(format!("{:?} names no field", item.path))),
            };
            let value = value.map_err(|error| self.wrong(volume, &error.to_string()))?;
            self.write(volume, into, &item.path, value.as_bytes(), item.mode.or(default_mode))?;
        }
        Ok(())
    }

    fn write(
        &self,
        volume: &Volume,
        into: &Path,
        name: &str,
        value: &[u8],
        mode: Option<u32>,
    ) -> Result<(), PrepareError> {
        let name = inner_path(name).ok_or_else(|| self.wrong(volume, &format!("{name:?} leads out of the volume")))?;
        let path = into.join(name);
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(value)?;
            file.set_permissions(fs::Permissions::from_mode(mode.unwrap_or(0o644) & 0o777))
        };
        Ok(write().map_err(FileError::of("write", &path))?)
    }
}

/// The mounts of a container.
pub(crate) fn mounts(
    container: &Container,
    env: &BTreeMap<String, String>,
    volumes: &Volumes,
) -> Result<Vec<Mount>, PrepareError> {
    let mut mounts = Vec::new();
    for mount in &container.volume_mounts {
        let wrong = |problem: String| {
            Unsupported(format!("volume mount {:?} of container {:?}: {problem}", mount.name, container.name))
        };
        let volume = volumes.get(&mount.name).ok_or_else(|| wrong("the Pod has no volume of that name".to_owned()))?;
        let sub_path = match mount.sub_path_expr.as_str() {
            "" => mount.sub_path.clone(),
            expression => expand(expression, |name| env.get(name).map(String::as_str)),
        };
        let mut source = volume.path.clone();
        if !sub_path.is_empty() {
            let inner = inner_path(&sub_path).ok_or_else(|| wrong(format!("subPath {sub_path:?} leads out of it")))?;
            source.push(inner);
            if !volume.read_only && mount.name != ARTIFACTS && !source.exists() {
                crate::file::make_shared_dir(&source)?;
            }
        }
        mounts.push(Mount {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: mount.read_only || volume.read_only,
        });
    }
    Ok(mounts)
}

/// An input artifact is a part of this volume that `init` makes: file or folder, that is not known beforehand.
pub(crate) const ARTIFACTS: &str = "input-artifacts";

/// A relative path that stays inside, without `.` and doubled slashes.
fn inner_path(path: &str) -> Option<PathBuf> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let path = Path::new(path);
    (path.components().all(plain) && !path.as_os_str().is_empty())
        .then(|| path.components().filter(|part| matches!(part, Component::Normal(_))).collect())
}

fn plain_name(name: &str) -> Option<&str> {
    (!name.is_empty() && !name.contains('/') && name != "." && name != "..").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::DataDir;
    use crate::name::RunName;
    use serde_json::{Value, json};

    struct Fixture {
        data: tempfile::TempDir,
        run: RunFolder,
        documents: Documents,
    }

    impl Fixture {
        fn new() -> Fixture {
            let data = tempfile::tempdir().unwrap();
            let run = DataDir::new(data.path()).unwrap().run(&RunName::new("r").unwrap());
            run.make().unwrap();
            let documents = crate::documents::of_yaml(
                "{kind: ConfigMap, metadata: {name: c}, data: {a: A, b: B}}\n---\n\
                 {kind: Secret, metadata: {name: s}, stringData: {k: S}}\n",
            );
            Fixture { data, run, documents }
        }

        fn mount(&self, volume: Value, mount: Value) -> Result<Mount, String> {
            let (mut named, mut at) = (json!({"name": "v"}), json!({"name": "v", "mountPath": "/v"}));
            named.as_object_mut().unwrap().extend(volume.as_object().unwrap().clone());
            at.as_object_mut().unwrap().extend(mount.as_object().unwrap().clone());
            let pod = json!({"metadata": {"name": "p"}, "spec": {"volumes": [named], "containers": [
                {"name": "main", "volumeMounts": [at]}]}});
            let pod = Pod::read(pod).unwrap();
            let place = Place { uid: "u".into(), host: "h".into(), ip: "127.0.0.1".into() };
            let folder = self.data.path().join("pod");
            let sources =
                Sources { pod: &pod, place: &place, documents: &self.documents, run: &self.run, folder: &folder };
            let env = BTreeMap::from([("X".to_owned(), "x".to_owned())]);
            let volumes = sources.make().map_err(|error| error.to_string())?;
            let mounts = mounts(&pod.spec.containers[0], &env, &volumes).map_err(|error| error.to_string())?;
            Ok(mounts.into_iter().next().unwrap())
        }
    }

    fn content(folder: &Path) -> Vec<(String, String, u32)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    }

    fn file(name: &str, content: &str, mode: u32) -> (String, String, u32) {
        (name.to_owned(), content.to_owned(), mode)
    }

    #[test]
    fn keys_become_read_only_files() {
        for (volume, expected) in [
            (json!({"configMap": {"name": "c"}}), vec![file("a", "A", 0o644), file("b", "B", 0o644)]),
            (
                json!({"secret": {"secretName": "s", "defaultMode": 0o400, "items": [{"key": "k", "path": "./x"}]}}),
                vec![file("x", "S", 0o400)],
            ),
            (json!({"secret": {"secretName": "none", "optional": true}}), vec![]),
            (
                json!({"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}),
                vec![file("n", "p", 0o644)],
            ),
            (
                json!({"projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c",
                    "items": [{"key": "a", "path": "z", "mode": 0o600}]}}]}}),
                vec![file("k", "S", 0o644), file("z", "A", 0o600)],
            ),
        ] {
            let fixture = Fixture::new();
            let mount = fixture.mount(volume.clone(), json!({})).unwrap();
            assert!(mount.read_only);
            assert_eq!(content(&mount.source), expected, "{volume}");
        }
    }

    #[test]
    fn folders_are_made_where_containers_may_write() {
        let fixture = Fixture::new();
        for (volume, mount, expected) in [
            (json!({"emptyDir": {}}), json!({}), fixture.data.path().join("pod/volumes/v")),
            (json!({"emptyDir": {}}), json!({"subPathExpr": "a/$(X)"}), fixture.data.path().join("pod/volumes/v/a/x")),
            (json!({"persistentVolumeClaim": {"claimName": "c"}}), json!({}), fixture.run.claim("c")),
            (json!({"hostPath": {"path": fixture.data.path()}}), json!({}), fixture.data.path().to_owned()),
        ] {
            let mount = fixture.mount(volume, mount).unwrap();
            assert!(!mount.read_only && mount.source.is_dir());
            assert_eq!(mount.source, expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (volume, mount, expected) in [
            (
                json!({"nfs": {}}),
                json!({}),
                "volume \"v\": local runs do not support nfs volumes; emptyDir, configMap, secret, downwardAPI, \
                 projected, hostPath, ephemeral and persistentVolumeClaim are there",
            ),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {}}]}}),
                json!({}),
                "volume \"v\": local runs do not support projected serviceAccountToken",
            ),
            (
                json!({"secret": {"secretName": "x"}}),
                json!({}),
                "volume \"v\": there is no Secret \"x\": give it as a document, with --with, or from a file with \
                 --from-file x=PATH",
            ),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}}),
                json!({}),
                "volume \"v\": the ConfigMap \"c\" has no key \"x\"",
            ),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "a", "path": "../x"}]}}),
                json!({}),
                "volume \"v\": \"../x\" leads out of the volume",
            ),
            (
                json!({"hostPath": {"path": "/nonexistent"}}),
                json!({}),
                "volume \"v\": hostPath \"/nonexistent\" is not on this machine",
            ),
            (json!({"persistentVolumeClaim": {"claimName": ".."}}), json!({}), "volume \"v\": claimName is no name"),
            (
                json!({"emptyDir": {}}),
                json!({"subPath": "../x"}),
                "volume mount \"v\" of container \"main\": subPath \"../x\" leads out of it",
            ),
            (
                json!({"name": "w", "emptyDir": {}}),
                json!({}),
                "volume mount \"v\" of container \"main\": the Pod has no volume of that name",
            ),
        ] {
            assert_eq!(Fixture::new().mount(volume, mount).unwrap_err(), expected);
        }
    }
}
