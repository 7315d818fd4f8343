//! What a run's small uploads cost: PUTs a second with 16 clients, and the server's processor time for each.

use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tiphys_s3server::S3Server;

const PUTS: usize = 5_000;
const CLIENTS: usize = 16;
/// The name of the server's threads, by which their time is told from the clients'.
const THREADS: &str = "bench-server";

fn main() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let serving = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(THREADS)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = serving.block_on(S3Server::start(root.path(), &["bucket"])).expect("a server");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{}", server.endpoint()))
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(server.access_key(), server.secret_key().expose(), None, None, "bench"))
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let client = Client::from_conf(config.build());
    let calling =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");

    for size in [1_000, 100_000] {
        let (began, used) = (Instant::now(), server_time());
        calling.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for worker in 0..CLIENTS {
                let client = client.clone();
                tasks.spawn(async move {
                    for at in (worker..PUTS).step_by(CLIENTS) {
                        let put = client.put_object().bucket("bucket").key(format!("run/pod-{at}/main-{size}.log"));
                        put.body(vec![b'x'; size].into()).send().await.expect("a PUT");
                    }
                });
            }
            tasks.join_all().await;
        });
        let (took, used) = (began.elapsed(), server_time() - used);
        let rate = PUTS as f64 / took.as_secs_f64();
        let each = used.as_micros() as f64 / PUTS as f64;
        println!("{size:>7} bytes: {rate:>6.0} PUTs/s, server {each:.0} us of processor time each");
    }
    let began = Instant::now();
    let pages = calling.block_on(async {
        let mut pages = client.list_objects_v2().bucket("bucket").into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page.expect("a page").contents().len();
        }
        count
    });
    println!("listing {pages} objects: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    serving.block_on(server.stop());
}

/// Time the server's threads spent on a processor, from the kernel's scheduler statistics.
fn server_time() -> Duration {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("proc").flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").trim() == THREADS {
            total += read("schedstat").split(' ').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(total)
}
