//! The last steps of a container's process: its streams, its environment, the look-up of its command, `execve`.

use crate::event::{Failure, FailureKind};
use crate::log::Streams;
use crate::spec::ContainerSpec;
use crate::sys;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, execve, setsid};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where a command is looked up if the environment does not say, as container engines have it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes `streams` this process's own, in a session of its own.
pub(crate) fn take_streams(streams: &Streams) -> io::Result<()> {
    setsid()?;
    for (number, stream) in streams.descriptors.iter().enumerate() {
        sys::replace_standard(stream.as_fd(), number as i32)?;
    }
    if streams.is_terminal { sys::take_terminal() } else { Ok(()) }
}

/// The environment of a container: what the caller lists, and what every container engine adds.
pub(crate) fn environment(spec: &ContainerSpec, hostname: &str) -> Vec<(String, String)> {
    let mut environment = spec.env.clone();
    let has = |name: &str| spec.env.iter().any(|(key, _)| key == name);
    if !has("HOSTNAME") {
        environment.push(("HOSTNAME".into(), hostname.into()));
    }
    if !has("HOME") {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        environment.push(("HOME".into(), home_of(spec.user.map_or(0, |user| user.0), &passwd)));
    }
    environment
}

fn home_of(uid: u32, passwd: &str) -> String {
    let uid = uid.to_string();
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str())).then(|| fields.get(5).map(|home| (*home).to_owned())).flatten()
    });
    home.filter(|home| !home.is_empty()).unwrap_or_else(|| "/".into())
}

/// Replaces this process by the command. Returns only what kept it from that.
pub(crate) fn execute(
    container: &str,
    argv: &[String],
    environment: Vec<(String, String)>,
) -> Result<Infallible, Failure> {
    let invalid = |what: &str| Failure::new(FailureKind::InvalidSpec, format!("container {container}: {what}"));
    let c_string = |text: String| CString::new(text).map_err(|_| invalid("a NUL byte in its command or environment"));
    let command = argv.first().filter(|command| !command.is_empty()).ok_or_else(|| invalid("it has no command"))?;
    let search = environment.iter().rfind(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, path)| path);
    let program = look_up(container, command, search)?;
    let program = c_string(program.to_string_lossy().into_owned())?;
    let arguments = argv.iter().cloned().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let variables = environment
        .into_iter()
        .map(|(name, value)| c_string(format!("{name}={value}")))
        .collect::<Result<Vec<_>, _>>()?;
    let ready = sys::close_on_exec_from_3().and_then(|()| sys::reset_signals());
    ready.map_err(|error| Failure::setup(format!("container {container}: cannot clean up"), error))?;
    let Err(errno) = execve(&program, &arguments, &variables);
    Err(not_executed(container, command, errno))
}

/// Finds the file of a command as a shell does.
fn look_up(container: &str, command: &str, search: &str) -> Result<PathBuf, Failure> {
    if command.contains('/') {
        return Ok(PathBuf::from(command));
    }
    let mut there_but_not_executable = false;
    for folder in search.split(':') {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(command);
        if fs::metadata(&candidate).is_ok_and(|metadata| metadata.is_file()) {
            if access(&candidate, AccessFlags::X_OK).is_ok() {
                return Ok(candidate);
            }
            there_but_not_executable = true;
        }
    }
    if there_but_not_executable {
        return Err(not_executed(container, command, Errno::EACCES));
    }
    Err(Failure::new(
        FailureKind::CommandNotFound,
        format!("container {container}: command {command:?} not found in PATH ({search})"),
    ))
}

fn not_executed(container: &str, command: &str, errno: Errno) -> Failure {
    let (kind, why) = match errno {
        Errno::ENOENT if Path::new(command).exists() => {
            (FailureKind::CommandNotExecutable, "its interpreter or dynamic loader is not in the container".to_owned())
        }
        Errno::ENOENT | Errno::ENOTDIR => (FailureKind::CommandNotFound, "no such file in the container".to_owned()),
        Errno::ENOEXEC => (
            FailureKind::CommandNotExecutable,
            "neither a program for this kind of machine nor a script that begins with #!".to_owned(),
        ),
        Errno::E2BIG => (FailureKind::CommandNotExecutable, "its arguments and environment are too long".to_owned()),
        other => (FailureKind::CommandNotExecutable, other.desc().to_owned()),
    };
    Failure::new(kind, format!("container {container}: cannot execute {command:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_comes_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nodd\nweb:x:33:33::/srv/web:\nnone:x:34:34:::\n";
        assert_eq!(home_of(0, passwd), "/root");
        assert_eq!(home_of(33, passwd), "/srv/web");
        assert_eq!(home_of(34, passwd), "/");
        assert_eq!(home_of(7, passwd), "/");
    }
}
