//! What `init` and `wait` cost a step: processor time where there is nothing to collect, time and peak memory where there is
//! much. `TIPHYS_BENCH_MIB` sets how much; 256 unless told.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use tiphys_executor::paths::Paths;
use tiphys_s3server::S3Server;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("rooted") {
        return rooted();
    }
    let result = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match result.map_err(Failure::from).and_then(|runtime| measure(&runtime)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("agent bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The executor below another root; tells its peak memory in KiB at its end.
fn rooted() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next();
    let root = words.nth(1).unwrap_or_default();
    let code = tiphys_executor::run_below(&Paths::below(Path::new(&root)), program.into_iter().chain(words));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    println!("{}", peak.trim().trim_end_matches(" kB"));
    code
}

fn measure(runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let mib: usize = std::env::var("TIPHYS_BENCH_MIB").map_or(Ok(256), |text| text.parse())?;
    let root = tempfile::tempdir()?;
    let objects = tempfile::tempdir()?;
    let server = runtime.block_on(S3Server::start(objects.path(), &["bucket"]))?;
    let step = Step { root: fs::canonicalize(root.path())?, location: location(root.path(), &server)? };

    let logs = step.location.replacen('{', r#"{"archiveLogs":true,"#, 1);
    for (what, template) in [
        ("nothing to collect", r#"{"container":{}}"#.to_owned()),
        ("its log archived", format!(r#"{{"container":{{}},"archiveLocation":{logs}}}"#)),
    ] {
        let steps = 50;
        let before = processor_time()?;
        let start = Instant::now();
        for _ in 0..steps {
            step.run(&template, "echo", "hello")?;
        }
        let (wall, used) = (start.elapsed() / steps, (processor_time()? - before) / steps);
        println!("step with {what:<20} {used:?} processor time, {wall:?} one process after the other");
    }

    let files = mib.div_ceil(16);
    let folder = step.root.join("out");
    fill(&folder, files)?;
    let path = folder.display();
    for (form, packing, key) in [
        ("tgz", "", "wf/pod/dir.tgz"),
        ("none", r#","archive":{"none":{}}"#, "wf/pod/out"),
        ("zip", r#","archive":{"zip":{}}"#, "wf/pod/dir.zip"),
    ] {
        let output = format!(r#""outputs":{{"artifacts":[{{"name":"dir","path":"{path}"{packing}}}]}}"#);
        let input =
            format!(r#""inputs":{{"artifacts":[{{"name":"in","path":"/in","s3":{{"key":"{key}"}}{packing}}}]}}"#);
        let template = format!(r#"{{"container":{{}},"archiveLocation":{},{output}}}"#, step.location);
        let saved = step.run(&template, "true", "")?;
        let template = format!(r#"{{"container":{{}},"archiveLocation":{},{input}}}"#, step.location);
        let loaded = step.run(&template, "true", "")?;
        let rate = |time: Duration| (files * 16) as f64 / time.as_secs_f64();
        println!(
            "{form:<5} {} MiB in {files} files: staged {:.0} MiB/s; saved {:.0} MiB/s, peak {} MiB; loaded {:.0} MiB/s, peak {} MiB",
            files * 16,
            rate(saved.main),
            rate(saved.wait),
            saved.wait_peak / 1024,
            rate(loaded.init),
            loaded.init_peak / 1024,
        );
        fs::remove_dir_all(step.root.join("argo/inputs"))?;
        fs::remove_dir_all(step.root.join("var/run/argo/outputs"))?;
    }
    let four: Vec<_> = (1..=4).map(|n| format!(r#"{{"name":"dir{n}","path":"{path}"}}"#)).collect();
    let template = format!(
        r#"{{"container":{{}},"archiveLocation":{},"outputs":{{"artifacts":[{}]}}}}"#,
        step.location,
        four.join(",")
    );
    let saved = step.run(&template, "true", "")?;
    let rate = (files * 64) as f64 / saved.wait.as_secs_f64();
    let key = |n| format!(r#"{{"name":"in{n}","path":"/in{n}","s3":{{"key":"wf/pod/dir{n}.tgz"}}}}"#);
    let four: Vec<_> = (1..=4).map(key).collect();
    let template = format!(
        r#"{{"container":{{}},"archiveLocation":{},"inputs":{{"artifacts":[{}]}}}}"#,
        step.location,
        four.join(",")
    );
    let loaded = step.run(&template, "true", "")?;
    println!(
        "four of it at once: saved {rate:.0} MiB/s, peak {} MiB; loaded, peak {} MiB",
        saved.wait_peak / 1024,
        loaded.init_peak / 1024
    );
    runtime.block_on(server.stop());
    Ok(())
}

/// Files of 16 MiB each of which a part can be compressed.
fn fill(folder: &Path, files: usize) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for index in 0..files {
        let mut file = BufWriter::new(fs::File::create(folder.join(format!("file-{index}")))?);
        for word in 0..(16_u64 << 20) / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&if word % 4 == 0 { word } else { state }.to_le_bytes())?;
        }
        file.flush()?;
    }
    Ok(())
}

/// The template's location, with its secrets where the executor looks for them.
fn location(root: &Path, server: &S3Server) -> Result<String, Failure> {
    let folder = root.join("argo/secret/cred");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("access"), server.access_key())?;
    fs::write(folder.join("secret"), server.secret_key().expose())?;
    let host = server.endpoint().trim_start_matches("http://");
    Ok(format!(
        r#"{{"s3":{{"endpoint":"{host}","insecure":true,"bucket":"bucket","key":"wf/pod","accessKeySecret":
        {{"name":"cred","key":"access"}},"secretKeySecret":{{"name":"cred","key":"secret"}}}}}}"#
    ))
}

/// A Pod's folder in which one step after the other runs.
struct Step {
    root: PathBuf,
    location: String,
}

/// Time and peak memory in KiB of the step's processes.
struct Spent {
    init: Duration,
    init_peak: u64,
    main: Duration,
    wait: Duration,
    wait_peak: u64,
}

impl Step {
    /// `init`, `main`, `wait`, one after the other so that each is measured alone.
    fn run(&self, template: &str, program: &str, arg: &str) -> Result<Spent, Failure> {
        // Each step is a Pod of its own: nothing is known yet of what it has done.
        for left in ["ctr/main/exitcode", "journal"] {
            let _ = fs::remove_file(self.root.join("var/run/argo").join(left));
        }
        let (init, init_peak) = self.executor(&["init"], template)?;
        let (main, _) = self.executor(&["emissary", "--", program, arg], template)?;
        let (wait, wait_peak) = self.executor(&["wait"], template)?;
        Ok(Spent { init, init_peak, main, wait, wait_peak })
    }

    fn executor(&self, words: &[&str], template: &str) -> Result<(Duration, u64), Failure> {
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("rooted")
            .arg(&self.root)
            .args(words)
            .env("ARGO_TEMPLATE", template)
            .env("ARGO_CONTAINER_NAME", "main")
            .env("TIPHYS_EMISSARY", "/bin/true")
            .env("TIPHYS_RESULT_SINK", format!("file:{}", self.root.join("result.json").display()))
            .stdout(Stdio::piped())
            .spawn()?;
        let status = child.wait()?;
        let time = start.elapsed();
        let mut peak = String::new();
        child.stdout.take().ok_or("no output")?.read_to_string(&mut peak)?;
        match status.success() {
            true => Ok((time, peak.trim().rsplit('\n').next().unwrap_or_default().parse()?)),
            false => Err(format!("{words:?} ended with {status}").into()),
        }
    }
}

fn processor_time() -> Result<Duration, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |of: nix::sys::time::TimeVal| Duration::new(of.tv_sec() as u64, of.tv_usec() as u32 * 1000);
    Ok(time(usage.user_time()) + time(usage.system_time()))
}
