//! Who gets which shards: worked out by every replica from the same facts, so that nobody has to be asked.

use std::collections::{BTreeMap, BTreeSet};

/// Divides shards among the members. `holders` says for each shard which member holds it now.
///
/// Shares differ by one at most. Whoever holds shards keeps as many of them as its share has; only the rest moves, so that
/// what is divided well already stays as it is.
pub fn share<'m>(holders: &[Option<&'m str>], members: &BTreeSet<&'m str>) -> BTreeMap<&'m str, BTreeSet<usize>> {
    let mut shares: BTreeMap<&str, BTreeSet<usize>> = members.iter().map(|member| (*member, BTreeSet::new())).collect();
    if members.is_empty() {
        return shares;
    }
    for (shard, holder) in holders.iter().enumerate() {
        if let Some(share) = holder.and_then(|holder| shares.get_mut(holder)) {
            share.insert(shard);
        }
    }
    let (each, over) = (holders.len() / members.len(), holders.len() % members.len());
    // One more for those that hold most: it costs them the least to have it.
    let mut by_held: Vec<(usize, &str)> = shares.iter().map(|(member, share)| (share.len(), *member)).collect();
    by_held.sort_by(|(one, first), (other, second)| other.cmp(one).then(first.cmp(second)));
    let mut free: BTreeSet<usize> = (0..holders.len()).collect();
    let mut room = Vec::new();
    for (place, (_, member)) in by_held.into_iter().enumerate() {
        let most = each + usize::from(place < over);
        let Some(share) = shares.get_mut(member) else { continue };
        while share.len() > most {
            share.pop_last();
        }
        free.retain(|shard| !share.contains(shard));
        room.push((member, most));
    }
    for (member, most) in room {
        let Some(share) = shares.get_mut(member) else { continue };
        while share.len() < most {
            share.extend(free.pop_first());
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    /// One line a member: its name and its shards.
    fn shown(holders: &[Option<&'static str>], members: &[&'static str]) -> Vec<String> {
        let shares = share(holders, &members.iter().copied().collect());
        shares.iter().map(|(member, share)| format!("{member}{share:?}")).collect()
    }

    #[test]
    fn only_what_must_moves() {
        let (a, b) = (Some("a"), Some("b"));
        for (holders, members, expected) in [
            (vec![None; 4], vec!["a"], vec!["a{0, 1, 2, 3}"]),
            (vec![a; 4], vec!["a", "b"], vec!["a{0, 1}", "b{2, 3}"]),
            // One of three is dead.
            (vec![a, a, b, b, None, None], vec!["a", "b"], vec!["a{0, 1, 4}", "b{2, 3, 5}"]),
            // Whose share has one more stays as it is.
            (vec![b, b, a], vec!["a", "b"], vec!["a{2}", "b{0, 1}"]),
            // The others wait for somebody to die.
            (vec![b], vec!["a", "b", "c"], vec!["a{}", "b{0}", "c{}"]),
            (vec![a, a], vec![], vec![]),
            // A holder that is no member is dead, or somebody else's.
            (vec![Some("x"), a], vec!["a"], vec!["a{0, 1}"]),
        ] {
            assert_eq!(shown(&holders, &members), expected, "{holders:?} {members:?}");
        }
    }

    fn arrangement() -> impl Strategy<Value = (Vec<Option<&'static str>>, BTreeSet<&'static str>)> {
        let holder = proptest::option::of(proptest::sample::select(NAMES.to_vec()));
        let members = proptest::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len());
        (proptest::collection::vec(holder, 1..20), members)
            .prop_map(|(holders, members)| (holders, members.into_iter().collect()))
    }

    proptest! {
        /// Every shard has one member, shares are fair, and nobody loses a shard of what its share has room for.
        #[test]
        fn shares_are_fair((holders, members) in arrangement()) {
            let shares = share(&holders, &members);
            let mut all: Vec<usize> = shares.values().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..holders.len()).collect::<Vec<_>>());
            let sizes: Vec<usize> = shares.values().map(BTreeSet::len).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            for (member, share) in &shares {
                let held: BTreeSet<usize> = (0..holders.len()).filter(|shard| holders[*shard] == Some(*member)).collect();
                prop_assert_eq!(share.intersection(&held).count(), share.len().min(held.len()));
            }
        }

        /// Members act in any order, each by what it sees then: after a while nobody has anything left to do.
        #[test]
        fn it_comes_to_rest((mut holders, members) in arrangement(), order in proptest::collection::vec(any::<u32>(), 400)) {
            // Those that died give nothing back; their Leases run out.
            holders.iter_mut().for_each(|holder| *holder = holder.filter(|holder| members.contains(holder)));
            let mut moves = 0;
            for chance in order {
                let shares = share(&holders, &members);
                let member = *members.iter().nth(chance as usize % members.len()).unwrap();
                let mine = &shares[member];
                let surplus = (0..holders.len()).find(|shard| holders[*shard] == Some(member) && !mine.contains(shard));
                let free = mine.iter().copied().find(|shard| holders[*shard].is_none());
                match (surplus, free) {
                    (Some(shard), _) => holders[shard] = None,
                    (None, Some(shard)) => holders[shard] = Some(member),
                    (None, None) => continue,
                }
                moves += 1;
            }
            let shares = share(&holders, &members);
            prop_assert!(holders.iter().enumerate().all(|(shard, holder)| holder.is_some_and(|holder| shares[holder].contains(&shard))));
            // Each shard is given up once and taken once, but for those for which two have reached at the same time.
            prop_assert!(moves <= 4 * holders.len(), "{moves} moves for {} shards", holders.len());
        }
    }
}
