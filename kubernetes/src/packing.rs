//! Nodes of large workflows: etcd takes 1.5 MB of an object, so that they go out compressed when they are more than that
//! leaves room for. argo: workflow/packer/packer.go, util/file/fileutil.go: gzip in base64, in `status.compressedNodes`.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tiphys_api::{Nodes, Workflow};

/// Nodes with more bytes than this are compressed. argo: MAX_WORKFLOW_SIZE is 1 MiB, and the spec has to go in too.
pub const MOST: usize = 768 * 1024;
/// More than this was not written by a controller.
const LONGEST: u64 = 1 << 30;

/// Compresses nodes.
pub fn pack(nodes: &Nodes) -> String {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Nodes have text keys, and memory takes what is written to it.
    let json = serde_json::to_vec(nodes).unwrap_or_default();
    let written = packed.write_all(&json).and_then(|()| packed.finish());
    BASE64_STANDARD.encode(written.unwrap_or_default())
}

/// Puts compressed nodes where they belong.
///
/// # Errors
/// They are damaged.
pub fn unpack(workflow: &mut Workflow) -> Result<(), String> {
    let text = std::mem::take(&mut workflow.status.compressed_nodes);
    if text.is_empty() {
        return Ok(());
    }
    let damaged = |reason: String| format!("status.compressedNodes is damaged: {reason}");
    let packed = BASE64_STANDARD.decode(&text).map_err(|error| damaged(error.to_string()))?;
    let mut json = Vec::new();
    let read = GzDecoder::new(&packed[..]).take(LONGEST).read_to_end(&mut json);
    read.map_err(|error| damaged(error.to_string()))?;
    workflow.status.nodes = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let nodes = json!({"a": {"id": "a", "phase": "Running"}, "b": {"id": "b", "phase": "Failed", "message": "é"}});
        let whole: Workflow = serde_json::from_value(json!({"status": {"nodes": nodes}})).unwrap();
        let mut packed = Workflow::default();
        packed.status.compressed_nodes = pack(&whole.status.nodes);
        unpack(&mut packed).unwrap();
        assert_eq!(packed.status, whole.status);
        for damaged in ["%", "AAAA"] {
            packed.status.compressed_nodes = damaged.into();
            assert!(unpack(&mut packed).unwrap_err().starts_with("status.compressedNodes is damaged: "));
        }
    }
}
