//! `data`, the command of a data template's `main`: a list of what lies in an artifact repository, put through the
//! template's expressions, becomes the step's result.
//!
//! argo: cmd/argoexec/commands/data.go, workflow/data/data.go.

use tiphys_api::{ArtifactLocation, Data, Outputs, TransformationStep};
use tiphys_expr::Value;
use tiphys_expr::go::marshal;
use tiphys_expr::lang::eval;

use super::settings::Settings;
use super::{locations, own_work, transfers};
use crate::cluster::{ClusterError, Config};
use crate::paths::Paths;

/// Lists, transforms and reports. Returns the exit code.
///
/// # Errors
/// The text for the user.
pub fn run(
    paths: &Paths,
    settings: &Settings,
    cluster: impl FnOnce() -> Result<Option<Config>, ClusterError>,
) -> Result<i32, String> {
    own_work::run(paths, settings, cluster, |template| {
        let _span = tracing::info_span!("processDataTemplate").entered();
        let failed = |reason: String| format!("unable to process data template: {reason}");
        let data = template.data.as_ref().ok_or_else(|| failed("no data template found".to_owned()))?;
        let source = source(paths, settings, data, template.archive_location.as_deref())
            .map_err(|reason| failed(format!("unable to process data source: {reason}")))?;
        let transformed = transform(&data.transformation, source)
            .map_err(|reason| failed(format!("unable to process data transformation: {reason}")))?;
        let result = marshal(&transformed).map_err(|error| error.to_string())?;
        Ok(Outputs { result: Some(result), ..template.outputs.clone() })
    })
}

/// The keys of all objects that the source means.
fn source(
    paths: &Paths,
    settings: &Settings,
    data: &Data,
    of_template: Option<&ArtifactLocation>,
) -> Result<Value, String> {
    let artifact = data.source.artifact_paths.as_ref().ok_or("no valid source is used for data template")?;
    let listed = (|| {
        let whole = locations::complete(&locations::to_list(artifact), of_template)?;
        let listed = transfers::run(paths, settings, async |artifacts| artifacts.list(&whole).await)?;
        listed.map_err(|error| error.to_string())
    })();
    let entries = listed.map_err(|reason: String| format!("unable to source artifact paths: {reason}"))?;
    Ok(Value::strs(entries.into_iter().map(|entry| entry.key)))
}

/// Each expression on what the one before gave.
fn transform(steps: &[TransformationStep], source: Value) -> Result<Value, String> {
    let mut data = source;
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| !step.expression.is_empty()) {
        let environment = Value::map([("data", data)]);
        data = eval(&step.expression, &environment)
            .map_err(|error| format!("error processing data step {at}: {error}"))?;
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expressions: &[&str]) -> Result<String, String> {
        let step = |text: &&str| TransformationStep { expression: (*text).to_owned(), ..Default::default() };
        let steps: Vec<_> = expressions.iter().map(step).collect();
        let source = Value::strs(["a/1.txt", "a/2.pdf", "b <3>.txt"]);
        transform(&steps, source).map(|data| marshal(&data).unwrap())
    }

    #[test]
    fn expressions_follow_one_another() {
        assert_eq!(check(&[]).unwrap(), "[\"a/1.txt\",\"a/2.pdf\",\"b \\u003c3\\u003e.txt\"]");
        let filtered = ["filter(data, {# endsWith '.txt'})", "", "map(data, {len(#)})", "data[0]"];
        assert_eq!(check(&filtered).unwrap(), "7");
        let error = check(&["data", "nope(data)"]).unwrap_err();
        assert!(error.starts_with("error processing data step 1: unknown name nope"), "{error}");
    }
}
