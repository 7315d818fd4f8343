//! Images from files: OCI image layouts and docker archives.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{At as _, Error};
use crate::folder::{Folder, MAX_DOCUMENT};
use crate::manifest::{Descriptor, Document, Index, Manifest, OCI_CONFIG, OCI_LAYER, is_image};
use crate::reference::Reference;
use crate::store::{self, Named};
use crate::unpack::decompressed;

/// An image found in an archive, its content in the store by now.
struct Found {
    digest: Digest,
    manifest: Manifest,
    names: Vec<Reference>,
}

/// An entry of a docker archive's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Takes in all images of the file or folder at `path`.
pub(crate) fn import(folder: &Folder, path: &Path, name: Option<&Reference>) -> Result<Vec<Named>, Error> {
    let _adding = folder.adding()?;
    let source = Source::open(folder, path)?;
    let docker = match source.document("manifest.json")? {
        Some(text) => serde_json::from_slice::<Vec<DockerImage>>(&text)
            .map_err(|error| Error::malformed(format!("manifest.json of {}", path.display()), error))?,
        None => Vec::new(),
    };
    let mut found = match source.document("index.json")? {
        Some(text) => layout_images(folder, &source, &text, &docker)?,
        None => docker.iter().map(|image| docker_image(folder, &source, image)).collect::<Result<_, _>>()?,
    };
    if found.is_empty() {
        return Err(Error::NoImage { path: path.to_owned() });
    }
    if let Some(name) = name {
        let [only] = &mut found[..] else {
            return Err(Error::SeveralImages { path: path.to_owned(), count: found.len() });
        };
        only.names = vec![name.clone()];
    }
    if found.iter().any(|image| image.names.is_empty()) {
        return Err(Error::Unnamed { path: path.to_owned() });
    }
    let mut imported = Vec::new();
    for Found { digest, manifest, names } in found {
        let image = store::image(folder, digest, &manifest)?;
        imported.extend(names.into_iter().map(|reference| Named { reference, image: image.clone() }));
    }
    folder.change_names(|index| {
        for Named { reference, image } in &imported {
            index.insert(reference.index_key(), image.digest.clone());
        }
    })?;
    Ok(imported)
}

/// The images of an OCI image layout. Entries of one name are one image for several machines.
fn layout_images(folder: &Folder, source: &Source, text: &[u8], docker: &[DockerImage]) -> Result<Vec<Found>, Error> {
    let what = format!("index.json of {}", source.path.display());
    let index: Index = serde_json::from_slice(text).map_err(|error| Error::malformed(&what, error))?;
    let mut named: BTreeMap<Option<String>, Vec<Descriptor>> = BTreeMap::new();
    for entry in index.manifests.into_iter().filter(is_image) {
        let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .iter()
            .filter_map(|key| entry.annotations.get(*key))
            // The second is often a bare tag.
            .find(|name| name.contains(['/', ':']) && name.parse::<Reference>().is_ok());
        named.entry(name.cloned()).or_default().push(entry);
    }
    let groups = named.len();
    let mut found = Vec::new();
    for (name, entries) in named {
        let (digest, manifest) = layout_image(folder, source, Index { manifests: entries })?;
        let names = match name {
            Some(name) => vec![name.parse()?],
            // Docker writes both descriptions; without names in this one they stand in the other.
            None if groups == 1 => match docker {
                [only] => tags(only)?,
                _ => Vec::new(),
            },
            None => Vec::new(),
        };
        found.push(Found { digest, manifest, names });
    }
    Ok(found)
}

/// Follows indexes to the image for this machine and takes it in.
fn layout_image(folder: &Folder, source: &Source, mut index: Index) -> Result<(Digest, Manifest), Error> {
    // Indexes in indexes are allowed; nobody needs many.
    for _ in 0..4 {
        let entry = match &index.manifests[..] {
            [only] => only,
            _ => index.choose(&source.path.display().to_string())?,
        };
        let digest = entry.digest.clone();
        let what = format!("the manifest {digest}");
        let Some(bytes) = source.document(&blob_name(&digest))? else {
            return Err(Error::malformed(source.path.display().to_string(), format!("it lacks {what}")));
        };
        if Digest::of(&bytes) != digest {
            let (expected, found) = (digest.to_string(), Digest::of(&bytes).to_string());
            return Err(Error::Digest { what, expected, found });
        }
        match Document::parse(&what, &bytes, Some(&entry.media_type))? {
            Document::Index(inner) => index = inner,
            Document::Image(manifest) => {
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    if !folder.has(&part.digest) {
                        source.keep(folder, &blob_name(&part.digest), Some(&part.digest))?;
                    }
                }
                folder.keep_bytes(&bytes)?;
                return Ok((digest, manifest));
            }
        }
    }
    Err(Error::malformed(source.path.display().to_string(), "its indexes are nested too deep"))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// An image of a docker archive, for which we write a manifest.
fn docker_image(folder: &Folder, source: &Source, image: &DockerImage) -> Result<Found, Error> {
    let part = |name: &str, media_type: &str| {
        let (digest, size) = source.keep(folder, name, None)?;
        let annotations = BTreeMap::new();
        Ok::<_, Error>(Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations })
    };
    let config = part(&image.config, OCI_CONFIG)?;
    let layers = image.layers.iter().map(|name| part(name, OCI_LAYER)).collect::<Result<_, _>>()?;
    let manifest = Manifest::new(config, layers);
    let text = serde_json::to_vec(&manifest).map_err(|error| Error::malformed("a manifest", error))?;
    Ok(Found { digest: folder.keep_bytes(&text)?, manifest, names: tags(image)? })
}

fn tags(image: &DockerImage) -> Result<Vec<Reference>, Error> {
    image.repo_tags.iter().flatten().map(|name| name.parse()).collect()
}

/// Files of an archive by name.
struct Source {
    path: PathBuf,
    files: Files,
}

enum Files {
    /// A folder as it is.
    Folder,
    /// What a tar archive held, in the store's temporary folder.
    Unpacked { _tmp: Tmp, names: HashMap<PathBuf, PathBuf> },
}

/// A folder that vanishes.
struct Tmp(PathBuf);

impl Drop for Tmp {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary folder of the image store stays behind");
        }
    }
}

impl Source {
    fn open(folder: &Folder, path: &Path) -> Result<Self, Error> {
        let files = match fs::metadata(path).at("read", path)?.is_dir() {
            true => Files::Folder,
            false => unpack(folder, path)?,
        };
        Ok(Self { path: path.to_owned(), files })
    }

    fn file(&self, name: &str) -> Result<Option<File>, Error> {
        let Some(clean) = clean(Path::new(name)) else {
            return Err(Error::malformed(self.path.display().to_string(), format!("it refers to {name:?}")));
        };
        let path = match &self.files {
            Files::Folder => self.path.join(clean),
            Files::Unpacked { names, .. } => match names.get(&clean) {
                Some(path) => path.clone(),
                None => return Ok(None),
            },
        };
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &path),
        }
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).at("read", &self.path)?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::malformed(format!("{name} of {}", self.path.display()), "it is larger than 4 MiB"));
        }
        Ok(Some(bytes))
    }

    fn keep(&self, folder: &Folder, name: &str, expected: Option<&Digest>) -> Result<(Digest, u64), Error> {
        let Some(file) = self.file(name)? else {
            return Err(Error::malformed(self.path.display().to_string(), format!("it lacks {name}")));
        };
        folder.keep_from(file, &format!("{name} of {}", self.path.display()), expected)
    }
}

/// Puts the files of a tar archive into numbered ones: their names lead nowhere.
fn unpack(folder: &Folder, path: &Path) -> Result<Files, Error> {
    let tmp = Tmp(folder.tmp_path());
    fs::create_dir(&tmp.0).at("create", &tmp.0)?;
    let file = File::open(path).at("read", path)?;
    let mut archive = tar::Archive::new(decompressed(file).at("read", path)?);
    let (mut names, mut links) = (HashMap::new(), HashMap::new());
    let no_archive = |_: io::Error| Error::NoImage { path: path.to_owned() };
    for (number, entry) in archive.entries().at("read", path)?.enumerate() {
        // What is no tar archive fails at its first entry.
        let mut entry = if number == 0 { entry.map_err(no_archive)? } else { entry.at("read", path)? };
        let Some(name) = entry.path().ok().and_then(|name| clean(&name)) else { continue };
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let to = tmp.0.join(number.to_string());
            let mut file = File::options().create_new(true).write(true).open(&to).at("create", &to)?;
            io::copy(&mut entry, &mut file).at("write", &to)?;
            names.insert(name, to);
        } else if (kind.is_symlink() || kind.is_hard_link())
            && let Ok(Some(target)) = entry.link_name()
        {
            // Old docker versions link layers that two images share.
            let above = name.parent().filter(|_| kind.is_symlink()).unwrap_or(Path::new(""));
            if let Some(target) = clean(&above.join(target)) {
                links.insert(name, target);
            }
        }
    }
    for (name, target) in &links {
        let (mut target, mut seen) = (target, HashSet::new());
        while let Some(next) = links.get(target).filter(|_| seen.insert(target)) {
            target = next;
        }
        if let Some(file) = names.get(target).cloned() {
            names.insert(name.clone(), file);
        }
    }
    Ok(Files::Unpacked { _tmp: tmp, names })
}

/// A relative path without `.` and `..`; `None` if it leads out.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    Some(clean)
}
