//! Outputs too large for any sink: put into the artifact repository under the hash of their content, and told by reference.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tiphys_api::{Artifact, ArtifactLocation};

use crate::TaskResult;
use crate::carry::CarryError;
use crate::location;

/// Where a result body is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offloaded {
    /// Kind of store and key; the rest of the location is the template's, as with any other output artifact.
    pub artifact: Artifact,
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Length of the content.
    pub bytes: u64,
}

/// Name under which the artifact of a reference goes.
pub const ARTIFACT: &str = "outputs";

/// File name of a body in the repository: its hash, so that the same body is stored once however often it is sent.
pub fn file_name(sha256: &str) -> String {
    format!("outputs-{sha256}.json")
}

/// The hash of a body.
pub fn hash(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Offloaded {
    /// The artifact with the whole of its location, which is below the archive location of its template.
    pub fn below(&self, archive: &ArtifactLocation) -> Artifact {
        let mut location = archive.clone();
        location::set_key(&mut location, &location::key(&self.artifact.location()));
        let mut whole = self.artifact.clone();
        whole.set_location(location);
        whole
    }

    /// Reads the content that the reference names; what the sink itself carried stays beside it.
    ///
    /// # Errors
    /// [`CarryError::Offloaded`] when the content is not the one that was put away.
    pub fn restore(&self, told: &TaskResult, content: &[u8]) -> Result<TaskResult, CarryError> {
        let damaged = |why: String| CarryError::Offloaded { what: self.sha256.clone(), why };
        if content.len() as u64 != self.bytes {
            return Err(damaged(format!("{} bytes instead of {}", content.len(), self.bytes)));
        }
        let found = hash(content);
        if found != self.sha256 {
            return Err(damaged(format!("their hash is {found}")));
        }
        let whole = TaskResult::from_json(content).map_err(|error| damaged(error.to_string()))?;
        Ok(TaskResult { progress: told.progress.clone(), offloaded: None, ..whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_tells_damaged_content() {
        let content = br#"{"outputs":{"result":"x"},"warnings":["w"]}"#;
        let reference = Offloaded { artifact: Artifact::default(), sha256: hash(content), bytes: content.len() as u64 };
        let told = TaskResult { progress: "1/1".into(), offloaded: Some(reference.clone()), ..TaskResult::default() };
        let whole = reference.restore(&told, content).unwrap();
        assert_eq!((whole.progress.as_str(), whole.warnings.len(), whole.offloaded), ("1/1", 1, None));
        assert_eq!(whole.outputs.unwrap().result.as_deref(), Some("x"));
        let mut other = content.to_vec();
        other[24] = b'y';
        assert!(reference.restore(&told, &other).unwrap_err().to_string().contains("their hash is"));
        let cut = reference.restore(&told, &content[..10]).unwrap_err().to_string();
        assert!(cut.ends_with("are damaged: 10 bytes instead of 43"), "{cut}");
        assert_eq!(file_name("ab"), "outputs-ab.json");
    }

    #[test]
    fn a_reference_is_completed_by_the_archive_location() {
        let of = |json: serde_json::Value| serde_json::from_value::<ArtifactLocation>(json).unwrap();
        let mut artifact = Artifact { name: ARTIFACT.into(), ..Artifact::default() };
        artifact.set_location(of(serde_json::json!({"s3": {"key": "wf/pod/outputs-ab.json"}})));
        let reference = Offloaded { artifact, sha256: "ab".into(), bytes: 1 };
        let whole = reference.below(&of(serde_json::json!({"s3": {"bucket": "b", "endpoint": "e", "key": "{{x}}"}})));
        assert_eq!(
            serde_json::to_value(whole).unwrap(),
            serde_json::json!({"name": "outputs", "s3": {"bucket": "b", "endpoint": "e", "key": "wf/pod/outputs-ab.json"}})
        );
    }
}
