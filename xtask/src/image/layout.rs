//! An OCI image layout in a tar archive (`oci-archive:` of skopeo, `ctr images import`, `podman load`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::layer::Layer;
use super::{Machine, Variant};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `sha256:…` of the bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The image's parts by digest.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Keeps a part and gives what other parts say of it.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let size = bytes.len();
        self.0.insert(digest.clone(), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Value {
        self.add(media_type, document.to_string().into_bytes())
    }
}

/// Writes the archive and gives the digest by which a registry will know the image: of its manifest, or of the index of
/// its manifests where it is for several machines.
///
/// # Errors
/// When the file cannot be written.
pub fn write(layers: &[(Machine, Layer)], variant: Variant, path: &Path) -> Result<String> {
    let mut blobs = Blobs::default();
    let mut manifests: Vec<Value> =
        layers.iter().map(|(machine, layer)| manifest(&mut blobs, *machine, layer, variant)).collect();
    let mut image = match &mut manifests[..] {
        [only] => only.take(),
        several => {
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": several});
            blobs.document(INDEX, &index)
        }
    };
    let digest = image["digest"].as_str().unwrap_or_default().to_owned();
    let name = format!("{}:{}", variant.name(), env!("CARGO_PKG_VERSION"));
    image["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
    archive(&blobs, &index, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(digest)
}

fn manifest(blobs: &mut Blobs, machine: Machine, layer: &Layer, variant: Variant) -> Value {
    let config = json!({
        "architecture": machine.name(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": variant.user(),
            "Env": [PATH],
            "Entrypoint": [variant.entrypoint()],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": variant.title(),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
    });
    let config = blobs.document(CONFIG, &config);
    let layer = blobs.add(LAYER, layer.packed.clone());
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let mut described = blobs.document(MANIFEST, &manifest);
    described["platform"] = json!({"architecture": machine.name(), "os": "linux"});
    described
}

fn archive(blobs: &Blobs, index: &Value, path: &Path) -> Result<()> {
    let mut archive = tar::Builder::new(BufWriter::new(File::create(path)?));
    let mut add = |name: &str, bytes: Option<&[u8]>| {
        let mut header = Header::new_ustar();
        header.set_mode(if bytes.is_some() { 0o644 } else { 0o755 });
        header.set_entry_type(if bytes.is_some() { EntryType::Regular } else { EntryType::Directory });
        header.set_mtime(0);
        let bytes = bytes.unwrap_or_default();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes)
    };
    add("blobs/", None)?;
    add("blobs/sha256/", None)?;
    for (digest, bytes) in &blobs.0 {
        add(&format!("blobs/{}", digest.replace(':', "/")), Some(bytes))?;
    }
    add("index.json", Some(index.to_string().as_bytes()))?;
    add("oci-layout", Some(br#"{"imageLayoutVersion":"1.0.0"}"#))?;
    archive.into_inner()?.flush()?;
    Ok(())
}
