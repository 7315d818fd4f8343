//! The images without a container engine: static binaries, a few files, an OCI archive.
//!
//! The same inputs give the same bytes, so an image's digest says whether anything changed. The Containerfiles in images/
//! make the same images with an engine.

mod binaries;
mod contents;
mod layer;
mod layout;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::target;
pub use binaries::Build;
use contents::Entry;
use layer::Layer;

/// A machine that the image can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// When images cannot be made for it.
    pub fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("no image can be made for {other}: there are amd64 and arm64"),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            other => bail!("--arch is {other:?}: expected amd64 or arm64"),
        }
    }

    /// Its name in image manifests.
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }
}

/// An image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The executor as the superuser, as Argo's argoexec.
    Root,
    /// The executor as uid 8737, as Argo's argoexec-nonroot.
    NonRoot,
    /// The controller, as uid 8737.
    Controller,
}

impl Variant {
    /// The image's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "tiphys-executor",
            Self::NonRoot => "tiphys-executor-nonroot",
            Self::Controller => "tiphys-controller",
        }
    }

    /// What it is called where people read.
    fn title(self) -> &'static str {
        match self {
            Self::Root | Self::NonRoot => "Tiphys executor",
            Self::Controller => "Tiphys controller",
        }
    }

    /// The image's `User`, a number so that Kubernetes can tell that it is not root.
    fn user(self) -> &'static str {
        match self {
            Self::Root => "0",
            Self::NonRoot | Self::Controller => "8737",
        }
    }

    fn entrypoint(self) -> &'static str {
        match self {
            Self::Root | Self::NonRoot => "/bin/argoexec",
            Self::Controller => "/bin/tiphys-controller",
        }
    }
}

/// One machine's programs.
struct Programs {
    machine: Machine,
    executor: PathBuf,
    emissary: PathBuf,
}

#[derive(Default)]
struct Options {
    machines: Vec<Machine>,
    rootfs: Option<PathBuf>,
    out: Option<PathBuf>,
    only: Option<Only>,
}

/// One of the two programs that images are made for.
#[derive(Clone, Copy, PartialEq)]
enum Only {
    Executor,
    Controller,
}

/// Builds the images.
pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let machines = if options.machines.is_empty() { vec![Machine::host()?] } else { options.machines };
    if let Some(folder) = options.rootfs {
        let [machine] = machines[..] else { bail!("--rootfs is for one --arch") };
        let entries = match options.only {
            Some(Only::Controller) => contents::of_controller(&binaries::controller(machine, Build::Release)?)?,
            _ => contents::of(&binaries::build(machine, Build::Release)?)?,
        };
        return contents::unpack(&entries, &folder);
    }
    let out = options.out.unwrap_or_else(folder);
    if options.only != Some(Only::Controller) {
        let programs = machines.iter().map(|machine| binaries::build(*machine, Build::Release));
        let programs = programs.collect::<Result<Vec<_>>>()?;
        write(&programs, &out)?;
    }
    if options.only != Some(Only::Executor) {
        write_controller(&machines, &out, Build::Release)?;
    }
    Ok(())
}

/// An archive, and the digest by which a registry knows its image.
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// `sha256:…`.
    pub digest: String,
}

/// Builds the executor's for this machine: root's variant, and the other.
///
/// # Errors
/// When the programs cannot be built or the archives cannot be written.
pub fn executor(build: Build) -> Result<[Built; 2]> {
    write(&[binaries::build(Machine::host()?, build)?], &folder())
}

/// This machine's executor and emissary.
///
/// # Errors
/// When they cannot be built.
pub fn programs() -> Result<(PathBuf, PathBuf)> {
    let built = binaries::build(Machine::host()?, Build::Release)?;
    Ok((built.executor, built.emissary))
}

/// This machine's controller.
///
/// # Errors
/// When it cannot be built.
pub fn controller_program() -> Result<PathBuf> {
    binaries::controller(Machine::host()?, Build::Release)
}

/// Builds the controller's for this machine.
///
/// # Errors
/// When it cannot be built or the archive cannot be written.
pub fn controller(build: Build) -> Result<Built> {
    write_controller(&[Machine::host()?], &folder(), build)
}

/// Where images are written unless told otherwise.
fn folder() -> PathBuf {
    target().join("images")
}

fn archive(folder: &Path, variant: Variant) -> PathBuf {
    folder.join(format!("{}.oci.tar", variant.name()))
}

fn write(programs: &[Programs], out: &Path) -> Result<[Built; 2]> {
    let layers = programs
        .iter()
        .map(|programs| {
            show("executor", programs.machine, &programs.executor)?;
            show("emissary", programs.machine, &programs.emissary)?;
            layer(programs.machine, &contents::of(programs)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok([put(&layers, Variant::Root, out)?, put(&layers, Variant::NonRoot, out)?])
}

fn write_controller(machines: &[Machine], out: &Path, build: Build) -> Result<Built> {
    let layers = machines
        .iter()
        .map(|machine| {
            let program = binaries::controller(*machine, build)?;
            show("controller", *machine, &program)?;
            layer(*machine, &contents::of_controller(&program)?)
        })
        .collect::<Result<Vec<_>>>()?;
    put(&layers, Variant::Controller, out)
}

/// Says how large a program is.
fn show(what: &str, machine: Machine, path: &Path) -> Result<()> {
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    println!("{what:<10} {:<6} {:>6.2} MB  {}", machine.name(), mega(bytes), path.display());
    Ok(())
}

fn layer(machine: Machine, entries: &[Entry]) -> Result<(Machine, Layer)> {
    let layer = Layer::of(entries)?;
    let (packed, size) = (mega(layer.packed.len() as u64), mega(layer.size));
    println!("{:<10} {:<6} {packed:>6.2} MB  to pull, {size:.2} MB unpacked", "image", machine.name());
    Ok((machine, layer))
}

fn put(layers: &[(Machine, Layer)], variant: Variant, out: &Path) -> Result<Built> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let path = archive(out, variant);
    let digest = layout::write(layers, variant, &path)?;
    println!("{digest}  {}", path.display());
    Ok(Built { path, digest })
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--arch" => options.machines.push(Machine::parse(value)?),
            "--rootfs" => options.rootfs = Some(value.into()),
            "--only" => {
                options.only = Some(match value.as_str() {
                    "executor" => Only::Executor,
                    "controller" => Only::Controller,
                    other => bail!("--only is {other:?}: expected executor or controller"),
                });
            }
            "--out" => options.out = Some(value.into()),
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}
