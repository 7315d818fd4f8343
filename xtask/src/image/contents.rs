//! What the image holds, and nothing else: no shell, no library, no package.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Programs;

/// Where Debian, and with it most of the world, keeps the certificates that are trusted.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Names for the two users that the variants run as.
const PASSWD: &str = "root:x:0:0:root:/:/\nargoexec:x:8737:8737:argoexec:/:/\n";
const GROUP: &str = "root:x:0:\nargoexec:x:8737:\n";

/// One thing in the image's file system. All belong to root.
#[derive(Debug)]
pub struct Entry {
    /// Path without a leading slash.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// A file's bytes; none for a folder.
    pub bytes: Option<Vec<u8>>,
}

/// The executor's, each folder before what lies in it.
///
/// `/bin/argoexec` is the executor, which does all that the emissary does: Pods that mount this image as a volume start
/// `/argo-bin/bin/argoexec emissary`. `init` copies the small emissary beside it into other Pods. Content types are a
/// table in the executor, so there is no mime.types.
///
/// # Errors
/// When a program or the certificates cannot be read.
pub fn of(programs: &Programs) -> Result<Vec<Entry>> {
    around(&[("bin/argoexec", &programs.executor), ("bin/tiphys-emissary", &programs.emissary)])
}

/// The controller's: it needs its own program, and certificates for registries and stores.
///
/// # Errors
/// When the program or the certificates cannot be read.
pub fn of_controller(program: &Path) -> Result<Vec<Entry>> {
    around(&[("bin/tiphys-controller", program)])
}

/// Programs, and what every program finds around it.
fn around(programs: &[(&'static str, &Path)]) -> Result<Vec<Entry>> {
    let folder = |path, mode| Entry { path, mode, bytes: None };
    let file = |path, mode, bytes: Vec<u8>| Entry { path, mode, bytes: Some(bytes) };
    let mut entries = vec![folder("bin", 0o755)];
    for (path, program) in programs {
        let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        entries.push(file(path, 0o755, bytes));
    }
    entries.extend([
        folder("etc", 0o755),
        file("etc/group", 0o644, GROUP.into()),
        file("etc/passwd", 0o644, PASSWD.into()),
        folder("etc/ssl", 0o755),
        folder("etc/ssl/certs", 0o755),
        file("etc/ssl/certs/ca-certificates.crt", 0o644, certificates()?),
        folder("tmp", 0o1777),
    ]);
    Ok(entries)
}

/// The certificates of this machine. They are a file, and not a table in the executor, so that a mounted file can take
/// their place.
fn certificates() -> Result<Vec<u8>> {
    let path = std::env::var_os("TIPHYS_CA_BUNDLE").unwrap_or_else(|| CERTIFICATES.into());
    let path = Path::new(&path);
    let bytes = std::fs::read(path).with_context(|| {
        format!(
            "cannot read {}: install ca-certificates, or set TIPHYS_CA_BUNDLE to a file in PEM format",
            path.display()
        )
    })?;
    match bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        true => Ok(bytes),
        false => bail!("{} holds no certificate in PEM format", path.display()),
    }
}

/// Puts the entries into a folder that does not exist yet, for an engine to copy.
///
/// # Errors
/// When the folder is there already, or cannot be written.
pub fn unpack(entries: &[Entry], root: &Path) -> Result<()> {
    let failed = |path: &Path| format!("cannot write {}", path.display());
    std::fs::create_dir(root).with_context(|| failed(root))?;
    for entry in entries {
        let path = root.join(entry.path);
        match &entry.bytes {
            None => std::fs::create_dir(&path),
            Some(bytes) => std::fs::write(&path, bytes),
        }
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(entry.mode)))
        .with_context(|| failed(&path))?;
    }
    Ok(())
}
