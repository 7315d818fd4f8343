//! Probes: an exec, a TCP connection or an HTTP request, repeated while the container runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::build::Planned;
use super::model::{HttpProbe, Probe};

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The container is up; the other probes begin then.
    Startup,
    /// The container can be used.
    Readiness,
    /// The container works; if not, it is ended.
    Liveness,
}

/// What probes have to say to whoever runs the Pod.
#[derive(Debug)]
pub(crate) enum Probed {
    /// Run a command in the container, and say whether it ended with 0.
    Exec { container: String, command: Vec<String>, succeeded: oneshot::Sender<bool> },
    /// The probe's verdict changed.
    Verdict { container: String, purpose: Purpose, good: bool },
}

/// Probes a container for good; ends when nobody listens, or is aborted. Startup comes first, then the others at once.
pub(crate) async fn probe_container(
    container: String,
    probes: Vec<(Purpose, Probe)>,
    ports: BTreeMap<String, u16>,
    to: mpsc::UnboundedSender<Probed>,
) {
    let (startup, rest): (Vec<_>, Vec<_>) = probes.into_iter().partition(|(purpose, _)| *purpose == Purpose::Startup);
    let one = |(purpose, probe): (Purpose, Probe)| Prober {
        container: container.clone(),
        purpose,
        probe,
        ports: ports.clone(),
        to: to.clone(),
    };
    for startup in startup {
        one(startup).run().await;
    }
    let mut others = tokio::task::JoinSet::new();
    for other in rest {
        others.spawn(one(other).run());
    }
    others.join_all().await;
}

/// The probes that a container has.
pub(crate) fn probes_of(planned: &Planned) -> Vec<(Purpose, Probe)> {
    [
        (Purpose::Startup, &planned.startup),
        (Purpose::Readiness, &planned.readiness),
        (Purpose::Liveness, &planned.liveness),
    ]
    .into_iter()
    .filter_map(|(purpose, probe)| Some((purpose, probe.clone()?)))
    .collect()
}

struct Prober {
    container: String,
    purpose: Purpose,
    probe: Probe,
    ports: BTreeMap<String, u16>,
    to: mpsc::UnboundedSender<Probed>,
}

impl Prober {
    /// Kubernetes' defaults: every 10 seconds with 1 second's patience, 1 success or 3 failures make a verdict.
    async fn run(self) {
        let period = Duration::from_secs(self.probe.period_seconds.unwrap_or(10).max(1));
        let successes = self.probe.success_threshold.unwrap_or(1).max(1);
        let failures = self.probe.failure_threshold.unwrap_or(3).max(1);
        let (mut in_a_row, mut last, mut verdict) = (0, None, None);
        sleep(Duration::from_secs(self.probe.initial_delay_seconds)).await;
        loop {
            let good = self.once().await;
            in_a_row = if last == Some(good) { in_a_row + 1 } else { 1 };
            last = Some(good);
            let enough = in_a_row >= if good { successes } else { failures };
            if enough && verdict != Some(good) {
                verdict = Some(good);
                let told = Probed::Verdict { container: self.container.clone(), purpose: self.purpose, good };
                if self.to.send(told).is_err() || self.purpose == Purpose::Startup {
                    return;
                }
            }
            sleep(period).await;
        }
    }

    async fn once(&self) -> bool {
        let patience = Duration::from_secs(self.probe.timeout_seconds.unwrap_or(1).max(1));
        timeout(patience, self.attempt()).await.unwrap_or(false)
    }

    async fn attempt(&self) -> bool {
        let Probe { exec, http_get, tcp_socket, .. } = &self.probe;
        if let Some(exec) = exec {
            let (succeeded, result) = oneshot::channel();
            let command = exec.command.clone();
            let asked = Probed::Exec { container: self.container.clone(), command, succeeded };
            return self.to.send(asked).is_ok() && result.await.unwrap_or(false);
        }
        if let Some(http) = http_get {
            let Some(port) = self.port(&http.port) else { return false };
            return matches!(http_status(http, port).await, Ok(status) if (200..400).contains(&status));
        }
        if let Some(tcp) = tcp_socket {
            let Some(port) = self.port(&tcp.port) else { return false };
            return TcpStream::connect((host(&tcp.host), port)).await.is_ok();
        }
        // A probe of nothing succeeds, as in Kubernetes.
        true
    }

    fn port(&self, port: &Value) -> Option<u16> {
        match port {
            Value::Number(number) => u16::try_from(number.as_u64()?).ok(),
            Value::String(text) => text.parse().ok().or_else(|| self.ports.get(text).copied()),
            _ => None,
        }
    }
}

/// Pods share the machine's network.
fn host(given: &str) -> &str {
    if given.is_empty() { super::LOOPBACK } else { given }
}

async fn http_status(probe: &HttpProbe, port: u16) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect((host(&probe.host), port)).await?;
    let path = if probe.path.starts_with('/') { probe.path.clone() } else { format!("/{}", probe.path) };
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\nUser-Agent: kube-probe/tiphys\r\n");
    if !probe.http_headers.iter().any(|header| header.name.eq_ignore_ascii_case("host")) {
        request.push_str(&format!("Host: {}:{port}\r\n", host(&probe.host)));
    }
    for header in &probe.http_headers {
        request.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).await?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "no HTTP status"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    async fn first_verdict(probe: Value) -> bool {
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let (to, mut from) = mpsc::unbounded_channel();
        let ports = BTreeMap::from([("none".to_owned(), 1)]);
        let prober = tokio::spawn(probe_container("c".into(), vec![(Purpose::Readiness, probe)], ports, to));
        let verdict = loop {
            match from.recv().await.unwrap() {
                Probed::Exec { command, succeeded, .. } => succeeded.send(command == ["true"]).unwrap(),
                Probed::Verdict { good, .. } => break good,
            }
        };
        prober.abort();
        verdict
    }

    #[tokio::test]
    async fn each_kind_of_probe_has_its_verdict() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let good = request[..count].starts_with(b"GET /good HTTP/1.1\r\n");
                let status = if good { "204 No Content" } else { "500 Oh" };
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await;
            }
        });
        for (probe, expected) in [
            (json!({"exec": {"command": ["true"]}}), true),
            (json!({"exec": {"command": ["false"]}, "failureThreshold": 1}), false),
            (json!({"tcpSocket": {"port": port}}), true),
            (json!({"tcpSocket": {"port": "none"}, "failureThreshold": 1}), false),
            (json!({"httpGet": {"port": port, "path": "good"}}), true),
            (json!({"httpGet": {"port": port, "path": "/bad"}, "failureThreshold": 1}), false),
        ] {
            assert_eq!(first_verdict(probe.clone()).await, expected, "{probe}");
        }
        server.abort();
    }
}
