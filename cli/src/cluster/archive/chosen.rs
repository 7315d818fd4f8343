//! Which archived workflows are meant: by name, by UID, by selectors.

use std::fmt::Write as _;

use jiff::Timestamp;
use tiphys_api::Workflow;
use tiphys_archive::{Filter, NameFilter, Requirement};

use super::Archived;
use crate::args::{Identified, Selectors};
use crate::display::style::age;
use crate::failure::Failure;

/// What the command line says of it.
pub(super) struct Chosen {
    names: Vec<String>,
    identified: Identified,
    selectors: Selectors,
}

impl Chosen {
    /// Those that are named.
    pub fn named(names: Vec<String>, identified: Identified) -> Chosen {
        Chosen::new(names, identified, Selectors::default())
    }

    /// Those that are selected, then those that are named.
    pub fn new(names: Vec<String>, identified: Identified, selectors: Selectors) -> Chosen {
        Chosen { names, identified, selectors }
    }

    /// Whether this is a UID and no name. argo: commands/archive/util.go, isUID.
    fn is_uid(&self, text: &str) -> bool {
        match (self.identified.uid, self.identified.by_name) {
            (true, _) => true,
            (_, true) => false,
            _ => is_uuid(text),
        }
    }
}

/// Five groups of small hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let digits = |group: &&str| group.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(digits)
}

/// argo: commands/archive/util.go, resolveUID
pub(super) fn missing(name: &str) -> Failure {
    Failure::failed(Some(format!("archived workflow '{name}' not found")))
}

impl Archived {
    /// The UID of the workflow that a name or UID means. argo: commands/archive/util.go, resolveUID.
    pub(super) async fn uid(&self, name: &str, chosen: &Chosen) -> Result<String, Failure> {
        if chosen.is_uid(name) {
            return Ok(name.to_owned());
        }
        let filter = Filter { namespace: self.namespace.clone(), name: name.to_owned(), ..Filter::default() };
        match &self.archive.list(&filter).await?[..] {
            [] => Err(missing(name)),
            [one] => Ok(one.metadata.uid.clone()),
            several => {
                let mut text = format!("Multiple archived workflows found with name '{name}':\n");
                for workflow in several {
                    let (created, finished) = (workflow.metadata.creation_timestamp, workflow.status.finished_at);
                    let uid = &workflow.metadata.uid;
                    let (created, finished) = (age(created), age(finished));
                    // Text takes what is written to it.
                    let _ = writeln!(text, "  {uid} (Created: {created} ago, Finished: {finished} ago)");
                }
                text.push_str("Please specify the UID.");
                Err(Failure::failed(Some(text)))
            }
        }
    }

    /// The workflows that are meant, whole, each once.
    pub(super) async fn found(&self, chosen: &Chosen) -> Result<Vec<Workflow>, Failure> {
        let mut uids = Vec::new();
        let Selectors { selector, field_selector } = &chosen.selectors;
        if chosen.selectors.is_given() {
            let labels = Requirement::parse(selector).map_err(Failure::usage)?;
            let filter = Filter { namespace: self.namespace.clone(), labels, ..Filter::default() };
            let listed = self.archive.list(&fields(field_selector, filter)?).await?;
            uids.extend(listed.into_iter().map(|workflow| (workflow.metadata.name, workflow.metadata.uid)));
        }
        for name in &chosen.names {
            uids.push((name.clone(), self.uid(name, chosen).await?));
        }
        let mut found: Vec<Workflow> = Vec::new();
        for (name, uid) in uids {
            if found.iter().all(|workflow| workflow.metadata.uid != uid) {
                found.push(self.archive.by_uid(&uid).await?.ok_or_else(|| missing(&name))?);
            }
        }
        Ok(found)
    }
}

/// A filter with what a field selector asks for. argo: server/utils/list_options.go, BuildListOptions.
fn fields(selector: &str, mut filter: Filter) -> Result<Filter, Failure> {
    for part in selector.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = |why: &str| Failure::usage(format!("--field-selector {part}: {why}"));
        let value = |text: &str| part.strip_prefix(text).map(str::to_owned);
        let moment = |text: String| text.parse::<Timestamp>().map_err(|_| wrong("expected a time as RFC 3339 has it"));
        if let Some(namespace) = value("metadata.namespace!=") {
            (filter.namespace, filter.other_namespaces) = (namespace, true);
        } else if let Some(namespace) = value("metadata.namespace==").or_else(|| value("metadata.namespace=")) {
            (filter.namespace, filter.other_namespaces) = (namespace, false);
        } else if let Some(name) = value("metadata.name!=") {
            (filter.name, filter.name_filter) = (name, NameFilter::NotEquals);
        } else if let Some(name) = value("metadata.name==").or_else(|| value("metadata.name=")) {
            (filter.name, filter.name_filter) = (name, NameFilter::Exact);
        } else if let Some(time) = value("spec.startedAt>") {
            filter.started_from = Some(moment(time)?);
        } else if let Some(time) = value("spec.startedAt<") {
            filter.started_to = Some(moment(time)?);
        } else {
            return Err(wrong("the archive knows metadata.name, metadata.namespace and spec.startedAt"));
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_told_from_names() {
        let chosen = |by_name, uid| Chosen::named(Vec::new(), Identified { by_name, uid });
        let uid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for (text, expected) in
            [(uid, true), ("my-workflow", false), ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380A11", false), (&uid[1..], false)]
        {
            assert_eq!(chosen(false, false).is_uid(text), expected, "{text}");
            assert!(chosen(false, true).is_uid(text) && !chosen(true, false).is_uid(text));
        }
    }

    #[test]
    fn fields_are_selected_as_by_argos_server() {
        let read = |selector: &str| fields(selector, Filter { namespace: "own".into(), ..Filter::default() });
        let found = read("metadata.name=a,spec.startedAt>2026-01-01T00:00:00Z").unwrap();
        assert_eq!((found.namespace.as_str(), found.name.as_str(), found.name_filter), ("own", "a", NameFilter::Exact));
        assert_eq!(found.started_from, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        let found = read("metadata.namespace!=b,metadata.name!=c").unwrap();
        assert_eq!((found.namespace.as_str(), found.other_namespaces), ("b", true));
        assert_eq!(found.name_filter, NameFilter::NotEquals);
        for (selector, words) in [("status.phase=x", "metadata.name"), ("spec.startedAt<x", "RFC 3339")] {
            let failure = read(selector).unwrap_err();
            assert!(failure.message().is_some_and(|message| message.contains(words)), "{failure:?}");
        }
    }
}
