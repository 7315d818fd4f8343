//! The token by which an executor plugin knows that it is the agent who calls. Each plugin's sidecar sees its own only.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tiphys_artifact::Secret;

use crate::paths::Paths;
use crate::shared_files::{Context, replace};

const LENGTH: usize = 32;
/// Characters that are taken for no others and make no words (apimachinery: pkg/util/rand).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn file(paths: &Paths, plugin: &str) -> PathBuf {
    paths.shared.join(plugin).join("token")
}

/// Makes a plugin's token, unless an earlier start of this container has.
///
/// Everybody may read it who sees it: its plugin's container, under whatever user and group that runs, and the agent's. No
/// other mounts the folder. (Argo's is for the group alone, so that a plugin needs the group of the executor's image.)
///
/// # Errors
/// The text for the user when it cannot be written.
pub fn make(paths: &Paths, plugin: &str) -> Result<(), String> {
    let file = file(paths, plugin);
    if file.exists() {
        return Ok(());
    }
    let made = (|| {
        let token = random().on("read", "/dev/urandom".as_ref())?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).on("create folder", folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755)).on("protect", folder)?;
        }
        replace(&file, token.as_bytes(), 0o444)
    })();
    made.map_err(|error| format!("cannot make the token of plugin {plugin:?}: {error}"))
}

/// Reads the token that `agent init` made.
///
/// # Errors
/// The text for the user when there is none.
pub fn read(paths: &Paths, plugin: &str) -> Result<Secret, String> {
    let file = file(paths, plugin);
    let token = fs::read_to_string(&file);
    token
        .map(Secret::new)
        .map_err(|error| format!("cannot read the token of plugin {plugin:?}: {}: {error}", file.display()))
}

fn random() -> io::Result<String> {
    let mut source = File::open("/dev/urandom")?;
    let mut token = String::with_capacity(LENGTH);
    let mut bytes = [0; 64];
    // Bytes beyond the last whole multiple would make the first characters more likely.
    let usable = 256 - 256 % ALPHABET.len();
    while token.len() < LENGTH {
        source.read_exact(&mut bytes)?;
        let usable = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < usable);
        token.extend(usable.take(LENGTH - token.len()).map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])));
    }
    Ok(token)
}
