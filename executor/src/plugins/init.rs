//! `artifact-plugin-init`: in a container of the plugin's own image, starts its server, loads the inputs that it keeps, and
//! ends with it.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::socket;
use crate::emissary::{find_program, reason};
use crate::paths::Paths;
use crate::process;

/// A plugin may take this long to make its socket.
const SOCKET_WITHIN: Duration = Duration::from_secs(120);

/// Runs `work` while the plugin's server runs.
///
/// # Errors
/// The text for the user: the server could not be started or ended before its socket was there; or that of the work.
pub fn with_server<T>(
    paths: &Paths,
    plugin: &str,
    words: &[OsString],
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    if plugin.is_empty() || plugin.contains('/') || plugin.starts_with('.') {
        return Err(format!("--plugin-name {plugin:?} is no name of a plugin"));
    }
    let folder = paths.plugins.join(plugin);
    let failed = |error: std::io::Error| format!("cannot make the folder of the socket {}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    // The folder may be a volume that is another user's; then it is as it must be already.
    let _ = fs::set_permissions(&folder, Permissions::from_mode(0o755));
    let (tell, told) = mpsc::channel();
    let _server = Server::start(words, tell.clone())?;
    let at = folder.join("socket");
    thread::spawn(move || drop(tell.send(socket::wait(&at, SOCKET_WITHIN).map_err(|error| error.to_string()))));
    let started = told.recv().unwrap_or_else(|_| Err("it was not watched".to_owned()));
    started.map_err(|reason| format!("plugin {plugin:?} cannot be used: {reason}"))?;
    work()
}

struct Server {
    group: i32,
}

impl Server {
    /// `tell` hears of the server's end.
    fn start(words: &[OsString], tell: mpsc::Sender<Result<(), String>>) -> Result<Self, String> {
        let (name, args) = words.split_first().ok_or("no command: the plugin's image names no entrypoint")?;
        let program = find_program(name, std::env::var_os("PATH").as_deref())?;
        let mut command = Command::new(&program);
        let child = command.args(args).process_group(0).spawn();
        let failed = |error: std::io::Error| {
            format!("failed to start command: fork/exec {}: {}", program.display(), reason(&error))
        };
        let mut child = child.map_err(failed)?;
        let group = child.id() as i32;
        // Ends with the server, at the latest when it is killed.
        thread::spawn(move || {
            let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            // Nobody listens once the socket was there.
            let _ = tell.send(Err(format!("its server ended before there was a socket: {ended}")));
        });
        Ok(Self { group })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has done its work; the container ends with us.
        let _ = process::kill(-self.group, libc::SIGKILL);
    }
}
