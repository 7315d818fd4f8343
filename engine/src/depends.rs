//! `depends`: which tasks an expression names, and what it says once their results are written out.
//! argo: workflow/common/ancestry.go.

use tiphys_api::Task;

/// What a task waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Depends {
    /// The tasks named, each once, in the order of their first mention.
    pub tasks: Vec<String>,
    /// The expression with a result behind every name; empty where there is nothing to wait for.
    pub logic: String,
}

/// Reads `depends`, or makes it from `dependencies`. `find` gives the task of a name.
pub(crate) fn depends<'a>(task: &Task, find: &dyn Fn(&str) -> Option<&'a Task>) -> Depends {
    let text = if task.depends.is_empty() {
        let parts: Vec<String> = task.dependencies.iter().map(|name| expand(name, find(name))).collect();
        parts.join(" && ")
    } else {
        task.depends.clone()
    };
    let mut tasks: Vec<String> = Vec::new();
    let mut logic = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(char) = rest.chars().next() {
        if !char.is_ascii_alphanumeric() {
            logic.push(char);
            rest = &rest[char.len_utf8()..];
            continue;
        }
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || char == '-')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !tasks.iter().any(|known| known == name) {
            tasks.push(name.to_string());
        }
        let result = after.strip_prefix('.').map_or("", |result| {
            let letters = result.find(|char: char| !char.is_ascii_alphabetic()).unwrap_or(result.len());
            &result[..letters]
        });
        if result.chars().next().is_some_and(|first| first.is_ascii_uppercase()) {
            logic.push_str(&rest[..end + 1 + result.len()]);
            rest = &after[1 + result.len()..];
        } else {
            logic.push_str(&expand(name, find(name)));
            rest = after;
        }
    }
    Depends { tasks, logic }
}

/// A name without a result means that the task went well, was skipped, or is a daemon that is up.
fn expand(name: &str, task: Option<&Task>) -> String {
    let mut results = vec!["Succeeded", "Skipped", "Daemoned"];
    if let Some(on) = task.and_then(|task| task.continue_on.as_ref()) {
        if on.error {
            results.push("Errored");
        }
        if on.failed {
            results.push("Failed");
        }
    }
    let results: Vec<String> = results.iter().map(|result| format!("{name}.{result}")).collect();
    format!("({})", results.join(" || "))
}

#[cfg(test)]
mod tests {
    use tiphys_api::ContinueOn;

    use super::*;

    fn read(task: &Task, others: &[Task]) -> Depends {
        depends(task, &|name| others.iter().find(|other| other.name == name))
    }

    #[test]
    fn names_get_results() {
        let on = ContinueOn { failed: true, ..Default::default() };
        let others = [Task { name: "a-b".into(), continue_on: Some(Box::new(on)), ..Default::default() }];
        let task = Task { depends: "a-b && !(C.Failed || a-b.Omitted)".into(), ..Default::default() };
        assert_eq!(
            read(&task, &others),
            Depends {
                tasks: vec!["a-b".into(), "C".into()],
                logic: "(a-b.Succeeded || a-b.Skipped || a-b.Daemoned || a-b.Failed) && !(C.Failed || a-b.Omitted)"
                    .into(),
            }
        );
    }

    #[test]
    fn dependencies_are_depends() {
        let task = Task { dependencies: vec!["A".into(), "B".into()], ..Default::default() };
        assert_eq!(
            read(&task, &[]).logic,
            "(A.Succeeded || A.Skipped || A.Daemoned) && (B.Succeeded || B.Skipped || B.Daemoned)"
        );
        assert_eq!(read(&Task::default(), &[]).logic, "");
    }
}
