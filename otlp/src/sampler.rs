//! Which traces are told: `OTEL_TRACES_SAMPLER`, decided by the trace's id alone, so that everybody decides the same.

use tiphys_contract::TraceId;

/// The part of all traces that is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler(f64);

impl Default for Sampler {
    fn default() -> Sampler {
        Sampler(1.0)
    }
}

impl Sampler {
    /// Of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`. A workflow's trace has no parent, so that those which ask the parent
    /// first are the same as those which do not.
    ///
    /// # Errors
    /// The text for the user.
    pub fn of(name: &str, argument: &str) -> Result<Sampler, String> {
        match name.strip_prefix("parentbased_").unwrap_or(name) {
            "" | "always_on" => Ok(Sampler(1.0)),
            "always_off" => Ok(Sampler(0.0)),
            "traceidratio" => match argument {
                "" => Ok(Sampler(1.0)),
                text => match text.parse::<f64>() {
                    Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Sampler(ratio)),
                    _ => Err(format!("OTEL_TRACES_SAMPLER_ARG is {text:?}: expected a number from 0 to 1")),
                },
            },
            _ => Err(format!(
                "OTEL_TRACES_SAMPLER is {name:?}: there are always_on, always_off, traceidratio, and each of them with \
                 parentbased_ before it"
            )),
        }
    }

    /// Whether this trace is told.
    pub fn takes(self, trace: &TraceId) -> bool {
        trace.is_within(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_opentelemetrys() {
        let takes = |name, argument| Sampler::of(name, argument).unwrap().takes(&TraceId::of("w"));
        assert!(takes("", "") && takes("parentbased_always_on", "") && takes("traceidratio", ""));
        assert!(!takes("parentbased_always_off", "") && !takes("parentbased_traceidratio", "0"));
        assert!(Sampler::of("traceidratio", "2").unwrap_err().starts_with("OTEL_TRACES_SAMPLER_ARG is \"2\""));
        assert!(Sampler::of("jaeger_remote", "").unwrap_err().starts_with("OTEL_TRACES_SAMPLER is \"jaeger_remote\""));
    }
}
