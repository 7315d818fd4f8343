//! What the Leases of a controller are called, and which workflow is of which shard.

use tiphys_contract::label;
use tiphys_engine::fnv1a_32;
use tiphys_kubernetes::Metadata;

/// The Lease of the first shard, or of the whole. argo: common.go.
const NAME: &str = "workflow-controller";

/// The shard that decides what concerns all workflows, and keeps the locks.
pub const FIRST: u32 = 0;

/// The names of one controller instance's Leases.
#[derive(Clone, Debug)]
pub(super) struct Names {
    base: String,
    /// Into how many shards the workflows are divided.
    pub shards: u32,
}

/// What a Lease stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its holder drives the workflows of this shard.
    Shard(u32),
    /// Its holder is there.
    Member,
}

impl Names {
    /// Those of an instance; empty is the one without a name.
    pub fn new(instance: &str, shards: u32) -> Names {
        let base = match instance {
            "" => NAME.to_owned(),
            instance => format!("{NAME}-{instance}"),
        };
        Names { base, shards }
    }

    /// The Lease of a shard. That of the first is Argo's, so that a controller that knows of no shards is kept out.
    pub fn shard(&self, shard: u32) -> String {
        match shard {
            FIRST => self.base.clone(),
            shard => format!("{}.shard-{shard}", self.base),
        }
    }

    /// The Lease by which a replica says that it is there.
    pub fn member(&self, identity: &str) -> String {
        let plain = |one: char| if one.is_ascii_alphanumeric() { one.to_ascii_lowercase() } else { '-' };
        let identity: String = identity.chars().map(plain).collect();
        format!("{}.member-{}", self.base, identity.trim_matches('-'))
    }

    /// What a Lease of this name stands for; None: it is none of ours.
    pub fn role(&self, name: &str) -> Option<Role> {
        let rest = name.strip_prefix(&self.base)?;
        if rest.is_empty() {
            return Some(Role::Shard(FIRST));
        }
        if let Some(number) = rest.strip_prefix(".shard-") {
            return number.parse().ok().map(Role::Shard);
        }
        rest.starts_with(".member-").then_some(Role::Member)
    }
}

/// The shard that a workflow is of: by a hash of its uid, unless it was given to the first.
pub fn shard_of(metadata: &Metadata, shards: u32) -> u32 {
    if metadata.label(label::SHARD) == "0" { FIRST } else { fnv1a_32(&metadata.uid) % shards }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_told_apart() {
        let (plain, named) = (Names::new("", 4), Names::new("one", 4));
        assert_eq!((plain.shard(0), plain.shard(3)), (NAME.to_owned(), "workflow-controller.shard-3".to_owned()));
        assert_eq!(named.member("Pod-1_7"), "workflow-controller-one.member-pod-1-7");
        for (name, of_plain, of_named) in [
            ("workflow-controller", Some(Role::Shard(0)), None),
            ("workflow-controller-one", None, Some(Role::Shard(0))),
            ("workflow-controller.shard-3", Some(Role::Shard(3)), None),
            ("workflow-controller-one.shard-3", None, Some(Role::Shard(3))),
            ("workflow-controller.member-x", Some(Role::Member), None),
            ("kube-scheduler", None, None),
        ] {
            assert_eq!((plain.role(name), named.role(name)), (of_plain, of_named), "{name}");
        }
    }

    #[test]
    fn uids_are_spread_and_a_label_comes_first() {
        let metadata =
            |uid: u32| Metadata { uid: format!("{uid:08x}-9dad-4d11-80b4-00c04fd430c8"), ..Metadata::default() };
        let mut count = [0; 7];
        for uid in 0..7000 {
            count[shard_of(&metadata(uid), 7) as usize] += 1;
        }
        assert!(count.iter().all(|count| (800..1200).contains(count)), "{count:?}");
        let mut given = metadata(1);
        given.labels.insert(label::SHARD.into(), "0".into());
        assert!((0..9).any(|uid| shard_of(&metadata(uid), 7) != FIRST) && shard_of(&given, 7) == FIRST);
        assert_eq!(shard_of(&metadata(1), 1), FIRST);
    }
}
