//! What a task waits for. argo: workflow/common/ancestry.go.

use tiphys_api::Task;

/// The results that a `depends` may name.
const RESULTS: &[&str] =
    &["Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed"];

/// A task that must end before another starts.
#[derive(Debug, PartialEq)]
pub(super) struct Need<'t> {
    pub(super) task: &'t str,
    /// Asks about the items of a loop.
    pub(super) of_items: bool,
}

pub(super) type Needs<'t> = Vec<Need<'t>>;

/// The tasks that a task waits for, each once.
pub(super) fn needs(task: &Task) -> Needs<'_> {
    let mut needs: Needs<'_> = Vec::new();
    let mut add = |name, of_items| match needs.iter_mut().find(|need| need.task == name) {
        Some(need) => need.of_items |= of_items,
        None => needs.push(Need { task: name, of_items }),
    };
    if task.depends.is_empty() {
        task.dependencies.iter().flat_map(|name| names(name)).for_each(|(name, _)| add(name, false));
    } else {
        names(&task.depends).for_each(|(name, result)| add(name, matches!(result, Some("AnySucceeded" | "AllFailed"))));
    }
    needs
}

/// Names of tasks with results that do not exist.
pub(super) fn unknown_results(depends: &str) -> impl Iterator<Item = (&str, &str)> {
    names(depends).filter_map(|(task, result)| Some((task, result?))).filter(|(_, result)| !RESULTS.contains(result))
}

/// The names in an expression, each with the result that follows it after a dot.
fn names(depends: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = depends;
    std::iter::from_fn(move || {
        let start = rest.find(|c: char| c.is_ascii_alphanumeric())?;
        let after = &rest[start..];
        let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(after.len());
        let (name, tail) = after.split_at(length);
        let result = tail.strip_prefix('.').filter(|result| result.starts_with(|c: char| c.is_ascii_uppercase()));
        let result =
            result.map(|result| &result[..result.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(result.len())]);
        let result = result.filter(|result| result.len() > 1);
        rest = match result {
            Some(result) => &tail[1 + result.len()..],
            None => tail,
        };
        Some((name, result))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_results() {
        let found: Vec<_> = names("(a && b-1.Succeeded) || !c.AnySucceeded||d.x").collect();
        let expected = [("a", None), ("b-1", Some("Succeeded")), ("c", Some("AnySucceeded")), ("d", None), ("x", None)];
        assert_eq!(found, expected);
        assert_eq!(unknown_results("a.Succeeded && b.Done").collect::<Vec<_>>(), [("b", "Done")]);
    }

    #[test]
    fn each_need_is_there_once() {
        let task = Task { depends: "a.Failed || a.AllFailed || b".into(), ..Task::default() };
        let expected = [Need { task: "a", of_items: true }, Need { task: "b", of_items: false }];
        assert_eq!(needs(&task), expected);
    }
}
