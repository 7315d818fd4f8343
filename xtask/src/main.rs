//! The project's own commands: `cargo xtask check | gen | fuzz | conformance | image | databases | e2e | bench`. CI runs the same ones.

mod bench;
mod check;
mod conformance;
mod difference;
mod e2e;
mod fuzz;
mod generated;
mod image;
mod licences;
mod shell;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check                       formatting, lints, licences, edges between crates
  gen                         makes what is generated and kept in the repository: definitions and manifests below helm/
  fuzz [--seconds N]          what reads bytes from outside, on inputs that coverage leads to, for so many seconds (60)
  conformance [OPTIONS]       the corpus's local cases on the real local runtime; writes docs/conformance.md
      --images FOLDER         image archives to import first, so that steps run in their images
      --corpus FOLDER         the corpus (default: TIPHYS_CORPUS, or ../shared/corpus)
      --only TEXT             only cases whose name holds TEXT; the page is not written
      --data FOLDER           where images and what runs print are kept
  image [OPTIONS]             the images as OCI archives into target/images: the executor's for root and for uid 8737, the
                              controller's
      --only NAME             executor or controller
      --arch ARCH             amd64 or arm64; this machine's unless told; both make one image for both
      --out FOLDER            where the archives go
      --rootfs FOLDER         only the files of the image, for an engine to copy
  databases                   the tests of the archive and of shared locks on a real PostgreSQL and MariaDB, which it starts and ends; e2e does so too
  e2e [OPTIONS]               our executor in real Pods: on the cluster of KUBECONFIG, TIPHYS_E2E_S3 and TIPHYS_E2E_REGISTRY,
                              else on the test cluster beside the repository (TIPHYS_CLUSTER)
      --corpus FOLDER         the corpus, whose Pods are run (default: TIPHYS_CORPUS, or ../shared/corpus)
      --only TEXT             only Pods of which the name holds TEXT
      --layout NAME           the whole corpus with this layout of Pods, and nothing else: legacy, image-volume, solo or auto
      --all-recorded          all Pods of the corpus by our executor alone, instead of one case for each kind of step
      --keep                  leave the namespaces for a look at them
  bench                       steps a second, the emissary's size, memory and delay, the engine's cost an event";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match command.as_str() {
        "check" => check::run(),
        "conformance" => conformance::run(&rest),
        "databases" => e2e::databases::run_tests(),
        "e2e" => e2e::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "gen" => generated::run(),
        "image" => image::run(&rest),
        "bench" => bench::run_all(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
