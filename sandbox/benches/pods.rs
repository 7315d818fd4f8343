//! Pods a second at parallelism 16, and what one costs in CPU time: two containers on the machine's root that run `true`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tiphys_sandbox::{ContainerSpec, Event, Rootfs, Sandbox, SandboxSpec, remove_scratch};
use tokio::task::JoinSet;

const PARALLEL: usize = 16;
const PODS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    if tiphys_sandbox::is_sandbox_process() {
        tiphys_sandbox::sandbox_main();
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for containers in [1, 2] {
        let cpu_before = cpu_time()?;
        let begun = Instant::now();
        let latencies = runtime.block_on(run_all(folder.path(), containers))?;
        let elapsed = begun.elapsed();
        let cpu = cpu_time()? - cpu_before;
        let mean = latencies.iter().sum::<Duration>() / PODS as u32;
        println!(
            "{containers} container(s): {:.0} Pods/s, {:.2} ms CPU a Pod, {:.2} ms mean from start to its commands' start",
            PODS as f64 / elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e3 / PODS as f64,
            mean.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

async fn run_all(folder: &Path, containers: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut latencies = Vec::new();
    let mut pods = JoinSet::new();
    for number in 0..PODS {
        if pods.len() == PARALLEL {
            latencies.extend(pods.join_next().await.transpose()?.transpose().map_err(|error| error as Box<dyn Error>)?);
        }
        pods.spawn(run_one(folder.join(number.to_string()), containers));
    }
    while let Some(done) = pods.join_next().await {
        latencies.push(done?.map_err(|error| error as Box<dyn Error>)?);
    }
    Ok(latencies)
}

async fn run_one(scratch: PathBuf, containers: usize) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let mut pod = SandboxSpec::new("bench", &scratch);
    for number in 0..containers {
        pod.containers.push(ContainerSpec::new(format!("c{number}"), Rootfs::Host, ["true"]));
    }
    let begun = Instant::now();
    let (_sandbox, mut events) = Sandbox::start(&pod, Path::new("/proc/self/exe")).await?;
    let mut latency = Duration::ZERO;
    while let Some(event) = events.recv().await {
        match event {
            Event::Started { .. } => latency = begun.elapsed(),
            Event::Exited { exit, .. } if exit.exit_code != 0 => return Err(format!("{exit:?}").into()),
            Event::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
    remove_scratch(&scratch)?;
    Ok(latency)
}

/// Time on a processor, of this process and of all that it has waited for.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    use nix::sys::resource::{UsageWho, getrusage};
    let mut sum = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
        }
    }
    Ok(sum)
}
