//! The controller as a process of its own, and what it costs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tiphys_kubernetes::{Api, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const HOP: &str = "argo_workflows_hop_duration_seconds_bucket";
const REQUESTS: &str = "argo_workflows_k8s_request_total";

/// A controller that runs.
pub struct Controller {
    process: Child,
    port: u16,
}

/// What it has cost so far.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    pub memory_mib: f64,
    pub peak_mib: f64,
    /// Requests to the API server by verb and kind.
    pub requests: BTreeMap<String, f64>,
    /// Hops that took at most so many seconds.
    pub hops: Vec<(f64, f64)>,
}

impl Controller {
    /// Starts it for one namespace.
    ///
    /// # Errors
    /// It cannot be started, or ends.
    pub async fn start(api: &Api, namespace: &str, program: &Path, layout: &str) -> Result<Controller> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let bounds: Vec<f64> = (0..60).map(|step| 0.001 * 1.15_f64.powi(step)).collect();
        let metrics = json!({"port": port, "secure": false, "modifiers": {
            "hop_duration_seconds": {"histogramBuckets": bounds}}});
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bench"},
            "data": {"metricsConfig": metrics.to_string()}});
        api.create(Kind::ConfigMap.within(namespace).path(), &config).await?;
        let mut command = Command::new(program);
        command.args(["--namespaced", "--namespace", namespace, "--configmap", "bench", "--no-leader-election"]);
        command
            .args(["--health-port", "0", "--loglevel", "warn", "--layout", layout])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().with_context(|| {
            format!("{} cannot be started: cargo build --release --package tiphys-controller", program.display())
        })?;
        let mut controller = Controller { process, port };
        loop {
            if let Some(status) = controller.process.try_wait()? {
                bail!("the controller has ended: {status}");
            }
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(controller);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// What it has cost so far.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn figures(&self) -> Result<Figures> {
        let pid = self.process.id().context("the controller has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default()
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in brackets, may hold spaces. proc(5): utime and stime are fields 14 and 15, in hundredths.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        let mut figures = Figures {
            cpu_seconds: (ticks(11) + ticks(12)) / 100.0,
            memory_mib: kib("VmRSS:") / 1024.0,
            peak_mib: kib("VmHWM:") / 1024.0,
            ..Figures::default()
        };
        for line in self.metrics().await?.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let label = |key: &str| {
                let rest = name.split_once(&format!("{key}=\""))?.1;
                rest.split('"').next().map(str::to_owned)
            };
            if name.starts_with(HOP) {
                let bound = label("le").and_then(|bound| bound.replace("+Inf", "inf").parse().ok());
                figures.hops.extend(bound.map(|bound| (bound, value)));
            } else if name.starts_with(REQUESTS) {
                let key = format!("{} {}", label("verb").unwrap_or_default(), label("kind").unwrap_or_default());
                *figures.requests.entry(key).or_default() += value;
            }
        }
        Ok(figures)
    }

    async fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
}
