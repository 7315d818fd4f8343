//! `resource.flags`: the flags and words of kubectl that this executor understands. All others are refused by name, since a
//! flag that is passed over would do something else than the user asked for.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::duration;

/// What is done with the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Apply,
    Patch,
    Replace,
    Delete,
    Get,
}

impl Action {
    /// Reads the word of the command line.
    ///
    /// # Errors
    /// The text for the user.
    pub fn parse(word: &str) -> Result<Self, String> {
        Ok(match word {
            "create" => Self::Create,
            "apply" => Self::Apply,
            "patch" => Self::Patch,
            "replace" => Self::Replace,
            "delete" => Self::Delete,
            "get" => Self::Get,
            other => {
                return Err(format!(
                    "resource.action {other:?} is not supported: there are get, create, apply, delete, replace and patch"
                ));
            }
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Get => "get",
        })
    }
}

/// The flags of one action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Kinds and names, as `pod x` or `pod/x`.
    pub words: Vec<String>,
    given: Vec<(&'static str, String)>,
}

/// A flag: name, short form, its value when it stands alone (none: the next word is its value), the actions that have it.
type Known = (&'static str, &'static str, Option<&'static str>, &'static [Action]);

use Action::{Apply, Create, Delete, Get, Patch, Replace};

const ALL: &[Action] = &[Create, Apply, Patch, Replace, Delete, Get];
const WRITE: &[Action] = &[Create, Apply, Replace];

const KNOWN: &[Known] = &[
    ("namespace", "n", None, ALL),
    ("validate", "", Some("strict"), WRITE),
    ("field-manager", "", None, &[Create, Apply, Patch, Replace]),
    ("dry-run", "", Some("unchanged"), &[Create, Apply, Patch, Replace, Delete]),
    ("subresource", "", None, &[Patch, Replace, Get]),
    ("save-config", "", Some("true"), &[Create, Replace]),
    ("server-side", "", Some("true"), &[Apply]),
    ("force-conflicts", "", Some("true"), &[Apply]),
    ("overwrite", "", Some("true"), &[Apply]),
    ("selector", "l", None, &[Delete, Get]),
    ("field-selector", "", None, &[Delete, Get]),
    ("all", "", Some("true"), &[Delete]),
    ("cascade", "", Some("background"), &[Delete]),
    ("force", "", Some("true"), &[Delete]),
    ("grace-period", "", None, &[Delete]),
    ("now", "", Some("true"), &[Delete]),
    ("wait", "", Some("true"), &[Delete]),
    ("timeout", "", None, &[Delete]),
    ("ignore-not-found", "", Some("true"), &[Delete, Get]),
    // A change is no longer recorded by current API servers; kubectl still takes the flag.
    ("record", "", Some("true"), &[Create, Apply, Patch, Replace]),
];

const SWITCHES: &[&str] = &[
    "save-config",
    "server-side",
    "force-conflicts",
    "overwrite",
    "all",
    "force",
    "now",
    "wait",
    "ignore-not-found",
    "record",
];

impl Flags {
    /// Reads the flags of an action as kubectl does.
    ///
    /// # Errors
    /// The text for the user: what is unknown, not supported, or lacks its value.
    pub fn parse(action: Action, words: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                flags.words.extend(words.by_ref().cloned());
                break;
            }
            let Some((known, value)) = look_up(action, word)? else {
                flags.words.push(word.clone());
                continue;
            };
            let (name, _, alone, _) = known;
            let value = match (value, alone) {
                (Some(value), _) => value,
                (None, Some(alone)) => (*alone).to_owned(),
                (None, None) => words.next().cloned().ok_or_else(|| format!("resource.flags: {word} needs a value"))?,
            };
            if SWITCHES.contains(name) && !matches!(value.as_str(), "true" | "false") {
                return Err(format!("resource.flags: --{name} is {value:?}: expected true or false"));
            }
            flags.given.push((name, value));
        }
        flags.check(action)?;
        Ok(flags)
    }

    /// The value of a flag; the last one given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    fn check(&self, action: Action) -> Result<(), String> {
        let one_of = |name: &str, allowed: &[&str]| match self.get(name) {
            Some(value) if !allowed.contains(&value) => {
                Err(format!("resource.flags: --{name} is {value:?}: expected one of {}", allowed.join(", ")))
            }
            _ => Ok(()),
        };
        one_of("validate", &["true", "strict", "warn", "false", "ignore"])?;
        // A client's dry run would leave nothing to wait for and nothing to read.
        one_of("dry-run", &["none", "server"])?;
        one_of("cascade", &["background", "orphan", "foreground", "true", "false"])?;
        one_of("subresource", &["status"])?;
        if self.get("overwrite") == Some("false") {
            return Err("resource.flags: --overwrite=false is not supported by this executor: leave it out".to_owned());
        }
        if action == Delete {
            self.grace()?;
            self.timeout()?;
        }
        Ok(())
    }

    /// Seconds that Pods get to end, when a deletion says so.
    fn grace(&self) -> Result<Option<i64>, String> {
        let grace = match self.get("grace-period") {
            None => None,
            Some(text) => {
                let seconds = text.parse::<i64>();
                Some(seconds.map_err(|_| format!("resource.flags: --grace-period is {text:?}: expected seconds"))?)
            }
        };
        match (grace, self.is_on("now"), self.is_on("force")) {
            (Some(_), true, _) => {
                Err("resource.flags: --now and --grace-period cannot be specified together".to_owned())
            }
            (None, true, _) => Ok(Some(1)),
            (Some(1..), _, true) => {
                Err("resource.flags: --force and --grace-period greater than 0 cannot be specified together".to_owned())
            }
            (_, _, true) => Ok(Some(0)),
            // As kubectl: an immediate deletion must be forced; else the shortest time is given.
            (Some(0), _, false) => Ok(Some(1)),
            (grace, _, _) => Ok(grace.filter(|seconds| *seconds >= 0)),
        }
    }

    /// How long a deletion is waited for; none for as long as it takes.
    ///
    /// # Errors
    /// The text for the user when it is no duration.
    pub fn timeout(&self) -> Result<Option<Duration>, String> {
        match self.get("timeout") {
            None | Some("0" | "0s") => Ok(None),
            Some(text) => match duration::parse(text) {
                Some(timeout) => Ok(Some(timeout)),
                None => Err(format!("resource.flags: --timeout is {text:?}: expected a duration such as 1m")),
            },
        }
    }

    /// The DeleteOptions of a deletion.
    pub fn delete_options(&self) -> Value {
        let policy = match self.get("cascade") {
            Some("orphan" | "false") => "Orphan",
            Some("foreground") => "Foreground",
            _ => "Background",
        };
        let mut options = Map::from_iter([("propagationPolicy".to_owned(), json!(policy))]);
        if let Ok(Some(seconds)) = self.grace() {
            options.insert("gracePeriodSeconds".to_owned(), json!(seconds));
        }
        Value::Object(options)
    }

    /// The query of a request that writes; `manager` is who kubectl says it is.
    pub fn query<'f>(&'f self, action: Action, manager: &'f str) -> Vec<(&'f str, &'f str)> {
        let mut query = Vec::new();
        if action != Delete {
            query.push(("fieldManager", self.get("field-manager").unwrap_or(manager)));
        }
        if WRITE.contains(&action) {
            query.push((
                "fieldValidation",
                match self.get("validate") {
                    None | Some("true" | "strict") => "Strict",
                    Some("warn") => "Warn",
                    Some(_) => "Ignore",
                },
            ));
        }
        if self.get("dry-run") == Some("server") {
            query.push(("dryRun", "All"));
        }
        query
    }
}

/// The flag that a word is, and its value when the word holds it.
fn look_up(action: Action, word: &str) -> Result<Option<(&'static Known, Option<String>)>, String> {
    let (found, value) = if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
        (KNOWN.iter().find(|(known, ..)| *known == name), value)
    } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
        let found = KNOWN.iter().find(|(_, known, ..)| !known.is_empty() && short.starts_with(known));
        let rest = found.map(|(_, known, ..)| &short[known.len()..]).filter(|rest| !rest.is_empty());
        (found, rest.map(|rest| rest.strip_prefix('=').unwrap_or(rest).to_owned()))
    } else {
        return Ok(None);
    };
    match found.filter(|(.., actions)| actions.contains(&action)) {
        Some(known) => Ok(Some((known, value))),
        None => {
            let name = word.split('=').next().unwrap_or(word);
            let known: Vec<String> = KNOWN
                .iter()
                .filter(|(.., actions)| actions.contains(&action))
                .map(|(name, ..)| format!("--{name}"))
                .collect();
            Err(format!(
                "resource.flags: kubectl's flag {name} is not supported by this executor for the action {action}: there \
                 are {}",
                known.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(action: Action, line: &str) -> Result<Flags, String> {
        Flags::parse(action, &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_kubectl_reads_them() {
        let flags = parse(Delete, "configmap --selector cleanup=true -nargo --grace-period=0 --force").unwrap();
        assert_eq!(flags.words, ["configmap"]);
        assert_eq!((flags.get("selector"), flags.get("namespace")), (Some("cleanup=true"), Some("argo")));
        assert_eq!(flags.delete_options(), json!({"propagationPolicy": "Background", "gracePeriodSeconds": 0}));
        let flags = parse(Delete, "pod x -l=a=b --cascade=orphan -n argo").unwrap();
        assert_eq!((flags.words.len(), flags.get("selector"), flags.get("namespace")), (2, Some("a=b"), Some("argo")));
        assert_eq!(flags.delete_options(), json!({"propagationPolicy": "Orphan"}));
        assert_eq!(parse(Delete, "pod x --now").unwrap().delete_options()["gracePeriodSeconds"], 1);
        let query = parse(Create, "--validate=false --dry-run=server --field-manager me").unwrap();
        assert_eq!(
            query.query(Create, "kubectl-create"),
            [("fieldManager", "me"), ("fieldValidation", "Ignore"), ("dryRun", "All")]
        );
        let query = parse(Apply, "").unwrap();
        assert_eq!(query.query(Apply, "m"), [("fieldManager", "m"), ("fieldValidation", "Strict")]);
        assert!(parse(Apply, "--server-side --force-conflicts=true").unwrap().is_on("force-conflicts"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (action, line, expected) in [
            (
                Apply,
                "--prune",
                "resource.flags: kubectl's flag --prune is not supported by this executor for the action apply: there are \
                 --namespace, --validate, --field-manager, --dry-run, --server-side, --force-conflicts, --overwrite, \
                 --record",
            ),
            (
                Patch,
                "--type=json pod x",
                "resource.flags: kubectl's flag --type is not supported by this executor for the action patch: there are \
                 --namespace, --field-manager, --dry-run, --subresource, --record",
            ),
            (Get, "pod -n", "resource.flags: -n needs a value"),
            (Apply, "--server-side=yes", "resource.flags: --server-side is \"yes\": expected true or false"),
            (Create, "--dry-run", "resource.flags: --dry-run is \"unchanged\": expected one of none, server"),
            (
                Delete,
                "pod x --force --grace-period=3",
                "resource.flags: --force and --grace-period greater than 0 cannot be specified together",
            ),
            (Delete, "pod x --timeout=soon", "resource.flags: --timeout is \"soon\": expected a duration such as 1m"),
        ] {
            assert_eq!(parse(action, line).unwrap_err(), expected);
        }
        assert!(Action::parse("edit").unwrap_err().starts_with("resource.action \"edit\" is not supported"));
    }
}
