//! What `wait` has done, in the volume that outlives it: killed and started again, it goes on from there.
//!
//! A line an entry, appended in one write. A line that broke off counts as not written; what it would have told is done
//! again, which all of it bears.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tiphys_api::Artifact;

use crate::paths::Paths;

/// A journal longer than this many bytes was not written by us.
const LONGEST: u64 = 64 << 20;

/// Something done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Entry {
    /// The Pod is prepared and the user's containers may run.
    Prepared,
    /// An output is saved.
    Saved {
        /// What it is.
        id: String,
        /// As it is reported.
        artifact: Box<Artifact>,
    },
    /// The results have arrived where they belong; `failure` is what this process ended with, if it failed.
    Delivered {
        /// The text for the user.
        failure: Option<String>,
    },
}

/// The journal of this Pod.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    prepared: bool,
    saved: BTreeMap<String, Artifact>,
    delivered: Option<Option<String>>,
}

impl Journal {
    /// Reads what an earlier process wrote.
    ///
    /// # Errors
    /// The text for the user when there is a journal that cannot be read.
    pub fn open(paths: &Paths) -> Result<Self, String> {
        let path = paths.journal();
        let mut journal = Self { path, file: None, prepared: false, saved: BTreeMap::new(), delivered: None };
        let mut text = String::new();
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&journal.path);
        match opened.and_then(|file| file.take(LONGEST).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(journal),
            Err(error) => return Err(format!("cannot read the journal {}: {error}", journal.path.display())),
        }
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match serde_json::from_str(line) {
                Ok(Entry::Prepared) => journal.prepared = true,
                Ok(Entry::Saved { id, artifact }) => drop(journal.saved.insert(id, *artifact)),
                Ok(Entry::Delivered { failure }) => journal.delivered = Some(failure),
                Err(_) => {}
            }
        }
        Ok(journal)
    }

    /// Whether the user's containers have been let go.
    pub fn is_prepared(&self) -> bool {
        self.prepared
    }

    /// The artifact as it is reported, if it was saved.
    pub fn saved(&self, id: &str) -> Option<&Artifact> {
        self.saved.get(id)
    }

    /// What the process ended with that delivered the results, if one has.
    pub fn delivered(&self) -> Option<Result<(), String>> {
        self.delivered.clone().map(|failure| failure.map_or(Ok(()), Err))
    }

    /// The user's containers are let go.
    pub fn note_prepared(&mut self) {
        self.write(&Entry::Prepared);
    }

    /// An output is in its store.
    pub fn note_saved(&mut self, id: &str, artifact: &Artifact) {
        self.write(&Entry::Saved { id: id.to_owned(), artifact: Box::new(artifact.clone()) });
    }

    /// The results have arrived.
    pub fn note_delivered(&mut self, failure: Option<&str>) {
        self.write(&Entry::Delivered { failure: failure.map(str::to_owned) });
    }

    /// Appends an entry. A journal that cannot be written costs only repeated work after a kill.
    fn write(&mut self, entry: &Entry) {
        if let Err(error) = self.append(entry) {
            tracing::warn!("cannot write the journal {}: {error}", self.path.display());
        }
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
            let mut file = options.open(&self.path)?;
            // Behind a line that broke off a new one begins.
            if file.metadata()?.len() > 0 {
                file.write_all(b"\n")?;
            }
            self.file = Some(file);
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_written_whole_is_known_again() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        fs::create_dir_all(&paths.shared).unwrap();
        let artifact = Artifact { name: "a".into(), ..Artifact::default() };
        let mut journal = Journal::open(&paths).unwrap();
        assert!(!journal.is_prepared() && journal.saved("a").is_none() && journal.delivered().is_none());
        journal.note_prepared();
        journal.note_saved("a", &artifact);
        drop(journal);
        let torn = br#"{"saved":{"id":"b","artifact":{"name":"b"}}"#;
        OpenOptions::new().append(true).open(paths.journal()).unwrap().write_all(torn).unwrap();
        let mut journal = Journal::open(&paths).unwrap();
        assert!(journal.is_prepared() && journal.saved("a") == Some(&artifact) && journal.saved("b").is_none());
        journal.note_delivered(Some("no bucket"));
        drop(journal);
        assert_eq!(Journal::open(&paths).unwrap().delivered(), Some(Err("no bucket".to_owned())));
        fs::remove_file(paths.journal()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", paths.journal()).unwrap();
        assert!(Journal::open(&paths).unwrap_err().starts_with("cannot read the journal "));
    }
}
