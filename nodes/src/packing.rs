//! Compressed nodes. argo: workflow/packer/packer.go, util/file/fileutil.go: gzip in base64, in `status.compressedNodes`. Argo's
//! controller can be told to write them as zstd or brotli, which are read.

use std::io::{self, Read as _, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tiphys_api::{Nodes, Workflow};

use crate::Error;
use crate::aside::aside;

/// Nodes with more bytes than this are compressed, however small the rest is: the API server keeps account of each field of
/// theirs beside them (`managedFields`), and etcd takes 1.5 MB of it all.
pub const MOST: usize = 768 * 1024;
/// Bytes that a node without inputs and outputs has as JSON.
const USUAL: usize = 512;
/// More than this was not written by a controller.
const LONGEST: u64 = 1 << 30;
/// How compressed nodes begin; brotli has no such beginning.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that brotli is read in.
const AT_ONCE: usize = 64 * 1024;

/// Nodes as JSON.
pub fn to_json(nodes: &Nodes) -> Vec<u8> {
    // They have text keys, and always serialise.
    aside(nodes.len() * USUAL, || serde_json::to_vec(nodes).unwrap_or_default())
}

/// Nodes from the JSON that a database has of them.
///
/// # Errors
/// They are damaged.
pub fn from_database(json: &str) -> Result<Nodes, Error> {
    let read = aside(json.len(), || serde_json::from_str(json));
    read.map_err(|error| Error::Damaged { place: "the database's row of nodes".into(), reason: error.to_string() })
}

/// Compresses nodes, given as JSON, for `status.compressedNodes`.
pub fn pack(nodes: &[u8]) -> String {
    aside(nodes.len(), || BASE64_STANDARD.encode(shrink(nodes)))
}

pub(crate) fn shrink(json: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Memory takes what is written to it.
    packed.write_all(json).and_then(|()| packed.finish()).unwrap_or_default()
}

pub(crate) fn expand(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    if packed.starts_with(&ZSTD) {
        zstd::Decoder::with_buffer(packed)?.take(LONGEST).read_to_end(&mut json)?;
    } else if packed.starts_with(&GZIP) {
        GzDecoder::new(packed).take(LONGEST).read_to_end(&mut json)?;
    } else {
        brotli_decompressor::Decompressor::new(packed, AT_ONCE).take(LONGEST).read_to_end(&mut json)?;
    }
    Ok(json)
}

/// Puts compressed nodes where they belong.
///
/// # Errors
/// They are damaged.
pub fn unpack(workflow: &mut Workflow) -> Result<(), Error> {
    let text = std::mem::take(&mut workflow.status.compressed_nodes);
    if text.is_empty() {
        return Ok(());
    }
    let read = aside(text.len(), || {
        let packed = BASE64_STANDARD.decode(&text).map_err(|error| error.to_string())?;
        let json = expand(&packed).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    });
    let damaged = |reason: String| Error::Damaged { place: "status.compressedNodes".into(), reason };
    workflow.status.nodes = read.map_err(damaged)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The nodes of the test, by the reference encoder.
    const BROTLI: &str = "G1AA6B0H7r5OexEecOYjVHqKkO01i05fqg4TSxsGDjnXVNsSPUgSEBQG7YIjtOUOrghohk6gCVLN1AQo9xU=";

    #[test]
    fn what_a_database_has_is_read() {
        let nodes: Nodes = serde_json::from_value(json!({"a": {"id": "a", "phase": "Running"}})).unwrap();
        let json = String::from_utf8(to_json(&nodes)).unwrap();
        assert_eq!(from_database(&json).unwrap(), nodes);
        let error = from_database("[").unwrap_err().to_string();
        assert!(error.starts_with("the database's row of nodes is damaged: "), "{error}");
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let nodes = json!({"a": {"id": "a", "phase": "Running"}, "b": {"id": "b", "phase": "Failed", "message": "é"}});
        let whole: Workflow = serde_json::from_value(json!({"status": {"nodes": nodes}})).unwrap();
        let mut packed = Workflow::default();
        packed.status.compressed_nodes = pack(&serde_json::to_vec(&whole.status.nodes).unwrap());
        unpack(&mut packed).unwrap();
        assert_eq!(packed.status, whole.status);
        // As Argo may have written them.
        let zstd = BASE64_STANDARD.encode(zstd::encode_all(nodes.to_string().as_bytes(), 3).unwrap());
        for foreign in [zstd.as_str(), BROTLI] {
            packed = Workflow::default();
            packed.status.compressed_nodes = foreign.into();
            unpack(&mut packed).unwrap();
            assert_eq!(packed.status, whole.status, "{foreign}");
        }
        let half = BROTLI.split_at(BROTLI.len() / 2).0;
        for damaged in ["%", "AAAA", "KLUv/QAA", "H4sIAAAA", half] {
            packed.status.compressed_nodes = damaged.into();
            assert!(unpack(&mut packed).unwrap_err().to_string().starts_with("status.compressedNodes is damaged: "));
        }
    }
}
