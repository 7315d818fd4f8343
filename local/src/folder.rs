//! Where runs live: the data folder, and in it one folder a run.
//!
//! | in a run's folder | what |
//! |---|---|
//! | `lock` | locked by the process that drives the run |
//! | `workflow.json`, `journal` | the Workflow with its status, see [`crate::record`] |
//! | `settings.json`, `documents.json` | what `resume` needs to go on as the run began |
//! | `control` | socket of the driving process, see [`crate::control`] |
//! | `logs/<node id>/<container>.log` | what the containers wrote |
//! | `artifacts/` | the files of the embedded S3 server |
//! | `claims/<name>/` | persistent volume claims |
//! | `pods/` | scratch space of running Pods; removed with them |

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::file::{FileError, make_dir};
use crate::name::RunName;

/// The folder that holds all runs, images and the executor.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Takes a folder as data folder; it is made on the first write. A relative path starts at the working directory.
    ///
    /// # Errors
    /// There is no working directory.
    pub fn new(root: &Path) -> Result<DataDir, FileError> {
        let root = std::path::absolute(root).map_err(FileError::of("find the folder", root))?;
        Ok(DataDir { root })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder of one run.
    pub fn run(&self, name: &RunName) -> RunFolder {
        RunFolder { path: self.runs().join(name.as_str()), name: name.clone() }
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Memoized results, which outlive a run.
    pub fn memos(&self) -> PathBuf {
        self.root.join("memos")
    }

    /// Where the emissary is put, once a version.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// The names of all runs, in alphabetical order.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn run_names(&self) -> Result<Vec<RunName>, FileError> {
        let runs = self.runs();
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FileError::of("read the folder", runs)(error)),
        };
        let mut names: Vec<_> =
            entries.flatten().filter_map(|entry| RunName::new(entry.file_name().to_str()?).ok()).collect();
        names.sort();
        Ok(names)
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    name: RunName,
    path: PathBuf,
}

/// Held while a process drives a run; let go when it is dropped or its process ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunFolder {
    /// The run's name.
    pub fn name(&self) -> &RunName {
        &self.name
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the run was begun.
    pub fn exists(&self) -> bool {
        self.path.join("workflow.json").exists()
    }

    /// Makes the folder, and in it those that every run has.
    pub(crate) fn make(&self) -> Result<(), FileError> {
        for folder in [self.path.clone(), self.logs(), self.pods()] {
            make_dir(&folder)?;
        }
        Ok(())
    }

    /// Takes the lock; None while another process has it.
    pub(crate) fn try_lock(&self) -> Result<Option<RunLock>, FileError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(FileError::of("open", &path))?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => Ok(Some(RunLock { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(FileError::of("lock", path)(io::Error::from(error))),
        }
    }

    /// Whether a process drives the run now.
    pub fn is_driven(&self) -> bool {
        // Asked for, not taken: looking at a run must not get in the way of who wants to drive it.
        let Ok(file) = File::open(self.path.join("lock")) else { return false };
        let mut lock = whole_file(libc::F_RDLCK);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short
    }

    /// Where the containers' output is kept.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The log of one container of a node.
    pub fn log(&self, node: &str, container: &str) -> PathBuf {
        self.logs().join(node).join(format!("{container}.log"))
    }

    /// The embedded S3 server's files.
    pub fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.path.join("settings.json")
    }

    pub(crate) fn documents(&self) -> PathBuf {
        self.path.join("documents.json")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.path.join("control")
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.path.join("pods")
    }

    pub(crate) fn claim(&self, name: &str) -> PathBuf {
        self.path.join("claims").join(name)
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_drives_a_run() {
        let data = tempfile::tempdir().unwrap();
        let data = DataDir::new(data.path()).unwrap();
        let folder = data.run(&RunName::new("r").unwrap());
        assert!(!folder.exists() && !folder.is_driven());
        folder.make().unwrap();
        let lock = folder.try_lock().unwrap();
        assert!(lock.is_some() && folder.is_driven());
        assert!(folder.try_lock().unwrap().is_none());
        drop(lock);
        assert!(!folder.is_driven());
        assert_eq!(data.run_names().unwrap(), [RunName::new("r").unwrap()]);
    }
}
