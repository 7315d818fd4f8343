//! Where the controller spends its processor time, asked for over HTTP as with Go's programs: `go tool pprof` reads the answer.
//!
//! Off unless it is asked for, and then on loopback: a profile says little, but takes its share of the processor, and who may
//! forward ports to the Pod reaches it there. So it has a listener of its own, and not the one of health, which everybody
//! in the cluster can reach.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use tiphys_profiler::{COLLECT_EVERY, ProfileError, Recording};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::serve::{Answer, ServeError, serve_at, text};

/// Where profiles are. go: net/http/pprof
pub const PATH: &str = "/debug/pprof/profile";
/// How long a profile takes where nothing is said, in seconds. go: net/http/pprof
const USUAL: u64 = 30;
/// The longest, in seconds.
const LONGEST: u64 = 300;

/// Whether the controller can be profiled.
#[derive(Clone, Debug, clap::Args)]
pub struct PprofOptions {
    /// Serves profiles of the controller's processor time, as /debug/pprof/profile?seconds=30, for `go tool pprof`
    #[arg(long, env = "ARGO_PPROF")]
    pprof: bool,
    /// Where it serves them
    #[arg(long, env = "TIPHYS_PPROF_ADDRESS", default_value = "127.0.0.1:6061", value_name = "ADDRESS:PORT")]
    pprof_address: SocketAddr,
}

impl PprofOptions {
    /// Where profiles are served, if they are.
    pub fn address(&self) -> Option<SocketAddr> {
        self.pprof.then_some(self.pprof_address)
    }
}

/// Serves profiles, until the task is aborted: the address, with the port that port 0 has become.
///
/// # Errors
/// The address is not to be had.
pub async fn serve(address: SocketAddr) -> Result<(SocketAddr, JoinHandle<()>), ServeError> {
    let answer: Answer = Arc::new(|asked| async move { Some(answer(&asked).await) }.boxed());
    serve_at(address, answer).await
}

async fn answer(asked: &Uri) -> Response<Bytes> {
    if asked.path() != PATH {
        return refusal(StatusCode::NOT_FOUND, &format!("only {PATH} is here: a profile of the processor time"));
    }
    let seconds = match seconds(asked.query().unwrap_or_default()) {
        Ok(seconds) => seconds,
        Err(words) => return refusal(StatusCode::BAD_REQUEST, &words),
    };
    match record(Duration::from_secs(seconds)).await {
        Ok(profile) => file(profile),
        Err(error @ ProfileError::Busy) => {
            let words = format!("{error}: ask again when it is over, in {LONGEST} s at the latest");
            refusal(StatusCode::CONFLICT, &words)
        }
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// How long the profile is to take.
fn seconds(query: &str) -> Result<u64, String> {
    let Some(text) = query.split('&').find_map(|pair| pair.strip_prefix("seconds=")) else { return Ok(USUAL) };
    text.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds)).ok_or_else(|| {
        format!("seconds is {text:?}: expected a whole number from 1 to {LONGEST}, as {PATH}?seconds={USUAL}")
    })
}

/// Takes a profile. When nobody waits for it any more, it ends.
async fn record(length: Duration) -> Result<Vec<u8>, ProfileError> {
    let mut recording = Recording::begin()?;
    let end = Instant::now() + length;
    while Instant::now() < end {
        sleep_until(end.min(Instant::now() + COLLECT_EVERY)).await;
        recording.collect();
    }
    let finished = tokio::task::spawn_blocking(|| recording.finish());
    finished.await.unwrap_or_else(|error| Err(ProfileError::Sample(io::Error::other(error))))
}

fn file(profile: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(profile));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"profile\""));
    response
}

/// Why there is no profile. go: cmd/pprof shows the words where the header says whose they are
fn refusal(status: StatusCode, words: &str) -> Response<Bytes> {
    let mut response = text(status, format!("{words}\n"));
    response.headers_mut().insert("x-go-pprof", HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;
    use crate::options::Options;

    #[test]
    fn profiles_are_asked_for_and_stay_on_this_machine() {
        let address = |more: &[&str]| Options::read(["tiphys-controller"].iter().chain(more)).unwrap().pprof.address();
        assert_eq!(address(&[]), None);
        assert_eq!(address(&["--pprof-address=0.0.0.0:6061"]), None, "where is not whether");
        assert_eq!(address(&["--pprof"]), Some(SocketAddr::from(([127, 0, 0, 1], 6061))));
        let everywhere = address(&["--pprof=true", "--pprof-address", "[::]:80"]);
        assert_eq!(everywhere, "[::]:80".parse().ok());
    }

    #[test]
    fn argos_variable_asks_for_them_and_is_documented() {
        let command = PprofOptions::augment_args(Command::new("x"));
        let option = command.get_arguments().find(|option| option.get_long() == Some("pprof")).unwrap();
        assert_eq!(option.get_env(), Some("ARGO_PPROF".as_ref()));
        let document = include_str!("../../docs/adoption.md");
        assert!(
            document.lines().any(|line| line.starts_with("| `ARGO_PPROF` |") && line.contains("`--pprof-address`"))
        );
    }

    #[test]
    fn how_long_is_a_number_of_seconds() {
        for (query, means) in [("", 30), ("seconds=1", 1), ("debug=1&seconds=300&seconds=x", 300), ("second=x", 30)] {
            assert_eq!(seconds(query), Ok(means), "{query}");
        }
        for query in ["seconds=", "seconds=0", "seconds=301", "seconds=-1", "seconds=1.5", "seconds=1m", "seconds=%31"]
        {
            let words = seconds(query).unwrap_err();
            assert!(words.contains("expected a whole number from 1 to 300"), "{words}");
        }
    }
}
