//! The emissary that this program carries, put where containers can be given it.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::file::{FileError, make_dir, replace};

/// The static binary that the build made; empty where it could not.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tiphys-emissary"));
/// Its name beside this program, for builds that could not embed it.
const BESIDE: &str = tiphys_contract::path::EMISSARY_FILE;

/// Why there is no emissary.
#[derive(Debug, thiserror::Error)]
pub enum EmissaryError {
    /// It cannot be written into the data folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// This program was built without it.
    #[error("this program carries no emissary, and there is no file {} either; build it again", beside.display())]
    Missing {
        /// Where it was looked for.
        beside: PathBuf,
    },
}

/// Gives the emissary's path, writing it first if this version is not there yet. Its name is that of its content, so
/// that programs of several versions can share a folder.
pub(crate) fn install(folder: &Path, executor: &Path) -> Result<PathBuf, EmissaryError> {
    if EMBEDDED.is_empty() {
        let beside = executor.with_file_name(BESIDE);
        return if beside.is_file() { Ok(beside) } else { Err(EmissaryError::Missing { beside }) };
    }
    let digest: String = Sha256::digest(EMBEDDED).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(format!("{BESIDE}-{digest}"));
    let is_there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == EMBEDDED.len() as u64);
    if !is_there {
        make_dir(folder)?;
        replace(&path, EMBEDDED, 0o555, true)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn it_is_static_and_small_and_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = install(&folder.path().join("bin"), Path::new("/nonexistent/tiphys")).unwrap();
        assert_eq!(install(&folder.path().join("bin"), Path::new("/nonexistent/tiphys")).unwrap(), path);
        assert!(EMBEDDED.len() < 3 << 20, "{} bytes", EMBEDDED.len());
        let dynamic = b"/ld-linux";
        assert!(!EMBEDDED.windows(dynamic.len()).any(|window| window == dynamic), "it names a dynamic linker");
        let output = Command::new(&path).arg("version").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
