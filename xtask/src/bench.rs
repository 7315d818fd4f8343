//! The figures that the README quotes, in one run: quote ratios, not single numbers of a noisy machine.

use anyhow::Result;

use crate::image;
use crate::shell::{cargo, run};

/// Runs the benchmarks one after the other.
pub fn run_all() -> Result<()> {
    run(cargo(&["bench", "--package", "tiphys-sim", "--bench", "engine"]))?;
    // The programs that go into the image, small and static, and not what a bench is built with.
    let (executor, emissary) = image::programs()?;
    let mut costs = cargo(&["bench", "--package", "tiphys-executor"]);
    costs.env("TIPHYS_EXECUTOR", executor).env("TIPHYS_EMISSARY", emissary);
    run(costs)?;
    run(cargo(&["bench", "--package", "tiphys-artifact"]))?;
    run(cargo(&["bench", "--package", "tiphys-sandbox"]))?;
    run(cargo(&["bench", "--package", "tiphys-s3server"]))?;
    run(cargo(&["bench", "--package", "tiphys-cli"]))?;
    if std::env::var_os("KUBECONFIG").is_none() {
        eprintln!("bench: the controller is left out: set KUBECONFIG to measure it");
        return Ok(());
    }
    // The program that goes into the image.
    let controller = image::controller_program()?;
    let mut hollow =
        cargo(&["run", "--release", "--package", "tiphys-benches", "--bin", "hollow", "--", "--controller"]);
    hollow.arg(controller);
    run(hollow)
}
