//! What the controller costs and brings, on a real API server with Pods that only seem to run.
//!
//! A node without a machine ([`player`]) ends its Pods at once, so that what is measured is the controller and the API server;
//! only one chain of steps is run by a real kubelet.
//! Beside each figure of the controller stands what a bare client reaches on the same server in the same run, by doing no
//! more than creating Pods and watching them.

mod bare;
mod controller;
mod player;
mod report;
mod workflows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::json;
use tiphys_kubernetes::Api;

use controller::Controller;
use player::{Pace, Player};
use report::Report;

/// Requests that are under way at a time, in the bare client as in the controller.
const IN_FLIGHT: usize = 32;

/// Measures the controller on the cluster of KUBECONFIG, with Pods that only seem to run.
#[derive(Parser)]
struct Options {
    /// The controller's program
    #[arg(long, default_value = "target/release/tiphys-controller")]
    controller: PathBuf,
    /// Pods of the bare client, and one-Pod workflows
    #[arg(long, default_value_t = 500)]
    workflows: usize,
    /// Steps side by side in one workflow
    #[arg(long, default_value_t = 5000)]
    parallel: usize,
    /// Steps one after the other in one workflow
    #[arg(long, default_value_t = 1000)]
    chain: usize,
    /// Steps that run and do not end, for the memory that they cost
    #[arg(long, default_value_t = 5000)]
    running: usize,
    /// Shape of the steps' Pods, as of the controller's option
    #[arg(long, default_value = "solo")]
    layout: String,
    /// Steps one after the other on a real node; 0 leaves them out
    #[arg(long, default_value_t = 20)]
    real: usize,
    /// What they run: anything that has `true`
    #[arg(long, default_value = "busybox")]
    image: String,
    /// Milliseconds that a Pod seems to run
    #[arg(long, default_value_t = 0)]
    latency: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let config = kube::Config::infer().await.context("no Kubernetes API: set KUBECONFIG")?;
    let api = Api::new(kube::Client::try_from(config)?);
    let namespace = format!("tiphys-bench-{}", jiff::Timestamp::now().as_second());
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    api.create("/api/v1/namespaces", &object).await?;
    let pace = Arc::new(Pace::new(Duration::from_millis(options.latency)));
    let player = Player::start(&api, &namespace, pace.clone()).await?;
    let measured = measure(&options, &api, &namespace, &pace).await;
    player.stop(&api).await;
    api.delete(&format!("/api/v1/namespaces/{namespace}"), &json!({})).await?;
    measured?.print();
    Ok(())
}

async fn measure(options: &Options, api: &Api, namespace: &str, pace: &Pace) -> Result<Report> {
    let mut report = Report::default();
    let bare = bare::pods(api, namespace, options.workflows, &bare::lean()).await?;
    report.add("bare client, lean Pods a second", bare, None);
    let controller = Controller::start(api, namespace, &options.controller, &options.layout).await?;

    if options.real > 0 {
        let steps = options.real as f64;
        let alone = bare::one_after_the_other(api, namespace, options.real, &options.image).await?;
        report.add("bare client on a real node, seconds a Pod", alone / steps, None);
        let seconds = workflows::chain(api, namespace, "real", options.real, Some(&options.image)).await?;
        report.add("a chain on a real node, seconds a step", seconds / steps, Some(("of bare", seconds / alone)));
    }

    let before = controller.figures().await?;
    let seconds = workflows::one_pod_each(api, namespace, options.workflows).await?;
    workflows::settled(api, namespace).await?;
    let after = controller.figures().await?;
    let rate = options.workflows as f64 / seconds;
    report.add("one-Pod workflows a second", rate, Some(("of bare", rate / bare)));
    report.costs(&before, &after, options.workflows);

    let alike = bare::pods(api, namespace, options.workflows, &bare::as_made(api, namespace).await?).await?;
    report.add("bare client, Pods like the controller's a second", alike, None);

    let before = controller.figures().await?;
    let seconds = workflows::fan_out(api, namespace, "fan-out", options.parallel, None).await?;
    workflows::settled(api, namespace).await?;
    let after = controller.figures().await?;
    let rate = options.parallel as f64 / seconds;
    report.add("nodes a second, all side by side in one workflow", rate, Some(("of bare, alike", rate / alike)));
    report.costs(&before, &after, options.parallel);

    let before = controller.figures().await?;
    let seconds = workflows::chain(api, namespace, "chain", options.chain, None).await?;
    workflows::settled(api, namespace).await?;
    let after = controller.figures().await?;
    report.add("a chain, ms a step", seconds * 1000.0 / options.chain as f64, None);
    report.hops(&before, &after);
    report.costs(&before, &after, options.chain);

    if options.running > 0 {
        pace.hold(true);
        let workflow = workflows::fan_out(api, namespace, "running", options.running, Some(pace)).await?;
        let figures = controller.figures().await?;
        report.add("steps that run at a time", options.running as f64, None);
        report.add("  seconds until all ran", workflow, None);
        report.add("  controller's memory, MiB", figures.memory_mib, None);
        report.add("  at most so far, MiB", figures.peak_mib, None);
        pace.hold(false);
        workflows::over(api, namespace, 1, "running").await?;
    }
    Ok(report)
}
