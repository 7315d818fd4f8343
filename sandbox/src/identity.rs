//! Who a container's process is: ids, capabilities, and nothing to gain later.

use crate::event::Failure;
use crate::keeper::Ids;
use crate::sys;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fs;
use std::io;

/// What Docker leaves to a container, but for MKNOD: no device cgroup stands behind it here.
const KEPT: [u32; 13] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    13, // NET_RAW
    18, // SYS_CHROOT
    29, // AUDIT_WRITE
    31, // SETFCAP
];

/// Makes `inside` the name, within this process's fresh user namespace, of its ids `outside`.
pub(crate) fn map_ids(inside: (u32, u32), outside: Ids) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", inside.0, outside.uid))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", inside.1, outside.gid))
}

/// Turns this process into the container's user for good.
pub(crate) fn become_user(user: Option<(u32, u32)>, in_user_namespace: bool) -> Result<(), Failure> {
    let (uid, gid) = user.unwrap_or((0, 0));
    let failed = |what: &str, error: io::Error| Failure::setup(format!("cannot {what} for user {uid}:{gid}"), error);
    if in_user_namespace && (uid, gid) != (0, 0) {
        // Only one id is ours to map, and the Pod's namespace maps it to 0: a second one gives it the asked name.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)
            .map_err(|error| failed("make a user namespace", error.into()))?;
        map_ids((uid, gid), Ids { uid: 0, gid: 0 }).map_err(|error| failed("map ids", error))?;
    }
    (0..64u32)
        .filter(|capability| !KEPT.contains(capability))
        .try_for_each(sys::drop_bounding)
        .map_err(|error| failed("drop capabilities", error))?;
    if !in_user_namespace {
        setgroups(&[Gid::from_raw(gid)]).map_err(|error| failed("set groups", error.into()))?;
        let gid = Gid::from_raw(gid);
        let uid = Uid::from_raw(uid);
        setresgid(gid, gid, gid).map_err(|error| failed("set the group", error.into()))?;
        setresuid(uid, uid, uid).map_err(|error| failed("set the user", error.into()))?;
    }
    let kept = if uid == 0 { KEPT.iter().fold(0, |set, capability| set | 1 << capability) } else { 0 };
    sys::keep_capabilities(kept).map_err(|error| failed("drop capabilities", error))?;
    nix::sys::prctl::set_no_new_privs().map_err(|error| failed("forbid new privileges", error.into()))
}
