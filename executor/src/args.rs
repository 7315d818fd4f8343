//! The command line of argoexec: a sub-command, logging and Kubernetes flags anywhere before `--`, and the rest.

use std::ffi::{OsStr, OsString};
use std::fmt;

/// Flags of every sub-command that say how to speak to the Kubernetes API, each with a value (client-go:
/// clientcmd/overrides.go). Those of the second name are short forms.
const CLUSTER_FLAGS: &[(&str, &str)] = &[
    ("kubeconfig", ""),
    ("namespace", "n"),
    ("context", ""),
    ("cluster", ""),
    ("user", ""),
    ("as", ""),
    ("as-group", ""),
    ("as-uid", ""),
    ("as-user-extra", ""),
    ("server", "s"),
    ("token", ""),
    ("username", ""),
    ("password", ""),
    ("certificate-authority", ""),
    ("client-certificate", ""),
    ("client-key", ""),
    ("tls-server-name", ""),
    ("proxy-url", ""),
    ("request-timeout", ""),
];

/// Flags of the same kind without a value. Requests are never compressed, so the second needs no answer.
const CLUSTER_SWITCHES: &[&str] = &["insecure-skip-tls-verify", "disable-compression"];

/// A command line taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// First plain word.
    pub command: Option<String>,
    /// What follows the sub-command, flags of every sub-command removed; everything after `--` as it is.
    pub rest: Vec<OsString>,
    /// How to speak to the Kubernetes API.
    pub cluster: ClusterFlags,
    /// From which level on the executor tells what it does: `--loglevel`.
    pub log_level: Option<String>,
    /// `text` or `json`: `--log-format`.
    pub log_format: Option<String>,
    /// The artifact plugin whose inputs are loaded: `--plugin-name`.
    pub plugin_name: Option<String>,
}

/// What the command line says about the Kubernetes API. Printed without values, since tokens and passwords are among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClusterFlags(Vec<(&'static str, String)>);

impl ClusterFlags {
    /// The value of a flag, named without dashes; the last one given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// All values of a flag that may be given more than once.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

impl fmt::Debug for ClusterFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Takes a command line apart, program name already removed.
///
/// # Errors
/// The text for the user when a flag is unknown or lacks its value.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Args, String> {
    let mut parsed = Args::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        if arg == "--" {
            parsed.rest.extend(args);
            break;
        }
        let text = arg.to_string_lossy();
        if !text.starts_with('-') || text == "-" {
            match parsed.command {
                None => parsed.command = Some(text.into_owned()),
                Some(_) => parsed.rest.push(arg),
            }
            continue;
        }
        let (name, value) = text.split_once('=').map_or((text.as_ref(), None), |(name, value)| (name, Some(value)));
        let given = value.map(str::to_owned);
        let mut value = || {
            let next = given.clone().or_else(|| args.next().map(|next| next.to_string_lossy().into_owned()));
            next.ok_or_else(|| format!("flag {name} needs a value"))
        };
        if let Some(flag) = cluster_flag(name) {
            parsed.cluster.0.push((flag, value()?));
        } else if let Some(switch) = CLUSTER_SWITCHES.iter().find(|switch| name.strip_prefix("--") == Some(switch)) {
            let on = given.unwrap_or_else(|| "true".to_owned());
            if on != "true" && on != "false" {
                return Err(format!("flag {name} is {on:?}: expected true or false"));
            }
            parsed.cluster.0.push((switch, on));
        } else {
            match name {
                "--loglevel" => parsed.log_level = Some(value()?),
                "--log-format" => parsed.log_format = Some(value()?),
                "--plugin-name" => parsed.plugin_name = Some(value()?),
                // The level of a logging library of Go's.
                "--gloglevel" => drop(value()?),
                _ => return Err(format!("unknown flag {name}")),
            }
        }
    }
    Ok(parsed)
}

fn cluster_flag(name: &str) -> Option<&'static str> {
    let (long, short) = (name.strip_prefix("--"), name.strip_prefix('-'));
    let found =
        CLUSTER_FLAGS.iter().find(|(flag, brief)| long == Some(flag) || (short == Some(brief) && !brief.is_empty()));
    found.map(|(flag, _)| *flag)
}

/// Whether the program was started under one of the executor's names, so that a multi-call binary acts as the executor.
pub fn is_executor_name(program: &OsStr) -> bool {
    let name = std::path::Path::new(program).file_name().unwrap_or(program);
    name == "argoexec" || name == "tiphys-executor"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, command: &str, rest: &[&str]) {
        let parsed = parse(line.split(' ').map(OsString::from)).unwrap();
        assert_eq!(parsed.command.as_deref(), Some(command), "{line}");
        assert_eq!(parsed.rest, rest.iter().map(OsString::from).collect::<Vec<_>>(), "{line}");
    }

    #[test]
    fn forms_that_argo_uses() {
        check("emissary --loglevel info --log-format text --gloglevel 0 -- sh -c x", "emissary", &["sh", "-c", "x"]);
        check("emissary --loglevel=info --gloglevel=0 -- sh -- --loglevel", "emissary", &["sh", "--", "--loglevel"]);
        check("--loglevel info wait --kubeconfig=/kube/config --namespace x", "wait", &[]);
        check("kill 15 1", "kill", &["15", "1"]);
    }

    #[test]
    fn flags_of_every_sub_command_are_kept() {
        let line = "--loglevel debug wait -n x --kubeconfig=/kube/config --as-group a --as-group b --log-format json";
        let parsed = parse(line.split(' ').map(OsString::from)).unwrap();
        assert_eq!(
            (parsed.cluster.get("namespace"), parsed.cluster.get("kubeconfig")),
            (Some("x"), Some("/kube/config"))
        );
        assert_eq!(parsed.cluster.all("as-group").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((parsed.log_level.as_deref(), parsed.log_format.as_deref()), (Some("debug"), Some("json")));
        assert!(!parsed.cluster.is_on("insecure-skip-tls-verify"));
        assert_eq!(format!("{:?}", parsed.cluster), r#"["namespace", "kubeconfig", "as-group", "as-group"]"#);
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |line: &str| parse(line.split(' ').map(OsString::from)).unwrap_err();
        assert_eq!(parse("emissary --loglevl info"), "unknown flag --loglevl");
        assert_eq!(parse("wait --loglevel"), "flag --loglevel needs a value");
        assert_eq!(
            parse("wait --insecure-skip-tls-verify=maybe"),
            "flag --insecure-skip-tls-verify is \"maybe\": expected true or false"
        );
    }

    #[test]
    fn names_of_the_executor() {
        assert!(is_executor_name(OsStr::new("/var/run/argo/argoexec")));
        assert!(is_executor_name(OsStr::new("tiphys-executor")));
        assert!(!is_executor_name(OsStr::new("/usr/bin/tiphys")));
    }
}
