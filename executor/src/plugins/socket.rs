//! Waiting for a plugin's socket to appear.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Between two looks where the kernel cannot tell of changes.
const WITHOUT_INOTIFY: Duration = Duration::from_secs(1);

/// Waits until the socket is there, by an event of its folder.
///
/// # Errors
/// When it does not appear in time, or its folder is not there.
pub fn wait(socket: &Path, within: Duration) -> io::Result<()> {
    if socket.exists() {
        return Ok(());
    }
    let until = Instant::now() + within;
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let watch = watch(folder)?;
    while !socket.exists() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = format!("there is no socket after {} s", within.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        match &watch {
            Some(inotify) => {
                let time = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], time)?;
                // What has happened matters not; the socket is looked at again.
                let _ = inotify.read_events();
            }
            // No instance of inotify is left on this node.
            None => std::thread::sleep(left.min(WITHOUT_INOTIFY)),
        }
    }
    Ok(())
}

/// None where the kernel has no watch left.
fn watch(folder: &Path) -> io::Result<Option<Inotify>> {
    use nix::errno::Errno;
    let made = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).and_then(|inotify| {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(folder, flags).map(|_| inotify)
    });
    match made {
        Ok(inotify) => Ok(Some(inotify)),
        Err(Errno::EMFILE | Errno::ENOSPC | Errno::ENOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_comes_later_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let error = wait(&socket, Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let made = socket.clone();
        let maker = std::thread::spawn(move || std::os::unix::net::UnixListener::bind(made).unwrap());
        wait(&socket, Duration::from_secs(30)).unwrap();
        drop(maker.join().unwrap());
        assert!(wait(Path::new("/nowhere/socket"), Duration::from_secs(1)).is_err());
    }
}
