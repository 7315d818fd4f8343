//! Files and folders that this container and a plugin's hand to each other.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use tiphys_artifact::{ByteStream, Error, Moved, Result};

/// Content in a file that goes with this value.
pub struct Staged {
    pub path: PathBuf,
    pub size: u64,
}

impl Staged {
    /// Writes content to a file of its own in `folder`, readable for all: the plugin may be another user.
    ///
    /// # Errors
    /// Of the content, or when the file cannot be written.
    pub async fn write(folder: &Path, mut content: ByteStream) -> Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("plugin-{}-{number}", std::process::id()));
        let failed = |source: io::Error| Error::Io { doing: format!("writing {}", path.display()), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = fs::File::create(&path).map_err(failed)?;
        let mut staged = Self { path: path.clone(), size: 0 };
        file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
        while let Some(bytes) = content.next().await {
            let bytes = bytes?;
            staged.size += bytes.len() as u64;
            file.write_all(&bytes).map_err(failed)?;
        }
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // It goes with the Pod at the latest.
        let _ = fs::remove_file(&self.path);
    }
}

/// Number and bytes of all files at a path.
///
/// # Errors
/// `NotFound` when there is nothing.
pub async fn measure(path: &Path) -> Result<Moved> {
    walk(path, |_, _| {}).await
}

/// Lets all users read and write what a plugin has written (argo: executor.go, where files of plugins get mode 0666). What
/// belongs to another user stays as the plugin made it.
///
/// # Errors
/// `NotFound` when the plugin has written nothing.
pub async fn open_to_all(path: &Path) -> Result<Moved> {
    walk(path, |path, meta| {
        let bits = if meta.is_dir() { 0o777 } else { 0o666 };
        let _ = fs::set_permissions(path, Permissions::from_mode(meta.permissions().mode() & 0o777 | bits));
    })
    .await
}

async fn walk(path: &Path, each: impl Fn(&Path, &fs::Metadata) + Send + 'static) -> Result<Moved> {
    let path = path.to_owned();
    let walked = tokio::task::spawn_blocking(move || {
        let mut moved = Moved::default();
        let mut open = vec![path];
        while let Some(path) = open.pop() {
            let failed = |source: io::Error| match source.kind() {
                io::ErrorKind::NotFound => Error::NotFound { what: path.display().to_string() },
                _ => Error::Io { doing: format!("reading {}", path.display()), source },
            };
            let meta = fs::symlink_metadata(&path).map_err(failed)?;
            if meta.is_symlink() {
                continue;
            }
            each(&path, &meta);
            if meta.is_dir() {
                for entry in fs::read_dir(&path).map_err(failed)? {
                    open.push(entry.map_err(failed)?.path());
                }
            } else {
                moved.objects += 1;
                moved.bytes += meta.len();
            }
        }
        Ok(moved)
    });
    walked.await.unwrap_or_else(|error| {
        Err(Error::Permanent { doing: "walking through an artifact".to_owned(), source: error.into() })
    })
}
