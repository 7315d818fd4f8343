//! Puts `main`'s input artifacts where it expects them in a Pod without an init container: nothing could be mounted there,
//! since they came after the Pod's containers, so they become symbolic links (argo: emissary.go, linkInputArtifactsAt).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use tiphys_contract::overlap;

use super::template::Template;
use crate::paths::Paths;

/// Links every input that was loaded into the folder of inputs. One that lies on a volume of the user's is there already.
///
/// What an image has at the place is removed, as a mount would hide it; but never what lies on the user's volume, or has
/// one below.
///
/// # Errors
/// The text for the user.
pub fn inputs(paths: &Paths, template: &Template) -> Result<(), String> {
    // An input may take the place of the working directory: it is left, and entered again behind the link.
    let inside = std::env::current_dir().map_err(|error| format!("cannot tell the working directory: {error}"))?;
    std::env::set_current_dir("/").map_err(|error| format!("cannot leave the working directory: {error}"))?;
    for (name, place) in template.inputs() {
        let source = paths.input_artifacts.join(name);
        if fs::symlink_metadata(&source).is_ok() {
            link(&source, Path::new(place), template).map_err(|reason| format!("input artifact {name:?}: {reason}"))?;
        }
    }
    std::env::set_current_dir(&inside).map_err(|error| {
        let inside = inside.display();
        format!("cannot enter the working directory {inside} again: {error}; an input artifact there must be a folder")
    })
}

fn link(source: &Path, place: &Path, template: &Template) -> Result<(), String> {
    let failed = |what: &str, error: io::Error| format!("cannot {what} {}: {error}", place.display());
    let parent = place.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(parent)
        .map_err(|error| failed("make the folder of", error))?;
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", error)),
        Ok(found) => {
            // What is removed is where the parent leads to, through the image's own links.
            let real = parent.canonicalize().map_err(|error| failed("resolve the folder of", error))?;
            let real: PathBuf = real.join(place.file_name().unwrap_or_default());
            let at = real.to_string_lossy();
            let mounts = || template.mounts();
            if let Some(mount) =
                overlap::overlapping_mount(mounts(), &at).or_else(|| overlap::mount_nested_under(mounts(), &at))
            {
                return Err(format!(
                    "{} is {at}, where the volume mount {mount} would be destroyed: let their paths not overlap",
                    place.display()
                ));
            }
            let removed = if found.is_dir() { fs::remove_dir_all(place) } else { fs::remove_file(place) };
            removed.map_err(|error| failed("take the place of", error))?;
        }
    }
    symlink(source, place).map_err(|error| failed("make a link at", error))
}
