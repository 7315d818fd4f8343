//! What the command line says about how workflows are run; the names in the environment are Argo's.

use std::time::Duration;

use jiff::SignedDuration;
use regex::Regex;
use tiphys_engine::{EngineConfig, PodNameFormat};

use crate::durations::not_negative;

/// What the engine is told.
#[derive(Clone, Debug, clap::Args)]
pub struct EngineOptions {
    /// Whether templates may call each other to any depth, and not to 100 only
    #[arg(long, env = "DISABLE_MAX_RECURSION", default_value = "false", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub disable_max_recursion: bool,
    /// How Pods of new workflows are named, and of those that are under way and say nothing of it: v1 is the node's id, v2
    /// tells workflow and template
    #[arg(long, env = "POD_NAMES", default_value = "v2", value_parser = pod_names, value_name = "v1|v2")]
    pub pod_names: PodNameFormat,
    /// Whether `{{=expression}}` is evaluated
    #[arg(long, env = "EXPRESSION_TEMPLATES", default_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub expression_templates: bool,
    /// Messages of failures that pass (retryPolicy OnTransientError), beside those that Argo knows
    #[arg(long, env = "TRANSIENT_ERROR_PATTERN", default_value = "", value_parser = pattern, value_name = "REGEX")]
    pub transient_error_pattern: Regex,
    /// How long the results of a step that has ended are waited for
    #[arg(long, env = "TASK_RESULT_TIMEOUT_DURATION", default_value = "10m", value_parser = not_negative, value_name = "DURATION")]
    pub task_result_timeout: Duration,
}

impl EngineOptions {
    /// The configuration that they are part of.
    pub fn apply(&self, engine: EngineConfig) -> EngineConfig {
        let pattern = &self.transient_error_pattern;
        EngineConfig {
            max_depth: if self.disable_max_recursion { u32::MAX } else { engine.max_depth },
            pod_names: self.pod_names,
            no_expressions: !self.expression_templates,
            transient_pattern: (!pattern.as_str().is_empty()).then(|| pattern.clone()),
            // What the option takes is never too long for one with a sign.
            result_timeout: SignedDuration::try_from(self.task_result_timeout).ok(),
            ..engine
        }
    }
}

fn pod_names(text: &str) -> Result<PodNameFormat, String> {
    match text {
        "v1" => Ok(PodNameFormat::V1),
        "v2" => Ok(PodNameFormat::V2),
        _ => Err("expected v1 or v2".to_owned()),
    }
}

/// As Go reads it.
fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(&tiphys_expr::go::translate_pattern(text)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        engine: EngineOptions,
    }

    #[test]
    fn nothing_said_is_what_argo_does() {
        let said = |words: &[&str]| {
            let alone = Alone::try_parse_from(["x"].iter().chain(words));
            alone.map(|alone| alone.engine.apply(EngineConfig::default())).map_err(|error| error.to_string())
        };
        let usual = EngineConfig { result_timeout: Some(SignedDuration::from_mins(10)), ..EngineConfig::default() };
        assert_eq!(format!("{:?}", said(&[]).unwrap()), format!("{usual:?}"));
        let other = said(&[
            "--disable-max-recursion=true",
            "--pod-names=v1",
            "--expression-templates=false",
            "--transient-error-pattern=exit code (7|9)",
            "--task-result-timeout=90s",
        ]);
        let other = other.unwrap();
        assert_eq!((other.max_depth, other.pod_names, other.no_expressions), (u32::MAX, PodNameFormat::V1, true));
        assert!(other.transient_pattern.unwrap().is_match("Error (exit code 7)"));
        assert_eq!(other.result_timeout, Some(SignedDuration::from_secs(90)));
        for wrong in
            ["--pod-names=v3", "--transient-error-pattern=(", "--task-result-timeout=-1s", "--expression-templates=no"]
        {
            assert!(said(&[wrong]).is_err(), "{wrong}");
        }
    }
}
