//! `tiphys-controller`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use http::StatusCode;
use tiphys_controller::cluster::Cluster;
use tiphys_controller::images::Images;
use tiphys_controller::metrics::{Metrics, logs};
use tiphys_controller::options::{Options, PodLayout};
use tiphys_controller::serve::{Answer, serve, text};
use tiphys_controller::shards::{self, Change};
use tiphys_controller::{config_watch, dispatch, image_volumes, pprof, shadow, telemetry};
use tiphys_kubernetes::{Api, ApiError, Gate, connect, read_only};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Bad usage or configuration. contract: exit codes.
const MISCONFIGURED: u8 = 64;

fn main() -> ExitCode {
    let options = Options::read(std::env::args_os()).unwrap_or_else(|error| {
        let code = if error.use_stderr() { i32::from(MISCONFIGURED) } else { 0 };
        let _ = error.print();
        std::process::exit(code)
    });
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let log = match options.log_format.as_str() {
        "json" => log.json().boxed(),
        _ => log.boxed(),
    };
    let filter = EnvFilter::new(&options.loglevel);
    tracing_subscriber::registry().with(log.and_then(logs::Counted).with_filter(filter)).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tiphys-controller: {error:#}");
            ExitCode::from(MISCONFIGURED)
        }
    }
}

/// Serves metrics, health and, where that is asked for, profiles.
async fn serve_all(cluster: &Arc<Cluster>, health_port: u16, pprof: Option<SocketAddr>) -> Result<()> {
    let settings = cluster.config().metrics.clone();
    if settings.enabled {
        let (path, cluster) = (settings.path, cluster.clone());
        let render = move || text(StatusCode::OK, cluster.metrics.render(&cluster.locks.states()));
        let answer: Answer = Arc::new(move |asked| std::future::ready((asked.path() == path).then(&render)).boxed());
        serve(settings.port, settings.secure, answer).await.context("metricsConfig")?;
    }
    if health_port != 0 {
        let health = cluster.health.clone();
        let answer: Answer = Arc::new(move |asked| {
            let health = health.clone();
            async move {
                let (status, words) = match asked.path() {
                    "/healthz" => health.lives().await,
                    "/readyz" => health.ready(),
                    _ => return None,
                };
                Some(text(status, words))
            }
            .boxed()
        });
        serve(health_port, false, answer).await.context("--health-port")?;
    }
    if let Some(address) = pprof {
        let (address, _) = pprof::serve(address).await.context("--pprof-address")?;
        tracing::info!("CPU profiles: go tool pprof http://{address}{}", pprof::PATH);
    }
    Ok(())
}

/// Works until it is asked to end.
async fn run(options: Options) -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok();
    let terms = options.terms.terms().map_err(anyhow::Error::msg)?;
    let (traces, sending) = telemetry::traces(variable)?.unzip();
    for sentence in options.argo.without_effect(variable) {
        tracing::warn!("{sentence}");
    }
    let (api, namespace) = connect(&options.access()).await?;
    let namespace = options.namespace.clone().unwrap_or(namespace);
    let api = if options.shadow { Api::new(read_only(api.client().clone())) } else { api };
    let (given, layout) = (options.config(), options.layout());
    let config = config_watch::load(&api, &namespace, &options.configmap, &given).await?;
    let metrics = Arc::new(Metrics::new(config.metrics.clone()));
    let counted = metrics.clone();
    let api = api.observed(Arc::new(move |request| counted.answered(request)));
    let watched = match options.managed_namespace.as_str() {
        "" if options.namespaced => namespace.clone(),
        "" => config.managed_namespace.clone(),
        managed => managed.to_owned(),
    };
    let images = Images::new(options.registries()?);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked_to_end = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let cluster = Cluster::new(api, images, namespace, watched.clone(), config, options.limits, metrics);
    let cluster = Arc::new(cluster.traced(traces));
    let reported = telemetry::metrics(&cluster, variable)?;
    serve_all(&cluster, options.health_port, options.pprof.address()).await?;
    if options.shadow {
        let followed = tokio::spawn(config_watch::follow(cluster.clone(), options.configmap, given));
        tracing::info!(namespace = cluster.namespace, watched, "shadow started: it looks on, and changes nothing");
        let ignored = options.shadow_ignore.into();
        shadow::run(cluster, &watched, ignored, asked_to_end).await;
        followed.abort();
        return Ok(());
    }
    let (to, changes) = mpsc::channel(options.shards as usize);
    let (api, identity, shards) = (cluster.api.clone(), options.identity(), options.shards);
    let (own, instance) = (cluster.namespace.clone(), cluster.config().pod.instance_id.clone());
    let held: JoinHandle<Result<(), ApiError>> = match options.no_leader_election {
        true => tokio::spawn(hold_all(shards, to, asked_to_end)),
        false => {
            let own =
                async move { shards::hold(api, (&own, &instance), &identity, shards, terms, to, asked_to_end).await };
            tokio::spawn(own)
        }
    };
    let followed = tokio::spawn(config_watch::follow(cluster.clone(), options.configmap, given));
    if layout == PodLayout::Auto {
        let cluster = cluster.clone();
        tokio::spawn(async move { image_volumes::follow(&cluster).await });
    }
    tracing::info!(namespace = cluster.namespace, watched, shards, "controller started");
    dispatch::run(cluster, &watched, options.persistence, changes).await;
    followed.abort();
    reported.iter().for_each(JoinHandle::abort);
    telemetry::finish(sending).await;
    held.await?.context("no Lease can be had, which tells replicas who works")
}

/// Nobody else is there: all shards are ours until the end.
async fn hold_all(shards: u32, to: mpsc::Sender<Change>, end: impl Future<Output = ()>) -> Result<(), ApiError> {
    for shard in 0..shards {
        let _ = to.send(Change::Begin { shard, gate: Arc::new(Gate::default()) }).await;
    }
    end.await;
    Ok(())
}
