//! Artifacts to S3 and back, each beside what this machine and the server can do at most, in the same run.
//!
//! `TIPHYS_TEST_S3`, `TIPHYS_TEST_S3_ACCESS_KEY` and `TIPHYS_TEST_S3_SECRET_KEY` name a server such as MinIO; without them
//! the embedded one is measured. `TIPHYS_BENCH_MIB` is the size of the single object, 256 unless told; the directory is four
//! times as large, and there are 20 small files for each MiB. Each transfer is a process of its own, whose memory and
//! processor time are told.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tiphys_artifact::archive::{Level, write_tgz};
use tiphys_artifact::{Artifacts, Opened, Options, Secret, Source};
use tiphys_s3server::S3Server;

type Failure = Box<dyn std::error::Error>;

const BUCKET: &str = "tiphys-bench";
const ENDPOINT: &str = "TIPHYS_TEST_S3";
const ACCESS: &str = "TIPHYS_TEST_S3_ACCESS_KEY";
const SECRET: &str = "TIPHYS_TEST_S3_SECRET_KEY";
/// Bytes of a small file, and of the buffers of the bare client.
const SMALL: usize = 10 << 10;
const LARGE: usize = 8 << 20;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let done = match &words[..] {
        [_, verb, artifact, path] if verb == "save" || verb == "load" => transfer(verb, artifact, Path::new(path)),
        _ => measure(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("s3 bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// One transfer in this process; tells seconds, seconds of processor time, and peak memory in KiB.
fn transfer(verb: &str, artifact: &str, path: &Path) -> Result<(), Failure> {
    let artifact = serde_json::from_str(artifact)?;
    let secrets = |_: &str, key: &str| Ok(Secret::new(variable(if key == "access" { ACCESS } else { SECRET })));
    // The executor's own runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    runtime.block_on(async {
        let artifacts = Artifacts::new(secrets, Options::default());
        match verb {
            "save" => artifacts.save_output(Source::Itself(&Opened::at(path)?), &artifact).await.map(drop),
            _ => artifacts.load_input(&artifact, path).await.map(drop),
        }
    })?;
    let time = start.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Fields 14 and 15 of the file, in ticks of 10 ms.
    let ticks: u64 = fields.get(11..13).unwrap_or_default().iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    println!("{time} {} {}", ticks as f64 / 100.0, peak.trim().trim_end_matches(" kB"));
    Ok(())
}

fn measure() -> Result<(), Failure> {
    let mib: usize = std::env::var("TIPHYS_BENCH_MIB").map_or(Ok(256), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let objects = tempfile::tempdir()?;
    let mut bench = Bench { endpoint: variable(ENDPOINT), access: variable(ACCESS), secret: variable(SECRET) };
    let embedded = bench.endpoint.is_empty();
    let server = embedded.then(|| runtime.block_on(S3Server::start(objects.path(), &[BUCKET]))).transpose()?;
    if let Some(server) = &server {
        bench.endpoint = format!("http://{}", server.endpoint());
        (bench.access, bench.secret) = (server.access_key().to_owned(), server.secret_key().expose().to_owned());
    }
    println!("server: {}", if embedded { "the embedded one" } else { &bench.endpoint });
    let folder = tempfile::tempdir()?;
    bench.single(folder.path(), mib)?;
    bench.directory(folder.path(), 4 * mib)?;
    bench.small_files(folder.path(), 20 * mib)?;
    bench.limits(&runtime, mib)?;
    if let Some(server) = server {
        runtime.block_on(server.stop());
    }
    Ok(())
}

/// The server under test.
struct Bench {
    endpoint: String,
    access: String,
    secret: String,
}

impl Bench {
    /// One transfer in a process of its own.
    fn run(
        &self,
        what: &str,
        verb: &str,
        artifact: &Value,
        path: &Path,
        mib: f64,
        objects: usize,
    ) -> Result<(), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([verb, &artifact.to_string()]).arg(path);
        command.env(ENDPOINT, &self.endpoint).env(ACCESS, &self.access).env(SECRET, &self.secret);
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [seconds, processor, peak] = numbers[..] else { return Err(format!("{what}: {text}").into()) };
        let objects = if objects > 1 { format!(", {:.0} objects/s", objects as f64 / seconds) } else { String::new() };
        println!(
            "{what:<28} {verb}  {:>6.0} MiB/s{objects}; processor {:.2} s a GiB; peak {:.0} MiB",
            mib / seconds,
            processor * 1024.0 / mib,
            peak / 1024.0
        );
        Ok(())
    }

    fn artifact(&self, key: &str, archive: Value) -> Value {
        let secret = |key: &str| json!({"name": "keys", "key": key});
        json!({
            "name": "a", "archive": archive,
            "s3": {
                "endpoint": self.endpoint.trim_start_matches("http://"), "insecure": true, "bucket": BUCKET, "key": key,
                "createBucketIfNotPresent": {},
                "accessKeySecret": secret("access"), "secretKeySecret": secret("secret"),
            },
        })
    }

    fn there_and_back(
        &self,
        what: &str,
        artifact: &Value,
        path: &Path,
        mib: f64,
        objects: usize,
    ) -> Result<(), Failure> {
        self.run(what, "save", artifact, path, mib, objects)?;
        let back = path.with_extension("back");
        self.run(what, "load", artifact, &back, mib, objects)?;
        let removed = if back.is_dir() { fs::remove_dir_all(&back) } else { fs::remove_file(&back) };
        Ok(removed?)
    }

    fn single(&self, folder: &Path, mib: usize) -> Result<(), Failure> {
        let path = folder.join("single");
        fill(&path, mib << 20, 1)?;
        println!("{:<28}       {:>6.0} MiB/s", "limit: reading the file", rate(mib, || read(&path))?);
        let artifact = self.artifact("single", json!({"none": {}}));
        self.there_and_back(&format!("one object of {mib} MiB"), &artifact, &path, mib as f64, 1)?;
        Ok(fs::remove_file(path)?)
    }

    fn directory(&self, folder: &Path, mib: usize) -> Result<(), Failure> {
        let path = folder.join("directory");
        fs::create_dir(&path)?;
        for number in 0..mib.div_ceil(16) {
            fill(&path.join(format!("{number}")), 16 << 20, number as u64 + 1)?;
        }
        let packed = rate(mib, || Ok(write_tgz(&path, Level::DEFAULT, io::sink())?))?;
        println!("{:<28}       {packed:>6.0} MiB/s", "limit: packing to nowhere");
        let artifact = self.artifact("directory.tgz", Value::Null);
        self.there_and_back(&format!("directory of {mib} MiB, tgz"), &artifact, &path, mib as f64, 1)?;
        Ok(fs::remove_dir_all(path)?)
    }

    fn small_files(&self, folder: &Path, count: usize) -> Result<(), Failure> {
        let path = folder.join("small");
        for number in 0..count {
            let below = path.join(format!("{}", number / 1000));
            fs::create_dir_all(&below)?;
            fill(&below.join(format!("{number}")), SMALL, number as u64 + 1)?;
        }
        let artifact = self.artifact("small", json!({"none": {}}));
        let mib = (count * SMALL) as f64 / f64::from(1 << 20);
        self.there_and_back(&format!("{count} files of 10 KiB"), &artifact, &path, mib, count)?;
        Ok(fs::remove_dir_all(path)?)
    }

    /// What the server takes and gives: plain buffers, many at once, nothing read, packed, signed or checked.
    fn limits(&self, runtime: &tokio::runtime::Runtime, mib: usize) -> Result<(), Failure> {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(&self.access, &self.secret, None, None, "bench"))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let client = &Client::from_conf(config.build());
        for (what, size, count, flying) in
            [("buffers of 8 MiB", LARGE, mib.div_ceil(8), 4), ("buffers of 10 KiB", SMALL, 20 * mib, 32)]
        {
            let mut buffer = vec![0; size];
            noise(&mut buffer, 1);
            let buffer = Bytes::from(buffer);
            let key = |number: usize| format!("limits/{size}/{number}");
            let put = |number| {
                let request = client.put_object().bucket(BUCKET).key(key(number));
                let request = request.body(ByteStream::from(buffer.clone())).customize().disable_payload_signing();
                async move { request.send().await.map(drop).map_err(Failure::from) }
            };
            let get = |number| {
                let request = client.get_object().bucket(BUCKET).key(key(number));
                async move {
                    let mut body = request.send().await?.body;
                    while body.try_next().await?.is_some() {}
                    Ok::<_, Failure>(())
                }
            };
            let delete = |number| {
                let request = client.delete_object().bucket(BUCKET).key(key(number));
                async move { request.send().await.map(drop).map_err(Failure::from) }
            };
            let mib = (count * size) as f64 / f64::from(1 << 20);
            let tell = |verb: &str, time: Duration| {
                let seconds = time.as_secs_f64();
                let objects = count as f64 / seconds;
                println!(
                    "{:<28} {verb}  {:>6.0} MiB/s, {objects:.0} objects/s",
                    format!("limit: {what}"),
                    mib / seconds
                );
            };
            let start = Instant::now();
            runtime.block_on(stream::iter(0..count).map(put).buffer_unordered(flying).try_collect::<()>())?;
            tell("save", start.elapsed());
            let start = Instant::now();
            runtime.block_on(stream::iter(0..count).map(get).buffer_unordered(flying).try_collect::<()>())?;
            tell("load", start.elapsed());
            runtime.block_on(stream::iter(0..count).map(delete).buffer_unordered(flying).try_collect::<()>())?;
        }
        Ok(())
    }
}

/// MiB a second of some work on so many.
fn rate(mib: usize, work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(mib as f64 / start.elapsed().as_secs_f64())
}

fn read(path: &PathBuf) -> Result<(), Failure> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// A file of which a quarter can be compressed.
fn fill(path: &Path, size: usize, seed: u64) -> Result<(), Failure> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut buffer = vec![0; size.min(1 << 20)];
    let mut left = size;
    let mut seed = seed;
    while left > 0 {
        let length = left.min(buffer.len());
        seed = noise(&mut buffer[..length], seed);
        file.write_all(&buffer[..length])?;
        left -= length;
    }
    let file = file.into_inner()?;
    if size >= LARGE {
        // Or it is written while the transfer is measured, to the disk that the server writes to.
        file.sync_all()?;
    }
    Ok(())
}

fn noise(buffer: &mut [u8], seed: u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for (number, word) in buffer.chunks_mut(8).enumerate() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let value = if number % 4 == 0 { number as u64 } else { state };
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
    state
}
