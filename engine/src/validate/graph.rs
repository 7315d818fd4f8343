//! Dependency graphs: order, cycles, ancestors.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The first cycle that is met, as the names on it with the first one repeated at the end.
///
/// argo: validation_utils.go, validateNoCycles: names are visited in order, and the way to the cycle is part of the answer.
pub(super) fn cycle<'a>(needs: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done: HashSet<&str> = HashSet::new();
    for start in needs.keys() {
        // Each frame: a name, and which of its needs comes next. The way holds the names after the start.
        let (mut frames, mut way) = (vec![(*start, 0)], Vec::<&str>::new());
        while let Some((name, next)) = frames.last_mut() {
            let need = (!done.contains(*name)).then(|| needs.get(*name)?.get(*next).copied()).flatten();
            *next += 1;
            match need {
                Some(need) if way.contains(&need) => {
                    way.push(need);
                    return Some(way);
                }
                Some(need) => {
                    way.push(need);
                    frames.push((need, 0));
                }
                None => {
                    done.insert(name);
                    way.pop();
                    frames.pop();
                }
            }
        }
    }
    None
}

/// Why tasks have no order.
#[derive(Debug, PartialEq)]
pub(super) enum Unordered {
    /// Two have the same name.
    Duplicate { index: usize },
    /// One needs what is not there.
    Unknown { index: usize, name: String },
    /// They need each other; the task is one of those that can never start.
    Cycle { index: usize },
}

/// The order in which tasks can run, as indexes; those that are ready together stay in the order they were written.
pub(super) fn order(tasks: &[(&str, Vec<&str>)]) -> Result<Vec<usize>, Unordered> {
    let mut index_of = HashMap::with_capacity(tasks.len());
    for (index, (name, _)) in tasks.iter().enumerate() {
        if index_of.insert(*name, index).is_some() {
            return Err(Unordered::Duplicate { index });
        }
    }
    let mut followers = vec![Vec::new(); tasks.len()];
    for (index, (_, needs)) in tasks.iter().enumerate() {
        for need in needs {
            match index_of.get(need) {
                Some(needed) => followers[*needed].push(index),
                None => return Err(Unordered::Unknown { index, name: (*need).to_string() }),
            }
        }
    }
    let mut unmet: Vec<usize> = tasks.iter().map(|(_, needs)| needs.len()).collect();
    let mut order: Vec<usize> = (0..tasks.len()).filter(|index| unmet[*index] == 0).collect();
    let mut at = 0;
    while let Some(index) = order.get(at).copied() {
        at += 1;
        for follower in &followers[index] {
            unmet[*follower] -= 1;
            if unmet[*follower] == 0 {
                order.push(*follower);
            }
        }
    }
    match unmet.iter().position(|unmet| *unmet > 0) {
        Some(index) => Err(Unordered::Cycle { index }),
        None => Ok(order),
    }
}

/// Whether `ancestor` must run before `task`.
pub(super) fn is_ancestor(needs: &HashMap<&str, Vec<&str>>, task: &str, ancestor: &str) -> bool {
    task != ancestor && leads_to(needs, task, ancestor)
}

/// Whether one or more steps along the edges lead from one name to another.
pub(super) fn leads_to(edges: &HashMap<&str, Vec<&str>>, from: &str, to: &str) -> bool {
    let mut seen = HashSet::new();
    let mut ahead: Vec<&str> = vec![from];
    while let Some(name) = ahead.pop() {
        let next = edges.get(name).map(Vec::as_slice).unwrap_or_default();
        if next.contains(&to) {
            return true;
        }
        ahead.extend(next.iter().filter(|next| seen.insert(**next)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs<'a>(pairs: &[(&'a str, &[&'a str])]) -> Vec<(&'a str, Vec<&'a str>)> {
        pairs.iter().map(|(name, needs)| (*name, needs.to_vec())).collect()
    }

    #[test]
    fn tasks_are_ordered_by_need() {
        let order = |pairs: &[(&str, &[&str])]| order(&needs(pairs));
        assert_eq!(order(&[("b", &["a"]), ("c", &[]), ("a", &[])]), Ok(vec![1, 2, 0]));
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"])]), Err(Unordered::Cycle { index: 0 }));
        assert_eq!(order(&[("a", &["x"])]), Err(Unordered::Unknown { index: 0, name: "x".into() }));
        assert_eq!(order(&[("a", &[]), ("a", &[])]), Err(Unordered::Duplicate { index: 1 }));
    }

    #[test]
    fn cycles_are_named() {
        let cycle = |pairs: &[(&'static str, &[&'static str])]| cycle(&needs(pairs).into_iter().collect());
        assert_eq!(cycle(&[("a", &["b"]), ("b", &[])]), None);
        assert_eq!(cycle(&[("a", &["a"])]), Some(vec!["a", "a"]));
        assert_eq!(cycle(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]), Some(vec!["b", "c", "b"]));
    }

    #[test]
    fn ancestors_are_found_at_any_distance() {
        let needs: HashMap<_, _> = needs(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]).into_iter().collect();
        assert!(is_ancestor(&needs, "c", "a") && is_ancestor(&needs, "c", "b"));
        assert!(!is_ancestor(&needs, "c", "d") && !is_ancestor(&needs, "a", "c"));
    }
}
