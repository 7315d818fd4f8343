//! Images from nothing: layers, configurations, archives.

use std::io::Write as _;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tiphys_oci::Digest;

/// A layer's archive under construction.
pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn file(self, path: &str, text: &str) -> Self {
        self.entry(EntryType::Regular, path, 0o644, "", text)
    }

    pub fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, 0o755, "", "")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, 0o777, target, "")
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, 0o644, target, "")
    }

    /// Names are written as they are: what no honest builder writes must be possible here.
    pub fn entry(mut self, kind: EntryType, path: &str, mode: u32, target: &str, text: &str) -> Self {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(1234);
        header.set_gid(2345);
        header.set_size(text.len() as u64);
        header.set_cksum();
        self.0.append(&header, text.as_bytes()).unwrap();
        self
    }

    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A plain layer with one file.
pub fn hello(text: &str) -> Vec<u8> {
    Layer::new().file("hello", text).tar()
}

/// The configuration of an image with these uncompressed layers.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "Entrypoint": ["/bin/run"], "Cmd": null, "Env": ["PATH=/bin", "A=b=c"], "WorkingDir": "/work",
            "User": "me:users", "ExposedPorts": {"80/tcp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [],
    });
    serde_json::to_vec(&config).unwrap()
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// A manifest over these stored forms of its parts.
pub fn manifest(config: &[u8], layers: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let layers: Vec<Value> = layers.iter().map(|(media_type, bytes)| descriptor(media_type, bytes)).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", config);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    serde_json::to_vec(&manifest).unwrap()
}

/// What `docker save` writes: several images, each with names and layers.
pub fn docker_archive(images: &[(&[&str], Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut list = Vec::new();
    for (names, layers) in images {
        let config = config(layers);
        let config_name = format!("{}.json", Digest::of(&config).hex());
        files.push((config_name.clone(), config));
        let mut layer_names = Vec::new();
        for layer in layers {
            let layer_name = format!("{}/layer.tar", &Digest::of(layer).hex()[..12]);
            files.push((layer_name.clone(), layer.clone()));
            layer_names.push(layer_name);
        }
        list.push(json!({"Config": config_name, "RepoTags": names, "Layers": layer_names}));
    }
    // At the end, as docker has it.
    files.push(("manifest.json".to_owned(), serde_json::to_vec(&list).unwrap()));
    tar(&files)
}

/// The files of an OCI image layout with one gzipped image.
pub fn layout(layers: &[Vec<u8>], annotations: Value) -> Vec<(String, Vec<u8>)> {
    let config = config(layers);
    let stored: Vec<(&str, Vec<u8>)> =
        layers.iter().map(|layer| ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(layer))).collect();
    let manifest = manifest(&config, &stored);
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = annotations;
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]})).unwrap();
    let mut files = vec![("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec())];
    for bytes in stored.into_iter().map(|(_, bytes)| bytes).chain([config, manifest]) {
        files.push((format!("blobs/sha256/{}", Digest::of(&bytes).hex()), bytes));
    }
    files.push(("index.json".to_owned(), index));
    files
}

pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}
