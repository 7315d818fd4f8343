//! The command line of argoexec: a sub-command, logging and Kubernetes flags anywhere before `--`, and the rest.

use std::ffi::{OsStr, OsString};

/// Flags with a value that argoexec has and that mean nothing here: logging of Go programs, the Kubernetes client.
const FLAGS_WITH_VALUE: &[&str] = &[
    "--loglevel",
    "--log-format",
    "--gloglevel",
    "--kubeconfig",
    "--namespace",
    "-n",
    "--context",
    "--cluster",
    "--user",
    "--as",
    "--as-group",
    "--as-uid",
    "--server",
    "-s",
    "--token",
    "--username",
    "--password",
    "--certificate-authority",
    "--client-certificate",
    "--client-key",
    "--tls-server-name",
    "--proxy-url",
    "--request-timeout",
];

/// Flags without a value of the same kind.
const SWITCHES: &[&str] = &["--insecure-skip-tls-verify", "--disable-compression"];

/// A command line taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// First plain word.
    pub command: Option<String>,
    /// What follows the sub-command, flags that mean nothing here removed; everything after `--` as it is.
    pub rest: Vec<OsString>,
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
        if FLAGS_WITH_VALUE.contains(&name) {
            if value.is_none() && args.next().is_none() {
                return Err(format!("flag {name} needs a value"));
            }
        } else if !SWITCHES.contains(&name) {
            return Err(format!("unknown flag {name}"));
        }
    }
    Ok(parsed)
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
    fn mistakes_are_named() {
        let parse = |line: &str| parse(line.split(' ').map(OsString::from)).unwrap_err();
        assert_eq!(parse("emissary --loglevl info"), "unknown flag --loglevl");
        assert_eq!(parse("wait --loglevel"), "flag --loglevel needs a value");
    }

    #[test]
    fn names_of_the_executor() {
        assert!(is_executor_name(OsStr::new("/var/run/argo/argoexec")));
        assert!(is_executor_name(OsStr::new("tiphys-executor")));
        assert!(!is_executor_name(OsStr::new("/usr/bin/tiphys")));
    }
}
