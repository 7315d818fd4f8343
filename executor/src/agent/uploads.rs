//! Uploads in parts that are under way: how far each has come, in a file of its own in the volume that outlives `wait`.
//! Killed and started again it sends only the parts that have not arrived.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use tiphys_artifact::{Journal, Resume};
use tiphys_contract::offload;

use crate::paths::Paths;
use crate::shared_files::{create_open_dir, replace};

/// What is longer than this many bytes was not written by us: 10,000 parts take a tenth of it.
const LONGEST: u64 = 16 << 20;

/// The uploads of this Pod.
#[derive(Debug)]
pub struct Uploads {
    folder: PathBuf,
}

impl Uploads {
    /// Those that the Pod's volume tells of.
    pub fn of(paths: &Paths) -> Self {
        Self { folder: paths.uploads() }
    }

    /// Keys of objects may hold what no name of a file can.
    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(offload::hash(what.as_bytes()))
    }
}

impl Journal for Uploads {
    fn unfinished(&self, what: &str) -> Option<Resume> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(self.file(what)).ok()?;
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        Resume::from_text(&text)
    }

    fn note(&self, what: &str, resume: &Resume) {
        let text = resume.to_text();
        let written = create_open_dir(&self.folder).and_then(|()| replace(&self.file(what), text.as_bytes(), 0o600));
        if let Err(error) = written {
            tracing::warn!("should this process be killed, parts of {what} are sent again: {error}");
        }
    }

    fn forget(&self, what: &str) {
        match fs::remove_file(self.file(what)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("what is noted of the upload of {what} cannot be removed: {error}");
            }
            _ => {}
        }
    }
}
