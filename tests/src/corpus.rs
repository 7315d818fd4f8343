//! Reading the corpus: `TIPHYS_CORPUS`, or `../shared/corpus` beside the project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its folder's name.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// The manifest.
    pub manifest: String,
    /// The outcomes of which one must come, normalised.
    pub expected: Vec<Value>,
    /// What it needs or holds.
    pub tags: BTreeSet<String>,
    /// How long Argo took, in seconds.
    pub seconds: f64,
}

/// The order in which cases are begun that run side by side: at the end nobody waits for a long one.
pub fn longest_first(one: &Case, other: &Case) -> std::cmp::Ordering {
    other.seconds.total_cmp(&one.seconds)
}

/// Where the corpus is, if there is one.
pub fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("TIPHYS_CORPUS").map_or_else(beside, PathBuf::from);
    folder.join("cases").is_dir().then_some(folder)
}

/// Every case, in the order of their names.
pub fn cases(folder: &Path) -> Vec<Case> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder.join("cases")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| case(path)).collect()
}

fn case(path: &Path) -> Option<Case> {
    let manifest = std::fs::read_to_string(path.join("workflow.yaml")).ok()?;
    let about = json(&path.join("case.json")).unwrap_or_default();
    let expected = ["expected.json", "expected-also.json"].iter().filter_map(|name| json(&path.join(name))).collect();
    let tags = about["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect();
    let seconds = about["argo_seconds"].as_f64().unwrap_or_default();
    let name = path.file_name()?.to_str()?.to_string();
    Some(Case { name, path: path.to_path_buf(), manifest, expected, tags, seconds })
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// The manifests that existed in the namespace, by file name.
pub fn common(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder.join("common")).into_iter().flatten().flatten();
    files
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, std::fs::read_to_string(entry.path()).ok()?)))
        .collect()
}
