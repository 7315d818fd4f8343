//! For how long a Lease holds, and how often it is renewed. argo: cmd/workflow-controller/main.go

use std::time::Duration;

use crate::durations::positive;

/// Of the time between a holder's last moment and the next one's first, what answers are waited for when a shard is handed over.
const DRAIN: Duration = Duration::from_secs(2);
/// How much longer than from one renewal to the next its holder has to try at least.
/// argo: k8s.io/client-go/tools/leaderelection, `JitterFactor`
const JITTER: f64 = 1.2;

/// What the command line says about Leases; the names in the environment are Argo's.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct TermOptions {
    /// How long a replica's Lease holds without being renewed, in whole seconds
    #[arg(long, env = "LEADER_ELECTION_LEASE_DURATION", default_value = "12s", value_parser = positive, value_name = "DURATION")]
    lease_duration: Duration,
    /// After how long a replica that cannot renew its Lease gives up
    #[arg(long, env = "LEADER_ELECTION_RENEW_DEADLINE", default_value = "8s", value_parser = positive, value_name = "DURATION")]
    renew_deadline: Duration,
    /// How often a Lease is renewed
    #[arg(long, env = "LEADER_ELECTION_RETRY_PERIOD", default_value = "3s", value_parser = positive, value_name = "DURATION")]
    retry_period: Duration,
}

/// Times that fit together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// For so long a Lease holds without being renewed; whole seconds, as it has it.
    pub(super) duration: Duration,
    /// A holder that could not renew it for so long gives up, before others may take it.
    pub(super) renew_within: Duration,
    /// How often it is renewed.
    pub(super) renew_every: Duration,
}

impl TermOptions {
    /// What they say.
    ///
    /// # Errors
    /// They contradict each other: a holder would work when others may do so too, or would hardly ever renew its Lease.
    pub fn terms(&self) -> Result<Terms, String> {
        let (duration, renew_within) = (Duration::from_secs(self.lease_duration.as_secs()), self.renew_deadline);
        if duration <= renew_within {
            return Err("--lease-duration has to be longer than --renew-deadline".into());
        }
        if renew_within <= self.retry_period.mul_f64(JITTER) {
            return Err(format!("--renew-deadline has to be longer than {JITTER} times --retry-period"));
        }
        Ok(Terms { duration, renew_within, renew_every: self.retry_period })
    }
}

impl Terms {
    /// For so long answers are waited for before a shard is handed over. With the time since the last renewal it is less than
    /// what others wait.
    pub(super) fn drain(&self) -> Duration {
        DRAIN.min((self.duration - self.renew_within) / 2)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        terms: TermOptions,
    }

    fn terms(arguments: &[&str]) -> Result<Terms, String> {
        let alone = Alone::try_parse_from(["x"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        alone.terms.terms()
    }

    #[test]
    fn times_have_to_fit_together() {
        let seconds = Duration::from_secs;
        assert_eq!(terms(&[]).unwrap().drain(), seconds(2));
        let argos = ["--lease-duration=15s", "--renew-deadline=10s", "--retry-period=5s"];
        let expected = Terms { duration: seconds(15), renew_within: seconds(10), renew_every: seconds(5) };
        assert_eq!(terms(&argos), Ok(expected));
        assert_eq!(terms(&["--lease-duration=9s"]).unwrap().drain(), Duration::from_millis(500));
        for (arguments, words) in [
            // The Lease has whole seconds.
            (["--lease-duration=8.9s", "--retry-period=1s"], "--lease-duration has to be longer than --renew-deadline"),
            (["--renew-deadline=6s", "--retry-period=5s"], "--renew-deadline has to be longer than 1.2 times"),
            (["--lease-duration=1h", "--retry-period=0s"], "must be more than nothing"),
            (["--lease-duration=soon", "--retry-period=1s"], "--lease-duration"),
        ] {
            let error = terms(&arguments).unwrap_err();
            assert!(error.contains(words), "{arguments:?}: {error}");
        }
    }
}
